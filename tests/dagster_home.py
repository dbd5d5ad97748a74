"""A Dagster instance of one test, for commands and workers that run as processes of their own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance, DagsterRun
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_graphql.cli import execute_query

from examples.services import Service, end_group

BIN = Path(sys.executable).parent

INSTANCE = {
    "storage": {"custom": {"module": "orchestrator_dagster.instance", "class": "PostgresStorage", "config": {}}},
    # the default is a queue, which needs a daemon
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "code_servers": {"wait_for_local_processes_on_shutdown": True},
    "telemetry": {"enabled": False},
}

WARM = {"module": "orchestrator_dagster.instance", "class": "WarmRunLauncher"}
CAPTURED = {"module": "orchestrator_dagster.instance", "class": "InProcessComputeLogManager", "config": {}}

PATIENCE_SECONDS = 90.0
"""For so long a test waits for what must happen: many times what it takes on an idle machine."""


def until(happened: Callable[[], Any], what: str) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := happened()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def process_ended(pid: int) -> bool:
    """Whether a process is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@dataclass(frozen=True)
class DagsterHome:
    """The folder of an instance, and the environment in which processes find it.

    Attributes:
        folder: what `DAGSTER_HOME` names.
        environment: all environment variables.
    """

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def make(cls, folder: Path, *, python_path: Sequence[Path] = (), **variables: str) -> "DagsterHome":
        """Make an instance whose records are in the orchestrator's database."""
        folder.mkdir(parents=True)
        (folder / "dagster.yaml").write_text(yaml.safe_dump(INSTANCE))
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        paths = os.pathsep.join(map(str, python_path))
        return cls(folder, inherited | {"DAGSTER_HOME": str(folder), "PYTHONPATH": paths} | variables)

    def configure(self, **sections: Any) -> None:
        """Put more into the `dagster.yaml`, or other things than are there by default."""
        (self.folder / "dagster.yaml").write_text(yaml.safe_dump(INSTANCE | sections))

    def locations(self, *modules: str, files: Sequence[Path] = ()) -> Path:
        """Write a workspace that loads modules and files, each called by its own name."""
        load = [{"python_module": {"module_name": module, "location_name": module}} for module in modules]
        load += [{"python_file": {"relative_path": str(file), "location_name": file.stem}} for file in files]
        workspace = self.folder / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": load}))
        return workspace

    def workspace(self, module: str) -> Path:
        """Write a workspace that loads a module."""
        file = self.folder / "workspace.yaml"
        file.write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}))
        return file

    def run_config(self, config: Mapping[str, Any]) -> Path:
        """Write a run config."""
        file = self.folder / f"config-{len(list(self.folder.glob('config-*')))}.yaml"
        file.write_text(yaml.safe_dump(dict(config)))
        return file

    def command(self, name: str, *arguments: object, timeout: float = 60, **variables: str) -> "Finished":
        """Run a command of the virtual environment to its end."""
        finished = subprocess.run(
            [str(BIN / name), *map(str, arguments)],
            env={**self.environment, **variables},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(finished.returncode, finished.stdout)

    @contextmanager
    def process(self, *command: object, **variables: str) -> "Iterator[subprocess.Popen[str]]":
        """Have a command of the virtual environment run for as long as the block lasts; it is interrupted then."""
        name, *arguments = map(str, command)
        process = subprocess.Popen(
            [str(BIN / name), *arguments],
            env={**self.environment, **variables},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    @contextmanager
    def instance(self) -> Iterator[DagsterInstance]:
        """Open the instance in this process, whose own environment must name the database."""
        with DagsterInstance.from_config(str(self.folder)) as instance:
            yield instance


@dataclass(frozen=True)
class Finished:
    """What a command left behind.

    Attributes:
        status: its exit status; that of a killed process is the negative number of the signal.
        output: all that it printed.
    """

    status: int
    output: str


class Dagit:
    """What Dagit asks a webserver, asked in this process, whose environment must be that of the Dagster home.

    Args:
        workspace: what Dagit shows.
    """

    def __init__(self, workspace: WorkspaceProcessContext) -> None:
        self._workspace = workspace
        self.instance = workspace.instance

    @classmethod
    @contextmanager
    def opened(cls, home: DagsterHome, workspace: Path) -> "Iterator[Dagit]":
        """Open the instance and the code locations of a workspace."""
        with (
            home.instance() as instance,
            WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)])) as context,
        ):
            yield cls(context)

    def ask(self, query: str, **variables: Any) -> Any:
        """Return the answer to the one thing that a query asks for."""
        answers = execute_query(self._workspace, query, variables)
        assert "errors" not in answers, answers
        (answer,) = answers["data"].values()
        return answer

    def launch(self, location: str, job: str, **ops: Mapping[str, Any]) -> str:
        """Launch a job and return the id of the run; the ops' configurations are given by their names."""
        variables = launch_variables(location, job, ops)
        answer = self.ask(LAUNCH, **variables)
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def reload(self, location: str) -> None:
        """Press the button that loads a code location anew."""
        answer = self.ask(RELOAD, location=location)
        assert answer["__typename"] == "WorkspaceLocationEntry", answer

    def terminate(self, run_id: str) -> str:
        """Press the button that terminates a run; return the type of the answer."""
        return str(self.ask(TERMINATE, run=run_id)["__typename"])

    def run(self, run_id: str) -> DagsterRun:
        """Return a run as it is now."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def ended(self, run_id: str) -> DagsterRun:
        """Wait for the end of a run."""
        until(lambda: self.run(run_id).is_finished, f"run {run_id} does not end")
        return self.run(run_id)

    def messages(self, run_id: str) -> str:
        """Return what stands in the log of a run, errors included."""
        entries = [record.event_log_entry for record in self.instance.get_records_for_run(run_id).records]
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        told = (entry.message or entry.user_message for entry in entries)
        return "\n".join([*told, *(str(event.event_specific_data) for event in events)])


def launch_variables(location: str, job: str, ops: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of `LAUNCH`; the ops' configurations are given by their names."""
    config = {"ops": {name: {"config": config} for name, config in ops.items()}}
    return {"location": location, "job": job, "config": json.dumps(config)}


LAUNCH = """
mutation($location: String!, $job: String!, $config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: $location}
    mode: "default"
    runConfigData: $config
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
RELOAD = """
mutation($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) { __typename ... on PythonError { message } }
}
"""
LOADED = """
{
  workspaceOrError { ... on Workspace { locationEntries {
    name locationOrLoadError { __typename ... on PythonError { message } }
  } } }
}
"""
TERMINATE = """
mutation($run: String!) { terminateRun(runId: $run) { __typename ... on TerminateRunFailure { message } } }
"""


@contextmanager
def webserver(home: DagsterHome, workspace: Path) -> Iterator[str]:
    """Have Dagit's webserver run, and yield its address."""
    port = free_port()
    with home.process("dagster-webserver", "-w", workspace, "-h", "127.0.0.1", "-p", port) as process:
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, process.communicate()[0]
            return _answers(address)

        until(answers, "the webserver does not answer")
        yield address


@contextmanager
def everything(home: DagsterHome, workspace: Path) -> Iterator[str]:
    """Have `orchestrator-dagster dev` run, and yield Dagit's address when it has loaded the code."""
    printed = home.folder / "dev.log"
    command = [str(BIN / "orchestrator-dagster"), "dev", "-w", str(workspace), "-p", str(free_port())]
    with printed.open("w") as output:
        process = subprocess.Popen(
            command, env=home.environment, cwd=home.folder, stdout=output, stderr=output, start_new_session=True
        )

    def address() -> str | None:
        assert process.poll() is None, printed.read_text()
        told = re.search(r"^Dagit: +(http://\S+)$", printed.read_text(), re.MULTILINE)
        return told[1] if told and _answers(told[1]) else None

    try:
        dagit = until(address, f"Dagit does not answer; see {printed}")
        for entry in ask(dagit, LOADED)["locationEntries"]:
            assert entry["locationOrLoadError"]["__typename"] == "RepositoryLocation", entry
        yield dagit
    finally:
        end_group(Service("dev", process.pid, born=""), reap=process)
        process.wait()


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5):  # noqa: S310 - our own
            return True
    except OSError:
        return False


def ask(address: str, query: str, **variables: Any) -> Any:
    """Ask a webserver, and return the answer to the one thing that a query asks for."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
        (answer,) = json.load(response)["data"].values()
        return answer
