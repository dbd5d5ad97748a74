"""Subscriptions looked up without their blocks: by id, and by a value that any of their blocks has."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, cast, false, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from orchestrator_dagster.db.subscriptions.rows import row_of, select_rows
from orchestrator_dagster.db.tables import subscription_instances, subscriptions
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import SubscriptionRow
from orchestrator_dagster.domain.value_filter import ValueFilter
from orchestrator_dagster.errors import SubscriptionNotFoundError


def subscription_row(connection: Connection, subscription_id: UUID, *, for_update: bool) -> SubscriptionRow:
    """Return a subscription without its blocks.

    Args:
        connection: where to look.
        subscription_id: the subscription.
        for_update: keep others from changing it until the transaction ends.

    Raises:
        SubscriptionNotFoundError: there is none with that id.
    """
    statement = select_rows().where(subscriptions.c.subscription_id == subscription_id)
    if for_update:
        statement = statement.with_for_update(key_share=True, of=subscriptions)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise SubscriptionNotFoundError(subscription_id)
    return row_of(row)


def subscriptions_with_value(
    connection: Connection, value: ValueFilter, status: Sequence[SubscriptionLifecycle]
) -> Sequence[SubscriptionRow]:
    """Return the subscriptions of which a block has a value, oldest first.

    Args:
        connection: where to look.
        value: the value; whichever block has it.
        status: the statuses that they may have.
    """
    having = select(subscription_instances.c.subscription_id).where(_contains(value))
    statement = (
        select_rows()
        .where(subscriptions.c.subscription_id.in_(having), subscriptions.c.status.in_(status))
        .order_by(subscriptions.c.created_at, subscriptions.c.subscription_id)
    )
    return [row_of(row) for row in connection.execute(statement)]


def _contains(value: ValueFilter) -> ColumnElement[bool]:
    """Say it as containment, which the index of values understands."""
    forms = [{value.resource_type: form} for test in value.tests for form in test.alternatives]
    return or_(false(), *(subscription_instances.c["values"].contains(cast(form, JSONB)) for form in forms))
