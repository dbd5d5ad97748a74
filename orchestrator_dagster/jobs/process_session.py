"""What a session does with processes: run and launch them, answer them, let them go on, look at them."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dagster as dg
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.callbacks import Callback, callbacks_of
from orchestrator_dagster.db.engine_settings import EngineStatus, engine_status, pause_engine, resume_engine
from orchestrator_dagster.db.families import children_of
from orchestrator_dagster.db.processes import ProcessRow, find_processes, get_process, given_input, set_note
from orchestrator_dagster.db.queue import claim_resume_token
from orchestrator_dagster.db.step_log import StepRow, recall, step_rows
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.db.waits import waits_of
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.repository import ambient_repository
from orchestrator_dagster.domain.secret import sealed
from orchestrator_dagster.domain.waiting import Wait
from orchestrator_dagster.errors import ConfigurationError, ProcessNotFoundError
from orchestrator_dagster.jobs import going_on, tags
from orchestrator_dagster.jobs.door import in_one_transaction
from orchestrator_dagster.jobs.launching import Launching
from orchestrator_dagster.jobs.listing import Listing
from orchestrator_dagster.jobs.local_runs import LocalRuns
from orchestrator_dagster.jobs.process import Launch, Process
from orchestrator_dagster.jobs.secret_input import sealed_input
from orchestrator_dagster.jobs.start import check_start_input
from orchestrator_dagster.jobs.workflow import Workflow

if TYPE_CHECKING:
    from orchestrator_dagster.orchestrator import Orchestrator

_Door = Callable[[Connection, Mapping[str, Workflow], UUID], bool]


class ProcessSession:
    """The part of a session that is about processes.

    Attributes:
        orchestrator: the products and workflows.
        user: on whose behalf everything is done.
        instance: the Dagster instance, within the session.
    """

    orchestrator: "Orchestrator"
    user: str
    instance: dg.DagsterInstance
    _engine: Engine
    _launching: Launching
    _local_runs: LocalRuns

    def run(self, workflow: str, input: Mapping[str, Any] | None = None) -> Process:  # noqa: A002 - what it is
        """Run a workflow here, in this Python process, until it ends, waits or fails. Threads take turns.

        Processes that its steps start run here as well.

        Args:
            workflow: name of the workflow.
            input: the fields of its form, as in the job's run config.

        Returns:
            The process. Look at its `status`: a process that failed is returned, not raised.

        Raises:
            WorkflowNotFoundError: there is no such workflow.
            InputError: the input is not valid; nothing is left behind.
            StartConditionError: the workflow may not start on the subscription; nothing is left behind.
            RefusalError: the engine is paused, or the user may not start it.
        """
        require_no_transaction("used to run a workflow")
        config = sealed_input(self._engine, self.orchestrator.workflow(workflow), as_config(input), self.user)
        return self._with_family(self._local_runs.start(workflow, config))

    def launch(self, workflow: str, input: Mapping[str, Any] | None = None) -> Launch:  # noqa: A002 - what it is
        """Have a workflow run by the Dagster instance: its queue, launcher and run worker.

        The input and the start conditions are checked before that here, and then again by the run.

        Args:
            workflow: name of the workflow.
            input: the fields of its form, as in the job's run config.

        Returns:
            What was launched; `wait()` gives its process.

        Raises:
            WorkflowNotFoundError: there is no such workflow.
            InputError: the input is not valid.
            StartConditionError: the workflow may not start on the subscription.
            RefusalError: the engine is paused, or the user may not start it.
            ConfigurationError: no workspace has a job of that name, or the instance is not one that can launch.
        """
        require_no_transaction("used to launch a workflow")
        found = self.orchestrator.workflow(workflow)
        config = check_start_input(self._engine, found, as_config(input), self.user)
        return Launch(self, self._launching.launch(workflow, config, {tags.USER: self.user}))

    def resume(
        self,
        process_id: UUID | str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - what it is
        *,
        step: str | None = None,
        launch: bool = False,
    ) -> Process:
        """Answer what a process asks for, and let it go on, here, until it halts again.

        The same answer given twice, or by two people at once, counts once.

        Args:
            process_id: id of the process.
            input: the fields of the step's form.
            step: key of the step; needed where several steps ask.
            launch: have it go on through the Dagster instance instead, and return at once.

        Raises:
            ProcessNotFoundError: there is no such process.
            ProcessStateError: it does not ask, several steps do, or it was answered otherwise.
            InputError: the input is not valid, with the errors of all fields; the process goes on waiting.
            RefusalError: the engine is paused, or the user may not do that.
        """
        given = as_config(input)
        return self._come_to(
            process_id,
            lambda connection, workflows, found: going_on.answer(
                connection, workflows, found, given, step=step, user=self.user
            ),
            launch=launch,
        )

    def retry(self, process_id: UUID | str, *, step: str | None = None, launch: bool = False) -> Process:
        """Go on with a process that failed or was interrupted, here, from where it stands, until it halts again.

        Args:
            process_id: id of the process. Its earlier Dagster runs need not exist any more.
            step: key of the step. Default: every step that failed, or waits to be tried again.
            launch: have it go on through the Dagster instance instead, and return at once.

        Raises:
            ProcessNotFoundError: there is no such process.
            ProcessStateError: nothing failed, or the process has ended.
            RefusalError: the engine is paused, or the user may not do that.
        """
        return self._come_to(
            process_id,
            lambda connection, workflows, found: going_on.retry(
                connection, workflows, found, step=step, user=self.user
            ),
            launch=launch,
        )

    def skip(self, process_id: UUID | str, step: str | None, reason: str, *, launch: bool = False) -> Process:
        """Pass a step by that failed, or waits, and let the process go on, here, until it halts again.

        Args:
            process_id: id of the process.
            step: key of the step; `None` where the process stands at one only.
            reason: why; it stays on record.
            launch: have it go on through the Dagster instance instead, and return at once.

        Raises:
            ProcessNotFoundError: there is no such process.
            ProcessStateError: it does not stand at that step, or a run works on it.
            RefusalError: the engine is paused, or the user may not do that.
        """
        return self._come_to(
            process_id,
            lambda connection, workflows, found: going_on.skip(
                connection, workflows, found, step, reason, user=self.user
            ),
            launch=launch,
        )

    def abort(self, process_id: UUID | str, reason: str, *, launch: bool = False) -> Process:
        """End a process: what its steps did is undone as they say, and then its `finally_` steps run, here.

        One that a run works on stops after its current step, and that run does the rest.

        Args:
            process_id: id of the process.
            reason: why; it stays on record.
            launch: have it done through the Dagster instance instead, and return at once.

        Raises:
            ProcessNotFoundError: there is no such process.
            ProcessStateError: it is completed.
        """
        aborted = self._come_to(
            process_id,
            lambda connection, workflows, found: going_on.abort(connection, workflows, found, reason, user=self.user),
            launch=launch,
        )
        if not launch:
            # one that ended at once has woken the process that waited for it, and aborts what it started
            self._local_runs.finish_family(aborted.process_id)
        return self.process(aborted.process_id)

    def replace_value(
        self, process_id: UUID | str, key: str, value: Any, reason: str, *, step: str | None = None
    ) -> Process:
        """Put another value into the state of a process, on record. The process does not go on by this.

        Args:
            process_id: id of the process.
            key: key of the state.
            value: the new value; JSON.
            reason: why; it stays on record.
            step: key of a step that the process stands at, to replace the value in that step's branch.

        Raises:
            ProcessNotFoundError: there is no such process.
            ProcessStateError: it has ended, or a run works on it.
            InputError: the value cannot be stored.
            NotAuthorizedError: the user may not do that.
        """
        found = _process_id(process_id)
        with self._engine.begin() as connection:
            going_on.replace_value(
                connection, self.orchestrator.workflows, found, key, value, reason, step=step, user=self.user
            )
        return self.process(found)

    def set_note(self, process_id: UUID | str, note: str | None) -> Process:
        """Write down what people are to know of a process.

        Raises:
            ProcessNotFoundError: there is no such process.
        """
        found = _process_id(process_id)
        with self._engine.begin() as connection:
            set_note(connection, found, note)
        return self.process(found)

    def go_on(self) -> Listing[Process]:
        """Run here, until nothing is left, every process that is due or waits for a run; return them.

        That is what the sensor `go_on` does through Dagster: it is for notebooks and tests that have no daemon.
        """
        require_no_transaction("used to go on with processes")
        return Listing(self.process(process_id) for process_id in self._local_runs.go_on())

    def pause_engine(self, reason: str) -> EngineStatus:
        """Let all processes stop after their current step, and start none, until the engine is resumed."""
        with self._engine.begin() as connection:
            pause_engine(connection, self.user, reason)
        return self.engine_status()

    def resume_engine(self) -> EngineStatus:
        """Let processes go on; those that stopped do so by themselves, or here with `go_on`."""
        with self._engine.begin() as connection:
            resume_engine(connection, self.user)
        return self.engine_status()

    def engine_status(self) -> EngineStatus:
        """Return whether the engine is paused, by whom and why, and how many processes run."""
        with self._engine.connect() as connection:
            return engine_status(connection)

    def process(self, process_id: UUID | str) -> Process:
        """Return a process.

        Raises:
            ProcessNotFoundError: there is none with that id.
        """
        return Process(self, *self.read_process(_process_id(process_id)))

    def processes(
        self,
        *,
        subscription_id: UUID | None = None,
        workflow: str | None = None,
        status: str | Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Listing[Process]:
        """Return processes, oldest first; with a limit, the newest ones.

        Args:
            subscription_id: a subscription that they worked on.
            workflow: name of their workflow.
            status: where they stand, one or several: `ProcessStatus` or text.
            limit: how many at most.
        """
        with self._engine.connect() as connection:
            found = find_processes(
                connection,
                subscription_id=subscription_id,
                workflow=workflow,
                status=ProcessStatus.several(status),
                limit=limit,
            )
            return Listing(Process(self, row, *_log_and_waits(connection, row)) for row in found)

    def read_process(self, process_id: UUID) -> tuple[ProcessRow, list[StepRow], dict[str, Wait]]:
        """Return a process, its step log and what it waits for, as they are now."""
        with self._engine.connect() as connection:
            row = get_process(connection, process_id)
            return row, *_log_and_waits(connection, row)

    def read_state(self, process_id: UUID) -> dict[str, Any]:
        """Return what a process knows after its last finished step."""
        with self._engine.connect() as connection:
            return recall(connection, process_id).state

    def read_children(self, process_id: UUID) -> Listing[Process]:
        """Return the processes that a process started, oldest first."""
        with self._engine.connect() as connection:
            found = children_of(connection, process_id)
        return Listing(self.process(child) for child in found)

    def read_callbacks(self, process_id: UUID) -> list[Callback]:
        """Return the callbacks that a process awaits, or has awaited."""
        with self._engine.connect() as connection:
            return callbacks_of(connection, process_id, lock=False)

    def _come_to(self, process_id: UUID | str, door: _Door, *, launch: bool) -> Process:
        """Do what is wanted of a process; where it goes on by that, let it, here or through the instance."""
        require_no_transaction("used to go on with a process")
        found = _process_id(process_id)
        goes_on = in_one_transaction(
            self._engine, lambda connection: door(connection, self.orchestrator.workflows, found)
        )
        if goes_on and launch:
            self._launch_queued(found)
        elif goes_on:
            self._local_runs.pick_up(found)
            return self._with_family(found)
        return self.process(found)

    def _with_family(self, process_id: UUID) -> Process:
        """Return a process that ran here, after what it started, and what it woke, has run here too."""
        row, steps, waits = self.read_process(process_id)
        is_alone = row.parent_process_id is None and not any(wait.waits_for for wait in waits.values())
        if is_alone and not row.status.queued:
            return Process(self, row, steps, waits)
        self._local_runs.finish_family(process_id)
        return self.process(process_id)

    def _launch_queued(self, process_id: UUID) -> None:
        with self._engine.begin() as connection:
            workflow = get_process(connection, process_id).workflow
            given = given_input(connection, process_id)
            token = claim_resume_token(connection, process_id, self.user)
        if token is not None:
            about = {
                tags.USER: token.user,
                tags.RESUME_TOKEN: str(token.token),
                tags.PROCESS_ID: str(process_id),
            }
            self._launching.launch(workflow, given, about)


def require_no_transaction(wanted: str) -> None:
    """Make sure that no transaction is open here: a session in it would wait for it, or commit beside it."""
    if isinstance(ambient_repository(), PostgresRepository):
        raise ConfigurationError(
            f"A session cannot be {wanted} inside a step or a transaction: models load and save there already"
        )


def as_config(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return input as JSON, as it stands in run config."""
    config: dict[str, Any] = sealed(given or {})
    return config


def _process_id(given: UUID | str) -> UUID:
    try:
        return UUID(str(given))
    except ValueError as error:
        raise ProcessNotFoundError(given) from error


def _log_and_waits(connection: Connection, row: ProcessRow) -> tuple[list[StepRow], dict[str, Wait]]:
    waits = {} if row.status.ended else waits_of(connection, row.process_id)
    return step_rows(connection, row.process_id), waits
