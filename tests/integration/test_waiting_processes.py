"""Processes that wait: for a person, another system, a time, another process, or their next attempt."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterExecutionInterruptedError
from flows import working
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    Assignee,
    FormPage,
    Process,
    Session,
    State,
    StepList,
    Workflow,
    begin,
    callback_step,
    focussteps,
    inputstep,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    task,
    wait_for,
)
from orchestrator_dagster.db.waits import waits_of
from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.domain.waiting import Wait
from orchestrator_dagster.jobs.callbacks import receive_callback

pytestmark = pytest.mark.usefixtures("orchestrator_database")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with use_clock(clock):
        yield clock


def waits(engine: Engine, process: Process) -> dict[str, Wait]:
    with engine.connect() as connection:
        return waits_of(connection, process.process_id)


def succeeded(process: Process) -> list[str]:
    return [row.step for row in process.steps if row.status == "success"]


class Ticket(FormPage):
    ticket: str
    urgent: bool = False


@inputstep("Confirm", Assignee.CHANGES)
def confirm() -> Any:
    answer = yield Ticket
    return answer.model_dump()


@step("After")
def after(state: State) -> State:
    return {"seen": state.get("ticket")}


class TestInput:
    def test_a_process_waits_for_an_answer_and_takes_it(self, session: Any, engine: Engine) -> None:
        process = session(working(confirm >> after), user="ada").run("work")
        assert (process.status, process.current_step) == ("suspended", "confirm")
        wait = waits(engine, process)["confirm"]
        assert (wait.kind, wait.assignee) == ("input", "CHANGES")
        assert (wait.form or {})["properties"].keys() == {"ticket", "urgent"}
        process.resume({"ticket": "CHG1"})
        assert (process.status, process.state["seen"]) == ("completed", "CHG1")
        assert waits(engine, process) == {}

    def test_the_answer_stands_in_the_name_of_who_gave_it(self, session: Any) -> None:
        steps = working(confirm >> after)
        process = session(steps, user="ada").run("work")
        session(steps, user="bob").process(process.process_id).resume({"ticket": "CHG1"})
        rows = {row.step: row.created_by for row in process.refresh().steps if row.status == "success"}
        assert (rows["init"], rows["confirm"]) == ("ada", "bob")

    def test_the_answer_is_merged_into_what_is_known(self, session: Any) -> None:
        class Port(FormPage):
            port: dict[str, Any]

        @inputstep("Describe port", Assignee.NOC)
        def describe_port() -> Any:
            answer = yield Port
            return answer.model_dump()

        given = {"port": {"name": "a", "vlans": [1, 2]}}
        process = session(working(describe_port, given)).run("work")
        process.resume({"port": {"vlans": [3]}})
        assert process.state["port"] == {"name": "a", "vlans": [3]}

    def test_dagit_shows_the_form_and_a_ready_run_config(self, session: Any) -> None:
        wfo = session(working(confirm))
        process = wfo.run("work")
        records = wfo.instance.all_logs(str(process.process_id), of_type=dg.DagsterEventType.ENGINE_EVENT)
        events = [record.get_dagster_event() for record in records]
        (shown,) = [event for event in events if event.step_key == "confirm"]
        assert shown.message == "Waits for input from CHANGES"
        metadata = shown.event_specific_data.metadata
        config = yaml.safe_load(metadata["run config for resume_process"].value)
        assert config == {
            "process_id": str(process.process_id),
            "step": "confirm",
            "input": {"ticket": None, "urgent": False},
        }
        assert metadata["form"].value["properties"].keys() == {"ticket", "urgent"}
        run = wfo.instance.get_run_by_id(str(process.process_id))
        assert (run.status, run.tags["orchestrator/status"]) == (dg.DagsterRunStatus.SUCCESS, "suspended")

    def test_each_form_of_a_group_is_reached(self, session: Any) -> None:
        class Room(FormPage):
            room: str

        @inputstep("Choose room", Assignee.NOC)
        def choose_room() -> Any:
            answer = yield Room
            return answer.model_dump()

        process = session(working(step_group("Prepare", begin >> confirm >> choose_room) >> after)).run("work")
        assert process.current_step == "prepare.confirm"
        process.resume({"ticket": "CHG1"})
        assert process.current_step == "prepare.choose_room"
        process.resume({"room": "12"})
        assert process.status == "completed"
        assert process.state.items() >= {"ticket": "CHG1", "room": "12"}.items()

    def test_a_lens_holds_for_forms_too(self, session: Any) -> None:
        focus = focussteps("change")
        process = session(working(focus(begin >> confirm), {"change": {"by": "ada"}})).run("work")
        process.resume({"ticket": "CHG1"})
        assert process.state["change"] == {"by": "ada", "ticket": "CHG1", "urgent": False}

    def test_a_form_that_fails_is_a_step_that_fails(self, session: Any) -> None:
        @inputstep("Ask", Assignee.NOC)
        def ask(missing: str) -> Any:
            yield Ticket
            return {}

        process = session(working(ask)).run("work")
        assert process.status == "failed"
        assert "missing" in process.failed_reason


class TestRetries:
    def trying(self, failures: int, **schedule: Any) -> Any:
        left = [RuntimeError("away")] * failures

        @retrystep("Try", **schedule)
        def attempt() -> None:
            if left:
                raise left.pop()

        return attempt

    def test_a_retrystep_is_tried_again_when_its_time_has_come(
        self, session: Any, engine: Engine, clock: Clock
    ) -> None:
        wfo = session(working(self.trying(1, retry_every=timedelta(minutes=5))))
        process = wfo.run("work")
        assert (process.status, process.failed_reason) == ("waiting", "away")
        assert waits(engine, process)["attempt"].due_at == NOON + timedelta(minutes=5)
        clock.move(minutes=4)
        wfo.go_on()
        assert process.refresh().status == "waiting"
        clock.move(minutes=1)
        wfo.go_on()
        assert process.refresh().status == "completed"

    def test_after_its_last_attempt_it_has_failed(self, session: Any, clock: Clock) -> None:
        wfo = session(working(self.trying(3, retry_every=timedelta(minutes=5), max_attempts=2)))
        process = wfo.run("work")
        clock.move(minutes=5)
        wfo.go_on()
        assert process.refresh().status == "failed"
        assert process.retry().status == "failed", "a person's attempt is one more, and the last one too"
        assert process.retry().status == "completed"


class TestTimers:
    def test_a_timer_is_set_once(self, session: Any, engine: Engine, clock: Clock) -> None:
        wfo = session(working(wait_for(timedelta(hours=2)) >> after))
        process = wfo.run("work")
        assert process.status == "waiting"
        (wait,) = waits(engine, process).values()
        assert (wait.kind, wait.due_at) == ("time", NOON + timedelta(hours=2))
        clock.move(hours=1)
        wfo.go_on()
        assert process.refresh().status == "waiting"
        clock.move(hours=1)
        wfo.go_on()
        assert process.refresh().status == "completed"


class TestCallbacks:
    def calling(self, called: list[str], **options: Any) -> Workflow:
        @step("Call")
        def call(callback_route: str, idempotency_key: str) -> None:
            called.append(callback_route)
            called.append(idempotency_key)

        @step("Check")
        def check(answer: dict[str, Any]) -> State:
            assert answer["fine"]
            return {"checked": True}

        options = {"result_key": "answer", **options}
        return working(callback_step("Ask other system", call, check, **options) >> after)

    def answer(self, engine: Engine, process: Process, route: str, body: Any) -> None:
        receive_callback(engine, process.process_id, route.rsplit("/", 1)[1], body)

    def test_what_another_system_sends_is_in_the_state(self, session: Any, engine: Engine) -> None:
        called: list[str] = []
        wfo = session(self.calling(called))
        process = wfo.run("work")
        assert process.status == "awaiting_callback", process.traceback
        self.answer(engine, process, called[0], {"fine": True})
        wfo.go_on()
        assert process.refresh().status == "completed", process.traceback
        assert process.state.items() >= {"answer": {"fine": True}, "checked": True}.items()

    def test_one_that_comes_too_late_has_failed_and_is_asked_for_again(
        self, session: Any, engine: Engine, clock: Clock
    ) -> None:
        called: list[str] = []
        wfo = session(self.calling(called, timeout=60))
        process = wfo.run("work")
        clock.move(seconds=60)
        wfo.go_on()
        assert process.refresh().status == "failed"
        assert process.failed_reason == "Callback timed out after 0:01:00"
        with suppress(ValueError, LookupError):
            self.answer(engine, process, called[0], {"fine": True})
        assert process.refresh().status == "failed", "nobody waits any more"
        process.retry()
        assert process.status == "awaiting_callback"
        assert len(set(called)) == 4, "another address and another key"
        self.answer(engine, process, called[2], {"fine": True})
        wfo.go_on()
        assert process.refresh().status == "completed", process.traceback

    def test_an_answer_that_is_not_valid_is_asked_for_again(self, session: Any, engine: Engine) -> None:
        called: list[str] = []
        wfo = session(self.calling(called))
        process = wfo.run("work")
        self.answer(engine, process, called[0], {"fine": False})
        wfo.go_on()
        assert process.refresh().status == "failed"
        process.retry()
        self.answer(engine, process, called[2], {"fine": True})
        wfo.go_on()
        assert process.refresh().status == "completed", process.traceback
        finished = [(row.step, row.round) for row in process.steps if row.status.finished]
        assert len(finished) == len(set(finished))


class TestChildren:
    @pytest.fixture
    def child(self) -> Workflow:
        class Name(FormPage):
            name: str

        @step("Greet")
        def greet(name: str) -> State:
            return {"greeting": f"Hello {name}"}

        @task("Child", initial_input_form=Name)
        def child() -> StepList:
            return begin >> confirm >> greet

        return child

    def test_a_process_waits_for_the_one_that_it_started(self, session: Any, child: Workflow, engine: Engine) -> None:
        wfo = session(working(run_workflow("child", input={"name": "Ada"}, result_key="child") >> after), child)
        parent = wfo.run("work")
        assert parent.status == "waiting", parent.traceback
        (wait,) = waits(engine, parent).values()
        started = wfo.process(wait.waits_for)
        assert (started.workflow, started.status) == ("child", "suspended")
        started.resume({"ticket": "CHG1"})
        wfo.go_on()
        assert parent.refresh().status == "completed", parent.traceback
        assert parent.state["child"]["process_id"] == str(started.process_id)
        assert parent.state["child"]["greeting"] == "Hello Ada"

    def test_a_child_that_is_aborted_fails_the_step_and_a_retry_starts_another(
        self, session: Any, child: Workflow, engine: Engine
    ) -> None:
        wfo = session(working(run_workflow("child", input={"name": "Ada"})), child)
        parent = wfo.run("work")
        (wait,) = waits(engine, parent).values()
        wfo.process(wait.waits_for).abort("wrong name")
        wfo.go_on()
        assert parent.refresh().status == "failed"
        assert "wrong name" in parent.failed_reason
        parent.retry()
        (again,) = waits(engine, parent).values()
        assert again.waits_for not in (None, wait.waits_for)

    def test_a_child_is_aborted_with_its_parent(self, session: Any, child: Workflow, engine: Engine) -> None:
        wfo = session(working(run_workflow("child", input={"name": "Ada"})), child)
        parent = wfo.run("work")
        (wait,) = waits(engine, parent).values()
        parent.abort("not wanted")
        wfo.go_on()
        assert parent.refresh().status == "aborted"
        assert wfo.process(wait.waits_for).status == "aborted"


class TestTasks:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (AssertionError("differs"), "inconsistent_data"),
            (type("InconsistentDataError", (Exception,), {})("differs"), "inconsistent_data"),
            (type("MaxRetryError", (Exception,), {})("away"), "api_unavailable"),
            (type("ApiException", (Exception,), {"status": 503})("away"), "api_unavailable"),
            (type("ApiException", (Exception,), {"status": 404})("gone"), "failed"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_a_task_says_what_kind_of_failure_it_was(self, session: Any, error: Exception, status: str) -> None:
        errors = [error]

        @step("Compare")
        def compare() -> None:
            if errors:
                raise errors.pop()

        @task("Look after")
        def look_after() -> StepList:
            return begin >> compare

        process = session(look_after).run("look_after")
        assert process.status == status
        assert process.retry().status == "completed"


class TestPause:
    def test_a_process_stops_after_its_step_also_inside_a_group_and_goes_on_later(self, session: Any) -> None:
        @step("Pause")
        def pause() -> None:
            wfo.pause_engine("maintenance")

        wfo = session(working(step_group("Together", begin >> pause >> after) >> after))
        process = wfo.run("work")
        assert (process.status, succeeded(process)) == ("resumed", ["init", "together.pause"])
        wfo.resume_engine()
        wfo.go_on()
        assert process.refresh().status == "completed", process.traceback
        assert succeeded(process).count("together.pause") == 1


class TestTermination:
    """A signal that reaches the run in a step, as Dagster sends it when somebody terminates the run."""

    def terminate(self, wfo: Session, context: dg.OpExecutionContext, times: int = 1) -> None:
        wfo.instance.report_run_canceling(context.run)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

    def test_a_terminated_run_finishes_its_step_and_aborts_the_process(self, session: Any) -> None:
        undone: list[str] = []

        @step("Undo")
        def undo() -> None:
            undone.append("undone")

        @step("Do", compensate=undo)
        def do(context: dg.OpExecutionContext) -> State:
            self.terminate(wfo, context)
            return {"done": True}

        wfo = session(working(do >> after))
        with suppress(DagsterExecutionInterruptedError):
            wfo.run("work")
        (process,) = wfo.processes()
        assert (process.status, process.state["done"], undone) == ("aborted", True, ["undone"])
        assert "after" not in succeeded(process)
        assert (process.steps[-1].created_by, process.steps[-1].detail) == (
            "Dagster",
            {"reason": "The run was terminated"},
        )
        run = wfo.instance.get_run_by_id(str(process.process_id))
        assert (run.status, run.tags["orchestrator/status"]) == (dg.DagsterRunStatus.CANCELED, "aborted")

    def test_a_second_signal_breaks_in_and_rolls_the_step_back(self, session: Any, engine: Engine) -> None:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE marks (mark text)"))
        reached: list[str] = []

        @step("Do")
        def do(context: dg.OpExecutionContext, state: State) -> None:
            self.terminate(wfo, context, times=2)
            reached.append("the end")

        wfo = session(working(do >> after))
        with suppress(DagsterExecutionInterruptedError):
            wfo.run("work")
        (process,) = wfo.processes()
        assert (process.status, reached) == ("aborted", [])
        assert [(row.step, row.status) for row in process.steps][1:] == [("do", "failed"), ("abort", "abort")]

    def test_an_interrupt_of_a_run_that_nobody_terminated_is_a_failure(self, session: Any) -> None:
        @step("Do")
        def do() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                pass

        wfo = session(working(do))
        with suppress(DagsterExecutionInterruptedError):
            wfo.run("work")
        (process,) = wfo.processes()
        assert (process.status, process.current_step) == ("failed", "do")


def test_a_run_that_lets_a_branch_wait_leaves_the_lease_to_others(session: Any, engine: Engine) -> None:
    process = session(working(parallel(confirm, after))).run("work")
    assert process.status == "suspended"
    process.resume({"ticket": "CHG1"})
    assert process.status == "completed", process.traceback
