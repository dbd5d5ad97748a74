"""What somebody who wants something of a process comes to: the process, locked, and the steps that it stands at."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from orchestrator_dagster.db.engine_settings import engine_status
from orchestrator_dagster.db.processes import ProcessRow, lock_process
from orchestrator_dagster.db.queue import open_resume_token, queue_process
from orchestrator_dagster.db.step_log import step_rows
from orchestrator_dagster.db.waits import waits_of
from orchestrator_dagster.domain.authorisation import Action, AuthContext, authorize
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.waiting import Wait, WaitKind
from orchestrator_dagster.errors import EnginePausedError, ProcessStateError
from orchestrator_dagster.jobs.edited_workflow import EditedWorkflow
from orchestrator_dagster.jobs.left_behind import nobody_works_on, settle_left_behind
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.plan import Place
from orchestrator_dagster.ops.recorded_plan import TodaysSteps

_ATTEMPTS = 3
_DEADLOCK_DETECTED = "40P01"

Came = TypeVar("Came")

_WORDS = {
    WaitKind.INPUT: "waits for input at",
    WaitKind.CALLBACK: "waits for a callback at",
    WaitKind.TIME: "waits for a time at",
    WaitKind.RETRY: "waits to try again at",
    WaitKind.PROCESS: "waits for another process at",
    WaitKind.FAILURE: "failed at",
}


@dataclass(frozen=True)
class Door:
    """A process, with its row and its waits locked until the transaction ends, and who wants something of it.

    Whoever comes locks in this order: the process, what its steps wait for, subscriptions.

    Attributes:
        connection: the transaction.
        process: where the process stands.
        waits: the steps that it stands at, by key.
        user: who wants something.
        worked_on: whether a living run works on it.
    """

    connection: Connection
    process: ProcessRow
    waits: Mapping[str, Wait]
    user: str
    worked_on: bool
    workflows: Mapping[str, Workflow]

    @classmethod
    def open(cls, connection: Connection, workflows: Mapping[str, Workflow], process_id: UUID, user: str) -> Self:
        """Lock a process; one that its worker left behind stands as what it waits for, or as failed, from then on.

        Raises:
            ProcessNotFoundError: there is none with that id.
        """
        process = lock_process(connection, process_id)
        worked_on = process.status is ProcessStatus.RUNNING and not nobody_works_on(connection, process_id)
        if process.status is ProcessStatus.RUNNING and not worked_on:
            settle_left_behind(connection, process)
            process = lock_process(connection, process_id)
        return cls(connection, process, waits_of(connection, process_id, lock=True), user, worked_on, workflows)

    @property
    def workflow(self) -> Workflow:
        """The workflow of the process.

        Raises:
            ProcessStateError: the code does not have it any more.
        """
        if self.process.workflow not in self.workflows:
            raise ProcessStateError(
                f"Process {self.process.process_id} is of workflow {self.process.workflow}, "
                "which the code does not have any more: abort the process"
            )
        return self.workflows[self.process.workflow]

    def require_going_engine(self) -> None:
        """Make sure that the engine is not paused.

        Raises:
            EnginePausedError: it is.
        """
        engine = engine_status(self.connection)
        if engine.paused:
            raise EnginePausedError(by=engine.by, reason=engine.reason)

    def require_not_ended(self) -> None:
        """Make sure that the process can still go on.

        Raises:
            ProcessStateError: it has ended.
        """
        if self.process.status.ended:
            raise self.refusal("nothing more happens to it; start a new one")

    def require_nobody_at_work(self) -> None:
        """Make sure that no run works on the process, and none does until the transaction ends.

        Raises:
            ProcessStateError: one does.
        """
        if self.worked_on or not nobody_works_on(self.connection, self.process.process_id):
            raise self.refusal(f"run {self.process.run_id} works on it; try again when it has halted")

    def require_right(self, action: Action, wait: Wait | None) -> None:
        """Make sure that the workflow and the step allow it to the user.

        Raises:
            NotAuthorizedError: they don't.
        """
        place = self.place(wait) if wait else None
        step = place.planned.step if place else None
        authorize(AuthContext(user=self.user, action=action, workflow=self.workflow, step=step))

    def place(self, wait: Wait) -> Place | None:
        """Return the step that waits; `None` where the workflow has none of that key, as for what undoes a step."""
        key = self._today.key_of(wait.step)
        return None if key is None else self.workflow.plan.place_of(key)

    def require_matching(self, *, without: Wait | None = None) -> None:
        """Make sure that the process can go on with its workflow, which may have been edited.

        Args:
            without: a step that is passed by, if one is.

        Raises:
            WorkflowEditedError: it cannot.
        """
        if self.process.abort_requested_at is None:
            waits = {key: wait for key, wait in self.waits.items() if wait != without}
            rows = step_rows(self.connection, self.process.process_id)
            EditedWorkflow(self.workflow, self.process, rows, waits).require_matching()

    @cached_property
    def _today(self) -> TodaysSteps:
        return TodaysSteps(self.workflow.plan, self.process.plan)

    def wait_at(self, step: str | None, kinds: Collection[WaitKind], wanted: str) -> Wait:
        """Return the one wait that is meant.

        Args:
            step: key of the step; not needed where only one step waits so.
            kinds: what it waits for.
            wanted: what is wanted, for the error, such as `does not wait for input`.

        Raises:
            ProcessStateError: no step waits so, or several do and none was named.
        """
        found = [wait for wait in self.waits.values() if wait.kind in kinds and self.is_meant(wait, step)]
        if not found:
            raise self.refusal(f"{f'step {step}' if step else 'it'} {wanted}")
        if len(found) > 1:
            raise self.refusal("say which step is meant")
        return found[0]

    def is_meant(self, wait: Wait, step: str | None) -> bool:
        """Whether a step that waits has that key, or has it today; `None` means any."""
        return step in (None, wait.step, self._today.key_of(wait.step))

    def queue(self) -> bool:
        """Put the process in the queue, for a run to pick it up; return whether it was not there.

        One that a run works on goes on when that closes.
        """
        process_id = self.process.process_id
        queued = queue_process(self.connection, process_id, now())
        if not self.worked_on:
            open_resume_token(self.connection, process_id, self.user)
        return queued

    def refusal(self, why: str) -> ProcessStateError:
        """Return the error that says why not, where the process stands, and with that what is possible."""
        return ProcessStateError(f"Process {self.process.process_id} {self._standing()}: {why}")

    def _standing(self) -> str:
        if self.process.status.ended:
            return f"is {self.process.status}"
        kinds = dict.fromkeys(wait.kind for wait in self.waits.values())
        stands = [f"{_WORDS[kind]} {self._steps(kind)}" for kind in kinds]
        if self.process.abort_requested_at is not None:
            stands.insert(0, f"is being aborted by {self.process.abort_requested_by}")
        return ", ".join(stands) or f"is {self.process.status}"

    def _steps(self, kind: WaitKind) -> str:
        return " and ".join(f"{wait.step} ({wait.name})" for wait in self.waits.values() if wait.kind is kind)


def in_one_transaction(engine: Engine, act: Callable[[Connection], Came]) -> Came:
    """Do something in a transaction of its own, and again where a step that ran at the same time was in the way.

    Args:
        engine: the database.
        act: does it; what it did is rolled back before it is done again.

    Returns:
        What it returned.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                return act(connection)
        except OperationalError as error:
            # a step writes subscriptions before its process's row, a form's models are saved the other way round
            if getattr(error.orig, "pgcode", None) != _DEADLOCK_DETECTED or attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")
