"""The catalogue as the database has it, for people and programs to read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from orchestrator_dagster.db.catalogue.entries import Catalogue, FieldShapes, shapes_to_json
from orchestrator_dagster.db.catalogue.record import AppliedCatalogue, newest_applied
from orchestrator_dagster.db.catalogue.rows import read_catalogue
from orchestrator_dagster.db.products import ProductRow, all_products


@dataclass(frozen=True)
class CatalogueListing:
    """What the database has; its text is what `catalogue show` prints.

    Attributes:
        products: the products, by name.
        applied: when the catalogue was made to follow the code last; `None` where that was never recorded.
    """

    products: tuple[ProductRow, ...]
    applied: AppliedCatalogue | None
    _entries: Catalogue

    def __str__(self) -> str:
        applied = f"Applied {self.applied}" if self.applied else "It was not recorded when it was applied"
        parts = ("Products", *self._products(), "Product blocks", *self._blocks(), "Workflows", *self._workflows())
        return "\n".join([*parts, applied])

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, for programs."""
        entries = self._entries
        return {
            "products": {
                row.name: {
                    "product_id": str(row.product_id),
                    "product_type": row.product_type,
                    "tag": row.tag,
                    "status": row.status.value,
                    "fixed_inputs": dict(entries.products[row.name].fixed_inputs),
                    "workflows": sorted(entries.products[row.name].workflows),
                    "fields": shapes_to_json(entries.products[row.name].fields),
                }
                for row in self.products
            },
            "product_blocks": {
                name: {"status": block.status.value, "fields": shapes_to_json(block.fields)}
                for name, block in sorted(entries.blocks.items())
            },
            "workflows": {
                name: {"target": workflow.target.value, "is_task": workflow.is_task}
                for name, workflow in sorted(entries.workflows.items())
            },
            "applied": str(self.applied) if self.applied else None,
        }

    def _products(self) -> Iterator[str]:
        for row in self.products:
            entry = self._entries.products[row.name]
            yield f"  {row.name} ({row.product_type}, {row.tag}, {row.status}): {row.product_id}"
            for name, value in sorted(entry.fixed_inputs.items()):
                yield f"    {name} = {value!r}"
            yield from _fields({key: one for key, one in (entry.fields or {}).items() if key not in entry.fixed_inputs})
            if entry.workflows:
                yield f"    workflows: {', '.join(sorted(entry.workflows))}"

    def _blocks(self) -> Iterator[str]:
        for name, block in sorted(self._entries.blocks.items()):
            yield f"  {name}: {block.description}" if block.description != name else f"  {name}"
            if block.fields is None:
                yield from (f"    {field}" for field in sorted(block.resource_types))
            else:
                yield from _fields(block.fields)

    def _workflows(self) -> Iterator[str]:
        for name, workflow in sorted(self._entries.workflows.items()):
            task = ", task" if workflow.is_task else ""
            yield f"  {name} ({workflow.target}{task}): {workflow.description}"


def list_catalogue(connection: Connection) -> CatalogueListing:
    """Return the catalogue of the database."""
    return CatalogueListing(
        products=tuple(all_products(connection)),
        applied=newest_applied(connection),
        _entries=read_catalogue(connection),
    )


def _fields(shapes: FieldShapes) -> Iterator[str]:
    for name, shape in shapes.items():
        yield f"    {name}: {shape}"
