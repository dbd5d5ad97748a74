"""The catalogue in Postgres: read as values, written as sets."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row, TextClause

from orchestrator_dagster.db.catalogue import statements
from orchestrator_dagster.db.catalogue.entries import (
    BlockEntry,
    Catalogue,
    ProductEntry,
    WorkflowEntry,
    shapes_from_json,
    shapes_to_json,
)
from orchestrator_dagster.db.catalogue.renames import Renames
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.target import Target


def read_catalogue(connection: Connection) -> Catalogue:
    """Return the catalogue as the database has it."""
    products, blocks = connection.execute(statements.PRODUCTS).all(), connection.execute(statements.BLOCKS).all()
    workflows = connection.execute(statements.WORKFLOWS).all()
    return Catalogue(
        products={row.name: _product_of(row) for row in products},
        blocks={row.name: _block_of(row) for row in blocks},
        workflows={
            row.name: WorkflowEntry(Target(row.target), row.is_task, row.description)
            for row in workflows
            if row.deleted_at is None
        },
        resource_types={row.resource_type: row.description for row in connection.execute(statements.RESOURCE_TYPES)},
        deleted_workflows=frozenset(row.name for row in workflows if row.deleted_at is not None),
        products_in_use=frozenset(row.name for row in products if row.in_use),
        blocks_in_use=frozenset(row.name for row in blocks if row.in_use),
    )


def _product_of(row: Row[Any]) -> ProductEntry:
    return ProductEntry(
        description=row.description,
        product_type=row.product_type,
        tag=row.tag,
        status=ProductLifecycle(row.status),
        fixed_inputs=row.fixed_inputs or {},
        blocks=frozenset(row.blocks),
        workflows=frozenset(row.workflows),
        fields=shapes_from_json(row.fields),
    )


def _block_of(row: Row[Any]) -> BlockEntry:
    return BlockEntry(
        description=row.description,
        tag=row.tag,
        resource_types=frozenset(row.resource_types),
        depends_on=frozenset(row.depends_on),
        status=ProductLifecycle(row.status),
        fields=shapes_from_json(row.fields),
    )


def rename_rows(connection: Connection, renames: Renames) -> None:
    """Give products, blocks, workflows, resource types and fixed inputs their new names; they keep their ids."""
    fixed_inputs = [
        {"product": product, "old": old, "new": new}
        for product, names in renames.product_fields.items()
        for old, new in names.items()
    ]
    for statement, names in (
        (statements.RENAME_PRODUCTS, renames.products),
        (statements.RENAME_BLOCKS, renames.blocks),
        (statements.RENAME_WORKFLOWS, renames.workflows),
        (statements.RENAME_RESOURCE_TYPES, renames.resource_types),
    ):
        if names:
            _run(connection, statement, [{"old": old, "new": new} for old, new in names.items()])
    if fixed_inputs:
        _run(connection, statements.RENAME_FIXED_INPUTS, fixed_inputs)


def write_catalogue(connection: Connection, catalogue: Catalogue) -> None:
    """Make the database follow: what is given is as given, what is not given is deleted, or ended where it is in use.

    What is stored of blocks and products that are deleted must be gone.
    """
    products, blocks, workflows = catalogue.products, catalogue.blocks, catalogue.workflows
    _run(
        connection,
        statements.SAVE_WORKFLOWS,
        _rows(workflows, "target", "is_task", "description"),
        names=list(workflows),
    )
    _run(connection, statements.SAVE_RESOURCE_TYPES, _resource_types(catalogue.resource_types))
    _run(connection, statements.SAVE_BLOCKS, _with_fields(blocks, _rows(blocks, "description", "tag", "status")))
    _run(
        connection,
        statements.SAVE_PRODUCTS,
        _with_fields(products, _rows(products, "description", "product_type", "tag", "status")),
    )
    _run(connection, statements.SAVE_FIXED_INPUTS, _fixed_inputs(products), products=list(products))
    _run(connection, statements.LINK_BLOCKS_TO_RESOURCE_TYPES, _links(blocks, "resource_types"), owners=list(blocks))
    _run(connection, statements.LINK_BLOCKS_TO_BLOCKS, _links(blocks, "depends_on"), owners=list(blocks))
    _run(connection, statements.LINK_PRODUCTS_TO_BLOCKS, _links(products, "blocks"), owners=list(products))
    _run(connection, statements.LINK_PRODUCTS_TO_WORKFLOWS, _links(products, "workflows"), owners=list(products))
    connection.execute(statements.RETIRE_PRODUCTS, {"names": list(products)})
    connection.execute(statements.RETIRE_BLOCKS, {"names": list(blocks)})
    connection.execute(statements.DELETE_RESOURCE_TYPES_WITHOUT_BLOCK)


def _run(connection: Connection, statement: TextClause, rows: Iterable[Mapping[str, Any]], **names: list[str]) -> None:
    connection.execute(statement, {"rows": to_json(list(rows)), **names})


def _rows(entries: Mapping[str, Any], *columns: str) -> Iterator[dict[str, Any]]:
    for name, entry in entries.items():
        yield {"name": name} | {column: getattr(entry, column) for column in columns}


def _with_fields(entries: Mapping[str, Any], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row | {"fields": shapes_to_json(entries[row["name"]].fields)}


def _resource_types(resource_types: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, description in resource_types.items():
        yield {"resource_type": name, "description": description}


def _fixed_inputs(products: Mapping[str, ProductEntry]) -> Iterator[dict[str, Any]]:
    for product, entry in products.items():
        for name, value in entry.fixed_inputs.items():
            yield {"product": product, "name": name, "value": value}


def _links(entries: Mapping[str, Any], attribute: str) -> Iterator[dict[str, Any]]:
    for owner, entry in entries.items():
        for name in getattr(entry, attribute):
            yield {"owner": owner, "name": name}
