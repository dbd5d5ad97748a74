"""How the catalogue that the code declares differs from the stored one: rules over values, without a database."""

from collections.abc import Iterable, Iterator, Mapping, Set
from enum import StrEnum
from typing import Any

from orchestrator_dagster.db.catalogue.data.operations import RemoveBlock
from orchestrator_dagster.db.catalogue.declared import DeclaredCatalogue
from orchestrator_dagster.db.catalogue.difference import ChangeKind, Difference, Differences, Effect, Verdict
from orchestrator_dagster.db.catalogue.entries import Catalogue, ProductEntry
from orchestrator_dagster.db.catalogue.fields import (
    Holder,
    field_differences,
    link_renames,
    value_name_differences,
)
from orchestrator_dagster.db.catalogue.models import LinkModel
from orchestrator_dagster.db.catalogue.questions import SubscriptionsTo
from orchestrator_dagster.db.catalogue.renames import Renames, renamed, renames_to_do
from orchestrator_dagster.db.exact_json import same_json
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductLifecycle

ALL_STATUSES = frozenset(SubscriptionLifecycle)
NOT_TERMINATED = ALL_STATUSES - {SubscriptionLifecycle.TERMINATED}


def differences(declared: DeclaredCatalogue, stored: Catalogue) -> Differences:
    """Yield what differs: workflows, then resource types, blocks and products."""
    renames = renames_to_do(declared, stored)
    after = renamed(stored, renames)
    for conflict in renames.conflicts:
        title = f"{conflict.kind} {conflict.new}"
        yield Difference(ChangeKind.RENAMED, title, f"renamed from {conflict.old[0]}", refusal=str(conflict))
    yield from _workflows(declared.entries, after, renames)
    yield from _resource_types(declared.entries, stored)
    for name in declared.blocks:
        yield from _block(name, declared, after, renames)
    for name in sorted(after.blocks.keys() - declared.blocks.keys()):
        yield from _undeclared_block(name, declared.entries, after)
    for name in declared.products:
        yield from _product(name, declared, after, renames)
    for name in sorted(after.products.keys() - declared.products.keys()):
        yield from _undeclared_product(name, after)


def _workflows(declared: Catalogue, stored: Catalogue, renames: Renames) -> Differences:
    old_names = {new: old for old, new in renames.workflows.items()}
    for name, entry in declared.workflows.items():
        title, before = f"workflow {name}", stored.workflows.get(name)
        if name in old_names:
            says = f"renamed from {old_names[name]}; its processes are this one's"
            yield Difference(ChangeKind.RENAMED, title, says)
        elif before is None:
            yield Difference(ChangeKind.ADDED, title, "new")
        if before is not None:
            yield from _attributes(title, entry, before, harmless={"description"}, severe={"target", "is_task"})
    for name in sorted(stored.workflows.keys() - declared.workflows.keys() - renames.workflows.keys()):
        yield Difference(ChangeKind.REMOVED, f"workflow {name}", "deleted", harmless=True)


def _resource_types(declared: Catalogue, stored: Catalogue) -> Differences:
    for name, description in declared.resource_types.items():
        before = stored.resource_types.get(name)
        if before not in (None, description):
            says = f"description from {before!r} to {description!r}"
            yield Difference(ChangeKind.CHANGED, f"resource type {name}", says, harmless=True)


def _block(name: str, declared: DeclaredCatalogue, stored: Catalogue, renames: Renames) -> Differences:
    title, entry, before = f"product block {name}", declared.entries.blocks[name], stored.blocks.get(name)
    if before is None:
        yield Difference(ChangeKind.ADDED, title, "new")
        return
    stored_name = renames.stored_blocks.get(name, name)
    if stored_name != name:
        effect = Effect(RemoveBlock(stored_name), Verdict.TOLD, "what is stored of it stays")
        yield Difference(ChangeKind.RENAMED, title, f"renamed from {stored_name}", effects=(effect,))
    yield from _attributes(title, entry, before, harmless={"description", "tag", "status"})
    holder = Holder("product block", name, stored_name, renames.fields.get(name, {}), renames.stored_blocks)
    if before.fields is None:
        yield from value_name_differences(holder, declared.blocks[name], before.resource_types)
        yield from _members(f"{title}: depends on", before.depends_on, entry.depends_on)
    else:
        yield from field_differences(holder, declared.blocks[name], before.fields)


def _undeclared_block(name: str, declared: Catalogue, stored: Catalogue) -> Differences:
    title = f"product block {name}"
    if name not in stored.blocks_in_use:
        yield Difference(ChangeKind.REMOVED, title, "deleted: nothing is stored of it", harmless=True)
    elif stored.blocks[name].status is ProductLifecycle.END_OF_LIFE:
        return
    elif name in _blocks_of(stored.products.keys() - declared.products.keys(), stored):
        says = "end of life: subscriptions to products that are not declared any more have it"
        yield Difference(ChangeKind.REMOVED, title, says, harmless=True)
    else:
        operation = RemoveBlock(name)
        effect = Effect(operation, Verdict.CONSENT, "all that is stored of it is deleted", operation)
        yield Difference(ChangeKind.REMOVED, title, "deleted", effects=(effect,))


def _blocks_of(products: Iterable[str], stored: Catalogue) -> Set[str]:
    """Return the names of the blocks that products can hold, at any depth."""
    found: set[str] = set()
    waiting = [block for product in products for block in stored.products[product].blocks]
    while waiting:
        block = waiting.pop()
        if block not in found:
            found.add(block)
            waiting += stored.blocks[block].depends_on
    return found


def _product(name: str, declared: DeclaredCatalogue, stored: Catalogue, renames: Renames) -> Differences:
    title, entry, before = f"product {name}", declared.entries.products[name], stored.products.get(name)
    if before is None:
        yield Difference(ChangeKind.ADDED, title, "new")
        return
    stored_name = renames.stored_products.get(name, name)
    if stored_name != name:
        effect = Effect(SubscriptionsTo(stored_name, ALL_STATUSES), Verdict.TOLD, "stays, under the new name")
        yield Difference(ChangeKind.RENAMED, title, f"renamed from {stored_name}", effects=(effect,))
    yield from _attributes(title, entry, before, harmless={"description", "tag", "product_type"})
    yield from _product_status(title, stored_name, entry, before)
    yield from _members(f"{title}: workflows", before.workflows, entry.workflows)
    for old, new in renames.product_fields.get(name, {}).items():
        if new in entry.fixed_inputs:
            yield Difference(ChangeKind.RENAMED, f"{title}: fixed inputs", f"{new} renamed from {old}")
    yield from _fixed_inputs(title, before.fixed_inputs, entry.fixed_inputs)
    yield from _roots(name, stored_name, declared, before, renames)


def _product_status(title: str, stored_name: str, entry: ProductEntry, before: ProductEntry) -> Differences:
    if entry.status is before.status:
        return
    effects: tuple[Effect, ...] = ()
    if entry.status is ProductLifecycle.END_OF_LIFE:
        says = "not terminated: they can only be terminated, validated and reconciled"
        effects = (Effect(SubscriptionsTo(stored_name, NOT_TERMINATED), Verdict.TOLD, says),)
    says = f"status from {_shown(before.status)} to {_shown(entry.status)}"
    yield Difference(ChangeKind.CHANGED, title, says, harmless=True, effects=effects)


def _roots(
    name: str, stored_name: str, declared: DeclaredCatalogue, before: ProductEntry, renames: Renames
) -> Differences:
    models = {key: model for key, model in declared.products[name].items() if isinstance(model, LinkModel)}
    holder = Holder("product", name, stored_name, renames.product_fields.get(name, {}), renames.stored_blocks)
    if before.fields is None:
        yield from link_renames(holder, models)
        yield from _members(f"product {name}: blocks", before.blocks, declared.entries.products[name].blocks)
    else:
        roots = {key: shape for key, shape in before.fields.items() if key not in before.fixed_inputs}
        yield from field_differences(holder, models, roots)


def _undeclared_product(name: str, stored: Catalogue) -> Differences:
    title = f"product {name}"
    if name not in stored.products_in_use:
        yield Difference(ChangeKind.REMOVED, title, "deleted: it has no subscriptions", harmless=True)
    else:
        says = (
            "not terminated: declare the product again, with status phase out or end of life, and terminate them "
            f"first; or declare renamed_from={name!r} on the product that it is called now"
        )
        effect = Effect(SubscriptionsTo(name, NOT_TERMINATED), Verdict.REFUSED, says)
        says = "not declared any more: end of life, its subscriptions are terminated"
        ended = stored.products[name].status is ProductLifecycle.END_OF_LIFE
        yield Difference(ChangeKind.REMOVED, title, says, effects=(effect,), only_if_concerned=ended)


def _attributes(
    title: str, entry: Any, before: Any, *, harmless: Iterable[str], severe: Iterable[str] = ()
) -> Differences:
    for attribute in sorted(harmless) + sorted(severe):
        old, new = getattr(before, attribute), getattr(entry, attribute)
        if old != new:
            says = f"{attribute.replace('_', ' ')} from {_shown(old)} to {_shown(new)}"
            yield Difference(ChangeKind.CHANGED, title, says, harmless=attribute in harmless)


def _members(title: str, before: Set[str], after: Set[str]) -> Differences:
    if after - before:
        yield Difference(ChangeKind.ADDED, title, f"added {', '.join(sorted(after - before))}")
    if before - after:
        yield Difference(ChangeKind.REMOVED, title, f"removed {', '.join(sorted(before - after))}", harmless=True)


def _fixed_inputs(title: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    title = f"{title}: fixed inputs"
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield Difference(ChangeKind.ADDED, title, f"{name} added, {after[name]!r}")
        elif name not in after:
            yield Difference(ChangeKind.REMOVED, title, f"{name} removed")
        elif not same_json(before[name], after[name]):
            yield Difference(ChangeKind.CHANGED, title, f"{name} from {before[name]!r} to {after[name]!r}")


def _shown(value: Any) -> str:
    return repr(str(value) if isinstance(value, StrEnum) else value)
