"""Which subscriptions are due for validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, and_, func, or_, select, true

from orchestrator_dagster.db.tables import (
    processes,
    processes_subscriptions,
    products_workflows,
    subscriptions,
    workflows,
)
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.target import Target

_ENDED_BY_ANOTHER = [status for status in ProcessStatus if status.failed or status is ProcessStatus.RUNNING]


@dataclass(frozen=True)
class DueSubscription:
    """A subscription that is due, and the workflow that validates it."""

    subscription_id: UUID
    workflow: str


def subscriptions_due_for_validation(
    connection: Connection, *, workflow_names: Sequence[str], since: datetime, after: UUID | None, limit: int
) -> list[DueSubscription]:
    """Return the active subscriptions of which no validation was started since a time, in the order of their ids.

    Subscriptions that a process works on are left out, but for those that a validation holds which failed, or whose
    worker died: to validate them again is what shows whether the drift is gone.

    Args:
        connection: where to look.
        workflow_names: the validate workflows that there are.
        since: the beginning of the period.
        after: only those that come after this one.
        limit: how many at most.
    """
    validation = (
        select(workflows.c.workflow_id, workflows.c.name, products_workflows.c.product_id)
        .join(products_workflows, products_workflows.c.workflow_id == workflows.c.workflow_id)
        .where(workflows.c.name.in_(workflow_names), workflows.c.deleted_at.is_(None))
        .subquery()
    )
    last_validated = (
        select(func.max(processes.c.started_at))
        .join(processes_subscriptions, processes_subscriptions.c.process_id == processes.c.process_id)
        .where(
            processes_subscriptions.c.subscription_id == subscriptions.c.subscription_id,
            processes.c.workflow_id == validation.c.workflow_id,
        )
        .scalar_subquery()
    )
    holder = processes.alias("holder")
    holder_workflow = workflows.alias("holder_workflow")
    rows = connection.execute(
        select(subscriptions.c.subscription_id, validation.c.name)
        .join(validation, validation.c.product_id == subscriptions.c.product_id)
        .outerjoin(holder, holder.c.process_id == subscriptions.c.held_by)
        .outerjoin(holder_workflow, holder_workflow.c.workflow_id == holder.c.workflow_id)
        .where(
            subscriptions.c.status == SubscriptionLifecycle.ACTIVE,
            or_(
                subscriptions.c.held_by.is_(None),
                and_(
                    holder.c.last_status.in_(_ENDED_BY_ANOTHER),
                    holder_workflow.c.target == Target.VALIDATE,
                ),
            ),
            func.coalesce(last_validated, since) <= since,
            true() if after is None else subscriptions.c.subscription_id > after,
        )
        .order_by(subscriptions.c.subscription_id)
        .limit(limit)
    )
    return [DueSubscription(row.subscription_id, row.name) for row in rows]
