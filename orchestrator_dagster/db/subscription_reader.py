"""Loading subscriptions and blocks: one statement each, however deep the tree."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause

from orchestrator_dagster.db import subscription_statements as statements
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductLifecycle, ProductModel
from orchestrator_dagster.domain.repository import (
    BlockRecord,
    InstanceReference,
    ProductBlockRecord,
    ProductRecord,
    SubscriptionRecord,
)
from orchestrator_dagster.errors import ProductBlockNotFoundError, ProductNotFoundError, SubscriptionNotFoundError


def product(connection: Connection, product_id: UUID) -> ProductRecord:
    """Return a product of the catalogue.

    Raises:
        ProductNotFoundError: there is none with that id.
    """
    row = connection.execute(statements.PRODUCT, {"product_id": product_id}).one_or_none()
    if row is None:
        raise ProductNotFoundError(product_id)
    return ProductRecord(
        product=ProductModel(
            product_id=row.product_id,
            name=row.name,
            description=row.description,
            product_type=row.product_type,
            tag=row.tag,
            status=ProductLifecycle(row.status),
            created_at=row.created_at,
            end_date=row.end_date,
        ),
        fixed_inputs=row.fixed_inputs or {},
    )


def product_block(connection: Connection, name: str) -> ProductBlockRecord:
    """Return a product block of the catalogue.

    Raises:
        ProductBlockNotFoundError: there is none of that name.
    """
    row = connection.execute(statements.PRODUCT_BLOCK, {"name": name}).one_or_none()
    if row is None:
        raise ProductBlockNotFoundError(name)
    return ProductBlockRecord(*row)


def load_subscription(connection: Connection, subscription_id: UUID) -> SubscriptionRecord:
    """Return a subscription with its tree, in one statement.

    Raises:
        SubscriptionNotFoundError: there is none with that id.
    """
    row = connection.execute(statements.LOAD_SUBSCRIPTION, {"subscription_id": subscription_id}).one_or_none()
    if row is None:
        raise SubscriptionNotFoundError(subscription_id)
    blocks: Sequence[dict[str, Any]] = row.blocks or []
    roots = [(block["attribute"], block["subscription_instance_id"]) for block in blocks if _is_root(block, row)]
    return SubscriptionRecord(
        subscription_id=row.subscription_id,
        product=_product_of(row),
        customer_id=row.customer_id,
        description=row.description,
        status=SubscriptionLifecycle(row.status),
        insync=row.insync,
        start_date=row.start_date,
        end_date=row.end_date,
        note=row.note,
        version=row.version,
        fixed_inputs=row.fixed_inputs or {},
        roots=_by_attribute(roots),
        blocks=_block_records(blocks),
    )


def load_block(connection: Connection, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
    """Return a block and all that it depends on, in one statement.

    Raises:
        ProductBlockNotFoundError: there is no block with that id.
    """
    row = connection.execute(statements.LOAD_BLOCK, {"subscription_instance_id": subscription_instance_id}).one()
    if not row.blocks:
        raise ProductBlockNotFoundError(subscription_instance_id)
    return _block_records(row.blocks)


def in_use_by(
    connection: Connection, subscription_instance_ids: Sequence[UUID]
) -> Mapping[UUID, Sequence[InstanceReference]]:
    """Return the blocks that use the given ones directly, by the given id; those of the oldest subscription first."""
    return _references(connection, statements.IN_USE_BY, subscription_instance_ids)


def depends_on(
    connection: Connection, subscription_instance_ids: Sequence[UUID]
) -> Mapping[UUID, Sequence[InstanceReference]]:
    """Return the blocks that the given ones use directly, by the given id and in the order of the model."""
    return _references(connection, statements.DEPENDS_ON, subscription_instance_ids)


def _references(
    connection: Connection, statement: TextClause, subscription_instance_ids: Sequence[UUID]
) -> Mapping[UUID, Sequence[InstanceReference]]:
    found: dict[UUID, list[InstanceReference]] = {block_id: [] for block_id in subscription_instance_ids}
    for row in connection.execute(statement, {"subscription_instance_ids": list(found)}):
        found[row.asked_for].append(
            InstanceReference(
                subscription_instance_id=row.subscription_instance_id,
                product_block_name=row.product_block_name,
                subscription_id=row.subscription_id,
                subscription_status=SubscriptionLifecycle(row.status),
                subscription_description=row.description,
                insync=row.insync,
            )
        )
    return found


def _product_of(row: Row[Any]) -> ProductModel:
    return ProductModel(
        product_id=row.product_id,
        name=row.product_name,
        description=row.product_description,
        product_type=row.product_type,
        tag=row.tag,
        status=ProductLifecycle(row.product_status),
        created_at=row.product_created_at,
        end_date=row.product_end_date,
    )


def _is_root(block: dict[str, Any], row: Row[Any]) -> bool:
    return block["attribute"] is not None and block["subscription_id"] == str(row.subscription_id)


def _block_records(blocks: Sequence[dict[str, Any]]) -> dict[UUID, BlockRecord]:
    records = (
        BlockRecord(
            subscription_instance_id=UUID(block["subscription_instance_id"]),
            owner_subscription_id=UUID(block["subscription_id"]),
            owner_status=SubscriptionLifecycle(block["status"]),
            product_block_name=block["product_block"],
            label=block["label"],
            values=block["values"],
            links=_by_attribute(block["links"] or []),
        )
        for block in blocks
    )
    return {record.subscription_instance_id: record for record in records}


def _by_attribute(links: Sequence[tuple[str, str] | Sequence[str]]) -> dict[str, list[UUID]]:
    grouped: dict[str, list[UUID]] = {}
    for attribute, block_id in links:
        grouped.setdefault(attribute, []).append(UUID(block_id))
    return grouped
