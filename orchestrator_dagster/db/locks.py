"""Who works on a subscription, and whether a workflow may start on it: looked up and decided under row locks."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Select, select, text, update

from orchestrator_dagster.db.tables import (
    processes,
    products,
    products_workflows,
    subscription_instance_relations,
    subscription_instances,
    subscriptions,
    workflows,
)
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import (
    RelatedSubscription,
    SubscriptionNotFoundError,
    SubscriptionNotHeldError,
)

_WAIT_SHORTLY = text("SET LOCAL lock_timeout = '3s'")
_WAIT_AS_EVER = text("SET LOCAL lock_timeout TO DEFAULT")
_ONE_START_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('orchestrator start', 0))")


@dataclass(frozen=True)
class Holder:
    """The process that holds a subscription."""

    process_id: UUID
    target: Target
    status: ProcessStatus


@dataclass(frozen=True)
class SubscriptionStanding:
    """All that decides whether a workflow may start on a subscription.

    Attributes:
        holder: the process that works on it.
        in_use_by: the subscriptions that use one of its blocks directly.
        depends_on: the subscriptions of which it uses a block directly.
    """

    subscription_id: UUID
    product_id: UUID
    product_name: str
    product_type: str
    product_status: ProductLifecycle
    customer_id: str
    status: SubscriptionLifecycle
    insync: bool
    version: int
    holder: Holder | None
    in_use_by: tuple[RelatedSubscription, ...]
    depends_on: tuple[RelatedSubscription, ...]


def standing(connection: Connection, subscription_id: UUID, *, lock: bool) -> SubscriptionStanding:
    """Return what decides whether a workflow may start on a subscription.

    Args:
        connection: the transaction.
        subscription_id: the subscription.
        lock: keep it as it is until the transaction ends, and keep others from doing the same with its relations. The
            subscription's row is locked first, then the one lock that all starts take: so of two starts on related
            subscriptions one sees the other. The transaction waits for other locks a short time only, and fails then.

    Raises:
        SubscriptionNotFoundError: there is none with that id.
    """
    using = _related(subscription_id, "in_use_by_id", "depends_on_id")
    used = _related(subscription_id, "depends_on_id", "in_use_by_id")
    if lock:
        connection.execute(_WAIT_SHORTLY)
        lock_subscription(connection, subscription_id)
        connection.execute(_ONE_START_AT_A_TIME)
    row = connection.execute(
        select(
            subscriptions,
            products.c.name.label("product_name"),
            products.c.product_type,
            products.c.status.label("product_status"),
            processes.c.last_status,
            workflows.c.target,
        )
        .join(products, products.c.product_id == subscriptions.c.product_id)
        .outerjoin(processes, processes.c.process_id == subscriptions.c.held_by)
        .outerjoin(workflows, workflows.c.workflow_id == processes.c.workflow_id)
        .where(subscriptions.c.subscription_id == subscription_id)
    ).one_or_none()
    if row is None:
        raise SubscriptionNotFoundError(subscription_id)
    return SubscriptionStanding(
        subscription_id=row.subscription_id,
        product_id=row.product_id,
        product_name=row.product_name,
        product_type=row.product_type,
        product_status=ProductLifecycle(row.product_status),
        customer_id=row.customer_id,
        status=SubscriptionLifecycle(row.status),
        insync=row.insync,
        version=row.version,
        holder=Holder(row.held_by, Target(row.target), ProcessStatus(row.last_status)) if row.held_by else None,
        in_use_by=_relations(connection, using),
        depends_on=_relations(connection, used),
    )


def wait_as_ever(connection: Connection) -> None:
    """Let the rest of a transaction in which something was started wait for locks as if nothing had been."""
    connection.execute(_WAIT_AS_EVER)


def _related(subscription_id: UUID, other_end: str, own_end: str) -> Select[tuple[UUID]]:
    """Select the other subscriptions at one end of the relations of a subscription's blocks."""
    own, other = subscription_instances.alias("own"), subscription_instances.alias("other")
    relations = subscription_instance_relations.alias()
    return (
        select(other.c.subscription_id)
        .select_from(own)
        .join(relations, relations.c[own_end] == own.c.subscription_instance_id)
        .join(other, relations.c[other_end] == other.c.subscription_instance_id)
        .where(own.c.subscription_id == subscription_id, other.c.subscription_id != subscription_id)
    )


def _relations(connection: Connection, related: Select[tuple[UUID]]) -> tuple[RelatedSubscription, ...]:
    rows = connection.execute(
        select(subscriptions)
        .where(subscriptions.c.subscription_id.in_(related))
        .order_by(subscriptions.c.description, subscriptions.c.subscription_id)
    )
    return tuple(
        RelatedSubscription(row.subscription_id, row.description, row.status, row.insync, row.held_by) for row in rows
    )


def is_workflow_of_product(connection: Connection, workflow: str, product_id: UUID) -> bool:
    """Whether a workflow is valid for a product."""
    return (
        connection.execute(
            select(products_workflows.c.product_id)
            .join(workflows, workflows.c.workflow_id == products_workflows.c.workflow_id)
            .where(
                workflows.c.name == workflow,
                workflows.c.deleted_at.is_(None),
                products_workflows.c.product_id == product_id,
            )
        ).first()
        is not None
    )


def hold(connection: Connection, subscription_id: UUID, process_id: UUID) -> bool:
    """Make a process the holder of a subscription; return whether it was that before.

    Raises:
        SubscriptionNotHeldError: another process holds it.
        SubscriptionNotFoundError: there is none with that id.
    """
    held_by = lock_subscription(connection, subscription_id)
    if held_by == process_id:
        return True
    if held_by is not None:
        raise SubscriptionNotHeldError(subscription_id=subscription_id, held_by=held_by)
    connection.execute(
        update(subscriptions).where(subscriptions.c.subscription_id == subscription_id).values(held_by=process_id)
    )
    return False


def require_held(connection: Connection, subscription_id: UUID, process_id: UUID) -> None:
    """Make sure that a process holds a subscription.

    Raises:
        SubscriptionNotHeldError: another process holds it, or none.
    """
    held_by = lock_subscription(connection, subscription_id)
    if held_by != process_id:
        raise SubscriptionNotHeldError(subscription_id=subscription_id, held_by=held_by)


def lock_subscription(connection: Connection, subscription_id: UUID) -> UUID | None:
    """Keep a subscription's row from being changed by others until the transaction ends; return its holder.

    Raises:
        SubscriptionNotFoundError: there is none with that id.
    """
    row = connection.execute(
        select(subscriptions.c.held_by)
        .where(subscriptions.c.subscription_id == subscription_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise SubscriptionNotFoundError(subscription_id)
    holder: UUID | None = row.held_by
    return holder
