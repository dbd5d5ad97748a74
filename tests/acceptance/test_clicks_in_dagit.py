"""What the buttons of Dagit do to processes: asked of a real webserver, done by warm workers, without a daemon."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from dagster_home import CAPTURED, WARM, DagsterHome, ask, until, webserver

from orchestrator_dagster import Database, Processes, ProcessNotFoundError
from orchestrator_dagster.instance.service_folder import ServiceFolder

LOCATION = "clicked"
CODE = """
import os
import time
from pathlib import Path

from orchestrator_dagster import (
    Assignee, FormPage, Orchestrator, begin, done, foreach, init, inputstep, step, step_group, workflow,
)

FOLDER = Path(os.environ["CLICKED_FOLDER"])


class Start(FormPage):
    name: str


class Answer(FormPage):
    words: str


def call(what, process_id):
    with (FOLDER / f"{process_id}.calls").open("a") as calls:
        calls.write(what + chr(10))


def undo_prepare(process_id):
    call("undo prepare", process_id)


@step("Prepare", compensate=undo_prepare)
def prepare(process_id, name):
    call("prepare", process_id)
    return {"prepared": name}


@step("Connect")
def connect(process_id, name):
    call("connect", process_id)
    if not (FOLDER / f"{name}-is-up").exists():
        raise ConnectionError(f"{name} does not answer")


def undo_drain(process_id):
    call("undo drain", process_id)


@step("Drain", compensate=undo_drain)
def drain(process_id, name):
    call("drain", process_id)
    (FOLDER / f"{name}-is-draining").touch()
    while not (FOLDER / f"{name}-is-empty").exists():
        time.sleep(0.02)
    return {"drained": True}


@step("Finish")
def finish(process_id):
    call("finish", process_id)


@step("Name sites")
def name_sites():
    return {"sites": ["ams", "utr", "dlf"]}


@step("Visit")
def visit(process_id, item, name):
    call(f"visit {item}", process_id)
    if item == "utr" and not (FOLDER / f"{name}-is-up").exists():
        raise ConnectionError(f"{item} does not answer")
    return {"visited": item}


@inputstep("Ask", assignee=Assignee.NOC)
def ask():
    return Answer


@workflow("Connecting", initial_input_form=Start)
def connecting():
    return begin >> init >> prepare >> connect >> finish >> done


@workflow("Connecting in a group", initial_input_form=Start)
def connecting_in_a_group():
    return begin >> init >> step_group("Group", begin >> prepare >> connect >> finish) >> done


@workflow("Visiting", initial_input_form=Start)
def visiting():
    return begin >> init >> name_sites >> foreach("sites")(visit) >> finish >> done


@workflow("Draining", initial_input_form=Start)
def draining():
    return begin >> init >> prepare >> drain >> finish >> done


@workflow("Asking", initial_input_form=Start)
def asking():
    return begin >> init >> prepare >> ask >> finish >> done


defs = Orchestrator([], workflows=[connecting, connecting_in_a_group, visiting, draining, asking]).definitions()
"""
LAUNCH = """
mutation($location: String!, $job: String!, $config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: $location}
    runConfigData: $config
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
       ... on RunConfigValidationInvalid { errors { message } } }
}
"""
REEXECUTE = """
mutation($run: String!, $strategy: ReexecutionStrategy!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: $strategy}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
REEXECUTE_STEPS = """
mutation($location: String!, $job: String!, $config: RunConfigData!, $run: String!, $steps: [String!]) {
  launchRunReexecution(executionParams: {
    selector: {pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: $location}
    runConfigData: $config
    stepKeys: $steps
    executionMetadata: {rootRunId: $run, parentRunId: $run}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
TERMINATE = """
mutation($run: String!, $policy: TerminateRunPolicy) {
  terminateRun(runId: $run, terminatePolicy: $policy) { __typename ... on TerminateRunFailure { message } }
}
"""
RUN = """
query($run: ID!) { runOrError(runId: $run) { ... on Run { status tags { key value } } } }
"""
LOG = """
query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
  ... on MessageEvent { message stepKey }
  ... on ExecutionStepFailureEvent { error { message causes { message } }
    failureMetadata { description metadataEntries { label description } } }
  ... on RunFailureEvent { error { message } }
} } } }
"""


@dataclass
class Clicks:
    """A person at Dagit.

    Attributes:
        address: that of the webserver.
        folder: where the world outside says how it is, and is told what it is to do.
        processes: what became of what was clicked.
        home: the Dagster instance.
    """

    address: str
    folder: Path
    processes: Processes
    home: DagsterHome

    def launch(self, job: str, **config: Any) -> str:
        answer = ask(self.address, LAUNCH, location=LOCATION, job=job, config=json.dumps(config))
        return self._launched(answer)

    def launch_and_see_it_end(self, job: str, **config: Any) -> str:
        run_id = self.launch(job, **config)
        self.see_end(run_id)
        return run_id

    def reexecute(self, run_id: str, strategy: str) -> str:
        again = self._launched(ask(self.address, REEXECUTE, run=run_id, strategy=strategy))
        self.see_end(again)
        return again

    def reexecute_steps(self, run_id: str, job: str, *steps: str, **config: Any) -> str:
        variables = {"location": LOCATION, "job": job, "config": json.dumps(config), "run": run_id, "steps": steps}
        again = self._launched(ask(self.address, REEXECUTE_STEPS, **variables))
        self.see_end(again)
        return again

    def terminate(self, run_id: str, policy: str = "SAFE_TERMINATE") -> str:
        return str(ask(self.address, TERMINATE, run=run_id, policy=policy)["__typename"])

    def terminate_from_python(self, run_id: str) -> bool:
        code = (
            "import dagster, sys\n"
            "with dagster.DagsterInstance.get() as instance:\n"
            "    print(instance.run_coordinator.cancel_run(sys.argv[1]))"
        )
        return self.home.command("python", "-c", code, run_id).output.split()[-1:] == ["True"]

    def run(self, run_id: str) -> tuple[str, dict[str, str]]:
        """Return the status of a run, and its tags."""
        found = ask(self.address, RUN, run=run_id)
        return found["status"], {tag["key"]: tag["value"] for tag in found["tags"]}

    def see_end(self, run_id: str) -> str:
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        until(lambda: self.run(run_id)[0] in ended, f"run {run_id} does not end")
        return self.run(run_id)[0]

    def log(self, run_id: str) -> str:
        return json.dumps(ask(self.address, LOG, run=run_id)["events"])

    def happens(self, name: str) -> None:
        """Let something happen outside."""
        (self.folder / name).touch()

    def see(self, name: str) -> None:
        """Wait until something has happened outside."""
        until((self.folder / name).exists, f"{name} does not happen")

    def calls(self, process_id: str) -> list[str]:
        """Return what the steps of a process did outside."""
        return (self.folder / f"{process_id}.calls").read_text().split("\n")[:-1]

    def status(self, process_id: str) -> str:
        return str(self.processes.get(UUID(process_id)).status)

    def see_status(self, process_id: str, status: str) -> None:
        until(lambda: self.status(process_id) == status, f"{process_id} does not become {status}")

    def _launched(self, answer: Any) -> str:
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Clicks]:
    folder = tmp_path_factory.mktemp("clicks")
    code, world = folder / "code", folder / "world"
    code.mkdir()
    world.mkdir()
    (code / f"{LOCATION}.py").write_text(CODE)
    variables = {"ORCHESTRATOR_DATABASE_URL": module_database_url, "CLICKED_FOLDER": str(world)}
    home = DagsterHome.make(folder / "home", python_path=[code], **variables)
    home.configure(run_launcher=WARM | {"config": {"workers": 2}}, compute_logs=CAPTURED)
    try:
        with webserver(home, home.locations(LOCATION)) as address:
            yield Clicks(address, world, Processes(database=Database(url=module_database_url)), home)
    finally:
        ServiceFolder.of(str(home.folder)).stop_server(now=True)


def process_of(clicks: Clicks, run_id: str) -> str:
    return clicks.run(run_id)[1]["orchestrator/process_id"]


class TestReExecuteFromFailure:
    @pytest.mark.parametrize("workflow", ["connecting", "connecting_in_a_group"])
    def test_it_retries_the_process(self, clicks: Clicks, workflow: str) -> None:
        run_id = clicks.launch_and_see_it_end(workflow, name=workflow)
        assert clicks.run(run_id)[0] == "FAILURE"
        assert clicks.status(run_id) == "failed"
        clicks.happens(f"{workflow}-is-up")
        again = clicks.reexecute(run_id, "FROM_FAILURE")
        assert clicks.run(again)[0] == "SUCCESS", clicks.log(again)
        assert process_of(clicks, again) == run_id
        assert clicks.run(again)[1]["orchestrator/status"] == "completed"
        assert clicks.status(run_id) == "completed"
        assert clicks.calls(run_id) == ["prepare", "connect", "connect", "finish"]

    def test_one_item_of_a_foreach_is_retried_and_all_that_follows_is_done(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("visiting", name="visit-1")
        assert clicks.status(run_id) == "failed"
        clicks.happens("visit-1-is-up")
        clicks.reexecute(run_id, "FROM_FAILURE")
        assert clicks.status(run_id) == "completed"
        assert clicks.calls(run_id) == ["visit ams", "visit utr", "visit dlf", "visit utr", "finish"]

    def test_of_a_process_that_is_finished_it_is_refused_with_the_reason(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("connecting", name="finished")
        clicks.happens("finished-is-up")
        clicks.reexecute(run_id, "FROM_FAILURE")
        before = clicks.calls(run_id)
        refused = clicks.reexecute(run_id, "FROM_FAILURE")
        assert clicks.run(refused)[0] == "FAILURE"
        assert "completed" in clicks.log(refused)
        assert (clicks.status(run_id), clicks.calls(run_id)) == ("completed", before)

    def test_of_a_process_that_was_aborted_it_is_refused_with_the_reason(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("connecting", name="gone")
        clicks.launch_and_see_it_end("abort_process", process_id=run_id, reason="Not wanted")
        clicks.see_status(run_id, "aborted")
        clicks.happens("gone-is-up")
        refused = clicks.reexecute(run_id, "FROM_FAILURE")
        assert clicks.run(refused)[0] == "FAILURE"
        assert "aborted" in clicks.log(refused)
        assert clicks.calls(run_id) == ["prepare", "connect", "undo prepare"]

    def test_of_a_run_that_is_not_the_newest_it_is_refused_with_the_reason(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("connecting", name="newest")
        second = clicks.reexecute(run_id, "FROM_FAILURE")
        assert clicks.status(run_id) == "failed"
        clicks.happens("newest-is-up")
        refused = clicks.reexecute(run_id, "FROM_FAILURE")
        assert clicks.run(refused)[0] == "FAILURE"
        assert second in clicks.log(refused) or "newest" in clicks.log(refused).replace("newest-is-up", "")
        assert clicks.status(run_id) == "failed"
        assert clicks.calls(run_id) == ["prepare", "connect", "connect"]
        clicks.reexecute(second, "FROM_FAILURE")
        assert clicks.status(run_id) == "completed"


class TestReExecuteAll:
    def test_it_starts_another_process_with_the_same_input(self, clicks: Clicks) -> None:
        clicks.happens("same-is-up")
        first = clicks.launch_and_see_it_end("connecting", name="same")
        again = clicks.reexecute(first, "ALL_STEPS")
        assert clicks.run(again)[0] == "SUCCESS", clicks.log(again)
        assert process_of(clicks, again) == again != first
        assert (clicks.status(first), clicks.status(again)) == ("completed", "completed")
        assert clicks.calls(first) == clicks.calls(again) == ["prepare", "connect", "finish"]

    def test_one_that_waits_or_failed_goes_on_waiting(self, clicks: Clicks) -> None:
        waiting = clicks.launch_and_see_it_end("asking", name="twice")
        other = clicks.reexecute(waiting, "ALL_STEPS")
        assert process_of(clicks, other) == other != waiting
        clicks.launch_and_see_it_end("resume_process", process_id=other, step="ask", input={"words": "yes"})
        clicks.see_status(other, "completed")
        assert clicks.status(waiting) == "suspended"

    def test_of_a_run_that_went_on_it_starts_another_process_too(self, clicks: Clicks) -> None:
        failed = clicks.launch_and_see_it_end("connecting", name="later")
        clicks.happens("later-is-up")
        second = clicks.reexecute(failed, "FROM_FAILURE")
        third = clicks.reexecute(second, "ALL_STEPS")
        assert process_of(clicks, third) == third
        assert clicks.calls(third) == ["prepare", "connect", "finish"]
        assert clicks.calls(failed) == ["prepare", "connect", "connect", "finish"]


class TestReExecuteSomeSteps:
    def test_a_step_does_not_run_before_those_that_come_before_it(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("connecting", name="picked")
        clicks.reexecute_steps(run_id, "connecting", "finish", name="picked")
        assert "finish" not in clicks.calls(run_id)
        assert clicks.status(run_id) == "failed"


class TestTerminate:
    def test_once_aborts_the_process_after_the_step_it_is_in(self, clicks: Clicks) -> None:
        run_id = clicks.launch("draining", name="once")
        clicks.see("once-is-draining")
        assert clicks.terminate(run_id) == "TerminateRunSuccess"
        until(lambda: clicks.run(run_id)[0] == "CANCELING", "it is not being cancelled")
        assert clicks.status(run_id) == "running"
        clicks.happens("once-is-empty")
        assert clicks.see_end(run_id) == "CANCELED"
        clicks.see_status(run_id, "aborted")
        assert clicks.calls(run_id) == ["prepare", "drain", "undo drain", "undo prepare"]
        rows = [(row.step, str(row.status)) for row in clicks.processes.steps(UUID(run_id))]
        assert ("drain", "success") in rows
        assert rows[-1] == ("abort", "abort")

    @pytest.mark.parametrize("second", ["by force", "from Python"])
    def test_twice_breaks_in(self, clicks: Clicks, second: str) -> None:
        """Of a run that is being cancelled Dagit offers no other second termination than that by force."""
        name = second.replace(" ", "-")
        run_id = clicks.launch("draining", name=name)
        clicks.see(f"{name}-is-draining")
        clicks.terminate(run_id)
        until(lambda: clicks.run(run_id)[0] == "CANCELING", "it is not being cancelled")
        try:
            if second == "by force":
                assert clicks.terminate(run_id, "MARK_AS_CANCELED_IMMEDIATELY") == "TerminateRunSuccess"
            else:
                assert clicks.terminate_from_python(run_id)
            until(lambda: clicks.status(run_id) != "running", "it does not break in")
        finally:
            clicks.happens(f"{name}-is-empty")
        clicks.see_status(run_id, "aborted")
        assert clicks.see_end(run_id) == "CANCELED"
        assert clicks.calls(run_id) == ["prepare", "drain", "undo prepare"]
        rows = [(row.step, str(row.status)) for row in clicks.processes.steps(UUID(run_id))]
        assert ("drain", "success") not in rows

    def test_a_process_that_waits_is_not_aborted_by_it(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("asking", name="patient")
        assert clicks.terminate(run_id) != "TerminateRunSuccess"
        assert clicks.status(run_id) == "suspended"


class TestAnswering:
    def test_resume_process_lets_the_process_go_on_by_itself(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("asking", name="answered")
        assert clicks.run(run_id)[0] == "SUCCESS"
        assert clicks.run(run_id)[1]["orchestrator/status"] == "suspended"
        clicks.launch_and_see_it_end("resume_process", process_id=run_id, step="ask", input={"words": "yes"})
        clicks.see_status(run_id, "completed")
        assert clicks.calls(run_id) == ["prepare", "finish"]

    def test_the_same_answer_twice_counts_once(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("asking", name="doubly")
        answer = {"process_id": run_id, "step": "ask", "input": {"words": "yes"}}
        answers = [clicks.launch("resume_process", **answer) for _ in range(3)]
        for answering in answers:
            clicks.see_end(answering)
        clicks.see_status(run_id, "completed")
        assert clicks.calls(run_id) == ["prepare", "finish"]

    def test_wrong_input_at_the_start_leaves_no_process(self, clicks: Clicks) -> None:
        run_id = clicks.launch_and_see_it_end("asking", names="wrong")
        assert clicks.run(run_id)[0] == "FAILURE"
        assert "name" in clicks.log(run_id)
        with pytest.raises(ProcessNotFoundError):
            clicks.processes.get(UUID(run_id))
