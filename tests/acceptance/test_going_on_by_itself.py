"""Processes go on by themselves: with real workers, a real daemon, and the app for callbacks."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from dagster_home import Dagit, free_port, until
from unattended_home import MODULE, Service, Unattended, answers_by

from orchestrator_dagster.jobs.tags import REFUSED, STATUS

TRY_SCHEDULE = """
mutation($schedule: ScheduleSelector!, $at: Float) {
  scheduleDryRun(selectorData: $schedule, timestamp: $at) {
    __typename
    ... on DryRunInstigationTick { evaluationResult { skipReason error { message } } }
    ... on PythonError { message }
  }
}
"""


@pytest.fixture(scope="module")
def unattended(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Unattended]:
    with Unattended.opened(tmp_path_factory.mktemp("unattended"), module_database_url) as unattended:
        yield unattended


@pytest.fixture(scope="module")
def service(unattended: Unattended) -> Service:
    """The daemon of this module."""
    return unattended.daemon


@pytest.fixture
def daemon(service: Service) -> Service:
    """The daemon, which is there."""
    service.start()
    return service


@pytest.fixture
def no_daemon(service: Service) -> None:
    """No daemon is there."""
    service.stop(signal.SIGKILL)


@pytest.fixture(autouse=True)
def each_run_has_something_to_do(unattended: Unattended) -> Iterator[None]:
    """Make sure that none was submitted in vain: while the engine was paused, or beside another one."""
    yield
    runs = [unattended.ended(run.run_id) for run in unattended.wfo.instance.get_runs()]
    assert [run.run_id for run in runs if run.tags.get(STATUS) == REFUSED] == []


@pytest.fixture(scope="module")
def callbacks(unattended: Unattended) -> str:
    """The address of the app for callbacks."""
    port = free_port()
    app = unattended.service("orchestrator-dagster", "callbacks", "-m", MODULE, "-p", port)
    app.start()
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with suppress(OSError):
            return bool(get(f"{address}/health")["status"] == "ok")
        return False

    until(answers, f"the app does not answer; see {app.log}")
    return address


def get(address: str, body: bytes | None = None) -> Any:
    """Return the JSON of an answer."""
    with urllib.request.urlopen(address, body, timeout=30) as response:  # noqa: S310 - our own
        return json.load(response)


def engine(unattended: Unattended, *command: str) -> None:
    """Pause or resume the engine from the command line."""
    done = unattended.home.command("orchestrator-dagster", "engine", *command, "-m", MODULE)
    assert done.status == 0, done.output


def evaluated(unattended: Unattended, schedule: str) -> str:
    """Have the code server evaluate a schedule, and return what that says; a daemon does so once in a minute only."""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": MODULE, "scheduleName": schedule}
    with Dagit.opened(unattended.home, unattended.workspace) as dagit:
        answer = dagit.ask(TRY_SCHEDULE, schedule=selector, at=time.time())
    assert answer["evaluationResult"]["error"] is None, answer
    return str(answer["evaluationResult"]["skipReason"])


@pytest.mark.usefixtures("no_daemon")
class TestAtOnce:
    """What goes on without the daemon: whoever lets it go on submits the run."""

    def test_a_callback_that_arrives_over_http(self, unattended: Unattended, callbacks: str) -> None:
        process_id = unattended.launch("call_back")
        route = unattended.noted(process_id, "route")
        unattended.comes_to_be(process_id, "awaiting_callback")
        assert get(f"{callbacks}{route}", b'{"cable": 7}') == {"status": "received"}
        assert unattended.comes_to_be(process_id, "completed").state["delivery"] == {"cable": 7}

    def test_a_process_that_another_one_starts_and_the_one_that_waits_for_it(self, unattended: Unattended) -> None:
        parent = unattended.comes_to_be(unattended.launch("have_run"), "completed")
        (child,) = parent.children
        assert child.status == "completed"

    def test_an_answer_from_the_command_line(self, unattended: Unattended) -> None:
        process_id = unattended.launch("ask")
        unattended.comes_to_be(process_id, "suspended")
        given = ["--input", '{"ticket": "CHG1"}', "--launch", "-m", MODULE, "-w", unattended.workspace]
        resumed = unattended.home.command("orchestrator-dagster", "process", "resume", process_id, *given)
        assert resumed.status == 0, resumed.output
        assert unattended.comes_to_be(process_id, "completed").state["ticket"] == "CHG1"


@pytest.mark.usefixtures("daemon")
class TestWithTheDaemon:
    def test_a_time_that_has_come_and_attempts_that_are_due(self, unattended: Unattended) -> None:
        waiting, failing = unattended.launch("wait_a_moment"), unattended.launch("reach_out")
        unattended.comes_to_be(waiting, "completed")
        reached = unattended.comes_to_be(failing, "completed")
        assert [row.status for row in reached.steps if row.step == "reach"] == ["waiting", "waiting", "success"]

    def test_answers_given_in_a_step_in_a_sensor_and_in_a_schedule(self, unattended: Unattended) -> None:
        asking = [unattended.launch("ask") for _ in range(3)]
        for process_id in asking:
            unattended.comes_to_be(process_id, "suspended")
        by_step, by_sensor, by_schedule = asking
        unattended.launch("answer", other=str(by_step))
        answers_by(unattended.folder, "sensor", by_sensor)
        answers_by(unattended.folder, "schedule", by_schedule)
        assert evaluated(unattended, "answer_by_schedule") == "Answered 1"
        answers = [unattended.comes_to_be(process_id, "completed").state["ticket"] for process_id in asking]
        assert answers == ["from a step", "from a sensor", "from a schedule"]

    def test_what_stopped_while_the_engine_was_paused(self, unattended: Unattended) -> None:
        waiting = unattended.launch("wait_a_moment")
        unattended.comes_to_be(waiting, "waiting")
        holding, _ = unattended.held("hold_on")
        engine(unattended, "pause", "--reason", "maintenance")
        unattended.let_go_on(holding)
        assert unattended.comes_to_be(holding, "resumed").state["held"], "it stops after the step"
        engine(unattended, "resume")
        for process_id in (holding, waiting):
            unattended.comes_to_be(process_id, "completed")

    def test_a_process_whose_worker_was_killed_stands_failed(self, unattended: Unattended) -> None:
        holding, worker = unattended.held("hold_on")
        killed_at = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        failed = unattended.comes_to_be(holding, "failed")
        noticed = time.monotonic() - killed_at
        sys.stderr.write(f"A killed worker was noticed after {noticed:.1f} s\n")
        assert "died" in (failed.failed_reason or "")
        unattended.let_go_on(holding)
        assert failed.retry().status == "completed"

    def test_whatever_waits_while_the_daemon_is_killed_and_dagsters_runs_are_deleted(
        self, unattended: Unattended, daemon: Service, callbacks: str
    ) -> None:
        asking, called = unattended.launch("ask"), unattended.launch("call_back")
        unattended.comes_to_be(asking, "suspended")
        unattended.comes_to_be(called, "awaiting_callback")
        daemon.stop(signal.SIGKILL)
        waiting = unattended.launch("wait_a_moment")
        unattended.comes_to_be(waiting, "waiting")
        for run in unattended.wfo.instance.get_runs():
            unattended.wfo.instance.delete_run(unattended.ended(run.run_id).run_id)
        get(f"{callbacks}{unattended.noted(called, 'route')}", b"{}")
        daemon.start()
        answers_by(unattended.folder, "sensor", asking)
        for process_id in (waiting, called, asking):
            unattended.comes_to_be(process_id, "completed")
