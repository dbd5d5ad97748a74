"""Products in the database, as forms and people ask for them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from orchestrator_dagster.db.tables import products, products_workflows, workflows
from orchestrator_dagster.domain.product import ProductLifecycle


@dataclass(frozen=True)
class ProductRow:
    """A product of the catalogue in the database."""

    product_id: UUID
    name: str
    description: str
    product_type: str
    tag: str
    status: ProductLifecycle


_SELECT = select(
    products.c.product_id,
    products.c.name,
    products.c.description,
    products.c.product_type,
    products.c.tag,
    products.c.status,
).order_by(products.c.name)


def all_products(connection: Connection) -> list[ProductRow]:
    """Return every product, by name."""
    return [_product(row) for row in connection.execute(_SELECT)]


def products_of_workflow(connection: Connection, workflow: str) -> list[ProductRow]:
    """Return the products that a workflow is valid for, by name."""
    rows = connection.execute(
        _SELECT.join(products_workflows, products_workflows.c.product_id == products.c.product_id)
        .join(workflows, workflows.c.workflow_id == products_workflows.c.workflow_id)
        .where(workflows.c.name == workflow, workflows.c.deleted_at.is_(None))
    )
    return [_product(row) for row in rows]


def _product(row: Row[Any, Any, Any, Any, Any, Any]) -> ProductRow:
    return ProductRow(**{**row._mapping, "status": ProductLifecycle(row.status)})
