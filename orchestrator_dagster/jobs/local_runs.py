"""Runs of processes in this Python process, one after another: for notebooks, scripts and tests."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import dagster as dg
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.engine_settings import engine_status
from orchestrator_dagster.db.families import queued_in_family
from orchestrator_dagster.db.processes import get_process, given_input, process_of_run
from orchestrator_dagster.db.queue import open_resume_token, queued_processes
from orchestrator_dagster.db.waits import queue_due
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.errors import EnginePausedError, OrchestratorError, ProcessBusyError
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.left_behind import settle_all
from orchestrator_dagster.jobs.run import hearing_refusals

if TYPE_CHECKING:
    from orchestrator_dagster.orchestrator import Orchestrator

# Dagster sets up logging for each run, and two that do so in one Python process wait for each other for ever
_one_run_at_a_time = threading.Lock()

_MOST_AT_ONCE = 100


class LocalRuns:
    """Runs processes here, in this Python process. Threads take turns.

    Args:
        orchestrator: the workflows.
        engine: the database.
        instance: where Dagster keeps its records of the runs.
        user: on whose behalf.
        log_level: from which level on the console shows what Dagster logs.
    """

    def __init__(
        self, orchestrator: "Orchestrator", engine: Engine, instance: dg.DagsterInstance, user: str, log_level: str
    ) -> None:
        self._orchestrator = orchestrator
        self._engine = engine
        self._instance = instance
        self._user = user
        self._log_level = log_level

    def start(self, workflow: str, config: Mapping[str, Any]) -> UUID:
        """Start a process, run it until it halts, and return its id.

        Raises:
            RefusalError: it is not started.
        """
        run_id = str(uuid4())
        self._execute(workflow, config, run_id, {})
        return UUID(run_id)

    def pick_up(self, process_id: UUID) -> None:
        """Run a process that waits for a run until it halts, unless another run picks it up, or the engine is paused.

        Raises:
            ProcessStateError: it cannot go on.
        """
        with self._engine.begin() as connection:
            process = get_process(connection, process_id)
            if not process.status.queued:
                return
            given = given_input(connection, process_id)
            token = open_resume_token(connection, process_id, self._user, submits=True)
        # an abort is asked for while the engine is paused, too: it is carried out when that goes on
        with suppress(ProcessBusyError, EnginePausedError):
            self._execute(process.workflow, given, str(uuid4()), {tags.RESUME_TOKEN: str(token)})

    def finish_family(self, process_id: UUID) -> None:
        """Run whatever of a process, what it started and what started it, waits for a run; until nothing does."""
        self._run_while_there_is(lambda connection: queued_in_family(connection, process_id))

    def go_on(self) -> list[UUID]:
        """Run whatever is due or waits for a run, until nothing does.

        Returns:
            The processes that it ran, each once.
        """
        list(settle_all(self._engine))
        return self._run_while_there_is(self._due_or_queued)

    def _due_or_queued(self, connection: Connection) -> list[UUID]:
        while queue_due(connection, now(), _MOST_AT_ONCE):
            pass
        workflows = list(self._orchestrator.workflows)
        return [found.process_id for found in queued_processes(connection, _MOST_AT_ONCE, workflow_names=workflows)]

    def _run_while_there_is(self, find: Callable[[Connection], list[UUID]]) -> list[UUID]:
        """Run what is found, and then what is found again, until nothing new is; return the processes."""
        tried: dict[tuple[UUID, UUID], None] = {}
        while True:
            with self._engine.begin() as connection:
                found = find(connection)
                if found and engine_status(connection).paused:
                    found = []
                claims = [(each, open_resume_token(connection, each, self._user)) for each in found]
            new = [claim for claim in claims if claim not in tried]
            if not new:
                return list(dict.fromkeys(process_id for process_id, _ in tried))
            tried.update(dict.fromkeys(new))
            for process_id, _ in new:
                # one that cannot go on says so itself, and doesn't keep the others from it
                with suppress(OrchestratorError):
                    self.pick_up(process_id)

    def _execute(self, workflow: str, config: Mapping[str, Any], run_id: str, more_tags: Mapping[str, str]) -> None:
        job = self._orchestrator.job(workflow, log_level=self._log_level)
        with _one_run_at_a_time, hearing_refusals() as refused:
            result = job.execute_in_process(
                run_config=dict(config),
                instance=self._instance,
                run_id=run_id,
                tags={tags.USER: self._user, **more_tags},
                # a step that fails must not keep the other branches from running; the step log says what failed
                raise_on_error=False,
            )
        if refused:
            raise refused[0].refusal from None
        if not result.success:
            self._require_process(run_id, result)

    def _require_process(self, run_id: str, result: dg.ExecuteInProcessResult) -> None:
        """Make sure that a run that failed came as far as its process, which says then how it stands."""
        with self._engine.connect() as connection:
            if process_of_run(connection, run_id) is not None:
                return
        failures = [_text_of(event) for event in result.all_events if event.is_failure]
        raise OrchestratorError("\n".join(failures) or f"Run {run_id} failed before it had a process")


def _text_of(failure: dg.DagsterEvent) -> str:
    """Return why something failed in Dagster, from the error that was there first."""
    error = getattr(failure.event_specific_data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return failure.message or "" if error is None else error.to_string()
