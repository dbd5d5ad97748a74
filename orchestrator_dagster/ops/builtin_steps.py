"""The steps that every workflow may use, and that the lifecycle decorators add."""

from functools import cache
from uuid import UUID

from orchestrator_dagster.domain import SubscriptionLifecycle, SubscriptionModel
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import ProcessFailureError
from orchestrator_dagster.ops.step import Chainable, Step, StepKind, StepList, begin
from orchestrator_dagster.ops.step_decorators import step
from orchestrator_dagster.ops.transaction import StepTransaction


def _nothing() -> State:
    return {}


init = Step("Start", _nothing, StepKind.INIT, key="init")
"""The first step of a workflow."""

done = Step("Done", _nothing, StepKind.DONE, key="done")
"""The last step of a workflow."""

abort = Step("Abort", _nothing, StepKind.ABORT, key="abort")
"""Aborts the process there; usually with a condition around it."""

obsolete_step = Step("Obsolete step", _nothing, key="obsolete_step")
"""Does nothing. It is kept for ports: here a step may be taken away, since the others are known by their names."""

_store_process_subscription = Step("Create Process Subscription relation", _nothing, key="store_process_subscription")


def store_process_subscription(workflow_target: object = None) -> Step:  # noqa: ARG001 - kept for ports
    """Return a step that does nothing: a process is linked to its subscriptions by itself.

    Args:
        workflow_target: ignored.
    """
    return _store_process_subscription


@step("Lock subscription")
def unsync(subscription_id: UUID, transaction: StepTransaction, state: State) -> State:
    """Take hold of the subscription and mark it out of sync; keep what it was in the state."""
    subscription = SubscriptionModel.from_subscription(subscription_id)
    already_held = transaction.hold(subscription_id)
    if not subscription.insync and not already_held:
        raise ProcessFailureError("Subscription is already out of sync, cannot continue!")
    backup = {str(subscription_id): subscription.model_dump(mode="json"), **state.get("__old_subscriptions__", {})}
    subscription.insync = False
    return {"subscription": subscription, "__old_subscriptions__": backup}


@step("Lock subscription")
def unsync_unchecked(subscription_id: UUID, transaction: StepTransaction) -> State:
    """Take hold of the subscription and mark it out of sync, whether it was in sync or not."""
    subscription = SubscriptionModel.from_subscription(subscription_id)
    transaction.hold(subscription_id)
    subscription.insync = False
    return {"subscription": subscription}


@step("Unlock subscription")
def resync(subscription: SubscriptionModel, transaction: StepTransaction) -> State:
    """Mark the subscription in sync. Only the process that holds it may do that."""
    transaction.require_held(subscription.subscription_id)
    subscription.insync = True
    return {"subscription": subscription}


@cache
def set_status(status: SubscriptionLifecycle) -> Step:
    """Return a step that moves the subscription to a lifecycle status.

    Args:
        status: the status to move to. The model must be valid for it.

    Example:
        >>> set_status(SubscriptionLifecycle.ACTIVE)
        <Step set_status: Set subscription to 'active'>
    """

    def set_status(subscription: SubscriptionModel, transaction: StepTransaction) -> State:
        # a subscription that starts to use this one meanwhile waits for this transaction, or is seen by it
        transaction.lock(subscription.subscription_id)
        return {"subscription": SubscriptionModel.from_other_lifecycle(subscription, status)}

    return step(f"Set subscription to '{status}'")(set_status)


def ensure_provisioning_status(steps: Chainable) -> StepList:
    """Put steps between a move to provisioning and a move back to active."""
    provisioning, active = map(set_status, (SubscriptionLifecycle.PROVISIONING, SubscriptionLifecycle.ACTIVE))
    return begin >> provisioning >> steps >> active
