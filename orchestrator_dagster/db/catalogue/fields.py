"""How the fields of a block or product differ from the stored ones, and what that means for stored values and links."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from orchestrator_dagster.db.catalogue.data.operations import (
    ConvertField,
    FillField,
    RemoveField,
    RemoveLink,
    RenameField,
    RenameLink,
)
from orchestrator_dagster.db.catalogue.difference import ChangeKind, Difference, Differences, Effect, Verdict
from orchestrator_dagster.db.catalogue.entries import FieldShape, FieldShapes, LinkShape, Statuses, ValueShape
from orchestrator_dagster.db.catalogue.models import FieldModels, LinkModel, ValueModel, earlier_names_of
from orchestrator_dagster.db.catalogue.questions import FieldContent, UnfitLinks
from orchestrator_dagster.db.catalogue.renames import Names
from orchestrator_dagster.db.catalogue.types import without_none
from orchestrator_dagster.db.catalogue.values import FieldValues
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.stored import NO_FILL, StoredBlock
from orchestrator_dagster.errors import ModelError


@dataclass(frozen=True)
class Holder:
    """The block or product whose fields are compared.

    Attributes:
        kind: `product block` or `product`.
        name: its name, as it is declared.
        stored_name: its name as the database has it now.
        renames: the new names of its fields by the old ones, of those that are renamed now.
        stored_blocks: the names that blocks have in the database by the ones they get, of those that are renamed now.
    """

    kind: str
    name: str
    stored_name: str
    renames: Names
    stored_blocks: Names

    @property
    def is_block(self) -> bool:
        """Whether it is a block."""
        return self.kind == "product block"

    def title(self, field: str) -> str:
        """Name a field of it."""
        return f"{self.kind} {self.name}: field {field}"

    def stored_field(self, field: str) -> str:
        """Return the name that a field has in the database now."""
        return next((old for old, new in self.renames.items() if new == field), field)


def field_differences(holder: Holder, models: FieldModels, stored: FieldShapes) -> Differences:
    """Yield the differences of fields that are known; those that are renamed have their new name in `stored`."""
    for key, model in models.items():
        before = stored.get(key)
        if key in holder.renames.values():
            yield _renamed(holder, key, model)
        if before is None:
            yield _added(holder, key, model, _hint(models, stored, key))
        elif before.kind != model.shape.kind:
            yield _removed(holder, key, before)
            yield _added(holder, key, model, "")
        else:
            yield from _changed(holder, key, model, before)
    for key in stored.keys() - models.keys():
        yield _removed(holder, key, stored[key])


def value_name_differences(holder: Holder, models: FieldModels, stored: Iterable[str]) -> Differences:
    """Yield the differences of a block of which an older version wrote the names of its values only."""
    values = {key: model for key, model in models.items() if isinstance(model, ValueModel)}
    names = set(stored)
    for key, model in values.items():
        if key in holder.renames.values():
            yield _renamed(holder, key, model)
        elif key not in names:
            yield _added(holder, key, model, "")
    for key in sorted(names - values.keys()):
        yield _removed(holder, key, ValueShape({}, frozenset()))
    yield from link_renames(holder, models)


def link_renames(holder: Holder, models: FieldModels) -> Differences:
    """Yield renames of links, for a holder of which the database does not know them: where one is stored, it is one."""
    for key, model in models.items():
        if isinstance(model, LinkModel):
            for old in earlier_names_of(model):
                known = replace(holder, renames={old: key})
                yield replace(_renamed(known, key, model), only_if_concerned=True)


def _renamed(holder: Holder, key: str, model: ValueModel | LinkModel) -> Difference:
    old = holder.stored_field(key)
    says = f"renamed from {old}"
    effects: tuple[Effect, ...] = ()
    if isinstance(model, LinkModel):
        link = RenameLink(*_place(holder, holder.name), old, key)
        asked = replace(link, **_asked_place(holder))
        effects = (Effect(asked, Verdict.TOLD, "the links move along", link),)
    elif holder.is_block:
        field = RenameField(holder.name, old, key)
        asked_field = replace(field, block=holder.stored_name)
        effects = (Effect(asked_field, Verdict.TOLD, "the values move along", field),)
    return Difference(ChangeKind.RENAMED, holder.title(key), says, effects=effects)


def _added(holder: Holder, key: str, model: ValueModel | LinkModel, hint: str) -> Difference:
    says = f"new, {model.shape}"
    if isinstance(model, LinkModel):
        effects = _unfit(holder, key, model)
    elif holder.is_block:
        effects = tuple(_fills(holder, key, model, frozenset(model.at), hint))
    else:
        effects = ()  # the value of a fixed input is the product's
    return Difference(ChangeKind.ADDED, holder.title(key), says + hint, effects=effects)


def _changed(holder: Holder, key: str, model: ValueModel | LinkModel, before: FieldShape) -> Differences:
    if model.shape == before:
        return
    effects: tuple[Effect, ...] = ()
    if isinstance(model, LinkModel):
        effects = _unfit(holder, key, model)
    elif holder.is_block:
        assert isinstance(before, ValueShape)  # noqa: S101 - a field that changed its kind is another field
        new = model.shape.required - before.required | model.shape.types.keys() - before.types.keys()
        effects = (*_conversions(holder, key, model, before), *_fills(holder, key, model, frozenset(new), ""))
    says = f"from {before} to {model.shape}"
    yield Difference(ChangeKind.CHANGED, holder.title(key), says, effects=effects)


def _removed(holder: Holder, key: str, before: FieldShape) -> Difference:
    effects: tuple[Effect, ...] = ()
    if isinstance(before, LinkShape):
        link = RemoveLink(*_place(holder, holder.name), key)
        says = "the links are deleted, with the blocks that nothing leads to any more"
        effects = (Effect(replace(link, **_asked_place(holder)), Verdict.CONSENT, says, link),)
    elif holder.is_block:
        field = RemoveField(holder.name, key)
        has_data, has_none = (FieldContent(holder.stored_name, key, is_data=is_data) for is_data in (True, False))
        effects = (
            Effect(has_data, Verdict.CONSENT, "the values are deleted", field),
            Effect(has_none, Verdict.TOLD, "it is empty there, and goes", field),
        )
    return Difference(ChangeKind.REMOVED, holder.title(key), "removed", effects=effects)


def _hint(models: FieldModels, stored: FieldShapes, key: str) -> str:
    """Say which field that is gone a new one may have been."""
    content = _content(models[key].shape)
    gone = [old for old in sorted(stored.keys() - models.keys()) if _content(stored[old]) == content]
    return "".join(f"; if {old} was renamed to {key}, declare renamed_from={old!r}" for old in gone)


def _content(shape: FieldShape) -> Set[str]:
    """Return what a field can hold, in any status."""
    if isinstance(shape, LinkShape):
        return {name for names in shape.blocks.values() for name in names}
    return set(map(without_none, shape.types.values()))


def _unfit(holder: Holder, key: str, model: LinkModel) -> tuple[Effect, ...]:
    block, product = (holder.stored_name, None) if holder.is_block else (None, holder.stored_name)
    question = UnfitLinks(block, product, holder.stored_field(key), model.shape, holder.stored_blocks)
    says = (
        f"what it holds is not {model.shape}, and blocks cannot be filled in: allow the old beside the new, change the "
        "subscriptions by a workflow, and change the field to this after that"
    )
    return (Effect(question, Verdict.REFUSED, says),)


def _fills(holder: Holder, key: str, model: ValueModel, statuses: Statuses, hint: str) -> Iterator[Effect]:
    for values, of_class in _by_class(model, statuses):
        fill = model.fill(min(of_class))
        operation = FillField(
            holder.name,
            key,
            of_class,
            fill,
            values.dump,
            optional=values.allows_none,
            stored_as=_stored_as(holder, key),
        )
        asked = replace(operation, block=holder.stored_name)
        if fill is not NO_FILL:
            yield Effect(asked, Verdict.TOLD, f"the value becomes {_shown(fill)}", operation)
        elif not values.allows_none:
            says = f"a value is needed and there is none: declare a default or Stored(fill=...){hint}"
            yield Effect(asked, Verdict.REFUSED, says)


def _conversions(holder: Holder, key: str, model: ValueModel, before: ValueShape) -> Iterator[Effect]:
    retyped = {
        status
        for status, text in model.shape.types.items()
        if status in before.types and without_none(text) != without_none(before.types[status])
    }
    for values, of_class in _by_class(model, frozenset(retyped)):
        conversion = ConvertField(
            holder.name,
            key,
            of_class,
            fits=values.is_as_saved,
            fill=_converted(key, model, values),
            dump=values.dump,
            stored_as=_stored_as(holder, key),
        )
        asked = replace(conversion, block=holder.stored_name)
        if model.declared_fill is NO_FILL:
            says = f"a value is not {values.type_text}: declare Stored(fill=...) to convert it"
            yield Effect(replace(asked, fits=values.fits), Verdict.REFUSED, says)
            told = replace(asked, fits=values.stays)
            yield Effect(told, Verdict.TOLD, f"the value is written as {values.type_text}", conversion)
        else:
            yield Effect(
                asked,
                Verdict.TOLD,
                f"a value that is not {values.type_text} becomes {_shown(model.declared_fill)}",
                conversion,
            )


def _converted(key: str, model: ValueModel, values: FieldValues) -> Callable[[StoredBlock], Any]:
    """Return what gives a block its new value: its old one as the new type reads it, else the declared fill."""

    def convert(block: StoredBlock) -> Any:
        try:
            return values.load(block.values[key])
        except ModelError:
            fill = model.declared_fill
            if fill is NO_FILL:
                raise
            return fill(block) if callable(fill) else fill

    return convert


def _by_class(model: ValueModel, statuses: Statuses) -> Iterator[tuple[FieldValues, Statuses]]:
    """Group statuses by the class that serves them."""
    classes: dict[int, tuple[FieldValues, set[SubscriptionLifecycle]]] = {}
    for status in SubscriptionLifecycle:
        if status in statuses:
            values = model.at[status]
            classes.setdefault(id(values), (values, set()))[1].add(status)
    for values, served in classes.values():
        yield values, frozenset(served)


def _stored_as(holder: Holder, key: str) -> tuple[str, ...]:
    old = holder.stored_field(key)
    return () if old == key else (old,)


def _place(holder: Holder, name: str) -> tuple[str | None, frozenset[str]]:
    return (name, frozenset()) if holder.is_block else (None, frozenset({name}))


def _asked_place(holder: Holder) -> Mapping[str, Any]:
    block, products = _place(holder, holder.stored_name)
    return {"block": block, "products": products}


def _shown(fill: Any) -> str:
    return f"what {getattr(fill, '__name__', 'a function')}() returns" if callable(fill) else repr(fill)
