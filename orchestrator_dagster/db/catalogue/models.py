"""The models behind the catalogue: which class serves which status, and what its fields say of stored values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

from orchestrator_dagster.db.catalogue.entries import LinkShape, ValueShape
from orchestrator_dagster.db.catalogue.values import FieldValues
from orchestrator_dagster.domain.block import ProductBlockModel
from orchestrator_dagster.domain.fields import BlockField, fields_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle, base_type_of, lookup_specialized_type
from orchestrator_dagster.domain.model import DomainModel
from orchestrator_dagster.domain.stored import NO_FILL, Stored
from orchestrator_dagster.domain.subscription import SubscriptionModel
from orchestrator_dagster.domain.tree import descendants
from orchestrator_dagster.errors import ConfigurationError, DefinitionError, ModelError

M = TypeVar("M", bound=DomainModel)
BlockType = type[ProductBlockModel]
Classes = Mapping[SubscriptionLifecycle, type[DomainModel]]
"""The class of a model in each status."""
Fill = Any
"""A constant, a function of a `StoredBlock`, or `NO_FILL`."""


@dataclass(frozen=True)
class ValueModel:
    """A field that holds values, in the classes of one model.

    Attributes:
        where: the model and the field, as messages name them.
        at: the field in the class for each status that has it.
        stored: what the field says of its stored values, if it says something.
        said_in: the statuses whose class says it itself.
    """

    where: str
    at: Mapping[SubscriptionLifecycle, FieldValues]
    stored: Stored | None
    said_in: frozenset[SubscriptionLifecycle]

    @cached_property
    def shape(self) -> ValueShape:
        """What the catalogue keeps of it."""
        return ValueShape(
            types={status: at.type_text for status, at in self.at.items()},
            required=frozenset(status for status, at in self.at.items() if not at.allows_none),
        )

    @property
    def declared_fill(self) -> Fill:
        """The fill that the field declares; `NO_FILL` if it does not."""
        return NO_FILL if self.stored is None else self.stored.fill

    def fill(self, status: SubscriptionLifecycle) -> Fill:
        """Return what a block without a value gets in a status: the fill that is declared, or else the default."""
        at = self.at[status]
        if self.declared_fill is not NO_FILL and (status in self.said_in or not at.allows_none):
            return self.declared_fill
        return at.default

    def check_fill(self) -> None:
        """Check that a constant fill is valid wherever it would be used.

        Raises:
            ConfigurationError: it is not.
        """
        for status, at in self.at.items():
            fill = self.fill(status)
            if fill is not NO_FILL and not callable(fill):
                try:
                    at.dump(fill)
                except ModelError as error:
                    raise ConfigurationError(f"{self.where}: {fill!r} cannot be filled in: {error}") from error


@dataclass(frozen=True)
class LinkModel:
    """A field that holds blocks, in the classes of one model; its attributes are those of `ValueModel`."""

    where: str
    at: Mapping[SubscriptionLifecycle, BlockField]
    stored: Stored | None

    @cached_property
    def shape(self) -> LinkShape:
        """What the catalogue keeps of it."""
        return LinkShape(
            blocks={status: tuple(sorted(set(_names(at)))) for status, at in self.at.items()},
            least={status: _least(at) for status, at in self.at.items()},
            many=any(at.many for at in self.at.values()),
            most={status: at.max_length for status, at in self.at.items() if at.max_length is not None},
        )

    def check_fill(self) -> None:
        """Check that it has none.

        Raises:
            DefinitionError: it has: blocks cannot be filled in.
        """
        if self.stored is not None and self.stored.fill is not NO_FILL:
            raise DefinitionError(f"{self.where}: a field that holds blocks cannot have a fill, only renamed_from")


FieldModel = ValueModel | LinkModel
FieldModels = Mapping[str, FieldModel]


def earlier_names_of(field: FieldModel) -> tuple[str, ...]:
    """Return the names that a field had before."""
    return () if field.stored is None else field.stored.earlier_names


def field_models(model: type[DomainModel], classes: Classes | None = None) -> FieldModels:
    """Return the fields of a model by the name under which they are stored, those of all statuses.

    Args:
        model: any class of the family.
        classes: its class in each status. Default: those of the family.

    Raises:
        DefinitionError: the classes of the model say different things of a field.
        ConfigurationError: a field has a fill that is not valid.
    """
    classes = classes or _classes_of(model)
    known = {cls: {at.key: FieldValues(at) for at in fields_of(cls).values.values()} for cls in classes.values()}
    values: dict[str, dict[SubscriptionLifecycle, FieldValues]] = {}
    links: dict[str, dict[SubscriptionLifecycle, BlockField]] = {}
    for status, cls in classes.items():
        for key, value in known[cls].items():
            values.setdefault(key, {})[status] = value
        for link in fields_of(cls).blocks.values():
            links.setdefault(link.key, {})[status] = link
    name = getattr(model, "product_block_name", None) or model.__name__
    if both := sorted(values.keys() & links.keys()):
        raise DefinitionError(f"{name}: {', '.join(both)} holds blocks in one class, and values in another")
    stored = _stored_of(name, variants_of(model))
    fields: dict[str, FieldModel] = {
        key: ValueModel(f"{name}.{key}", at, stored.get(key), _said_in(at)) for key, at in values.items()
    }
    fields |= {key: LinkModel(f"{name}.{key}", at, stored.get(key)) for key, at in links.items()}
    for field in fields.values():
        field.check_fill()
    return fields


def _said_in(at: Mapping[SubscriptionLifecycle, FieldValues]) -> frozenset[SubscriptionLifecycle]:
    return frozenset(status for status, values in at.items() if _marker(values.field.info) is not None)


def _stored_of(name: str, variants: Sequence[type[DomainModel]]) -> dict[str, Stored]:
    """Return what the fields of all classes say of their stored values, each once."""
    said: dict[str, Stored] = {}
    for variant in variants:
        found = fields_of(variant)
        infos = {at.key: at.info for at in found.values.values()} | {at.key: at.info for at in found.blocks.values()}
        for key, info in infos.items():
            marker = _marker(info)
            if marker is not None and said.setdefault(key, marker) != marker:
                raise DefinitionError(
                    f"{name}.{key} has two different Stored(...) in its classes: say it in one, or the same in each "
                    "(a function must be the same object)"
                )
    return said


def _marker(info: FieldInfo) -> Stored | None:
    found = [item for item in (*info.metadata, *_metadata(info.annotation)) if isinstance(item, Stored)]
    if len(set(map(id, found))) > 1:
        raise DefinitionError(f"A field has two Stored(...): {found[0]} and {found[1]}")
    return found[0] if found else None


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield what stands beside a type and the members of its union."""
    if isinstance(annotation, TypeAliasType):
        yield from _metadata(annotation.__value__)
    elif get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        yield from metadata
        yield from _metadata(inner)
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _metadata(member)


def class_for(model: type[M], status: SubscriptionLifecycle) -> type[M]:
    """Return the class of a model's family for a status; the model itself, where it has no family."""
    return model if base_type_of(model) is None else lookup_specialized_type(model, status)


def variants_of(model: type[M]) -> Sequence[type[M]]:
    """Return the base of a model's family, then its classes for the statuses."""
    base: type[M] | None = base_type_of(model)
    if base is None:
        return (model,)
    specialized = [lookup_specialized_type(base, status) for status in SubscriptionLifecycle]
    return tuple(dict.fromkeys([base, *specialized, model]))


def classes_of_roots(models: Iterable[type[SubscriptionModel]]) -> Mapping[str, Classes]:
    """Return the class of every block that subscriptions hold directly in each status, by the block's name.

    It is that of the status, or a more special one that a field names: blocks of the subscription itself are of the
    class that the field names, whatever the status. Further down it may be a block of another subscription.
    """
    classes: dict[str, dict[SubscriptionLifecycle, BlockType]] = {}
    for model in models:
        for status, variant in _classes_of(model).items():
            for block_type in _direct_roots(variant):
                found = classes.setdefault(name_of(block_type), _classes_of(block_type))
                found[status] = block_type if issubclass(block_type, found[status]) else found[status]
    return classes


def _classes_of(model: type[M]) -> dict[SubscriptionLifecycle, type[M]]:
    return {status: class_for(model, status) for status in SubscriptionLifecycle}


def roots_of(model: type[SubscriptionModel]) -> Iterator[BlockType]:
    """Yield the classes of blocks that subscriptions hold directly."""
    for variant in variants_of(model):
        yield from _direct_roots(variant)


def _direct_roots(model: type[SubscriptionModel]) -> Iterator[BlockType]:
    for block_types in model.root_block_types().values():
        yield from _concrete(block_types)


def children_of(block: BlockType) -> Iterator[BlockType]:
    """Yield the classes of blocks that a block holds directly."""
    for block_types in block.block_types().values():
        yield from _concrete(block_types)


def name_of(block_type: BlockType) -> str:
    """Return the name in the catalogue of a class that has one."""
    assert block_type.product_block_name is not None  # noqa: S101  only concrete classes come here
    return block_type.product_block_name


def full_name(cls: type) -> str:
    """Return the name of a class with its module."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _concrete(block_types: Iterable[BlockType]) -> Iterator[BlockType]:
    """Yield the classes that have a name in the catalogue: an abstract one stands for those that inherit from it."""
    for block_type in block_types:
        if block_type.product_block_name is not None:
            yield block_type
        else:
            yield from (found for found in descendants(block_type) if found.product_block_name is not None)


def _names(at: BlockField) -> Iterator[str]:
    return (name_of(block_type) for block_type in _concrete(at.types))


def _least(at: BlockField) -> int:
    if at.optional:
        return 0
    return at.min_length if at.many else 1
