"""One attempt to do a step: its effect, its row in the step log and the new state are one transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from orchestrator_dagster.db.callbacks import Callback, callback_of, close_callback
from orchestrator_dagster.db.processes import ProcessRow, lock_process, release_subscriptions, request_abort
from orchestrator_dagster.db.step_log import StepRow, log_step, step_rows
from orchestrator_dagster.db.waits import waits_of, wake_parent
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import Assignee, Concerned, ProcessStatus, StepStatus
from orchestrator_dagster.domain.secret import Hiding, hiding, noting_secrets
from orchestrator_dagster.domain.state import copy_of
from orchestrator_dagster.domain.waiting import Wait, WaitKind
from orchestrator_dagster.errors import CallbackTimeoutError, ChildProcessAbortedError
from orchestrator_dagster.ops.aborting import ABORT, ABORT_WORK, Abort, AbortTerms
from orchestrator_dagster.ops.claim import Claim
from orchestrator_dagster.ops.commit_path import CommitPoint, reached
from orchestrator_dagster.ops.effects import effect_of
from orchestrator_dagster.ops.failure import reason_of, record_of, standing_of_task, traceback_of
from orchestrator_dagster.ops.injection import Ambient
from orchestrator_dagster.ops.interrupts import InterruptGuard
from orchestrator_dagster.ops.knowledge import Knowledge
from orchestrator_dagster.ops.recorded_plan import RecordedPlan
from orchestrator_dagster.ops.step import StepKind
from orchestrator_dagster.ops.transaction import StepTransaction
from orchestrator_dagster.ops.work import Circumstances, Effect, Environment, Work


@dataclass(frozen=True)
class Attempted:
    """What came of an attempt.

    Attributes:
        row: what the step log says.
        wait: what the step waits for, if it is not finished.
        saved: the subscriptions that it saved.
        error: why it failed, if it did.
        hide: hides the secrets that the step was given, in whatever the error says.
    """

    row: StepRow
    wait: Wait | None = None
    saved: Concerned = field(default_factory=Concerned)
    error: BaseException | None = None
    hide: Hiding = field(default_factory=Hiding)


@dataclass(frozen=True)
class Attempts:
    """Tries to do steps, one at a time.

    Attributes:
        claim: the run's right to do so.
        knowledge: what is known of the process.
        environment: what is asked of others.
        is_task: whether the process is a task.
        undo_on_failure: whether the process is aborted when a step fails.
        is_child: whether another process waits for it.
    """

    claim: Claim
    knowledge: Knowledge
    environment: Environment
    is_task: bool
    undo_on_failure: bool
    is_child: bool

    def attempt(self, work: Work, context: Any, resources: Mapping[str, Any], guard: InterruptGuard) -> Attempted:
        """Do a step, and log what came of it.

        Args:
            work: the step.
            context: Dagster's context of the op.
            resources: Dagster's resources by key.
            guard: keeps interrupts.

        Returns:
            What came of it. An error is returned, and on record.

        Raises:
            ProcessTakenOverError: another run goes on with the process, and nothing was done.
        """
        ambient = Ambient(
            process_id=self.claim.process_id,
            context=context,
            idempotency_key=work.idempotency_key(self.claim.process_id, self.knowledge.round_of(work)),
            resources=resources,
        )
        return self._try(work, guard, lambda started_at: self._commit(work, ambient, started_at))

    def end(self, user: str, reason: str, terms: AbortTerms, guard: InterruptGuard) -> Attempted:
        """End an aborted process, after all that was to be undone.

        Args:
            user: who wanted it aborted.
            reason: why.
            terms: how its subscription is left.
            guard: keeps interrupts.
        """

        def end(moment: datetime) -> Attempted:
            abort = Abort(self.claim.process_id, self.claim.run_id, self.claim.number, user, reason, terms, now=moment)
            with self.claim.transaction(ABORT, user) as step_transaction:
                reached(CommitPoint.BEFORE_EFFECT, ABORT)
                abort.write(step_transaction.connection, self.knowledge.memory.state)
                reached(CommitPoint.BEFORE_COMMIT, ABORT)
            reached(CommitPoint.AFTER_COMMIT, ABORT)
            return Attempted(abort.row)

        return self._try(ABORT_WORK, guard, end)

    def _try(self, work: Work, guard: InterruptGuard, commit: Callable[[datetime], Attempted]) -> Attempted:
        self.claim.require()
        started_at = now()
        try:
            with noting_secrets() as secrets:
                attempted = commit(started_at)
        except BaseException as error:
            with guard.holding_off():
                failed = self._landed_or_failed(work, error, started_at, hiding(secrets))
            return failed or self._try(work, guard, commit)
        self.knowledge.keep(attempted.row, attempted.wait, attempted.saved)
        return attempted

    def _commit(self, work: Work, ambient: Ambient, started_at: datetime) -> Attempted:
        """Do what the step does, log it, and commit both at once."""
        with self.claim.transaction(work.key) as step_transaction:
            conditions = self._decide(work)
            effect = (
                effect_of(work, self._circumstances(work, ambient, step_transaction, started_at))
                if all(conditions.values())
                else Effect(status=StepStatus.SKIPPED)
            )
            row = replace(
                self._row(work, effect.status, started_at),
                created_by=effect.done_by or self.claim.user,
                changes=effect.changed.values,
                edits=effect.changed.edits,
                conditions=conditions,
                detail=effect.detail,
            )
            self._log(step_transaction.connection, work, row, effect.wait)
            reached(CommitPoint.BEFORE_COMMIT, work.key)
        reached(CommitPoint.AFTER_COMMIT, work.key)
        return Attempted(row, effect.wait, step_transaction.concerned)

    def _circumstances(
        self, work: Work, ambient: Ambient, step_transaction: StepTransaction, started_at: datetime
    ) -> Circumstances:
        return Circumstances(
            state=self.knowledge.state_of(work),
            branches=self.knowledge.branches_of(work),
            ambient=replace(ambient, transaction=step_transaction),
            transaction=step_transaction,
            wait=self.knowledge.waits.get(work.key),
            environment=self.environment,
            user=self.claim.user,
            now=started_at,
        )

    def _log(self, connection: Connection, work: Work, row: StepRow, wait: Wait | None) -> None:
        """Write the row, and where the process stands; the last one ends it."""
        status = ProcessStatus.RUNNING
        if wait is not None and work.halts_process:
            status = wait.process_status
        elif work.last and wait is None:
            status = ProcessStatus.COMPLETED
            release_subscriptions(connection, self.claim.process_id)
        self.knowledge.flags = log_step(
            connection,
            self.claim.process_id,
            row,
            lease=self.claim.number,
            status=status,
            wait=wait,
            heeds_abort=not self.knowledge.flags.abort_requested,
        )
        if self.is_child and status is ProcessStatus.COMPLETED:
            wake_parent(connection, self.claim.process_id, row.completed_at)

    def _decide(self, work: Work) -> dict[str, bool]:
        """Evaluate the step's conditions, or recall what was decided; an inner one only where the outer one holds."""
        decided: dict[str, bool] = {}
        for key, condition in work.conditions.items():
            known = self.knowledge.decided(key)
            decided[key] = bool(condition.predicate(copy_of(self.knowledge.state_of(work)))) if known is None else known
            if not decided[key]:
                break
        # kept from now on, should the step fail
        self.knowledge.keep_decisions(decided)
        return decided

    def _row(self, work: Work, status: StepStatus, started_at: datetime) -> StepRow:
        return StepRow(
            step=work.key,
            name=work.title,
            status=status,
            run_id=self.claim.run_id,
            created_by=self.claim.user,
            started_at=started_at,
            completed_at=max(started_at, now()),
            branch=work.branch,
            round=self.knowledge.round_of(work),
        )

    def _landed_or_failed(
        self, work: Work, error: BaseException, started_at: datetime, hide: Hiding
    ) -> Attempted | None:
        """Return what came of a step whose commit was interrupted but arrived all the same; else log the failure.

        The process's row is locked first: a commit that is still under way on a lost connection holds it.

        Returns:
            What came of it; `None` where what it waited for came at the last moment, and it is to be tried again.
        """
        with self.claim.transaction_afterwards() as connection:
            callback = self._awaited_callback(connection, work)
            if isinstance(error, CallbackTimeoutError) and callback is not None and callback.received_at is not None:
                return None
            process = lock_process(connection, self.claim.process_id)
            if process.lease != self.claim.number:
                raise self.claim.taken_over() from error
            rows = step_rows(connection, self.claim.process_id)
            landed = self._landed(work, rows, started_at)
            if landed is not None:
                wait = waits_of(connection, self.claim.process_id).get(work.key)
                self.knowledge.keep(landed, wait, process.concerned)
                # the step is done, and the run is to stop all the same where that is what the error wants
                return Attempted(landed, wait, error=None if isinstance(error, Exception) else error)
            attempts = self._attempts_of(work, process, rows) + 1
            row, wait = self._failure(work, error, started_at, attempts, hide)
            if callback is not None:
                # what comes too late must not find anybody waiting
                close_callback(connection, self.claim.process_id, work.key, row.completed_at)
            gives_up = wait.kind is WaitKind.FAILURE and work.goes_forward and isinstance(error, Exception)
            if gives_up and self.undo_on_failure:
                why = f"Step {work.title} failed: {wait.reason}"
                request_abort(connection, self.claim.process_id, self.claim.user, why, row.completed_at)
            self._log(connection, work, row, wait)
        self.knowledge.keep(row, wait)
        return Attempted(row, wait, error=error, hide=hide)

    def _awaited_callback(self, connection: Connection, work: Work) -> Callback | None:
        """Lock the callback that a step awaits, as whoever receives it does: before the process's row."""
        if not work.goes_forward or work.step.kind is not StepKind.CALLBACK:
            return None
        return callback_of(connection, self.claim.process_id, work.key)

    def _landed(self, work: Work, rows: list[StepRow], started_at: datetime) -> StepRow | None:
        round_ = self.knowledge.round_of(work)
        for row in reversed(rows):
            if row.step == work.key and row.round == round_:
                this_one = (row.run_id, row.started_at) == (self.claim.run_id, started_at)
                # a workflow may have a step with the key of its abort
                is_done = row.status.finished and work is not ABORT_WORK
                return row if is_done or this_one else None
        return None

    def _attempts_of(self, work: Work, process: ProcessRow, rows: list[StepRow]) -> int:
        """Return how often a step failed; one that was renamed while it waited, under its earlier names too."""
        keys, round_ = RecordedPlan(process.plan).keys_of(work.key), self.knowledge.round_of(work)
        return sum(row.step in keys and row.round == round_ and row.error is not None for row in rows)

    def _failure(
        self, work: Work, error: BaseException, started_at: datetime, attempts: int, hide: Hiding
    ) -> tuple[StepRow, Wait]:
        """Return the row of a step that failed, and what it waits for: its next attempt, or somebody who retries it."""
        pause = None
        if work.tries_again and work.step.retry is not None and isinstance(error, Exception):
            pause = work.step.retry.next_after(attempts)
        status, assignee = standing_of_task(error) if self.is_task else (ProcessStatus.FAILED, Assignee.SYSTEM)
        row = replace(
            self._row(work, StepStatus.WAITING if pause else StepStatus.FAILED, started_at),
            conditions={key: known for key in work.conditions if (known := self.knowledge.decided(key)) is not None},
            error=record_of(error, hide),
        )
        before = self.knowledge.waits.get(work.key)
        wait = Wait(
            step=work.key,
            name=work.title,
            kind=WaitKind.RETRY if pause else WaitKind.FAILURE,
            branch=work.branch,
            since=row.completed_at,
            due_at=row.completed_at + pause if pause else None,
            assignee=Assignee.SYSTEM if pause else assignee,
            status=None if pause else status,
            waits_for=None if before is None or isinstance(error, ChildProcessAbortedError) else before.waits_for,
            reason=reason_of(error, hide),
            traceback=traceback_of(error, hide),
        )
        return row, wait
