"""Processes as a Dagster resource, for steps, assets, sensors, schedules and ops of one's own."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, cast
from uuid import UUID

import dagster as dg
from sqlalchemy import Connection

from orchestrator_dagster.db.processes import ProcessRow, find_processes, get_process, set_note
from orchestrator_dagster.db.step_log import StepRow, step_rows
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.db.waits import waits_of
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.repository import ambient_repository
from orchestrator_dagster.domain.waiting import Wait
from orchestrator_dagster.errors import ConfigurationError
from orchestrator_dagster.jobs import going_on
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.resources.database import Database


class Processes(dg.ConfigurableResource["Processes"]):
    """The processes: their step logs, and what can be done to one that stands still.

    What is done inside a step is part of the step's transaction: it is so when the step is done. A process that goes on
    by it is picked up by a run within seconds.

    The orchestrator's own, under the key `processes`, knows its workflows. One that is made with a database only can
    read, and write notes.

    Args:
        database: where they are kept.
    """

    workflows: ClassVar[Mapping[str, Workflow] | None] = None

    database: dg.ResourceDependency[Database]

    @classmethod
    def of_workflows(cls, workflows: Mapping[str, Workflow], database: Database) -> "Processes":
        """Return the resource of an orchestrator, whose workflows say what their processes ask for.

        Args:
            workflows: the workflows by name.
            database: where the processes are kept.
        """
        # Dagster makes a resource anew from its class and its configuration, so the workflows are the class's
        of_orchestrator = cast("type[Processes]", type(cls.__name__, (cls,), {"workflows": workflows}))
        return of_orchestrator(database=database)

    def find(
        self,
        *,
        subscription_id: UUID | None = None,
        workflow: str | None = None,
        status: str | Iterable[str] | None = None,
        limit: int | None = None,
    ) -> list[ProcessRow]:
        """Return the processes that fit all that is given, oldest first; with a limit, the newest ones.

        Args:
            subscription_id: a subscription that they worked on.
            workflow: name of their workflow.
            status: where they stand, one or several: `ProcessStatus` or text.
            limit: how many at most.
        """
        where = ProcessStatus.several(status)
        with self.database.reading() as connection:
            return find_processes(
                connection, subscription_id=subscription_id, workflow=workflow, status=where, limit=limit
            )

    def get(self, process_id: UUID) -> ProcessRow:
        """Return a process.

        Raises:
            ProcessNotFoundError: there is none with that id.
        """
        with self.database.reading() as connection:
            return get_process(connection, process_id)

    def steps(self, process_id: UUID) -> list[StepRow]:
        """Return the step log of a process, oldest row first."""
        with self.database.reading() as connection:
            return step_rows(connection, process_id)

    def waits(self, process_id: UUID) -> list[Wait]:
        """Return the steps that a process stands at, the longest wait first."""
        with self.database.reading() as connection:
            return list(waits_of(connection, process_id).values())

    def resume(
        self,
        process_id: UUID,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - what it is
        *,
        step: str | None = None,
        user: str | None = None,
    ) -> bool:
        """Answer what a process asks for; see `Session.resume`.

        Args:
            process_id: id of the process.
            input: the fields of the step's form; JSON.
            step: key of the step; needed where several steps ask.
            user: on whose behalf. Default: that of the step, `SYSTEM` outside of one.

        Returns:
            Whether it goes on by this; not where the very same was answered before.
        """
        with self._writing(user) as (connection, who):
            return going_on.answer(connection, self._known, process_id, input or {}, step=step, user=who)

    def retry(self, process_id: UUID, *, step: str | None = None, user: str | None = None) -> bool:
        """Let what failed in a process be tried again; see `Session.retry`.

        Args:
            process_id: id of the process.
            step: key of the step. Default: every step that failed, or waits to be tried again.
            user: on whose behalf. Default: that of the step, `SYSTEM` outside of one.

        Returns:
            Whether it goes on by this; not where that was asked for before.
        """
        with self._writing(user) as (connection, who):
            return going_on.retry(connection, self._known, process_id, step=step, user=who)

    def skip(self, process_id: UUID, step: str | None, reason: str, *, user: str | None = None) -> bool:
        """Pass a step of a process by; see `Session.skip`.

        Args:
            process_id: id of the process.
            step: key of the step; `None` where the process stands at one only.
            reason: why.
            user: on whose behalf. Default: that of the step, `SYSTEM` outside of one.

        Returns:
            Whether it goes on by this; not where the step was skipped before.
        """
        with self._writing(user) as (connection, who):
            return going_on.skip(connection, self._known, process_id, step, reason, user=who)

    def replace_value(
        self,
        process_id: UUID,
        key: str,
        value: Any,
        reason: str,
        *,
        step: str | None = None,
        user: str | None = None,
    ) -> None:
        """Put another value into the state of a process; see `Session.replace_value`.

        Args:
            process_id: id of the process.
            key: key of the state.
            value: the new value; JSON.
            reason: why.
            step: key of a step that the process stands at, to replace the value in that step's branch.
            user: on whose behalf. Default: that of the step, `SYSTEM` outside of one.
        """
        with self._writing(user) as (connection, who):
            going_on.replace_value(connection, self._known, process_id, key, value, reason, step=step, user=who)

    def abort(self, process_id: UUID, reason: str, *, user: str | None = None) -> bool:
        """Have a process aborted; see `Session.abort`.

        Args:
            process_id: id of the process.
            reason: why.
            user: on whose behalf. Default: that of the step, `SYSTEM` outside of one.

        Returns:
            Whether a run is still to carry it out.
        """
        with self._writing(user) as (connection, who):
            return going_on.abort(connection, self._known, process_id, reason, user=who)

    def set_note(self, process_id: UUID, note: str | None) -> None:
        """Write down what people are to know of a process."""
        with self._writing(None) as (connection, _):
            set_note(connection, process_id, note)

    @property
    def _known(self) -> Mapping[str, Workflow]:
        """The workflows, without which nothing tells what a process asks for, or what is to be undone.

        Raises:
            ConfigurationError: the resource was made with a database only.
        """
        if self.workflows is None:
            raise ConfigurationError(
                "Processes(database=...) knows no workflows, so it can only read: take the resource `processes` of the "
                "orchestrator, or a session (`orchestrator.connect()`)"
            )
        return self.workflows

    @contextmanager
    def _writing(self, user: str | None) -> Iterator[tuple[Connection, str]]:
        """Yield a connection to write with, inside a step the step's own, and on whose behalf."""
        repository = ambient_repository()
        if isinstance(repository, PostgresRepository):
            # what is refused leaves nothing behind, should the step go on all the same
            with repository.connection.begin_nested():
                yield repository.connection, user or repository.changed_by
        else:
            with self.database.engine.begin() as connection:
                yield connection, user or "SYSTEM"
