"""A process as a notebook or script holds it."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import dagster as dg

from orchestrator_dagster.db.processes import ProcessRow
from orchestrator_dagster.db.step_log import StepRow
from orchestrator_dagster.domain.process import Assignee, ProcessStatus
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.domain.waiting import Wait, WaitKind, most_pressing
from orchestrator_dagster.errors import ProcessNotFoundError, ProcessStateError, RefusalError
from orchestrator_dagster.jobs.listing import Listing, table

if TYPE_CHECKING:
    from orchestrator_dagster.jobs.process_session import ProcessSession

_POLL_SECONDS = 0.1


class Process:
    """One run of a workflow, as it was when it was last looked at; `refresh()` looks again."""

    shown = (
        "process_id",
        "workflow",
        "status",
        "current_step",
        "product",
        "subscription_ids",
        "created_by",
        "started_at",
    )

    def __init__(
        self, session: "ProcessSession", row: ProcessRow, steps: Sequence[StepRow], waits: Mapping[str, Wait]
    ) -> None:
        self._session = session
        self._row = row
        self._steps = steps
        self._waits = waits

    @property
    def process_id(self) -> UUID:
        """The id; also that of the Dagster run that started it."""
        return self._row.process_id

    @property
    def workflow(self) -> str:
        """Name of its workflow."""
        return self._row.workflow

    @property
    def target(self) -> Target:
        """What its workflow does to a subscription."""
        return self._row.target

    @property
    def status(self) -> ProcessStatus:
        """Where it stands."""
        return self._row.status

    @property
    def current_step(self) -> str | None:
        """Key of the step that it failed at or waits at; else of the one that was logged last."""
        pressing = most_pressing(self._waits.values())
        return pressing.step if pressing else self._row.last_step

    @property
    def product(self) -> str | None:
        """Name of the product of its subscription."""
        return self._row.product

    @property
    def subscription_id(self) -> UUID:
        """The subscription that it works on: the first one, if there are several.

        Raises:
            ProcessStateError: it works on none, or has not created it yet.
        """
        if not self._row.subscription_ids:
            raise ProcessStateError(f"Process {self.process_id} ({self.workflow}, {self.status}) has no subscription")
        return self._row.subscription_ids[0]

    @property
    def subscription_ids(self) -> tuple[UUID, ...]:
        """The subscriptions that it worked on."""
        return self._row.subscription_ids

    @property
    def created_by(self) -> str:
        """Who started it."""
        return self._row.created_by

    @property
    def assignee(self) -> Assignee:
        """Who is asked to act, where it stands still."""
        return self._row.assignee

    @property
    def started_at(self) -> datetime:
        """When it was started, in UTC."""
        return self._row.started_at

    @property
    def failed_reason(self) -> str | None:
        """Why it failed, if it did."""
        return self._row.failed_reason

    @property
    def traceback(self) -> str | None:
        """Where in the code it failed, if it did."""
        return self._row.traceback

    @property
    def steps(self) -> Listing[StepRow]:
        """The step log, oldest row first."""
        return Listing(self._steps)

    @property
    def state(self) -> dict[str, Any]:
        """What the process knows after its last finished step."""
        return self._session.read_state(self.process_id)

    @property
    def waits(self) -> Listing[Wait]:
        """The steps that it stands at, the longest wait first: what each waits for, or why it failed."""
        return Listing(self._waits.values())

    @property
    def forms(self) -> dict[str, Mapping[str, Any]]:
        """The JSON schema of what each step asks for that waits for input, by the step's key."""
        return {wait.step: wait.form or {} for wait in self._asking}

    @property
    def form(self) -> dict[str, Any]:
        """The JSON schema of what it asks for: of the form's first page.

        Raises:
            ProcessStateError: it does not wait for input, or several steps do; see `forms`.
        """
        if not self._asking:
            raise ProcessStateError(f"Process {self.process_id} is {self.status}: it does not wait for input")
        if len(self._asking) > 1:
            steps = ", ".join(wait.step for wait in self._asking)
            raise ProcessStateError(f"Process {self.process_id} waits for input at several steps: {steps}; see `forms`")
        return dict(self._asking[0].form or {})

    @property
    def note(self) -> str | None:
        """What people are to know of it."""
        return self._row.note

    @property
    def parent(self) -> "Process | None":
        """The process that started it, if one did."""
        parent_id = self._row.parent_process_id
        return None if parent_id is None else self._session.process(parent_id)

    @property
    def children(self) -> "Listing[Process]":
        """The processes that its steps started, oldest first."""
        return self._session.read_children(self.process_id)

    @property
    def callback_progress(self) -> Any:
        """How far the other system that it waits for said last that it is; `None` where none said anything."""
        said = [found for found in self._session.read_callbacks(self.process_id) if found.progress_at is not None]
        return max(said, key=lambda found: found.progress_at or found.opened_at).progress if said else None

    def resume(
        self,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - what it is
        step: str | None = None,
        *,
        launch: bool = False,
    ) -> Self:
        """Answer what it asks for, and let it go on until it halts again; see `Session.resume`.

        Args:
            input: the fields of the form.
            step: key of the step that asks. Default: the one that asked when the process was looked at.
            launch: have it go on through the Dagster instance instead, and return at once.

        Raises:
            ProcessStateError: it does not wait for input, several steps do, or it was answered otherwise.
            InputError: the input is not valid; it goes on waiting.
        """
        asked = step or (self._asking[0].step if len(self._asking) == 1 else None)
        self._session.resume(self.process_id, input, step=asked, launch=launch)
        return self.refresh()

    def retry(self, step: str | None = None, *, launch: bool = False) -> Self:
        """Go on with the process, which failed or was interrupted, until it halts again; see `Session.retry`.

        Args:
            step: key of the step. Default: every step that failed, or waits to be tried again.
            launch: have it go on through the Dagster instance instead, and return at once.
        """
        self._session.retry(self.process_id, step=step, launch=launch)
        return self.refresh()

    def skip(self, step: str | None, reason: str, *, launch: bool = False) -> Self:
        """Pass a step by that failed, or waits, and let the process go on until it halts again; see `Session.skip`.

        Args:
            step: key of the step; `None` where the process stands at one only.
            reason: why.
            launch: have it go on through the Dagster instance instead, and return at once.
        """
        self._session.skip(self.process_id, step, reason, launch=launch)
        return self.refresh()

    def replace_value(self, key: str, value: Any, reason: str, *, step: str | None = None) -> Self:
        """Put another value into its state, on record; see `Session.replace_value`.

        Args:
            key: key of the state.
            value: the new value; JSON.
            reason: why.
            step: key of a step that it stands at, to replace the value in that step's branch.
        """
        self._session.replace_value(self.process_id, key, value, reason, step=step)
        return self.refresh()

    def abort(self, reason: str, *, launch: bool = False) -> Self:
        """End it, after what its steps did is undone as they say; see `Session.abort`.

        Args:
            reason: why.
            launch: have it done through the Dagster instance instead, and return at once.
        """
        self._session.abort(self.process_id, reason, launch=launch)
        return self.refresh()

    def set_note(self, note: str | None) -> Self:
        """Write down what people are to know of it."""
        self._session.set_note(self.process_id, note)
        return self.refresh()

    def refresh(self) -> Self:
        """Look again, and return the process."""
        self._row, self._steps, self._waits = self._session.read_process(self.process_id)
        return self

    def wait(self, timeout: timedelta | None = None) -> Self:
        """Wait until it ends or stands still, whoever works on it, and return it.

        Args:
            timeout: how long at most.

        Raises:
            TimeoutError: it has done neither by then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
        while not (self.refresh().status.ended or self.status.halted):
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"Process {self.process_id} is {self.status} after {timeout}")
            time.sleep(_POLL_SECONDS)
        return self

    @property
    def _asking(self) -> list[Wait]:
        return [wait for wait in self._waits.values() if wait.kind is WaitKind.INPUT and not wait.ready]

    def __repr__(self) -> str:
        at = f" at {self.current_step}" if not self.status.ended and self.current_step else ""
        reason = f": {self.failed_reason}" if self.failed_reason else ""
        return f"<Process {self.process_id} {self.workflow} {self.status}{at}{reason}>"

    def _repr_html_(self) -> str:
        steps = table(
            ("step", "name", "status", "seconds", "changed", "error"),
            [
                (
                    row.step,
                    row.name,
                    row.status,
                    f"{(row.completed_at - row.started_at).total_seconds():.3f}",
                    list(row.changed),
                    (row.error or {}).get("error"),
                )
                for row in self._steps
            ],
        )
        waits = table(
            ("step", "name", "waits for", "since", "due", "assignee", "reason"),
            [
                (wait.step, wait.name, wait.kind, wait.since, wait.due_at, wait.assignee, wait.reason)
                for wait in self._waits.values()
            ],
        )
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<p>{escape(repr(self))}</p>{note}{waits if self._waits else ''}{steps}"


class Launch:
    """A workflow that the Dagster instance was asked to run."""

    def __init__(self, session: "ProcessSession", run_id: str) -> None:
        self._session = session
        self.run_id = run_id

    @property
    def process_id(self) -> UUID:
        """The id that the process has, once it is started."""
        return UUID(self.run_id)

    @property
    def run_status(self) -> dg.DagsterRunStatus:
        """Where the Dagster run stands.

        Raises:
            ProcessNotFoundError: the run was deleted.
        """
        run = self._session.instance.get_run_by_id(self.run_id)
        if run is None:
            raise ProcessNotFoundError(self.run_id)
        return run.status

    def wait(self, timeout: timedelta | None = None) -> Process:
        """Wait until the Dagster run has ended, and return the process.

        Args:
            timeout: how long at most.

        Raises:
            TimeoutError: the run has not ended by then.
            RefusalError: the process was not started.
        """
        deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
        while self.run_status not in _ENDED:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"Run {self.run_id} is {self.run_status.value} after {timeout}")
            time.sleep(_POLL_SECONDS)
        try:
            return self._session.process(self.process_id)
        except ProcessNotFoundError:
            raise RefusalError(self._why_not()) from None

    def _why_not(self) -> str:
        records = self._session.instance.all_logs(
            self.run_id, of_type={dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
        )
        for record in records:
            failure = record.get_dagster_event().event_specific_data
            given = getattr(getattr(failure, "user_failure_data", None), "description", None)
            message = given or getattr(getattr(failure, "error", None), "message", None)
            if message:
                return str(message)
        return f"Run {self.run_id} started no process; its Dagster log says why"

    def __repr__(self) -> str:
        return f"<Launch {self.run_id} {self.run_status.value}>"


_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
