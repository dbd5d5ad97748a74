"""What terminating a run does to its process: through Dagit's webserver, with real workers."""

import os
import signal
from collections.abc import Iterator
from uuid import UUID

import dagster as dg
import pytest
from dagster_home import ask, until, webserver
from unattended_home import Unattended

from orchestrator_dagster import Process
from orchestrator_dagster.instance.service_folder import ServiceFolder

TERMINATE = """
mutation($run: String!, $policy: TerminateRunPolicy!) {
  terminateRun(runId: $run, terminatePolicy: $policy) {
    __typename ... on TerminateRunFailure { message } ... on PythonError { message }
  }
}
"""
SAFELY, BY_FORCE = "SAFE_TERMINATE", "MARK_AS_CANCELED_IMMEDIATELY"
HOLDING = ["hold_on", "hold_fast"]


@pytest.fixture(scope="module")
def unattended(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Unattended]:
    with Unattended.opened(tmp_path_factory.mktemp("terminated"), module_database_url) as unattended:
        yield unattended


@pytest.fixture(scope="module")
def dagit(unattended: Unattended) -> Iterator[str]:
    """The address of the webserver."""
    with webserver(unattended.home, unattended.workspace) as address:
        yield address


@pytest.fixture(scope="module")
def daemon(unattended: Unattended) -> None:
    """The daemon is there, from the first test on that needs it."""
    unattended.daemon.start()


def terminate(dagit: str, run: object, policy: str = SAFELY) -> None:
    """Do as the button does."""
    answer = ask(dagit, TERMINATE, run=str(run), policy=policy)
    assert answer["__typename"] == "TerminateRunSuccess", answer


def status_of(unattended: Unattended, run: object) -> str:
    """Return where a run stands in Dagster."""
    found = unattended.wfo.instance.get_run_by_id(str(run))
    assert found is not None
    return found.status.value


def log(process: Process) -> list[tuple[str, str]]:
    """Return what the step log says after the first step."""
    return [(row.step, row.status) for row in process.steps[1:]]


def stands_aborted(unattended: Unattended, process_id: UUID) -> Process:
    """Wait until a process is aborted as its run was terminated."""
    aborted = unattended.comes_to_be(process_id, "aborted")
    assert aborted.failed_reason == "The run was terminated"
    return aborted


def test_a_terminated_run_ends_after_its_step_and_the_process_is_undone(unattended: Unattended, dagit: str) -> None:
    process_id, worker = unattended.held("hold_on")
    terminate(dagit, process_id)
    until(lambda: status_of(unattended, process_id) == "CANCELING", "nobody noticed")
    assert unattended.process(process_id).status == "running"
    unattended.let_go_on(process_id)
    aborted = stands_aborted(unattended, process_id)
    steps = [("build", "success"), ("hold", "success"), ("build:undo", "success"), ("abort", "abort")]
    assert log(aborted) == steps
    assert int(unattended.noted(process_id, "taken-down")) == worker, "the same run does all of it"
    assert unattended.ended(str(process_id)).status is dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("workflow", HOLDING)
def test_a_second_terminate_breaks_into_the_step(unattended: Unattended, dagit: str, workflow: str) -> None:
    process_id, _ = unattended.held(workflow)
    terminate(dagit, process_id)
    assert unattended.wfo.instance.run_coordinator.cancel_run(str(process_id))
    aborted = stands_aborted(unattended, process_id)
    assert "held" not in aborted.state
    assert log(aborted)[-2:] == [("build:undo", "success"), ("abort", "abort")]
    assert unattended.ended(str(process_id)).status is dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("before", [[], [SAFELY]], ids=["at once", "after it was terminated"])
@pytest.mark.parametrize("workflow", HOLDING)
def test_a_run_that_is_marked_as_canceled_by_force_is_broken_into(
    unattended: Unattended, dagit: str, workflow: str, before: list[str]
) -> None:
    process_id, _ = unattended.held(workflow)
    for policy in [*before, BY_FORCE]:
        terminate(dagit, process_id, policy)
    assert status_of(unattended, process_id) == "CANCELED"
    aborted = stands_aborted(unattended, process_id)
    assert "held" not in aborted.state
    assert log(aborted)[-2:] == [("build:undo", "success"), ("abort", "abort")]


def test_a_run_that_is_terminated_between_two_steps_begins_no_other_one(unattended: Unattended, dagit: str) -> None:
    process_id = unattended.launch("hold_between")
    unattended.noted(unattended.code.BETWEEN, "holding")
    terminate(dagit, process_id)
    aborted = stands_aborted(unattended, process_id)
    steps = [("build", "success"), ("hold_after_it", "success"), ("build:undo", "success"), ("abort", "abort")]
    assert log(aborted) == steps
    assert unattended.ended(str(process_id)).status is dg.DagsterRunStatus.CANCELED


@pytest.mark.long
@pytest.mark.usefixtures("daemon")
def test_a_terminated_run_that_waited_for_a_worker_aborts_the_process_all_the_same(
    unattended: Unattended, dagit: str
) -> None:
    asking = unattended.launch("ask")
    unattended.comes_to_be(asking, "suspended")
    busy = [unattended.held("hold_on")[0] for _ in range(2)]
    unattended.wfo.resume(asking, {"ticket": "CHG1"}, launch=True)
    (run,) = set(unattended.runs(asking)) - {str(asking)}
    until(lambda: status_of(unattended, run) == "QUEUED", "it is not shown as queued")
    terminate(dagit, run)
    for process_id in busy:
        unattended.let_go_on(process_id)
    stands_aborted(unattended, asking)


def test_a_worker_that_is_told_to_stop_leaves_a_process_that_failed(unattended: Unattended) -> None:
    process_id, worker = unattended.held("hold_on")
    os.kill(worker, signal.SIGTERM)
    failed = unattended.comes_to_be(process_id, "failed")
    assert log(failed) == [("build", "success"), ("hold", "failed")], "nothing is undone"
    unattended.let_go_on(process_id)
    assert failed.retry().status == "completed"


@pytest.mark.usefixtures("daemon")
def test_workers_that_are_shut_down_see_their_processes_through_unless_they_are_told_twice(
    unattended: Unattended,
) -> None:
    seen_through, left = (unattended.held("hold_on")[0] for _ in range(2))
    service = ServiceFolder.of(str(unattended.home.folder)).server()
    assert service is not None
    os.kill(service, signal.SIGTERM)
    unattended.let_go_on(seen_through)
    unattended.comes_to_be(seen_through, "completed")
    os.kill(service, signal.SIGTERM)
    failed = unattended.comes_to_be(left, "failed")
    unattended.let_go_on(left)
    assert failed.retry().status == "completed"
