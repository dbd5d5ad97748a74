"""One Dagster run's work on a process: which of its steps run, and what follows from what comes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from dagster import DagsterExecutionInterruptedError
from sqlalchemy import Connection

from orchestrator_dagster.db.families import abort_children
from orchestrator_dagster.db.processes import get_process, request_abort
from orchestrator_dagster.db.step_log import step_rows
from orchestrator_dagster.db.waits import settle, waits_of
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import Concerned, ProcessStatus, StepStatus
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import Flags, Wait, WaitKind
from orchestrator_dagster.errors import ProcessStateError
from orchestrator_dagster.ops.aborting import ABORT_WORK, AbortTerms, places_at_the_end, works_to_undo
from orchestrator_dagster.ops.attempt import Attempted, Attempts
from orchestrator_dagster.ops.claim import Claim
from orchestrator_dagster.ops.interrupts import InterruptGuard
from orchestrator_dagster.ops.knowledge import Knowledge
from orchestrator_dagster.ops.outcome import StepFailedError, StepOutcome
from orchestrator_dagster.ops.plan import Place, Plan
from orchestrator_dagster.ops.recorded_plan import TodaysSteps
from orchestrator_dagster.ops.step import StepKind
from orchestrator_dagster.ops.work import Environment, Work

TERMINATED_BY = "Dagster"
TERMINATED = "The run was terminated"


@dataclass(frozen=True)
class Rules:
    """What a workflow says about its processes.

    Attributes:
        plan: its steps.
        is_task: whether its processes are tasks.
        undo_on_failure: whether a process is aborted when a step fails.
        abort_terms: how the subscription is left when a process is aborted.
    """

    plan: Plan
    is_task: bool = False
    undo_on_failure: bool = False
    abort_terms: AbortTerms = field(default_factory=AbortTerms)


@dataclass(frozen=True)
class Turn:
    """The op whose turn it is.

    Attributes:
        context: Dagster's context of the op.
        resources: Dagster's resources by key.
        guard: keeps interrupts until the step is done.
    """

    context: Any
    resources: Mapping[str, Any]
    guard: InterruptGuard


class ProcessRun:
    """A run's hold on its process.

    Args:
        claim: the run's right to write to the process.
        rules: what the workflow says.
        knowledge: what is known of the process.
        environment: what the engine asks of others.
        is_child: whether another process started it.
        whole: whether the run has all steps of the workflow.
        ended: where the process stands, if it had ended when the run began.
    """

    def __init__(
        self,
        claim: Claim,
        rules: Rules,
        knowledge: Knowledge,
        environment: Environment,
        *,
        is_child: bool = False,
        whole: bool = True,
        ended: ProcessStatus | None = None,
    ) -> None:
        self._claim = claim
        self._rules = rules
        self._knowledge = knowledge
        self._environment = environment
        self._attempts = Attempts(
            claim,
            knowledge,
            environment,
            is_task=rules.is_task,
            undo_on_failure=rules.undo_on_failure,
            is_child=is_child,
        )
        self._is_child = is_child
        self._whole = whole
        self._stopped = False
        self._stands: ProcessStatus | None = ended

    @property
    def process_id(self) -> UUID:
        """Id of the process."""
        return self._claim.process_id

    @property
    def state(self) -> State:
        """The state after the last finished step that is in no branch."""
        return self._knowledge.memory.state

    @property
    def waits(self) -> tuple[Wait, ...]:
        """What its steps wait for that cannot go on yet."""
        return tuple(wait for wait in self._knowledge.waits.values() if not wait.ready)

    @property
    def concerned(self) -> Concerned:
        """The subscriptions that the process is known to work on, with those that steps of this run saved."""
        return self._knowledge.concerned

    @property
    def has_family(self) -> bool:
        """Whether the process was started by another one, or has started others."""
        return self._is_child or self._knowledge.has_children

    def run(self, key: str, index: int | None, context: Any, resources: Mapping[str, Any]) -> StepOutcome:
        """Run a step, unless the step log says that it is done, or the process is to stand still.

        Args:
            key: the step's key in the plan.
            index: the item that it is about, inside a foreach.
            context: Dagster's context of the op.
            resources: Dagster's resources by key.

        Raises:
            StepFailedError: the step failed, or what was to be undone could not be undone.
            ProcessStateError: a step before it has not been run.
            ProcessTakenOverError: another run goes on with the process.
            DagsterExecutionInterruptedError: somebody terminated the run, and the process was aborted.
        """
        place = self._rules.plan.place(key, index)
        if self._knowledge.is_finished(place.key):
            return StepOutcome(place.key, StepStatus.SUCCESS, replayed=True, branches=self._branches_at(place))
        if self._stands is not None:
            return StepOutcome(place.key)
        guard = InterruptGuard(self._environment.is_terminated)
        with guard.keeping_interrupts():
            try:
                return self._go_on(place, Turn(context, resources, guard))
            finally:
                if guard.interrupted:
                    raise DagsterExecutionInterruptedError from None

    def close(self) -> ProcessStatus:
        """End the run's work: say where a process stands that it leaves in the middle, and give the lease back.

        Returns:
            Where the process stands.
        """
        try:
            if self._stands is None:
                self._stands = self._settle()
            return self._stands
        finally:
            self._claim.release()

    def _go_on(self, place: Place, turn: Turn) -> StepOutcome:
        """Run a step, if the process is to go on and its turn has come."""
        self._claim.show_life()
        knowledge = self._knowledge
        if knowledge.flags.abort_requested:
            self._carry_out_abort(turn)
            return StepOutcome(place.key)
        if self._is_stopped():
            return StepOutcome(place.key)
        if knowledge.waits_in_vain(place.key) or not self._has_its_turn(place):
            return StepOutcome(place.key, wait=knowledge.waits.get(place.key))
        return self._do(Work.at(place), turn)

    def _has_its_turn(self, place: Place) -> bool:
        earlier = self._knowledge.unfinished_before(place)
        if earlier is None:
            return True
        # Dagster lets a join run when some of what comes before it stands still
        if place.planned.step.kind is StepKind.JOIN or self._knowledge.waits_in_vain(earlier):
            return False
        raise ProcessStateError(f"Step {place.key} cannot run: step {earlier} comes before it and has not been run")

    def _do(self, work: Work, turn: Turn) -> StepOutcome:
        """Do a step, and what follows from what came of it."""
        attempted = self._attempts.attempt(work, turn.context, turn.resources, turn.guard)
        if work.last and attempted.row.status.finished:
            self._stand(ProcessStatus.COMPLETED)
        elif self._is_to_abort(turn):
            self._carry_out_abort(turn)
        elif attempted.wait is not None and work.halts_process:
            self._stand(attempted.wait.process_status)
        _raise_failure(work, attempted)
        return StepOutcome(
            work.key,
            attempted.row.status,
            changed=attempted.row.changed,
            subscription_ids=attempted.saved.subscription_ids,
            wait=attempted.wait,
            branches=self._knowledge.items_of(work.key),
        )

    def _is_to_abort(self, turn: Turn) -> bool:
        if turn.guard.terminated and not self._knowledge.flags.abort_requested:
            with self._claim.transaction_afterwards() as connection:
                self._request_abort(connection)
            self._knowledge.flags = Flags(abort_requested=True)
        return self._knowledge.flags.abort_requested

    def _is_stopped(self) -> bool:
        """Whether the engine is paused; then another run goes on later."""
        self._stopped = self._knowledge.flags.paused
        return self._stopped

    def _carry_out_abort(self, turn: Turn) -> None:
        """Have what the process started end, undo what its steps did, run those at the end of all, and end it.

        What is done already is passed by: so it goes on where another run stopped.
        """
        self._claim.require()
        with self._claim.transaction_afterwards() as connection:
            process, rows = get_process(connection, self.process_id), step_rows(connection, self.process_id)
            by, why = process.abort_requested_by or self._claim.user, process.abort_reason or ""
            children = abort_children(connection, self.process_id, user=by, reason=why, now=now())
            self._knowledge.waits = waits_of(connection, self.process_id)
        self._knowledge.has_children |= bool(children)
        plan, memory = self._rules.plan, self._knowledge.memory
        to_undo = works_to_undo(TodaysSteps(plan, process.plan), rows, memory)
        for work in (*to_undo, *map(Work.at, places_at_the_end(plan, memory))):
            if not self._is_done_for_abort(work, turn):
                return
        if self._is_stopped():
            return
        attempted = self._attempts.end(by, why, self._rules.abort_terms, turn.guard)
        self._stand(ProcessStatus.ABORTED if attempted.wait is None else attempted.wait.process_status)
        _raise_failure(ABORT_WORK, attempted)

    def _is_done_for_abort(self, work: Work, turn: Turn) -> bool:
        """Do a part of an abort, if it is time; return whether the next one may follow."""
        if self._is_stopped():
            return False
        if self._knowledge.is_to_be_tried_later(work.key):
            self._stand(self._settle())
            return False
        attempted = self._attempts.attempt(work, turn.context, turn.resources, turn.guard)
        if attempted.wait is not None:
            self._stand(attempted.wait.process_status)
        _raise_failure(work, attempted)
        return attempted.wait is None

    def _settle(self) -> ProcessStatus:
        # a run that came to its end knows where the process stands, unless that depends on several branches
        terminated = self._environment.is_terminated()
        with self._claim.transaction_afterwards() as connection:
            if terminated:
                self._request_abort(connection)
            left_out = not (self._whole or self._knowledge.waits)
            stopped = self._stopped or terminated or left_out
            return settle(connection, self.process_id, self._claim.number, stopped=stopped, now=now())

    def _request_abort(self, connection: Connection) -> None:
        request_abort(connection, self.process_id, TERMINATED_BY, TERMINATED, now(), lease=self._claim.number)

    def _branches_at(self, place: Place) -> int:
        return self._knowledge.items_of(place.key) if place.planned.step.kind is StepKind.FAN_OUT else 0

    def _stand(self, status: ProcessStatus) -> None:
        """Let the process stand still: whoever sees that may go on with it at once."""
        self._stands = status
        self._claim.release()


def _raise_failure(work: Work, attempted: Attempted) -> None:
    """Raise what made a step fail. One that is tried again by itself waits."""
    error = attempted.error
    if error is None:
        return
    if attempted.wait is None:
        # the step is done, and the run is to stop all the same
        raise error
    if attempted.wait.kind is not WaitKind.RETRY:
        raise StepFailedError(f"Step {work.title} failed", attempted.hide) from error
