"""One Dagster run's work on a process: its steps, each in one transaction with its row in the step log."""

import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.leases import Lease, patiently
from orchestrator_dagster.db.processes import (
    get_process,
    lease_of,
    lock_process,
    mark_interrupted,
    release_subscriptions,
)
from orchestrator_dagster.db.step_log import Memory, StepRow, log_step, step_rows, storable_json
from orchestrator_dagster.domain.difference import Difference, difference
from orchestrator_dagster.domain.process import Concerned, ProcessStatus, StepStatus
from orchestrator_dagster.domain.state import State, copy_of
from orchestrator_dagster.errors import ProcessFailureError, ProcessStateError, ProcessTakenOverError
from orchestrator_dagster.ops.commit_path import CommitPoint, reached
from orchestrator_dagster.ops.injection import Ambient
from orchestrator_dagster.ops.plan import PlannedStep
from orchestrator_dagster.ops.step import StepKind
from orchestrator_dagster.ops.transaction import StepTransaction, as_state, save_models, transaction


@dataclass(frozen=True)
class StepOutcome:
    """What came of a step in a run.

    Attributes:
        status: what the step log says of it.
        replayed: whether that was so before this run, which passed it by.
        changed: the keys of the state that it changed.
        subscription_ids: the subscriptions that it saved.
    """

    status: StepStatus
    replayed: bool = False
    changed: tuple[str, ...] = ()
    subscription_ids: tuple[UUID, ...] = ()


class StepFailedError(Exception):
    """A step failed, and the step log says so. The cause is what the step raised."""


class ProcessRun:
    """A run's hold on its process.

    The state is the fold of the step log. It is read once, when the run begins, and kept in memory.

    Args:
        engine: the database.
        process_id: id of the process.
        run_id: id of the Dagster run.
        lease: says that no other living run works on the process; its connection is the one that the run works on.
        lease_number: what proves that it is the newest run of the process; without that nothing it does is kept.
        created_by: on whose behalf it runs.
        plan: the steps of the workflow.
        memory: what the step log knows.
        concerned: the subscriptions that the process is known to work on.

    Attributes:
        concerned: the same, with those that steps of this run saved.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        process_id: UUID,
        run_id: str,
        lease: Lease,
        lease_number: int,
        created_by: str,
        plan: Mapping[str, PlannedStep],
        memory: Memory,
        concerned: Concerned,
    ) -> None:
        self.process_id = process_id
        self.concerned = concerned
        self._engine = engine
        self._run_id = run_id
        self._lease = lease
        self._lease_number = lease_number
        self._created_by = created_by
        self._plan = plan
        self._memory = memory
        self._saved = Concerned()
        self._stands_as_failed = False

    @property
    def state(self) -> State:
        """The state after the last finished step."""
        return self._memory.state

    def run(self, key: str, context: Any, resources: Mapping[str, Any]) -> StepOutcome:
        """Run a step, unless the step log says that it is done.

        Args:
            key: the step's key in the plan.
            context: Dagster's context of the op.
            resources: Dagster's resources by key.

        Raises:
            StepFailedError: the step failed.
            ProcessStateError: a step before it has not been run.
            ProcessTakenOverError: another run goes on with the process.
        """
        planned = self._plan[key]
        if key in self._memory.finished:
            return StepOutcome(StepStatus.SUCCESS, replayed=True)
        require_earlier_steps(self._plan, self._memory.finished, key)
        self._require_lease()
        ambient = Ambient(
            process_id=self.process_id,
            context=context,
            idempotency_key=str(uuid5(self.process_id, key)),
            resources=resources,
        )
        started_at = datetime.now(UTC)
        self._saved = Concerned()
        try:
            row = self._commit(planned, ambient, started_at)
        except ProcessTakenOverError:
            raise
        except BaseException as error:
            landed = self._landed_or_failed(planned, error, started_at)
            if landed is None:
                self._stands_as_failed = True
                # whoever sees the failure may go on with the process at once
                self._lease.release()
                raise StepFailedError(f"Step {planned.step.name} failed") from error
            self._keep(landed)
            if not isinstance(error, Exception):
                # the step is done, and the run is to stop all the same
                raise
            row = landed
        else:
            self._keep(row)
        return StepOutcome(row.status, changed=row.changed, subscription_ids=self._saved.subscription_ids)

    def close(self) -> ProcessStatus:
        """End the run's work: let a process that it leaves in the middle stand as failed, and give the lease back.

        Returns:
            Where the process stands.
        """
        try:
            if self._memory.finished.issuperset(self._plan):
                return ProcessStatus.COMPLETED
            if not self._stands_as_failed:
                with self._transaction_afterwards() as connection:
                    return self._left_behind(connection)
            return ProcessStatus.FAILED
        finally:
            self._lease.release()

    def _left_behind(self, connection: Connection) -> ProcessStatus:
        """Let the process stand as failed, unless its last step was committed though the run doesn't know."""
        reason = "The run ended before the process did; go on with it to finish"
        if not mark_interrupted(connection, self.process_id, self._lease_number, reason):
            process = get_process(connection, self.process_id)
            if process.lease == self._lease_number:
                return process.status
        return ProcessStatus.FAILED

    def _require_lease(self) -> None:
        """Make sure that the process is still this run's; its connection may be gone since the last step."""
        if self._lease.is_held:
            return
        if self._lease.take_again():
            with self._lease.connection.begin():
                if lease_of(self._lease.connection, self.process_id) == self._lease_number:
                    return
        raise ProcessTakenOverError(process_id=self.process_id, run_id=self._run_id)

    @contextmanager
    def _transaction_afterwards(self) -> Iterator[Connection]:
        """Run the block in a transaction, on another connection where the lease's own is of no use any more."""
        if self._lease.is_held:
            with self._lease.connection.begin():
                yield self._lease.connection
        else:
            # what is still under way on it would be waited for
            self._lease.release()
            with patiently(self._engine.connect) as connection, connection.begin():
                yield connection

    def _keep(self, row: StepRow) -> None:
        """Remember what is committed."""
        self._memory = self._memory.after(row)
        self.concerned |= self._saved

    def _commit(self, planned: PlannedStep, ambient: Ambient, started_at: datetime) -> StepRow:
        """Do what the step does, log it, and commit both at once."""
        key, step = planned.key, planned.step
        with transaction(
            self._lease.connection, process_id=self.process_id, step=key, created_by=self._created_by
        ) as step_transaction:
            conditions = self._decide(planned)
            if all(conditions.values()):
                changed = self._effect(planned, ambient, step_transaction)
                status = StepStatus.COMPLETE if step.kind is StepKind.DONE else StepStatus.SUCCESS
            else:
                changed, status = Difference(), StepStatus.SKIPPED
            self._saved = step_transaction.concerned
            row = replace(
                self._row(planned, status, started_at),
                changes=changed.values,
                edits=changed.edits,
                conditions=conditions,
            )
            if planned.last:
                release_subscriptions(step_transaction.connection, self.process_id)
            log_step(
                step_transaction.connection,
                self.process_id,
                row,
                lease=self._lease_number,
                status=ProcessStatus.COMPLETED if planned.last else ProcessStatus.RUNNING,
            )
            reached(CommitPoint.BEFORE_COMMIT, key)
        reached(CommitPoint.AFTER_COMMIT, key)
        return row

    def _decide(self, planned: PlannedStep) -> dict[str, bool]:
        """Evaluate the step's conditions, or recall what was decided; an inner one only where the outer one holds."""
        known = self._memory.conditions or {}
        decided: dict[str, bool] = {}
        for key, condition in planned.conditions.items():
            decided[key] = known[key] if key in known else bool(condition.predicate(copy_of(self.state)))
            if not decided[key]:
                break
        # kept from now on, should the step fail
        self._memory = replace(self._memory, conditions={**known, **decided})
        return decided

    def _effect(self, planned: PlannedStep, ambient: Ambient, step_transaction: StepTransaction) -> Difference:
        step = planned.step
        if step.kind is StepKind.INPUTSTEP:
            raise ProcessFailureError(f"Step {step.name} asks for input, and processes cannot wait for input yet")
        arguments = step.signature.arguments(self.state, replace(ambient, transaction=step_transaction))
        reached(CommitPoint.BEFORE_EFFECT, planned.key)
        returned = step.function(**arguments)
        save_models(returned)
        return difference(self.state, as_state(returned, of=step.signature.function_name))

    def _row(self, planned: PlannedStep, status: StepStatus, started_at: datetime) -> StepRow:
        return StepRow(
            step=planned.key,
            name=planned.step.name,
            status=status,
            run_id=self._run_id,
            created_by=self._created_by,
            started_at=started_at,
            completed_at=max(started_at, datetime.now(UTC)),
        )

    def _landed_or_failed(self, planned: PlannedStep, error: BaseException, started_at: datetime) -> StepRow | None:
        """Return the row of a step whose commit was interrupted but arrived all the same; else log the failure.

        The process's row is locked first: a commit that is still under way on a lost connection holds it.
        """
        known = self._memory.conditions or {}
        row = replace(
            self._row(planned, StepStatus.FAILED, started_at),
            conditions={key: known[key] for key in planned.conditions if key in known},
            error=_error_record(error),
        )
        with self._transaction_afterwards() as connection:
            if lock_process(connection, self.process_id).lease != self._lease_number:
                raise ProcessTakenOverError(process_id=self.process_id, run_id=self._run_id) from error
            for logged in step_rows(connection, self.process_id):
                if logged.step == planned.key and logged.status.finished:
                    return logged
            log_step(
                connection,
                self.process_id,
                row,
                lease=self._lease_number,
                status=ProcessStatus.FAILED,
                reason=text_of(error) or type(error).__name__,
                traceback=_traceback_of(error),
            )
        return None


def require_earlier_steps(plan: Iterable[str], finished: Collection[str], key: str) -> None:
    """Make sure that a step's turn has come.

    Args:
        plan: the keys of the workflow's steps, in order.
        finished: the keys of those that are finished.
        key: the step that is to run.

    Raises:
        ProcessStateError: a step before it has not been run.
    """
    for earlier in plan:
        if earlier == key:
            return
        if earlier not in finished:
            raise ProcessStateError(f"Step {key} cannot run: step {earlier} comes before it and has not been run")


def text_of(error: BaseException) -> str:
    """Return the text of an error, whatever its `str()` does."""
    try:
        return str(error)
    except Exception as failure:
        return f"{type(error).__name__}, which cannot be shown: {type(failure).__name__}"


def _traceback_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _error_record(error: BaseException) -> dict[str, Any]:
    """Return an error as the step log keeps it."""
    record: dict[str, Any] = {"class": type(error).__name__, "error": text_of(error)}
    if details := getattr(error, "details", None):
        record["details"] = to_jsonable_python(details, inf_nan_mode="strings", fallback=str)
    stored: dict[str, Any] = storable_json(record)
    return stored
