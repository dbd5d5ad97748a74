"""A workbench: one orchestrator with a database, a Dagster instance and a clock of its own, all in this process."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import dagster as dg

from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.jobs.listing import Listing
from orchestrator_dagster.jobs.process import Process
from orchestrator_dagster.jobs.session import Session
from orchestrator_dagster.orchestrator import Orchestrator
from orchestrator_dagster.resources.database import Database
from orchestrator_dagster.testing.clock import JumpingClock
from orchestrator_dagster.testing.outside import FakeCaller
from orchestrator_dagster.testing.server import TemporaryServer


class Workbench:
    """Runs workflows in this Python process, on a real Postgres, up to the point where they wait for something.

    Within it models load and save. What is due after `clock.jump(...)` goes on with `go_on()`.

    Args:
        orchestrator: the products and workflows.
        database: where everything is kept. Default: one of an embedded server, which is gone with the workbench.
        resources: Dagster resources by parameter name, instead of the orchestrator's own: the doubles of a test.
        user: on whose behalf everything is done.

    Attributes:
        clock: what time it is for the engine.
        session: the session, for all that the workbench does not do itself.

    Example:
        >>> with Workbench(orchestrator) as bench:  # doctest: +SKIP
        ...     moving = bench.run("modify_node", {"subscription_id": node_id, "site": "Utrecht"})
        ...     assert_suspended(moving, "confirm_move")
        ...     assert_complete(moving.resume({"ticket": "CHG123"}))
    """

    session: Session

    def __init__(
        self,
        orchestrator: Orchestrator,
        *,
        database: Database | None = None,
        resources: Mapping[str, Any] | None = None,
        user: str = "SYSTEM",
    ) -> None:
        self.clock = JumpingClock()
        self._orchestrator = orchestrator
        self._database = database
        self._resources = resources
        self._user = user
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            database = self._database or stack.enter_context(_temporary_database())
            instance = stack.enter_context(dg.DagsterInstance.ephemeral())
            stack.enter_context(use_clock(self.clock))
            orchestrator = self._orchestrator.with_changes(database=database, resources=self._resources)
            self.session = stack.enter_context(orchestrator.connect(user=self._user, instance=instance))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, workflow: str, input: Mapping[str, Any] | None = None) -> Process:  # noqa: A002 - what it is
        """Run a workflow until it ends or waits for something.

        Args:
            workflow: name of the workflow.
            input: the fields of its form.

        Raises:
            InputError: the input is not valid.
            StartConditionError: the workflow may not start on the subscription.
        """
        return self.session.run(workflow, input)

    def process(self, process_id: UUID | str) -> Process:
        """Return a process as it is now."""
        return self.session.process(process_id)

    def go_on(self) -> Listing[Process]:
        """Go on with every process that may: its time has come, its answer is there, its worker died.

        Returns:
            The processes that went on, as they are now.
        """
        return self.session.go_on()

    def callback(self, process: Process, body: Any = None, *, route: str | None = None) -> Process:
        """Call back, as the system outside does once it is done, and go on.

        Args:
            process: the process that awaits it.
            body: the JSON that is sent.
            route: where it is sent to. Default: the newest route in the state of the process.

        Returns:
            The process, at the next point where it ends or waits.
        """
        self._outside.call_back(process, body, route)
        self.go_on()
        return process.refresh()

    def progress(self, process: Process, body: Any, *, route: str | None = None) -> Process:
        """Report progress, as the system outside may while it is at work.

        Args:
            process: the process that awaits its callback.
            body: a text, or JSON.
            route: where callbacks are sent to. Default: the newest route in the state of the process.
        """
        self._outside.report(process, body, route)
        return process.refresh()

    @property
    def _outside(self) -> FakeCaller:
        return FakeCaller(self.session.orchestrator.database.engine)


@contextmanager
def _temporary_database() -> Iterator[Database]:
    with TemporaryServer() as server, server.database() as database:
        yield database
