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
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import ProcessNotFoundError, ProcessStateError, RefusalError
from orchestrator_dagster.jobs.listing import Listing, table

if TYPE_CHECKING:
    from orchestrator_dagster.jobs.session import Session

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

    def __init__(self, session: "Session", row: ProcessRow, steps: Sequence[StepRow]) -> None:
        self._session = session
        self._row = row
        self._steps = steps

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
        """Key of the step that was logged last: the one that it failed at or waits at, if it does."""
        return self._row.last_step

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
    def form(self) -> dict[str, Any]:
        """The JSON schema of what it asks for.

        Raises:
            ProcessStateError: it does not wait for input.
        """
        raise self._asks_for_nothing()

    def resume(self, input: Mapping[str, Any] | None = None) -> Self:  # noqa: A002, ARG002 - what it is
        """Answer what it asks for.

        Args:
            input: the fields of the form.

        Raises:
            ProcessStateError: it does not wait for input.
        """
        raise self._asks_for_nothing()

    def _asks_for_nothing(self) -> ProcessStateError:
        return ProcessStateError(f"Process {self.process_id} is {self.status}: it does not wait for input")

    def refresh(self) -> Self:
        """Look again, and return the process."""
        self._row, self._steps = self._session.read_process(self.process_id)
        return self

    def retry(self) -> Self:
        """Go on with the process, which failed or was interrupted, from its first unfinished step; see `Session`."""
        self._session.retry(self.process_id)
        return self.refresh()

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
        return f"<p>{escape(repr(self))}</p>{steps}"


class Launch:
    """A workflow that the Dagster instance was asked to run."""

    def __init__(self, session: "Session", run_id: str) -> None:
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
