"""The catalogue in Postgres: read as values, written as sets."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, TextClause, text

from orchestrator_dagster.db.catalogue_entries import BlockEntry, Catalogue, ProductEntry, WorkflowEntry
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.target import Target

LOCK = text("SELECT pg_advisory_xact_lock(hashtext('orchestrator_dagster'), hashtext('catalogue'))")

PRODUCTS = text("""
    SELECT product.name, product.description, product.product_type, product.tag, product.status,
           (SELECT json_object_agg(fixed_input.name, fixed_input.value)
            FROM orchestrator.fixed_inputs AS fixed_input
            WHERE fixed_input.product_id = product.product_id) AS fixed_inputs,
           ARRAY(SELECT block.name
                 FROM orchestrator.product_product_blocks AS link
                 JOIN orchestrator.product_blocks AS block USING (product_block_id)
                 WHERE link.product_id = product.product_id) AS blocks,
           ARRAY(SELECT workflow.name
                 FROM orchestrator.products_workflows AS link
                 JOIN orchestrator.workflows AS workflow USING (workflow_id)
                 WHERE link.product_id = product.product_id) AS workflows
    FROM orchestrator.products AS product
""")

BLOCKS = text("""
    SELECT block.name, block.description, block.tag,
           ARRAY(SELECT resource_type.resource_type
                 FROM orchestrator.product_block_resource_types AS link
                 JOIN orchestrator.resource_types AS resource_type USING (resource_type_id)
                 WHERE link.product_block_id = block.product_block_id) AS resource_types,
           ARRAY(SELECT other.name
                 FROM orchestrator.product_block_relations AS link
                 JOIN orchestrator.product_blocks AS other ON other.product_block_id = link.depends_on_id
                 WHERE link.in_use_by_id = block.product_block_id) AS depends_on
    FROM orchestrator.product_blocks AS block
""")

WORKFLOWS = text("SELECT name, target, is_task, description FROM orchestrator.workflows WHERE deleted_at IS NULL")

RESOURCE_TYPES = text("SELECT resource_type, description FROM orchestrator.resource_types")

SAVE_PRODUCTS = text("""
    INSERT INTO orchestrator.products AS product (name, description, product_type, tag, status)
    SELECT name, description, product_type, tag, status
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS given (name text, description text, product_type text, tag text, status text)
    ON CONFLICT (name) DO UPDATE
    SET description = excluded.description,
        product_type = excluded.product_type,
        tag = excluded.tag,
        status = excluded.status
    WHERE (product.description, product.product_type, product.tag, product.status)
       IS DISTINCT FROM (excluded.description, excluded.product_type, excluded.tag, excluded.status)
""")

# The value is taken as `item -> 'value'`: a column of the record would turn the JSON `null` into no value at all.
SAVE_FIXED_INPUTS = text("""
    WITH given AS (
        SELECT product.product_id, item ->> 'name' AS name, item -> 'value' AS value
        FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS item
        JOIN orchestrator.products AS product ON product.name = item ->> 'product'
    ), removed AS (
        DELETE FROM orchestrator.fixed_inputs AS fixed_input
        USING orchestrator.products AS product
        WHERE product.product_id = fixed_input.product_id
          AND product.name = ANY(:products)
          AND NOT EXISTS (SELECT
                          FROM given
                          WHERE given.product_id = fixed_input.product_id AND given.name = fixed_input.name)
    )
    INSERT INTO orchestrator.fixed_inputs AS fixed_input (product_id, name, value)
    SELECT product_id, name, value
    FROM given
    ON CONFLICT (product_id, name) DO UPDATE
    SET value = excluded.value
    WHERE fixed_input.value::text <> excluded.value::text
""")

SAVE_BLOCKS = text("""
    INSERT INTO orchestrator.product_blocks AS block (name, description, tag)
    SELECT name, description, tag
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (name text, description text, tag text)
    ON CONFLICT (name) DO UPDATE
    SET description = excluded.description,
        tag = excluded.tag
    WHERE (block.description, block.tag) IS DISTINCT FROM (excluded.description, excluded.tag)
""")

SAVE_RESOURCE_TYPES = text("""
    INSERT INTO orchestrator.resource_types AS resource_type (resource_type, description)
    SELECT resource_type, description
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (resource_type text, description text)
    ON CONFLICT (resource_type) DO UPDATE
    SET description = excluded.description
    WHERE resource_type.description <> excluded.description
""")

SAVE_WORKFLOWS = text("""
    WITH removed AS (
        UPDATE orchestrator.workflows
        SET deleted_at = now()
        WHERE deleted_at IS NULL AND name <> ALL(:names)
    )
    INSERT INTO orchestrator.workflows AS workflow (name, target, is_task, description)
    SELECT name, target, is_task, description
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS given (name text, target text, is_task boolean, description text)
    ON CONFLICT (name) DO UPDATE
    SET target = excluded.target,
        is_task = excluded.is_task,
        description = excluded.description,
        deleted_at = NULL
    WHERE (workflow.target, workflow.is_task, workflow.description, workflow.deleted_at)
       IS DISTINCT FROM (excluded.target, excluded.is_task, excluded.description, NULL)
""")

# Each of the statements below makes the links of the given owners what is given, and leaves those of others alone.
LINK_PRODUCTS_TO_BLOCKS = text("""
    WITH given AS (
        SELECT product.product_id, block.product_block_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.products AS product ON product.name = item.owner
        JOIN orchestrator.product_blocks AS block ON block.name = item.name
    ), removed AS (
        DELETE FROM orchestrator.product_product_blocks AS link
        USING orchestrator.products AS product
        WHERE product.product_id = link.product_id
          AND product.name = ANY(:owners)
          AND (link.product_id, link.product_block_id) NOT IN (SELECT product_id, product_block_id FROM given)
    )
    INSERT INTO orchestrator.product_product_blocks (product_id, product_block_id)
    SELECT product_id, product_block_id
    FROM given
    ON CONFLICT DO NOTHING
""")

LINK_PRODUCTS_TO_WORKFLOWS = text("""
    WITH given AS (
        SELECT product.product_id, workflow.workflow_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.products AS product ON product.name = item.owner
        JOIN orchestrator.workflows AS workflow ON workflow.name = item.name
    ), removed AS (
        DELETE FROM orchestrator.products_workflows AS link
        USING orchestrator.products AS product
        WHERE product.product_id = link.product_id
          AND product.name = ANY(:owners)
          AND (link.product_id, link.workflow_id) NOT IN (SELECT product_id, workflow_id FROM given)
    )
    INSERT INTO orchestrator.products_workflows (product_id, workflow_id)
    SELECT product_id, workflow_id
    FROM given
    ON CONFLICT DO NOTHING
""")

LINK_BLOCKS_TO_RESOURCE_TYPES = text("""
    WITH given AS (
        SELECT block.product_block_id, resource_type.resource_type_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.product_blocks AS block ON block.name = item.owner
        JOIN orchestrator.resource_types AS resource_type ON resource_type.resource_type = item.name
    ), removed AS (
        DELETE FROM orchestrator.product_block_resource_types AS link
        USING orchestrator.product_blocks AS block
        WHERE block.product_block_id = link.product_block_id
          AND block.name = ANY(:owners)
          AND (link.product_block_id, link.resource_type_id) NOT IN
              (SELECT product_block_id, resource_type_id FROM given)
    )
    INSERT INTO orchestrator.product_block_resource_types (product_block_id, resource_type_id)
    SELECT product_block_id, resource_type_id
    FROM given
    ON CONFLICT DO NOTHING
""")

LINK_BLOCKS_TO_BLOCKS = text("""
    WITH given AS (
        SELECT block.product_block_id AS in_use_by_id, other.product_block_id AS depends_on_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.product_blocks AS block ON block.name = item.owner
        JOIN orchestrator.product_blocks AS other ON other.name = item.name
    ), removed AS (
        DELETE FROM orchestrator.product_block_relations AS link
        USING orchestrator.product_blocks AS block
        WHERE block.product_block_id = link.in_use_by_id
          AND block.name = ANY(:owners)
          AND (link.in_use_by_id, link.depends_on_id) NOT IN (SELECT in_use_by_id, depends_on_id FROM given)
    )
    INSERT INTO orchestrator.product_block_relations (in_use_by_id, depends_on_id)
    SELECT in_use_by_id, depends_on_id
    FROM given
    ON CONFLICT DO NOTHING
""")


def read_catalogue(connection: Connection) -> Catalogue:
    """Return the catalogue as the database has it, without the workflows that are deleted."""
    return Catalogue(
        products={
            row.name: ProductEntry(
                description=row.description,
                product_type=row.product_type,
                tag=row.tag,
                status=ProductLifecycle(row.status),
                fixed_inputs=row.fixed_inputs or {},
                blocks=frozenset(row.blocks),
                workflows=frozenset(row.workflows),
            )
            for row in connection.execute(PRODUCTS)
        },
        blocks={
            row.name: BlockEntry(row.description, row.tag, frozenset(row.resource_types), frozenset(row.depends_on))
            for row in connection.execute(BLOCKS)
        },
        workflows={
            row.name: WorkflowEntry(Target(row.target), row.is_task, row.description)
            for row in connection.execute(WORKFLOWS)
        },
        resource_types={row.resource_type: row.description for row in connection.execute(RESOURCE_TYPES)},
    )


def write_catalogue(connection: Connection, catalogue: Catalogue) -> None:
    """Make the database follow: everything given is as given, and what is not given is left, workflows excepted."""
    products, blocks, workflows = catalogue.products, catalogue.blocks, catalogue.workflows
    _run(connection, SAVE_WORKFLOWS, _rows(workflows, "target", "is_task", "description"), names=list(workflows))
    _run(connection, SAVE_RESOURCE_TYPES, _resource_types(catalogue.resource_types))
    _run(connection, SAVE_BLOCKS, _rows(blocks, "description", "tag"))
    _run(connection, SAVE_PRODUCTS, _rows(products, "description", "product_type", "tag", "status"))
    _run(connection, SAVE_FIXED_INPUTS, _fixed_inputs(products), products=list(products))
    _run(connection, LINK_BLOCKS_TO_RESOURCE_TYPES, _links(blocks, "resource_types"), owners=list(blocks))
    _run(connection, LINK_BLOCKS_TO_BLOCKS, _links(blocks, "depends_on"), owners=list(blocks))
    _run(connection, LINK_PRODUCTS_TO_BLOCKS, _links(products, "blocks"), owners=list(products))
    _run(connection, LINK_PRODUCTS_TO_WORKFLOWS, _links(products, "workflows"), owners=list(products))


def _run(connection: Connection, statement: TextClause, rows: Iterable[Mapping[str, Any]], **names: list[str]) -> None:
    connection.execute(statement, {"rows": to_json(list(rows)), **names})


def _rows(entries: Mapping[str, Any], *columns: str) -> Iterator[dict[str, Any]]:
    for name, entry in entries.items():
        yield {"name": name} | {column: getattr(entry, column) for column in columns}


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
