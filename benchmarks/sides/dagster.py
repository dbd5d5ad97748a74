"""Dagster, with our parts or as it is shipped."""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from benchmarks.children import HOST, Child, Children, free_port, run_to_end, wait_until
from benchmarks.errors import BenchmarkError

BENCHMARKS = Path(__file__).resolve().parent.parent
REPOSITORY = BENCHMARKS.parent
BIN = Path(sys.executable).parent
LOCATION = "benchmarks"
START_SECONDS = 120.0
REQUEST_SECONDS = 300.0
STOCK = {"telemetry": {"enabled": False}}
CIRCUIT = {"product": "Circuit", "customer_id": "acme", "circuit_name": "circuit", "bandwidth": 1000}
ROLES = {"webserver": "webserver", "dagster-daemon": "daemon", "grpc": "code servers", "execute_run": "run processes"}

LAUNCH = """
mutation Launch($selector: JobOrPipelineSelector!, $config: RunConfigData) {
  launchRun(executionParams: {selector: $selector, runConfigData: $config}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
RUNS = """
query Runs($ids: [String]) {
  runsOrError(filter: {runIds: $ids}) {
    __typename
    ... on Runs { results { runId status endTime } }
    ... on PythonError { message }
  }
}
"""


def shipped_instance() -> dict[str, Any]:
    """Return the instance that this repository ships."""
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    return loaded


@dataclass(frozen=True)
class DagsterSide:
    """A Dagster instance with the jobs of one module.

    Attributes:
        key: what the command line and the results call it.
        title: what the table calls it.
        home: its `DAGSTER_HOME`.
        instance: what stands in its `dagster.yaml`.
        database: URL of the database that the jobs write to.
        module: the module that Dagster loads.
        job: the job of nine steps.
        config: the job's run config.
        burst: how many runs are submitted at once.
        submits: how many runs are submitted one after the other in a round.
    """

    key: str
    title: str
    home: Path
    instance: Mapping[str, Any]
    database: str
    module: str = "workload.definitions"
    job: str = "create_circuit"
    config: Mapping[str, Any] = field(default_factory=lambda: CIRCUIT)
    burst: int = 200
    submits: int = 20

    @contextmanager
    def running(self) -> Iterator["DagsterService"]:
        """Start webserver and daemon; they start what they need."""
        self.prepare()
        port = free_port()
        with Children(self.environment, "DAGSTER_HOME", self.home) as children:
            workspace = str(self.home / "workspace.yaml")
            children.start("webserver", str(BIN / "dagster-webserver"), "-w", workspace, "-h", HOST, "-p", str(port))
            children.start("daemon", str(BIN / "dagster-daemon"), "run", "-w", workspace)
            service = DagsterService(self, children, f"http://{HOST}:{port}")
            service.wait_for_start()
            yield service

    def in_process(self, runs: int) -> Mapping[str, list[float]]:
        """Run the jobs in a Python process of their own, on this instance."""
        self.prepare()
        seconds: dict[str, list[float]] = json.loads(self.probe(f"in_process_{self.module.split('.')[1]}", runs))
        return seconds

    def probe(self, name: str, runs: int) -> str:
        """Run a probe on this instance, in a Python process of its own; return what it printed last."""
        command = [sys.executable, "-m", f"benchmarks.probes.{name}", str(runs)]
        return run_to_end(command, self.environment, self.home).strip().splitlines()[-1]

    def prepare(self) -> None:
        """Write what stands in the home."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(dict(self.instance)))
        location = {"module_name": self.module, "location_name": LOCATION}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"python_module": location}]}))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all of its processes."""
        return os.environ | {
            "DAGSTER_HOME": str(self.home),
            "ORCHESTRATOR_DATABASE_URL": self.database,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(BENCHMARKS)]),
            "PYTHONWARNINGS": "ignore",
        }


class DagsterService:
    """A running webserver and daemon, by way of Dagit's GraphQL."""

    def __init__(self, side: DagsterSide, children: Children, address: str) -> None:
        self._side = side
        self._children = children
        self._address = address
        self._local = threading.local()
        self._selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": "__repository__",
            "jobName": side.job,
        }

    def wait_for_start(self) -> None:
        if not wait_until(self._answers, START_SECONDS):
            raise BenchmarkError(f"Dagit did not start; see {self._side.home}")

    def submit(self) -> str:
        """Launch a run, as Dagit's Launchpad does."""
        launched = self._query(LAUNCH, selector=self._selector, config=dict(self._side.config))["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            raise BenchmarkError(f"The run was not launched: {launched}")
        run_id: str = launched["run"]["runId"]
        return run_id

    def ended(self, ids: Sequence[str]) -> dict[str, float]:
        """Return the end times that Dagster has of these runs."""
        found = self._query(RUNS, ids=list(ids))["runsOrError"]
        if found["__typename"] != "Runs":
            raise BenchmarkError(f"Dagit does not answer: {found}")
        failed = [run["runId"] for run in found["results"] if run["status"] in ("FAILURE", "CANCELED")]
        if failed:
            raise BenchmarkError(f"Run {failed[0]} failed; see {self._side.home}")
        return {run["runId"]: run["endTime"] for run in found["results"] if run["status"] == "SUCCESS"}

    def memory(self) -> dict[str, list[Child]]:
        """Return its processes by what they are for; what is none of Dagster's own are the workers."""
        processes: dict[str, list[Child]] = {}
        for child in self._children.find():
            roles = [role for word, role in ROLES.items() if any(word in each for each in child.command)]
            processes.setdefault(roles[0] if roles else "workers", []).append(child)
        return processes

    def _answers(self) -> bool:
        self._children.require_alive()
        try:
            return self._session.get(f"{self._address}/server_info", timeout=5).ok
        except requests.ConnectionError:
            return False

    def _query(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self._session.post(
            f"{self._address}/graphql", json={"query": query, "variables": variables}, timeout=REQUEST_SECONDS
        ).json()
        if answer.get("errors"):
            raise BenchmarkError(f"Dagit refuses: {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    @property
    def _session(self) -> requests.Session:
        """The connection of this thread, kept open as a browser does."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session
