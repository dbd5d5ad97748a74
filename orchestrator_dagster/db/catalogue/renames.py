"""Which names of the stored catalogue are earlier names of what the code declares."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator_dagster.db.catalogue.declared import DeclaredCatalogue
from orchestrator_dagster.db.catalogue.entries import (
    BlockEntry,
    Catalogue,
    FieldShape,
    FieldShapes,
    LinkShape,
    ProductEntry,
)
from orchestrator_dagster.db.catalogue.models import FieldModels, earlier_names_of

Names = Mapping[str, str]
"""New names by old ones."""


@dataclass(frozen=True)
class Conflict:
    """A rename that cannot be done, since the database knows both names.

    Attributes:
        kind: what it is that has a name.
        new: the name that is declared.
        old: the earlier names that the database has.
    """

    kind: str
    new: str
    old: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.new} is declared as renamed from {' and '.join(self.old)}, and the database has "
            f"{'both' if len(self.old) == 1 else 'more than one of them'}: take that renamed_from away, and move by a "
            "workflow what the other one has"
        )


@dataclass(frozen=True)
class Renames:
    """The renames that are to be done.

    Attributes:
        fields: those of the fields of blocks, by the block's new name.
        product_fields: those of root fields and fixed inputs, by the product's new name.
        resource_types: those of resource types: where no block has the old name any more, and none had the new one.
        conflicts: those that cannot be done.
    """

    products: Names
    blocks: Names
    workflows: Names
    fields: Mapping[str, Names]
    product_fields: Mapping[str, Names]
    resource_types: Names
    conflicts: Sequence[Conflict]

    @cached_property
    def stored_blocks(self) -> Names:
        """The old names of blocks by their new ones."""
        return {new: old for old, new in self.blocks.items()}

    @cached_property
    def stored_products(self) -> Names:
        """The old names of products by their new ones."""
        return {new: old for old, new in self.products.items()}


def renames_to_do(declared: DeclaredCatalogue, stored: Catalogue) -> Renames:
    """Return the renames that the code declares and the database has not done yet."""
    conflicts: list[Conflict] = []
    products = _to_do("product", declared.product_names, stored.products, conflicts)
    blocks = _to_do("product block", declared.block_names, stored.blocks, conflicts)
    old_products, old_blocks = _reversed(products), _reversed(blocks)
    # where a workflow has both rows, the older one is deleted, as that of any workflow that is not declared
    workflows = _to_do("workflow", declared.workflow_names, stored.workflows.keys() | stored.deleted_workflows, [])
    fields_of_blocks = {
        name: _fields_to_do(f"field of product block {name}", fields, _names_in_block(block), conflicts)
        for name, fields in declared.blocks.items()
        if (block := stored.blocks.get(old_blocks.get(name, name)))
    }
    fields_of_products = {
        name: _fields_to_do(f"field of product {name}", fields, _names_in_product(product), conflicts)
        for name, fields in declared.products.items()
        if (product := stored.products.get(old_products.get(name, name)))
    }
    return Renames(
        products=products,
        blocks=blocks,
        workflows=workflows,
        fields=fields_of_blocks,
        resource_types=_resource_types(fields_of_blocks.values(), declared.entries, stored),
        product_fields=fields_of_products,
        conflicts=conflicts,
    )


def _to_do(
    kind: str, earlier: Mapping[str, Sequence[str]], stored: Collection[str], conflicts: list[Conflict]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for new, names in earlier.items():
        old = [name for name in names if name in stored]
        if len(old) + (new in stored) > 1:
            conflicts.append(Conflict(kind, new, old))
        elif old:
            found[old[0]] = new
    return found


def _fields_to_do(kind: str, fields: FieldModels, stored: Collection[str], conflicts: list[Conflict]) -> dict[str, str]:
    earlier = {key: earlier_names_of(field) for key, field in fields.items()}
    return _to_do(kind, earlier, stored, conflicts)


def _resource_types(fields: Iterable[Names], declared: Catalogue, stored: Catalogue) -> Names:
    new_names: dict[str, str] = {}
    for names in fields:
        for old, new in names.items():
            is_gone = old in stored.resource_types and old not in declared.resource_types
            if is_gone and new not in stored.resource_types and new not in new_names.values():
                new_names.setdefault(old, new)
    return new_names


def _names_in_block(entry: BlockEntry) -> Collection[str]:
    return entry.resource_types if entry.fields is None else entry.fields


def _names_in_product(entry: ProductEntry) -> Collection[str]:
    return entry.fixed_inputs if entry.fields is None else entry.fields


def _reversed(names: Names) -> Names:
    return {new: old for old, new in names.items()}


def renamed(stored: Catalogue, renames: Renames) -> Catalogue:
    """Return a stored catalogue as it is after the renames."""
    return replace(
        stored,
        products={
            (new := renames.products.get(name, name)): _product(entry, renames, renames.product_fields.get(new, {}))
            for name, entry in stored.products.items()
        },
        blocks={
            (new := renames.blocks.get(name, name)): _block(entry, renames, renames.fields.get(new, {}))
            for name, entry in stored.blocks.items()
        },
        workflows={renames.workflows.get(name, name): entry for name, entry in stored.workflows.items()},
        products_in_use=_all_renamed(stored.products_in_use, renames.products),
        blocks_in_use=_all_renamed(stored.blocks_in_use, renames.blocks),
    )


def _product(entry: ProductEntry, renames: Renames, fields: Names) -> ProductEntry:
    return replace(
        entry,
        fixed_inputs={fields.get(name, name): value for name, value in entry.fixed_inputs.items()},
        blocks=_all_renamed(entry.blocks, renames.blocks),
        workflows=_all_renamed(entry.workflows, renames.workflows),
        fields=_shapes(entry.fields, fields, renames.blocks),
    )


def _block(entry: BlockEntry, renames: Renames, fields: Names) -> BlockEntry:
    return replace(
        entry,
        resource_types=_all_renamed(entry.resource_types, fields),
        depends_on=_all_renamed(entry.depends_on, renames.blocks),
        fields=_shapes(entry.fields, fields, renames.blocks),
    )


def _shapes(shapes: FieldShapes | None, fields: Names, blocks: Names) -> FieldShapes | None:
    if shapes is None:
        return None
    return {fields.get(name, name): _shape(shape, blocks) for name, shape in shapes.items()}


def _shape(shape: FieldShape, blocks: Names) -> FieldShape:
    if not isinstance(shape, LinkShape):
        return shape
    held = {status: tuple(sorted(blocks.get(name, name) for name in names)) for status, names in shape.blocks.items()}
    return replace(shape, blocks=held)


def _all_renamed(names: Iterable[str], new_names: Names) -> frozenset[str]:
    return frozenset(new_names.get(name, name) for name in names)
