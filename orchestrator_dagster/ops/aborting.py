"""The abort of a process: what its finished steps did is undone, and it ends in a state that its workflow declares."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from orchestrator_dagster.db.families import unfinished_children
from orchestrator_dagster.db.processes import ProcessRow, hand_over, release_subscriptions
from orchestrator_dagster.db.step_log import Memory, StepRow, initial_state, log_step, step_rows
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.db.waits import wake_parent
from orchestrator_dagster.domain import SubscriptionLifecycle, SubscriptionModel
from orchestrator_dagster.domain.process import ProcessStatus, StepStatus
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import SubscriptionNotFoundError
from orchestrator_dagster.ops.plan import Place, Plan
from orchestrator_dagster.ops.recorded_plan import TodaysSteps
from orchestrator_dagster.ops.step import Step, StepKind
from orchestrator_dagster.ops.work import UNDO, Work

ABORT = "abort"
"""The key under which an abort is logged."""


ABORT_WORK = Work(ABORT, "Abort", Step("Abort", dict, StepKind.ABORT, key=ABORT))
"""The end of an aborted process, as work that can fail and be retried."""


@dataclass(frozen=True)
class AbortTerms:
    """How the subscription of a process is left when that is aborted.

    Attributes:
        status: its lifecycle status; `None`: the one that it has.
        insync: whether it is in sync; `None`: as it is.
    """

    status: SubscriptionLifecycle | None = None
    insync: bool | None = None


@dataclass(frozen=True)
class Abort:
    """The end of an aborted process.

    Attributes:
        process_id: the process.
        run_id: the Dagster run that ends it.
        lease: number of the lease under which it is ended.
        user: who wanted it aborted.
        reason: why.
        terms: how its subscription is left.
        now: the time.
    """

    process_id: UUID
    run_id: str
    lease: int
    user: str
    reason: str
    terms: AbortTerms
    now: datetime

    @property
    def row(self) -> StepRow:
        """What the step log says of it."""
        return StepRow(
            step=ABORT,
            name="Abort",
            status=StepStatus.ABORT,
            run_id=self.run_id,
            created_by=self.user,
            started_at=self.now,
            completed_at=self.now,
            detail={"reason": self.reason},
        )

    def write(self, connection: Connection, state: State) -> None:
        """End the process, in the transaction in which models save."""
        # in the order in which all lock: subscriptions, then the process, then what started it
        leave_subscription(self.terms, state)
        release_subscriptions(connection, self.process_id)
        log_step(
            connection, self.process_id, self.row, lease=self.lease, status=ProcessStatus.ABORTED, reason=self.reason
        )
        wake_parent(connection, self.process_id, self.now)


def leave_subscription(terms: AbortTerms, state: State) -> None:
    """Bring the subscription of an aborted process to where its workflow wants it, if it is there by now."""
    subscription_id = _subscription_in(state)
    if terms == AbortTerms() or subscription_id is None:
        return
    try:
        subscription = SubscriptionModel.from_subscription(subscription_id)
    except SubscriptionNotFoundError:
        return
    if terms.status is not None and subscription.status != terms.status:
        subscription = SubscriptionModel.from_other_lifecycle(subscription, terms.status)
    if terms.insync is not None:
        subscription.insync = terms.insync
    subscription.save()


def abort_at_once(
    connection: Connection,
    process: ProcessRow,
    plan: Plan | None,
    terms: AbortTerms,
    *,
    user: str,
    reason: str,
    now: datetime,
) -> bool:
    """End a process that no run works on, unless something is to be undone, or something that it started to be ended.

    Args:
        connection: a transaction in which the process is locked.
        process: the process.
        plan: the steps of its workflow; `None` where the workflow is no more.
        terms: how its subscription is left.
        user: who aborts it.
        reason: why.
        now: the time.

    Returns:
        Whether it has ended. Otherwise a run is to carry it out.
    """
    rows = step_rows(connection, process.process_id)
    memory = Memory(initial_state(connection, process.process_id)).after(*rows)
    if unfinished_children(connection, process.process_id):
        return False
    if plan is not None and any(works_to_undo(TodaysSteps(plan, process.plan), rows, memory)):
        return False
    if plan is not None and any(places_at_the_end(plan, memory)):
        return False
    lease = hand_over(connection, process.process_id, process.run_id)
    abort = Abort(process.process_id, process.run_id, lease, user, reason, terms, now)
    repository = PostgresRepository(connection, process_id=process.process_id, step=ABORT, changed_by=user)
    with use_repository(repository):
        abort.write(connection, memory.state)
    return True


def works_to_undo(today: TodaysSteps, rows: Sequence[StepRow], memory: Memory) -> Iterator[Work]:
    """Yield what undoes the steps that were done, the last one first.

    Args:
        today: which steps of the workflow as it is those of the log are.
        rows: the step log as it was written.
        memory: its fold.
    """
    # a step that was done again in another round is undone once
    done = {row.step: number for number, row in enumerate(rows) if row.status is StepStatus.SUCCESS}
    for logged in sorted(done, key=done.__getitem__, reverse=True):
        key = today.key_of(logged)
        place = today.plan.place_of(key) if key else None
        undo = place.planned.step.compensate if place else None
        if place is None or undo is None:
            continue
        work = Work.undoing(place, undo, rows[done[logged]].branch)
        if work.key not in memory.finished and f"{logged}{UNDO}" not in memory.finished:
            yield work


def places_at_the_end(plan: Plan, memory: Memory) -> Iterator[Place]:
    """Yield the steps that run at the end of the process whatever happened, and have not run yet."""
    for key, planned in plan.items():
        if planned.finally_ and (place := plan.place(key)).key not in memory.finished:
            yield place


def _subscription_in(state: State) -> Any:
    subscription = state.get("subscription")
    if isinstance(subscription, Mapping):
        return subscription.get("subscription_id")
    return state.get("subscription_id")
