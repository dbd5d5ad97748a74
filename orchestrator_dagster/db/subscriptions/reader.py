"""Loading subscriptions and blocks: one statement each, however deep the tree."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, TextClause

from orchestrator_dagster.db.subscriptions import statements
from orchestrator_dagster.db.subscriptions.documents import SubscriptionDocuments, block_records
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
    return record_of(subscription_id, load_documents(connection, [subscription_id]))


def load_subscriptions(connection: Connection, subscription_ids: Sequence[UUID]) -> Mapping[UUID, SubscriptionRecord]:
    """Return subscriptions with their trees by id, in one statement; those that do not exist are not among them."""
    return load_documents(connection, subscription_ids).records()


def load_documents(connection: Connection, subscription_ids: Sequence[UUID]) -> SubscriptionDocuments:
    """Return subscriptions with their trees, in one statement, as what records can be made of any number of times."""
    parameters = {"subscription_ids": list(subscription_ids)}
    return SubscriptionDocuments(*connection.execute(statements.LOAD_SUBSCRIPTIONS, parameters).one())


def record_of(subscription_id: UUID, documents: SubscriptionDocuments) -> SubscriptionRecord:
    """Return one of the subscriptions.

    Raises:
        SubscriptionNotFoundError: it is not among them.
    """
    record = documents.records().get(subscription_id)
    if record is None:
        raise SubscriptionNotFoundError(subscription_id)
    return record


def load_block(connection: Connection, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
    """Return a block and all that it depends on, in one statement.

    Raises:
        ProductBlockNotFoundError: there is no block with that id.
    """
    blocks = connection.scalar(statements.LOAD_BLOCK, {"subscription_instance_id": subscription_instance_id})
    if blocks is None:
        raise ProductBlockNotFoundError(subscription_instance_id)
    return block_records(blocks)


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
