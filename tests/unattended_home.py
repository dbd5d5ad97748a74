"""An instance that nobody attends to, and the services around it, each of which can be stopped and killed."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
import yaml
from dagster import DagsterRun
from dagster._core.storage.dagster_run import RunsFilter
from dagster_home import BIN, DagsterHome, free_port, until
from golden_example import REPOSITORY

from orchestrator_dagster import Process, Session
from orchestrator_dagster.instance.service_folder import ServiceFolder
from orchestrator_dagster.jobs.tags import PROCESS_ID

MODULE = "unattended"
WORKERS = REPOSITORY / "tests" / "workers"
STOCK = {"telemetry": {"enabled": False}}
_SECONDS_TO_END = 30


@dataclass
class Service:
    """A process that is there for as long as a test wants.

    Attributes:
        home: whose environment it has.
        command: what it is.
    """

    home: DagsterHome
    command: tuple[str, ...]
    _running: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._running is not None
        return self._running.pid

    @property
    def log(self) -> Path:
        """What it printed, each time that it was there."""
        return self.home.folder / f"{self.command[0]}-{self.command[1]}.log"

    def start(self) -> None:
        """Start it, unless it is there."""
        if self._running is None:
            name, *arguments = self.command
            with self.log.open("ab") as output:
                self._running = subprocess.Popen(
                    [str(BIN / name), *arguments],
                    env=self.home.environment,
                    cwd=self.home.folder,
                    stdout=output,
                    stderr=output,
                )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, and see it end."""
        running, self._running = self._running, None
        if running is not None:
            running.send_signal(number)
            try:
                running.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@dataclass
class Unattended:
    """An instance with warm workers, and the workflows of `workers/unattended.py`.

    Attributes:
        home: its folder and environment, which this process has too.
        folder: where the workflows look for files.
        workspace: names the code server.
        code: the workflows, in this process.
        wfo: a session with them.
    """

    home: DagsterHome
    folder: Path
    workspace: Path
    code: ModuleType
    wfo: Session
    _services: ExitStack = field(default_factory=ExitStack)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, database_url: str, *, stock: bool = False) -> "Iterator[Unattended]":
        """Have the code server run, and open a session.

        Args:
            folder: where everything is.
            database_url: the orchestrator's database.
            stock: whether the instance is as Dagster makes it, without any part of this package.
        """
        files = folder / "files"
        files.mkdir()
        variables = {"ORCHESTRATOR_DATABASE_URL": database_url, "UNATTENDED": str(files)}
        home = DagsterHome.make(folder / "home", python_path=[WORKERS], **variables)
        (home.folder / "dagster.yaml").write_text(yaml.safe_dump(STOCK if stock else _with_two_workers()))
        port = free_port()
        workspace = _workspace(home, port)
        with ExitStack() as stack:
            code = stack.enter_context(_environment(home))
            services = stack.enter_context(ExitStack())
            stack.callback(ServiceFolder.of(str(home.folder)).stop_server, now=True)
            served = Service(home, ("dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(port), "-m", MODULE))
            services.callback(served.stop)
            served.start()
            until(lambda: _listens(port), f"the code server does not answer; see {served.log}")
            instance = stack.enter_context(home.instance())
            wfo = stack.enter_context(code.orchestrator.connect(instance=instance, workspace=workspace))
            yield cls(home, files, workspace, code, wfo, services)

    def service(self, *command: object) -> Service:
        """Return a service, which is stopped in the end."""
        service = Service(self.home, tuple(map(str, command)))
        self._services.callback(service.stop)
        return service

    @property
    def daemon(self) -> Service:
        """Return a daemon, which is not started yet."""
        return self.service("dagster-daemon", "run", "-w", self.workspace)

    def launch(self, workflow: str, **given: object) -> UUID:
        """Launch a workflow, and return the id of its process."""
        return UUID(self.wfo.launch(workflow, given).run_id)

    def process(self, process_id: UUID) -> Process | None:
        """Return a process, if it has begun."""
        return next((each for each in self.wfo.processes() if each.process_id == process_id), None)

    def comes_to_be(self, process_id: UUID, status: str) -> Process:
        """Wait until a process stands so."""

        def stands() -> Process | None:
            found = self.process(process_id)
            return found if found is not None and found.status == status else None

        found: Process = until(stands, f"it is not {status}: {self.wfo.processes()!r}")
        return found

    def runs(self, process_id: UUID) -> list[str]:
        """Return the runs of a process, as far as Dagster has them."""
        found = self.wfo.instance.get_runs(RunsFilter(tags={PROCESS_ID: str(process_id)}))
        return [run.run_id for run in found]

    def ended(self, run_id: str) -> DagsterRun:
        """Wait for the end of a run."""

        def ended() -> DagsterRun | None:
            run = self.wfo.instance.get_run_by_id(run_id)
            return run if run is not None and run.is_finished else None

        found: DagsterRun = until(ended, f"run {run_id} does not end")
        return found

    def noted(self, process_id: UUID, what: str) -> str:
        """Wait until a step has noted something, and return it."""
        file = self.folder / f"{process_id}-{what}"
        return str(until(lambda: file.exists() and file.read_text(), f"nothing says {what}: {self.wfo.processes()!r}"))

    def has_noted(self, process_id: UUID, what: str) -> bool:
        """Whether a step has noted something."""
        return (self.folder / f"{process_id}-{what}").exists()

    def let_go_on(self, process_id: UUID) -> None:
        """Let a step that holds go on."""
        (self.folder / f"{process_id}-go-on").touch()

    def held(self, workflow: str) -> tuple[UUID, int]:
        """Launch a workflow that holds; return its process, and the process of the worker that is in the step."""
        process_id = self.launch(workflow)
        return process_id, int(self.noted(process_id, "holding"))


def answers_by(folder: Path, how: str, process_id: UUID) -> None:
    """Have a process answered by a sensor or schedule."""
    (folder / how).mkdir(exist_ok=True)
    (folder / how / str(process_id)).touch()


def _with_two_workers() -> Any:
    """Return the instance that the package recommends, with so few workers that runs have to wait."""
    configured = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    configured["run_launcher"]["config"]["workers"] = 2
    return configured


def _workspace(home: DagsterHome, port: int) -> Path:
    served = {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": MODULE}}
    file = home.folder / "workspace.yaml"
    file.write_text(yaml.safe_dump({"load_from": [served]}))
    return file


@contextmanager
def _environment(home: DagsterHome) -> Iterator[ModuleType]:
    """Have the environment of a home in this process, and the workflows."""
    import importlib
    import sys

    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(WORKERS))
        sys.modules.pop(MODULE, None)
        try:
            yield importlib.import_module(MODULE)
        finally:
            sys.modules.pop(MODULE, None)


def _listens(port: int) -> bool:
    from dagster._grpc.client import DagsterGrpcClient

    with suppress(Exception):
        return bool(DagsterGrpcClient(port=port, host="127.0.0.1").ping("?"))
    return False
