"""A worker that is killed right before or right after a step's commit: the step's effect is there exactly once."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_graphql.cli import execute_query
from dagster_home import DagsterHome
from golden_example import CREATE_NODE, REPOSITORY
from sqlalchemy import Engine, text

from orchestrator_dagster import Process

pytestmark = pytest.mark.long

WORKERS = REPOSITORY / "tests" / "workers"
POINTS = ["before commit", "after commit"]
MARKS = ["first", "middle", "last"]
PATIENCE = 60


@pytest.fixture
def kill_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is written here is where the next worker is killed."""
    file = tmp_path / "kill-at"
    monkeypatch.setenv("KILL_AT", str(file))
    return file


@pytest.fixture
def home(dagster_home: DagsterHome, kill_at: Path) -> DagsterHome:
    paths = f"{dagster_home.environment['PYTHONPATH']}:{WORKERS}"
    return DagsterHome(dagster_home.folder, {**dagster_home.environment, "PYTHONPATH": paths, "KILL_AT": str(kill_at)})


@pytest.fixture
def mortal(golden: ModuleType, kill_at: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The workers' code in this process, for what goes on after they were killed."""
    from orchestrator_dagster.ops import commit_path

    monkeypatch.setattr(commit_path, "listeners", list(commit_path.listeners))
    monkeypatch.syspath_prepend(str(WORKERS))
    import mortal_golden

    yield mortal_golden
    sys.modules.pop("mortal_golden")


@pytest.fixture
def instance(home: DagsterHome) -> Iterator[dg.DagsterInstance]:
    with home.instance() as instance:
        yield instance


@pytest.fixture
def node_id(mortal: ModuleType) -> UUID:
    with dg.DagsterInstance.ephemeral() as instance, mortal.orchestrator.connect(instance=instance) as wfo:
        found: UUID = wfo.run("create_node", CREATE_NODE).subscription_id
        return found


def requests(tmp_path: Path, name: str) -> list[str]:
    """Return the keys of the requests that the controller got from a step."""
    file = tmp_path / "requests"
    lines = map(json.loads, file.read_text().splitlines()) if file.exists() else []
    return [request_id for of, request_id in lines if of == name]


def kill(home: DagsterHome, kill_at: Path, job: str, config: dict[str, Any], place: str) -> None:
    """Run a job in a process of its own until the place where it is killed."""
    kill_at.write_text(place)
    arguments = ["-m", "mortal_golden", "-j", job, "-c", home.run_config(config)]
    finished = home.command("dagster", "job", "execute", *arguments)
    assert finished.status == -signal.SIGKILL, f"the worker was not killed at {place}:\n{finished.output[-3000:]}"
    assert not kill_at.exists()


def reexecute(instance: dg.DagsterInstance, job: Any, run_id: str) -> dg.JobExecutionResult:
    """Do what follows once somebody has noticed that the worker is dead."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.STARTED, "nobody could tell Dagster that the worker died"
    instance.report_run_failed(run)
    options = dg.ReexecutionOptions.from_failure(run_id, instance)
    return dg.execute_job(dg.reconstructable(job), instance=instance, reexecution_options=options)


def site(engine: Engine) -> str:
    """Return what the database has now, without the models."""
    with engine.connect() as connection:
        statement = "SELECT values ->> 'site' FROM orchestrator.subscription_instances"
        return str(connection.execute(text(statement)).scalar_one())


def the_process(mortal: ModuleType, instance: dg.DagsterInstance, workflow: str) -> Process:
    with mortal.orchestrator.connect(instance=instance) as wfo:
        (process,) = wfo.processes(workflow=workflow)
        assert [row.held_by for row in wfo.subscriptions()] == [None if process.status.ended else process.process_id]
        versions = [version.version for version in wfo.history(process.subscription_id)]
        assert versions == list(range(1, len(versions) + 1))
        return process


def log_is_whole(process: Process, steps: list[str]) -> None:
    """Make sure that each step stands in the log once, in order, and as the only attempt."""
    assert [(row.step, row.attempt) for row in process.steps] == [(step, 1) for step in steps]
    assert all(row.status in ("success", "complete") for row in process.steps)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", MARKS)
def test_a_step_whose_worker_was_killed_has_its_effect_exactly_once(
    home: DagsterHome,
    mortal: ModuleType,
    instance: dg.DagsterInstance,
    node_id: UUID,
    engine: Engine,
    kill_at: Path,
    tmp_path: Path,
    name: str,
    point: str,
) -> None:
    kill(home, kill_at, "mark_node", {"subscription_id": str(node_id)}, f"{point}/mark_{name}")
    done = MARKS[: MARKS.index(name) + (point == "after commit")]
    assert site(engine) == " ".join(["Amsterdam", *done]), "effect and commit are one"
    killed = the_process(mortal, instance, "mark_node")
    assert [row.step for row in killed.steps] == [f"mark_{one}" for one in done], "log and commit are one"
    assert killed.state.keys() & set(MARKS) == set(done), "state and commit are one"

    (run,) = instance.get_runs()
    assert str(killed.process_id) == run.run_id
    assert reexecute(instance, mortal.mark_node_job, run.run_id).success

    assert site(engine) == "Amsterdam first middle last"
    process = the_process(mortal, instance, "mark_node")
    assert (process.process_id, process.status) == (killed.process_id, "completed")
    log_is_whole(process, [f"mark_{one}" for one in MARKS])
    calls = {one: requests(tmp_path, one) for one in MARKS}
    assert {one: len(keys) for one, keys in calls.items()} == dict.fromkeys(MARKS, 1) | {
        name: 2 if point == "before commit" else 1
    }
    assert all(len(set(keys)) == 1 for keys in calls.values()), "the key is the same on each attempt"
    assert len({keys[0] for keys in calls.values()}) == len(MARKS), "and another one for each step"


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("step", ["init", "construct_node", "configure_node", "done"])
def test_a_creation_whose_worker_was_killed_makes_one_subscription(
    home: DagsterHome,
    mortal: ModuleType,
    instance: dg.DagsterInstance,
    engine: Engine,
    kill_at: Path,
    tmp_path: Path,
    step: str,
    point: str,
) -> None:
    kill(home, kill_at, "create_node", CREATE_NODE, f"{point}/{step}")
    (run,) = instance.get_runs()
    assert reexecute(instance, mortal.create_node_job, run.run_id).success
    process = the_process(mortal, instance, "create_node")
    assert (str(process.process_id), process.status) == (run.run_id, "completed")
    log_is_whole(process, [node.name for node in mortal.create_node_job().nodes_in_topological_order])
    assert site(engine) == "Amsterdam"
    again = (step, point) == ("configure_node", "before commit")
    keys = requests(tmp_path, "nodes")
    assert (len(keys), len(set(keys))) == (2 if again else 1, 1)
    with engine.connect() as connection:
        counts = "SELECT count(*), count(DISTINCT subscription_id) FROM orchestrator.subscriptions"
        assert connection.execute(text(counts)).one() == (1, 1)


LAUNCH = """
mutation($job: String!, $config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: "mortal_golden"}
    mode: "default"
    runConfigData: $config
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
REEXECUTE = """
mutation($run: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: FROM_FAILURE}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""


@pytest.mark.timeout(180)
def test_a_launched_run_whose_worker_was_killed_goes_on_by_dagits_re_execution(
    home: DagsterHome,
    mortal: ModuleType,
    instance: dg.DagsterInstance,
    node_id: UUID,
    engine: Engine,
    kill_at: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in home.environment.items():
        monkeypatch.setenv(variable, value)

    def ended(run_id: str) -> dg.DagsterRun:
        deadline = time.monotonic() + PATIENCE
        while True:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            if run.is_finished:
                return run
            assert time.monotonic() < deadline, f"run {run_id} is {run.status}"
            time.sleep(0.1)

    target = WorkspaceFileTarget([str(home.workspace("mortal_golden"))])
    with WorkspaceProcessContext(instance, target) as workspace:

        def launch(query: str, **variables: Any) -> dg.DagsterRun:
            (answer,) = execute_query(workspace, query, variables)["data"].values()
            assert answer["__typename"] == "LaunchRunSuccess", answer
            return ended(answer["run"]["runId"])

        kill_at.write_text("after commit/mark_middle")
        config = json.dumps({"subscription_id": str(node_id)})
        killed = launch(LAUNCH, job="mark_node", config=config)
        assert not kill_at.exists(), "the worker was not killed"
        assert killed.status is dg.DagsterRunStatus.FAILURE
        events = " ".join(record.message for record in instance.all_logs(killed.run_id))
        assert "SIGKILL" in events
        again = launch(REEXECUTE, run=killed.run_id)
    assert again.status is dg.DagsterRunStatus.SUCCESS
    assert again.tags["orchestrator/process_id"] == killed.run_id
    assert again.tags["orchestrator/status"] == "completed"
    assert site(engine) == "Amsterdam first middle last"
    log_is_whole(the_process(mortal, instance, "mark_node"), [f"mark_{one}" for one in MARKS])
    assert [len(requests(tmp_path, one)) for one in MARKS] == [1, 1, 1]
