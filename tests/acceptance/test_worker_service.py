"""The life of the worker service, and who shares it: real clients, a webserver, a daemon, signals and kills."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster_home import (
    CAPTURED,
    LAUNCH,
    WARM,
    Dagit,
    DagsterHome,
    ask,
    launch_variables,
    process_ended,
    until,
    webserver,
)
from golden_example import CREATE_NODE, REPOSITORY, golden_folder
from sqlalchemy import text

from orchestrator_dagster.cli import main
from orchestrator_dagster.instance import WarmRunLauncher
from orchestrator_dagster.instance.service_folder import ServiceFolder

pytestmark = pytest.mark.long

WORKERS = REPOSITORY / "tests" / "workers"
SUCCESS, FAILURE, STARTED, QUEUED = (dg.DagsterRunStatus(name) for name in ("SUCCESS", "FAILURE", "STARTED", "QUEUED"))
START_TIMEOUT_SECONDS = 4
MONITORING = {"enabled": True, "poll_interval_seconds": 2, "start_timeout_seconds": START_TIMEOUT_SECONDS}
SESSION = f"""
from datetime import timedelta
from golden.definitions import orchestrator

with orchestrator.connect() as wfo:
    print(wfo.launch("create_node", {CREATE_NODE!r}).wait(timedelta(minutes=1)).status)
"""

MakeHome = Callable[..., DagsterHome]


def make(folder: Path, database: str, launcher: Mapping[str, Any] | None = None, **sections: Any) -> DagsterHome:
    """Make an instance with one warm worker for each code location."""
    variables = {
        "ORCHESTRATOR_DATABASE_URL": database,
        "CONTROLLER_DIRECTORY": str(folder / "controller"),
        "LOADS": str(folder / "loads"),
    }
    home = DagsterHome.make(folder / "home", python_path=[WORKERS, golden_folder()], **variables)
    config = {"workers": 1} | dict(launcher or {})
    home.configure(run_launcher=WARM | {"config": config}, compute_logs=CAPTURED, **sections)
    return home


@contextmanager
def environment_of(home: DagsterHome, patch: pytest.MonkeyPatch) -> Iterator[DagsterHome]:
    """Have the environment of a home, and in the end no worker service in it."""
    for name, value in home.environment.items():
        patch.setenv(name, value)
    yield home
    ServiceFolder.of(str(home.folder)).stop_server(now=True)


@pytest.fixture
def make_home(orchestrator_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHome]:
    """Make an instance with settings of its own."""
    with ExitStack() as stack:

        def make_here(launcher: Mapping[str, Any] | None = None, **sections: Any) -> DagsterHome:
            home = make(tmp_path, orchestrator_database, launcher, **sections)
            return stack.enter_context(environment_of(home, monkeypatch))

        yield make_here


@pytest.fixture
def home(make_home: MakeHome) -> DagsterHome:
    return make_home()


@pytest.fixture
def go_on(tmp_path: Path) -> Path:
    """Runs and clients wait until this is there."""
    return tmp_path / "go-on"


class Client:
    """A Python process that launches runs: this one.

    Args:
        instance: the instance.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        launcher = instance.run_launcher
        assert isinstance(launcher, WarmRunLauncher)
        self.launcher = launcher
        self._code = ReconstructableRepository.for_module("warm_jobs", "defs")

    def launch(self, job_name: str, **ops: Any) -> str:
        """Launch a job without a workspace, as Dagster's own Python API can; return the id of the run."""
        job = self._code.get_reconstructable_job(job_name)
        run = self.instance.create_run_for_job(
            job.get_definition(),
            run_config={"ops": {name: {"config": config} for name, config in ops.items()}},
            job_code_origin=job.get_python_origin(),
        )
        self.instance.launch_run(run.run_id, workspace=None)  # type: ignore[arg-type]
        return run.run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def ended(self, run_id: str) -> dg.DagsterRun:
        until(lambda: self.run(run_id).is_finished, f"run {run_id} does not end")
        return self.run(run_id)

    def worker(self, run_id: str) -> int:
        """Wait until a run is under way, and return the process that executes it."""
        until(lambda: "worker" in self.run(run_id).tags, f"run {run_id} does not begin")
        return int(self.run(run_id).tags["worker"])

    def messages(self, run_id: str) -> str:
        return " ".join(record.user_message or record.message for record in self.instance.all_logs(run_id))

    def service(self) -> int:
        """Wait until there is a service, and return its process."""
        return int(until(self.launcher.folder.server, "there is no worker service"))


@pytest.fixture
def client(home: DagsterHome, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with client_of(home, monkeypatch) as client:
        yield client


@contextmanager
def client_of(home: DagsterHome, patch: pytest.MonkeyPatch) -> Iterator[Client]:
    patch.setattr(sys, "path", [*sys.path, str(WORKERS)])  # Dagster looks away from the first of them
    with home.instance() as instance:
        yield Client(instance)
    sys.modules.pop("warm_jobs", None)


def launch_elsewhere(home: DagsterHome, clients: int, job: str, go_on: Path) -> list[str]:
    """Have processes launch a job, each once and all at the same moment; return the ids of the runs."""
    with home.process("python", WORKERS / "launching.py", clients, job, go_on) as launching:
        go_on.touch()
        output, _ = launching.communicate(timeout=120)
    assert launching.returncode == 0, output
    return re.findall(r"^[0-9a-f-]{36}$", output, re.MULTILINE)


def services_started(client: Client) -> list[str]:
    return re.findall(r"Worker service .*: process (\d+)", client.launcher.folder.log.read_text())


class TestOnDemand:
    def test_clients_that_launch_at_once_share_one_service_that_ends_when_nobody_needs_it(
        self, home: DagsterHome, client: Client, go_on: Path
    ) -> None:
        runs = launch_elsewhere(home, 6, "short", go_on)
        assert len(runs) == 6
        assert {client.ended(run).status for run in runs} == {SUCCESS}
        (worker,) = {client.worker(run) for run in runs}
        (service,) = map(int, services_started(client))
        assert client.launcher.folder.server() == service
        # this process has launched nothing, and so is no client
        until(lambda: client.launcher.folder.server() is None, "the service stays though nobody needs it")
        until(lambda: process_ended(service) and process_ended(worker), "the worker outlives its service")

    def test_a_killed_service_takes_its_workers_along_and_the_next_one_executes_what_waited(
        self, client: Client, go_on: Path
    ) -> None:
        running = client.launch("waiting", wait={"file": str(go_on)})
        worker, service = client.worker(running), client.service()
        waits = client.launch("short")
        os.kill(service, signal.SIGKILL)
        until(lambda: process_ended(worker), "the worker outlives its service")
        assert client.ended(running).status is FAILURE
        assert "worker service" in client.messages(running)
        assert client.ended(waits).status is SUCCESS
        assert client.service() != service

    def test_status_and_stop(self, home: DagsterHome, client: Client, go_on: Path) -> None:
        assert "Not running" in CliRunner().invoke(main, ["worker", "status"]).output
        assert "Not running" in CliRunner().invoke(main, ["worker", "stop"]).output
        running = client.launch("waiting", wait={"file": str(go_on)})
        client.worker(running)
        service = client.service()
        status = CliRunner().invoke(main, ["worker", "status"]).output
        assert re.search(rf"Process: +{service}\b", status)
        assert re.search(r"Running: +1\b", status)
        go_on.touch()
        stopped = home.command("orchestrator-dagster", "worker", "stop")
        assert (stopped.status, str(service) in stopped.output) == (0, True), stopped.output
        assert client.ended(running).status is SUCCESS
        assert client.launcher.folder.server() is None
        assert client.ended(client.launch("short")).status is SUCCESS

    def test_stop_now_does_not_wait_for_runs(self, home: DagsterHome, client: Client, go_on: Path) -> None:
        running = client.launch("waiting", wait={"file": str(go_on)})
        worker = client.worker(running)
        stopped = home.command("orchestrator-dagster", "worker", "stop", "--now")
        assert stopped.status == 0, stopped.output
        assert client.run(running).status is FAILURE
        until(lambda: process_ended(worker), "the worker is still there")


def test_a_run_that_no_workspace_knows_can_wait_for_long(
    make_home: MakeHome, monkeypatch: pytest.MonkeyPatch, go_on: Path
) -> None:
    """Dagster cannot show such a run as queued."""
    with client_of(make_home(run_monitoring=MONITORING), monkeypatch) as client:
        busy = client.launch("waiting", wait={"file": str(go_on)})
        waits = client.launch("short")
        client.worker(busy)
        shown = "SELECT 1 FROM orchestrator_instance.launches WHERE run_id = :run AND shown_as_queued"
        with client.launcher.queue.engine.connect() as connection:
            until(lambda: connection.execute(text(shown), {"run": waits}).first(), "it was not looked at")
        go_on.touch()
        assert {client.ended(run).status for run in (busy, waits)} == {SUCCESS}


class TestForeground:
    def test_it_stays_is_the_only_one_and_ends_after_the_runs_that_have_a_worker(
        self, home: DagsterHome, client: Client, go_on: Path
    ) -> None:
        with home.process("orchestrator-dagster", "worker") as service:
            until(lambda: client.launcher.folder.server() == service.pid, "the service does not come up")
            second = home.command("orchestrator-dagster", "worker")
            assert second.status != 0
            assert str(service.pid) in second.output
            running = client.launch("waiting", wait={"file": str(go_on)})
            client.worker(running)
            service.terminate()
            go_on_later = client.launch("short")
            time.sleep(1)
            assert (service.poll(), client.run(running).status) == (None, STARTED)
            go_on.touch()
            assert client.ended(running).status is SUCCESS
            assert service.wait(60) == 0
        # another service, which this process started
        assert client.ended(go_on_later).status is SUCCESS

    def test_a_run_that_ignores_interrupts_is_killed(self, home: DagsterHome, client: Client, go_on: Path) -> None:
        """After half a minute; here it is a second."""
        with home.process("python", WORKERS / "impatient_service.py") as service:
            until(lambda: client.launcher.folder.server() == service.pid, "the service does not come up")
            deaf = client.launch("deaf", ignore_interrupts={"file": str(go_on)})
            worker = client.worker(deaf)
            assert client.launcher.terminate(deaf)
            assert client.ended(deaf).status is dg.DagsterRunStatus.CANCELED
            until(lambda: process_ended(worker), "the worker is still there")
            assert client.ended(client.launch("short")).status is SUCCESS


class TestRecycling:
    def test_a_worker_is_replaced_after_so_many_runs(
        self, make_home: MakeHome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with client_of(make_home({"max_runs": 2}), monkeypatch) as client:
            runs = [client.launch("short") for _ in range(5)]
            assert {client.ended(run).status for run in runs} == {SUCCESS}
            first, second, third, fourth, fifth = map(client.worker, runs)
            assert (first, third) == (second, fourth)
            assert len({first, third, fifth}) == 3

    def test_a_worker_with_too_much_memory_is_replaced(
        self, make_home: MakeHome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with client_of(make_home({"max_memory_mib": 1}), monkeypatch) as client:
            runs = [client.launch("short") for _ in range(2)]
            assert {client.ended(run).status for run in runs} == {SUCCESS}
            assert len({client.worker(run) for run in runs}) == 2

    def test_a_worker_that_cannot_end_by_itself_is_replaced(
        self, make_home: MakeHome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with client_of(make_home({"max_runs": 1}), monkeypatch) as client:
            left = client.launch("leaving_a_thread")
            assert client.ended(left).status is SUCCESS
            assert client.ended(client.launch("short")).status is SUCCESS
            until(partial(process_ended, client.worker(left)), "the worker is still there")


def test_launching_says_that_the_database_of_the_queue_is_unreachable(
    make_home: MakeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home({"postgres_url": "postgresql://nobody@127.0.0.1:1/nothing"})
    with client_of(home, monkeypatch) as client:
        with pytest.raises(Exception, match="port 1 failed"):
            client.launch("short")
        (run,) = client.instance.get_runs()
        assert run.status is FAILURE


class TestWithWebserverAndDaemon:
    """One instance with two workers a code location, whose runs must begin within four seconds."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("shared")

    @pytest.fixture(scope="class")
    @classmethod
    def shared_home(cls, folder: Path, module_database_url: str) -> Iterator[DagsterHome]:
        home = make(folder, module_database_url, run_monitoring=MONITORING)
        with pytest.MonkeyPatch.context() as patch, environment_of(home, patch):
            yield home

    @pytest.fixture(scope="class")
    @classmethod
    def dagit(cls, shared_home: DagsterHome, client: Client) -> Iterator[str]:
        """The address of a webserver, beside which there is a daemon."""
        client.ended(client.launch("also_short"))  # that a service starts slowly is for the monitor a bad start
        workspace = shared_home.locations("warm_jobs", "golden.definitions")
        with (
            shared_home.process("dagster-daemon", "run", "-w", workspace),
            webserver(shared_home, workspace) as address,
        ):
            yield address

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls, shared_home: DagsterHome) -> Iterator[Client]:
        with pytest.MonkeyPatch.context() as patch, client_of(shared_home, patch) as client:
            yield client

    def launch(self, dagit: str, job: str, **ops: Any) -> str:
        answer = ask(dagit, LAUNCH, **launch_variables("warm_jobs", job, ops))
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    @pytest.mark.timeout(240)
    def test_webserver_commands_sensors_and_sessions_share_it(
        self, dagit: str, shared_home: DagsterHome, client: Client, folder: Path
    ) -> None:
        (folder / "ask").touch()  # the sensor has been told
        from_dagit = self.launch(dagit, "short")
        command = ["job", "launch", "-w", shared_home.folder / "workspace.yaml", "-l", "warm_jobs", "-j", "short"]
        launched = shared_home.command("dagster", *command)
        assert launched.status == 0, launched.output
        session = shared_home.command("python", "-c", SESSION)
        assert session.output.splitlines()[-1:] == ["completed"], session.output
        of_sensor = dg.RunsFilter(tags={"asked_by": "sensor"})
        until(lambda: client.instance.get_runs(of_sensor), "the sensor does not launch")
        runs = client.instance.get_runs(dg.RunsFilter(job_name="short"))
        assert from_dagit in {run.run_id for run in runs}
        assert len(runs) == 3
        assert {client.ended(run.run_id).status for run in runs} == {SUCCESS}
        assert len({client.worker(run.run_id) for run in runs}) == 1
        assert len(services_started(client)) == 1

    def test_to_wait_for_a_worker_is_no_bad_start(self, dagit: str, client: Client, go_on: Path) -> None:
        busy = self.launch(dagit, "waiting", wait={"file": str(go_on)})
        client.worker(busy)
        waits = self.launch(dagit, "short")
        until(lambda: client.run(waits).status is QUEUED, "a run that waits is not shown as queued")
        time.sleep(2 * START_TIMEOUT_SECONDS)  # several looks of the monitor, and more than a start may take
        assert (client.run(busy).status, client.run(waits).status) == (STARTED, QUEUED)
        go_on.touch()
        assert {client.ended(run).status for run in (busy, waits)} == {SUCCESS}

    def test_the_monitor_lets_a_run_alone_that_was_not_launched(
        self, dagit: str, shared_home: DagsterHome, client: Client, go_on: Path
    ) -> None:
        config = shared_home.run_config({"ops": {"wait": {"config": {"file": str(go_on)}}}})
        with shared_home.process("dagster", "job", "execute", "-m", "warm_jobs", "-j", "waiting", "-c", config) as own:
            started = dg.RunsFilter(statuses=[STARTED])
            (run,) = until(lambda: client.instance.get_runs(started), "the run does not begin")
            time.sleep(2 * MONITORING["poll_interval_seconds"])
            assert client.run(run.run_id).status is STARTED
            go_on.touch()
            output, _ = own.communicate(timeout=60)
        assert (own.returncode, client.run(run.run_id).status) == (0, SUCCESS), output

    def test_the_daemon_alone_notices_that_the_service_was_killed(
        self, dagit: str, shared_home: DagsterHome, client: Client, go_on: Path, tmp_path: Path
    ) -> None:
        (running,) = launch_elsewhere(shared_home, 1, "waiting_for_long", go_on)
        worker, service = client.worker(running), client.service()
        os.kill(service, signal.SIGKILL)
        killed_at = time.monotonic()
        assert client.ended(running).status is FAILURE
        print(f"noticed after {time.monotonic() - killed_at:.1f} s")  # noqa: T201 - for who wants to know
        until(partial(process_ended, worker), "the worker outlives its service")
        assert client.ended(self.launch(dagit, "short")).status is SUCCESS


class TestWithDagstersQueue:
    @pytest.fixture
    def home(self, make_home: MakeHome) -> DagsterHome:
        queue = {"module": "dagster", "class": "QueuedRunCoordinator", "config": {"dequeue_interval_seconds": 1}}
        return make_home(run_coordinator=queue, run_monitoring=MONITORING)

    @pytest.mark.timeout(240)
    def test_it_works_and_waits_for_workers_as_long_as_it_takes(
        self, home: DagsterHome, client: Client, go_on: Path
    ) -> None:
        workspace = home.locations("warm_jobs")
        client.ended(client.launch("also_short"))  # that a service starts slowly is for the monitor a bad start
        with home.process("dagster-daemon", "run", "-w", workspace), Dagit.opened(home, workspace) as dagit:
            busy = dagit.launch("warm_jobs", "waiting", wait={"file": str(go_on)})
            client.worker(busy)
            waits = dagit.launch("warm_jobs", "short")
            shown = re.compile("Waiting for a worker")
            until(lambda: shown.search(client.messages(waits)), "a run that waits is not shown as queued")
            time.sleep(3 * START_TIMEOUT_SECONDS)
            assert not client.run(waits).is_finished, client.messages(waits)
            go_on.touch()
            assert {client.ended(run).status for run in (busy, waits)} == {SUCCESS}
            assert client.worker(busy) == client.worker(waits)
