"""Whether a workflow may start on a subscription: rules over values, without a database.

An installation changes the maps when its workflows are imported, as in
`WF_USABLE_MAP.update({"disable_node": [SubscriptionLifecycle.ACTIVE, SubscriptionLifecycle.DISABLED]})`.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import (
    ProductStatusError,
    RelatedSubscription,
    RelationsOutOfSyncError,
    SubscriptionInUseError,
    SubscriptionOutOfSyncError,
    SubscriptionStatusError,
)
from orchestrator_dagster.jobs.workflow import Workflow

# Installations change the maps below where they declare their workflows, which takes no database.
if TYPE_CHECKING:
    from orchestrator_dagster.db.locks import Holder, SubscriptionStanding

WF_USABLE_MAP: dict[str, list[SubscriptionLifecycle]] = {}
"""The statuses in which a workflow may start, by its name, where they are not those of its target."""

MODIFY_NOTE = "modify_note"
"""The workflow that writes a note: it disturbs nothing, so it needs neither sync nor hold."""

WF_USABLE_WHILE_OUT_OF_SYNC: list[str] = [MODIFY_NOTE]
"""The workflows that may start on a subscription that is out of sync."""

WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS: dict[str, bool] = {}
"""Whether subscriptions that use it keep a workflow from starting. Default: only where it terminates."""

WF_BLOCKED_BY_PARENTS: dict[str, bool] = {}
"""The older name of `WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS`, which wins where both name a workflow."""

TARGET_DEFAULT_USABLE_MAP: dict[Target, list[SubscriptionLifecycle]] = {
    Target.CREATE: [],
    Target.MODIFY: [SubscriptionLifecycle.ACTIVE],
    Target.TERMINATE: [SubscriptionLifecycle.ACTIVE, SubscriptionLifecycle.PROVISIONING],
    Target.SYSTEM: [SubscriptionLifecycle.ACTIVE],
    Target.VALIDATE: [SubscriptionLifecycle.ACTIVE],
    Target.RECONCILE: [SubscriptionLifecycle.ACTIVE],
}
"""The statuses in which a workflow may start, by its target."""


def check_start(
    workflow: Workflow, standing: "SubscriptionStanding", *, ancestors: Collection[UUID] = frozenset()
) -> None:
    """Make sure that a workflow may start on a subscription.

    Args:
        workflow: the workflow.
        standing: how things stand with the subscription.
        ancestors: the processes of which this one would be a part. What they hold locks none of its relations, since
            they wait for it; its own subscription they may not hold.

    Raises:
        SubscriptionOutOfSyncError: a process holds it, or it is out of sync.
        RelationsOutOfSyncError: a subscription that uses it, or that it uses, is out of sync.
        ProductStatusError: its product is at the end of its life, and the workflow would go on with it.
        SubscriptionStatusError: its status does not allow the workflow.
        SubscriptionInUseError: other subscriptions use it.
    """
    name, subscription_id = workflow.name, standing.subscription_id
    holder = standing.holder
    if holder is not None and takes_hold(workflow):
        is_ancestor = holder.process_id in ancestors
        if is_ancestor or not may_supersede(workflow, holder):
            raise SubscriptionOutOfSyncError(
                workflow=name, subscription_id=subscription_id, held_by=holder.process_id, waits_for_it=is_ancestor
            )
    if not usable_while_out_of_sync(workflow):
        if not standing.insync:
            raise SubscriptionOutOfSyncError(workflow=name, subscription_id=subscription_id, held_by=None)
        related = dict.fromkeys((*standing.in_use_by, *standing.depends_on))
        locked = [other for other in related if _is_locked(other, ancestors)]
        if locked:
            raise RelationsOutOfSyncError(workflow=name, subscription_id=subscription_id, locked_relations=locked)
    if not usable_for_product(workflow, standing.product_status):
        raise ProductStatusError(
            workflow=name,
            subscription_id=subscription_id,
            product=standing.product_name,
            status=standing.product_status,
        )
    usable_when = WF_USABLE_MAP.get(name, TARGET_DEFAULT_USABLE_MAP[workflow.target])
    if standing.status not in usable_when:
        raise SubscriptionStatusError(
            workflow=name, subscription_id=subscription_id, status=standing.status, usable_when=usable_when
        )
    if blocked_by_use(workflow):
        using = [related for related in standing.in_use_by if related.status != SubscriptionLifecycle.TERMINATED]
        if using:
            raise SubscriptionInUseError(workflow=name, subscription_id=subscription_id, unterminated_in_use_by=using)


def _is_locked(related: RelatedSubscription, ancestors: Collection[UUID]) -> bool:
    if related.held_by is not None:
        return related.held_by not in ancestors
    return not related.insync


def can_be_created(status: ProductLifecycle) -> bool:
    """Whether there may be new subscriptions to a product."""
    return status in (ProductLifecycle.ACTIVE, ProductLifecycle.PRE_PRODUCTION)


def usable_for_product(workflow: Workflow, status: ProductLifecycle) -> bool:
    """Whether a workflow may start on the subscriptions to a product.

    One at the end of its life has subscriptions that are looked after and ended, but not changed any more.
    """
    ending = (Target.TERMINATE, Target.VALIDATE, Target.RECONCILE)
    return status is not ProductLifecycle.END_OF_LIFE or workflow.target in ending


def takes_hold(workflow: Workflow) -> bool:
    """Whether a workflow becomes the holder of its subscription, so that no other works on that."""
    return workflow.name != MODIFY_NOTE


def usable_while_out_of_sync(workflow: Workflow) -> bool:
    """Whether a workflow may start on a subscription that is out of sync."""
    return workflow.is_task or workflow.target is Target.RECONCILE or workflow.name in WF_USABLE_WHILE_OUT_OF_SYNC


def blocked_by_use(workflow: Workflow) -> bool:
    """Whether subscriptions that use it keep a workflow from starting on a subscription."""
    for blocked in (WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS, WF_BLOCKED_BY_PARENTS):
        if workflow.name in blocked:
            return blocked[workflow.name]
    return workflow.target is Target.TERMINATE


def may_supersede(workflow: Workflow, holder: "Holder") -> bool:
    """Whether a workflow may end the process that holds the subscription and take its place, if that is not alive.

    A validation that failed, or whose worker died, has changed nothing. Validating again and reconciling are the
    answers to drift, so they end it.
    """
    return (
        holder.target is Target.VALIDATE
        and (holder.status.failed or holder.status is ProcessStatus.RUNNING)
        and workflow.target in (Target.VALIDATE, Target.RECONCILE)
    )
