"""Processes that wait: for a person, another system, another attempt, a time; and how they go on."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import dagster as dg
import pytest
import uvicorn
import yaml
from dagster_home import until
from flows import Benches, Outside, asks, called, flow, rows
from pydantic import Field

from orchestrator_dagster import (
    Assignee,
    AuthContext,
    CallbackNotFoundError,
    CallbackRefusedError,
    DefinitionError,
    FormGenerator,
    FormPage,
    InputError,
    NotAuthorizedError,
    Orchestrator,
    Process,
    Processes,
    ProcessFailureError,
    ProcessStateError,
    ProcessStatus,
    State,
    callback_app,
    callback_step,
    inputstep,
    retrystep,
    step,
    wait_for,
    wait_until,
)
from orchestrator_dagster.testing import (
    Workbench,
    assert_assignee,
    assert_awaiting_callback,
    assert_complete,
    assert_failed,
    assert_state,
    assert_suspended,
    assert_waiting,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def runs_of(bench: Workbench, process: Process) -> list[dg.DagsterRun]:
    """Return the runs of a process in Dagster, oldest first."""
    tags = {"orchestrator/process_id": str(process.process_id)}
    return list(reversed(bench.session.instance.get_runs(dg.RunsFilter(tags=tags))))


class Change(FormPage):
    ticket: Annotated[str, Field(pattern=r"^CHG\d+$")]
    hours: Annotated[int, Field(ge=1)] = 1


class Approval(FormPage):
    approved_by: Annotated[str, Field(min_length=3)]


@inputstep("Plan change", assignee=Assignee.CHANGES)
def plan_change(site: str = "ams") -> FormGenerator:
    change = yield Change
    approval = yield Approval
    return {"plan": f"{change.ticket} at {site} for {change.hours} h, {approval.approved_by}"}


GOOD = {"pages": [{"ticket": "CHG1", "hours": 2}, {"approved_by": "grace"}]}


class TestAPerson:
    def test_is_asked_and_the_process_holds_nothing_meanwhile(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(plan_change, outside.step("after"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert_suspended(process, "plan_change")
            assert_assignee(process, Assignee.CHANGES)
            (run,) = runs_of(bench, process)
            assert run.status is dg.DagsterRunStatus.SUCCESS
            assert run.tags["orchestrator/status"] == "suspended"
            assert run.tags["orchestrator/waits_for"] == "input at plan_change"
            (skipped,) = [
                event.step_key
                for event in bench.session.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SKIPPED)
                if event.step_key == "after"
            ]
            assert (skipped, outside.calls) == ("after", [])

    def test_finds_the_form_and_a_ready_run_config_in_dagsters_record_of_the_step(self, benches: Benches) -> None:
        waiting = flow(plan_change)
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            found: dict[str, Any] = {}
            for record in bench.session.instance.all_logs(runs_of(bench, process)[0].run_id):
                event = record.dagster_event
                data = event.event_specific_data if event and record.step_key == "plan_change" else None
                found |= getattr(data, "metadata", None) or {}
            (schema,) = [value.value for value in found.values() if isinstance(value, dg.JsonMetadataValue)]
            assert schema["properties"].keys() == {"ticket", "hours"}
            (config,) = [yaml.safe_load(str(value.value)) for key, value in found.items() if "resume_process" in key]
            assert config["process_id"] == str(process.process_id)
            assert config["step"] == "plan_change"

    def test_is_known_afterwards_by_what_was_answered(self, benches: Benches) -> None:
        waiting = flow(plan_change)
        with benches.open(waiting, user="ada") as bench:
            process = bench.run(waiting.name)
            with bench.session.orchestrator.connect(user="grace", instance=bench.session.instance) as graces:
                answered = graces.resume(process.process_id, GOOD)
            assert_complete(answered)
            assert_state(answered, {"plan": "CHG1 at ams for 2 h, grace"})
            assert rows(answered) == [("plan_change", "suspend"), ("plan_change", "success")]
            assert [row.created_by for row in answered.steps] == ["ada", "ada", "grace", "grace"]
            assert len(runs_of(bench, process)) == 2

    def test_who_answers_wrongly_is_told_all_that_is_wrong_on_all_pages_and_asked_on(self, benches: Benches) -> None:
        waiting = flow(plan_change)
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            wrong = {"pages": [{"ticket": "tomorrow", "hours": 0}, {"approved_by": "x"}]}
            with pytest.raises(InputError) as refused:
                process.resume(wrong)
            assert {error.loc[-1] for error in refused.value.errors} == {"ticket", "hours", "approved_by"}
            assert_suspended(process.refresh(), "plan_change")
            assert rows(process) == [("plan_change", "suspend")]
            assert len(runs_of(bench, process)) == 1
            assert_complete(process.resume(GOOD))

    def test_may_give_the_fields_of_all_pages_flat(self, benches: Benches) -> None:
        waiting = flow(plan_change)
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert_complete(process.resume({"ticket": "CHG2", "approved_by": "grace"}))
            assert_state(process, {"plan": "CHG2 at ams for 1 h, grace"})

    def test_who_answers_the_same_twice_lets_it_go_on_once(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(asks("one"), outside.step("between"), asks("two"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            bench.session.resume(process.process_id, {"one": "x"}, step="ask_one")
            again = bench.session.resume(process.process_id, {"one": "x"}, step="ask_one")
            assert_suspended(again, "ask_two")
            assert outside.calls == ["between"]

    def test_who_answers_the_same_again_when_all_is_over_is_not_bothered(self, benches: Benches) -> None:
        waiting = flow(asks("one"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            for _ in range(2):
                assert_complete(bench.session.resume(process.process_id, {"one": "x"}, step="ask_one"))

    def test_who_answers_after_somebody_else_and_otherwise_is_refused(self, benches: Benches) -> None:
        waiting = flow(asks("one"), asks("two"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            bench.session.resume(process.process_id, {"one": "x"}, step="ask_one")
            with pytest.raises(ProcessStateError, match="ada"):
                bench.session.resume(process.process_id, {"one": "y"}, step="ask_one")
            assert_state(process, {"one": "x"})

    def test_two_people_at_once_let_it_go_on_once(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(asks("one"), outside.step("after"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)

            def answer(_: int) -> None:
                bench.session.resume(process.process_id, {"one": "x"}, step="ask_one")

            with ThreadPoolExecutor(4) as people:
                list(people.map(answer, range(4)))
            assert_complete(process.refresh())
            assert outside.calls == ["after"]
            assert rows(process).count(("ask_one", "success")) == 1

    def test_who_may_not_answer_is_refused_and_the_process_waits_on(self, benches: Benches) -> None:
        asked: list[AuthContext] = []

        def only_grace(context: AuthContext) -> bool:
            asked.append(context)
            return context.user == "grace"

        waiting = flow(asks("one", resume_auth_callback=only_grace))
        with benches.open(waiting, user="ada") as bench:
            process = bench.run(waiting.name)
            with pytest.raises(NotAuthorizedError) as refused:
                process.resume({"one": "x"})
            assert (refused.value.user, refused.value.action) == ("ada", "resume_workflow")
            assert_suspended(process.refresh())
            with bench.session.orchestrator.connect(user="grace", instance=bench.session.instance) as graces:
                assert_complete(graces.resume(process.process_id, {"one": "x"}))
            assert {context.step.name for context in asked if context.step} == {"Ask for one"}

    def test_may_answer_by_default_where_he_may_start_the_workflow(self, benches: Benches) -> None:
        async def only_ada(context: AuthContext) -> bool:
            return context.user == "ada"

        waiting = flow(asks("one"), authorize_callback=only_ada)
        with benches.open(waiting, user="ada") as bench:
            process = bench.run(waiting.name)
            with (
                bench.session.orchestrator.connect(user="eve", instance=bench.session.instance) as eves,
                pytest.raises(NotAuthorizedError),
            ):
                eves.resume(process.process_id, {"one": "x"})
            assert_complete(process.resume({"one": "x"}))

    def test_is_shown_a_form_that_knows_the_state(self, benches: Benches) -> None:
        @step("Find sites")
        def find_sites() -> State:
            return {"found": "Utrecht"}

        @inputstep("Choose site", assignee=Assignee.NOC)
        def choose_site(found: str) -> FormGenerator:
            class Choice(FormPage):
                site: str = found

            choice = yield Choice
            return choice.model_dump()

        waiting = flow(find_sites, choose_site)
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert process.form["properties"]["site"]["default"] == "Utrecht"
            assert_complete(process.resume({}))
            assert_state(process, {"site": "Utrecht"})

    def test_a_form_may_be_a_page_as_it_is(self, benches: Benches) -> None:
        @inputstep("Approve", assignee=Assignee.NOC)
        def approve() -> type[FormPage]:
            return Approval

        waiting = flow(approve)
        with benches.open(waiting) as bench:
            assert_complete(process := bench.run(waiting.name).resume({"approved_by": "grace"}))
            assert_state(process, {"approved_by": "grace"})

    def test_who_answers_a_process_that_does_not_ask_is_refused(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(outside.step("fine"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            with pytest.raises(ProcessStateError):
                process.resume({"one": "x"})


@step("Order cable")
def order_cable(callback_route: str) -> State:
    return {"ordered_for": callback_route}


@step("Check cable")
def check_cable(cable: dict[str, Any]) -> State:
    if cable["status"] != "laid":
        raise ProcessFailureError("The cable was not laid", cable)
    return {"cable_id": cable["id"]}


def post(url: str, body: bytes) -> tuple[int, Any]:
    """Post JSON, and return the status and what was answered."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            said = response.read()
            return response.status, json.loads(said) if said else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


@contextmanager
def served(orchestrator: Orchestrator) -> Iterator[str]:
    """Have the app for callbacks run, and yield its address."""
    server = uvicorn.Server(uvicorn.Config(callback_app(orchestrator), port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the app does not start")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class TestAnotherSystem:
    def test_calls_back_and_what_it_sent_is_under_the_result_key_and_validated(self, benches: Benches) -> None:
        waiting = flow(callback_step("Cable", order_cable, check_cable, result_key="cable"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert_awaiting_callback(process)
            route = process.state["ordered_for"]
            assert route.startswith(f"/api/processes/{process.process_id}/callback/")
            assert len(route.rsplit("/", 1)[1]) > 40
            (run,) = runs_of(bench, process)
            assert run.status is dg.DagsterRunStatus.SUCCESS
            assert run.tags["orchestrator/status"] == "awaiting_callback"
            assert run.tags["orchestrator/waits_for"].startswith("callback at ")
            assert_complete(bench.callback(process, {"status": "laid", "id": 7}))
            assert_state(process, {"cable": {"status": "laid", "id": 7}, "cable_id": 7})

    def test_is_given_a_route_under_any_key_and_its_answer_is_under_callback_result(self, benches: Benches) -> None:
        @step("Call")
        def call(reply_to: str) -> State:
            return {"called": reply_to}

        waiting = flow(callback_step("Call out", call, callback_route_key="reply_to"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert_complete(bench.callback(process, {"up": True}))
            assert_state(process, {"callback_result": {"up": True}})

    def test_tells_how_far_it_is(self, benches: Benches) -> None:
        waiting = flow(callback_step("Cable", order_cable))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert process.callback_progress is None
            bench.progress(process, "trench is dug")
            assert process.callback_progress == "trench is dug"
            bench.progress(process, {"percent": 80})
            assert process.callback_progress == {"percent": 80}
            assert_awaiting_callback(process.refresh())
            assert_complete(bench.callback(process, {}))

    def test_that_does_not_know_the_token_is_not_heard(self, benches: Benches) -> None:
        waiting = flow(callback_step("Cable", order_cable))
        with benches.open(waiting) as bench:
            process, other = bench.run(waiting.name), bench.run(waiting.name)
            route = process.state["callback_route"]
            token, others = route.rsplit("/", 1)[1], other.state["callback_route"].rsplit("/", 1)[1]
            for wrong in (route.replace(token, others), route[:-1], route + "x", route.replace(token, "0" * 43)):
                with pytest.raises(CallbackNotFoundError):
                    bench.callback(process, {}, route=wrong)
            assert_awaiting_callback(process.refresh())

    @pytest.mark.parametrize("body", ["done", ["a", "b"], 7, None, {"deep": {"er": [1, None]}}], ids=str)
    def test_may_send_any_json(self, benches: Benches, body: Any) -> None:
        waiting = flow(callback_step("Cable", order_cable, result_key="cable"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert_complete(bench.callback(process, body))
            assert process.state["cable"] == body

    def test_whose_order_fails_is_asked_again_by_a_retry(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(callback_step("Cable", outside.step("order")))
        with benches.open(waiting) as bench:
            outside.broken.add("order")
            process = bench.run(waiting.name)
            assert_failed(process, "order does not answer")
            outside.broken.clear()
            assert_awaiting_callback(process.retry())
            assert_complete(bench.callback(process, {}))

    def test_cannot_be_answered_for_by_a_person(self, benches: Benches) -> None:
        waiting = flow(callback_step("Cable", order_cable))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            for pushing in (lambda: process.resume({}), process.retry):
                with pytest.raises(ProcessStateError):
                    pushing()
            assert_awaiting_callback(process.refresh())

    def test_is_called_twice_in_a_workflow_with_routes_of_their_own(self, benches: Benches) -> None:
        waiting = flow(
            callback_step("First", order_cable, result_key="first"),
            callback_step("Second", order_cable, result_key="second"),
        )
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            first = process.state["callback_route"]
            bench.callback(process, 1)
            assert process.state["callback_route"] != first
            with pytest.raises(CallbackRefusedError):
                bench.callback(process, 2, route=first)
            assert_complete(bench.callback(process, 2))
            assert_state(process, {"first": 1, "second": 2})

    def test_that_calls_the_same_twice_has_one_effect_and_another_answer_is_refused(
        self, benches: Benches, outside: Outside
    ) -> None:
        waiting = flow(callback_step("Cable", order_cable), outside.step("after"), asks("one"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            route = process.state["callback_route"]
            bench.callback(process, {"id": 1}, route=route)
            bench.callback(process, {"id": 1}, route=route)
            with pytest.raises(CallbackRefusedError):
                bench.callback(process, {"id": 2}, route=route)
            assert_suspended(process.refresh(), "ask_one")
            assert_state(process, {"callback_result": {"id": 1}})
            assert outside.calls == ["after"]

    def test_that_is_too_late_makes_the_process_fail_and_a_retry_asks_it_anew(
        self, benches: Benches, outside: Outside
    ) -> None:
        order = outside.step("order")
        waiting = flow(callback_step("Cable", order, timeout=HOUR))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            first = process.state["callback_route"]
            bench.clock.jump(HOUR - MINUTE)
            bench.go_on()
            assert_awaiting_callback(process.refresh())
            bench.clock.jump(2 * MINUTE)
            bench.go_on()
            assert_failed(process.refresh())
            with pytest.raises((CallbackRefusedError, CallbackNotFoundError)):
                bench.callback(process, {}, route=first)
            assert_awaiting_callback(process.retry())
            second = process.state["callback_route"]
            assert second != first
            assert outside.calls == ["order", "order"]
            assert len(set(outside.keys["order"])) == 2, "another round is another order"
            with pytest.raises((CallbackRefusedError, CallbackNotFoundError)):
                bench.callback(process, {}, route=first)
            assert_complete(bench.callback(process, {}))

    def test_may_have_seconds_as_its_time(self, benches: Benches) -> None:
        waiting = flow(callback_step("Cable", order_cable, timeout=90))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            bench.clock.jump(timedelta(seconds=91))
            bench.go_on()
            assert_failed(process.refresh())

    def test_whose_answer_is_not_valid_makes_the_process_fail_and_a_retry_asks_it_anew(self, benches: Benches) -> None:
        waiting = flow(callback_step("Cable", order_cable, check_cable, result_key="cable"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            first = process.state["callback_route"]
            assert_failed(bench.callback(process, {"status": "lost"}), "The cable was not laid")
            assert_awaiting_callback(process.retry())
            assert process.state["callback_route"] != first
            assert_complete(bench.callback(process, {"status": "laid", "id": 8}))

    def test_that_answers_before_it_was_asked_completely_is_heard(self, benches: Benches) -> None:
        def answer_at_once(callback_route: str, address: str) -> State:
            assert post(address + callback_route, b'{"id": 1}')[0] == 200
            return {}

        quick = step("Order")(called(answer_at_once, "order"))

        class AddressPage(FormPage):
            address: str

        waiting = flow(callback_step("Cable", quick), initial_input_form=AddressPage)
        with benches.open(waiting) as bench, served(bench.session.orchestrator) as address:
            process = bench.run(waiting.name, {"address": address})
            bench.go_on()
            assert_complete(process.refresh())
            assert_state(process, {"callback_result": {"id": 1}})

    def test_is_answered_over_http_as_it_should_be(self, benches: Benches) -> None:
        waiting = flow(callback_step("Cable", order_cable), asks("one"))
        with benches.open(waiting) as bench, served(bench.session.orchestrator) as address:
            process = bench.run(waiting.name)
            url = address + process.state["callback_route"]
            with urllib.request.urlopen(f"{address}/health", timeout=30) as health:  # noqa: S310
                assert health.status == 200
            assert post(url + "x", b"{}")[0] == 404
            assert post(url, b"{half of it")[0] == 400
            assert post(url + "/progress", b'"half way"')[0] == 204
            bench.session.pause_engine("Maintenance")
            assert post(url, b'{"id": 1}')[0] == 503
            bench.session.resume_engine()
            assert post(url, b'{"id": 1}') == (200, {"status": "received"})
            assert post(url, b'{"id": 1}') == (200, {"status": "already received"})
            assert post(url, b'{"id": 2}')[0] == 409
            bench.go_on()
            assert_suspended(process.refresh(), "ask_one")
            assert post(url, b'{"id": 2}')[0] == 409
            assert post(url + "/progress", b'"late"')[0] in (404, 409)


class TestAnotherAttempt:
    def test_is_made_every_hour_by_default_and_without_end(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(outside.step("reach", retrystep))
        with benches.open(waiting) as bench:
            outside.broken.add("reach")
            process = bench.run(waiting.name)
            assert_waiting(process, "reach")
            assert process.failed_reason == "reach does not answer"
            assert runs_of(bench, process)[0].tags["orchestrator/status"] == "waiting"
            bench.clock.jump(HOUR - MINUTE)
            bench.go_on()
            assert outside.calls == ["reach"]
            for attempts in range(2, 6):
                bench.clock.jump(HOUR)
                bench.go_on()
                assert outside.calls == ["reach"] * attempts
            outside.broken.clear()
            bench.clock.jump(HOUR)
            bench.go_on()
            assert_complete(process.refresh())
            assert len(set(outside.keys["reach"])) == 1
            assert process.failed_reason is None

    def test_comes_later_each_time_with_backoff_and_ends_after_the_last(
        self, benches: Benches, outside: Outside
    ) -> None:
        waiting = flow(outside.step("reach", retrystep, retry_every=10 * MINUTE, max_attempts=3, backoff=2))
        with benches.open(waiting) as bench:
            outside.broken.add("reach")
            process = bench.run(waiting.name)
            for pause, attempts in ((9, 1), (2, 2), (18, 2), (3, 3)):
                assert_waiting(process.refresh())
                bench.clock.jump(pause * MINUTE)
                bench.go_on()
                assert len(outside.calls) == attempts
            assert_failed(process.refresh(), "reach does not answer", step="reach")
            bench.clock.jump(30 * HOUR)
            bench.go_on()
            assert len(outside.calls) == 3
            outside.broken.clear()
            assert_complete(process.retry())

    def test_can_be_made_earlier_by_a_person(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(outside.step("reach", retrystep))
        with benches.open(waiting) as bench:
            outside.broken.add("reach")
            process = bench.run(waiting.name)
            outside.broken.clear()
            assert_complete(process.retry())


class TestATime:
    def test_after_a_while(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(wait_for(2 * HOUR), outside.step("reboot"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert_waiting(process)
            bench.clock.jump(2 * HOUR - MINUTE)
            bench.go_on()
            assert outside.calls == []
            bench.clock.jump(MINUTE)
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["reboot"]

    def test_from_the_state(self, benches: Benches) -> None:
        class Window(FormPage):
            starts_at: datetime
            rest: timedelta

        waiting = flow(wait_until("starts_at"), wait_for("rest"), initial_input_form=Window)
        with benches.open(waiting) as bench:
            starts_at = bench.clock() + 5 * HOUR
            process = bench.run(waiting.name, {"starts_at": starts_at.isoformat(), "rest": "PT30M"})
            assert_waiting(process)
            assert process.waits[0].due_at == starts_at
            bench.clock.jump_to(starts_at)
            bench.go_on()
            assert_waiting(process.refresh())
            bench.clock.jump(31 * MINUTE)
            bench.go_on()
            assert_complete(process.refresh())

    def test_from_a_function_that_is_asked_once(self, benches: Benches) -> None:
        asked: list[str] = []

        def window(workflow_name: str = "") -> datetime:
            asked.append(workflow_name)
            return datetime.now(UTC) + 3 * HOUR

        waiting = flow(wait_until(window, name="Maintenance window"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            bench.clock.jump(2 * HOUR)
            bench.go_on()
            bench.clock.jump(2 * HOUR)
            bench.go_on()
            assert_complete(process.refresh())
            assert len(asked) == 1

    def test_that_has_passed_is_not_waited_for(self, benches: Benches) -> None:
        waiting = flow(wait_until(datetime(2020, 1, 1, tzinfo=UTC)), wait_for(timedelta()))
        with benches.open(waiting) as bench:
            assert_complete(bench.run(waiting.name))

    def test_without_a_time_zone_is_refused_at_definition(self) -> None:
        with pytest.raises(DefinitionError):
            wait_until(datetime(2030, 1, 1))  # noqa: DTZ001 - that is what it is about

    def test_may_be_seconds(self, benches: Benches) -> None:
        waiting = flow(wait_for(90))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            bench.clock.jump(timedelta(seconds=89))
            bench.go_on()
            assert_waiting(process.refresh())
            bench.clock.jump(timedelta(seconds=2))
            bench.go_on()
            assert_complete(process.refresh())

    def test_can_be_cut_short_by_a_person(self, benches: Benches) -> None:
        waiting = flow(wait_for(HOUR))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            assert_complete(process.skip(None, "The window was opened earlier"))

    def test_in_the_state_that_is_none_makes_the_process_fail(self, benches: Benches) -> None:
        class Window(FormPage):
            starts_at: str

        waiting = flow(wait_until("starts_at"), initial_input_form=Window)
        with benches.open(waiting) as bench:
            for wrong in ("tomorrow", "2030-01-01T00:00:00"):
                assert_failed(bench.run(waiting.name, {"starts_at": wrong}))

    def test_that_the_state_does_not_have_makes_the_process_fail(self, benches: Benches) -> None:
        waiting = flow(wait_until("never_said"))
        with benches.open(waiting) as bench:
            assert_failed(bench.run(waiting.name), "never_said")


PROJECT = """
from orchestrator_dagster import Assignee, FormPage, Orchestrator, begin, done, init, inputstep, workflow


class Answer(FormPage):
    words: str


@inputstep("Ask", assignee=Assignee.NOC)
def ask() -> type[FormPage]:
    return Answer


@workflow("Asking")
def asking():
    return begin >> init >> ask >> done


orchestrator = Orchestrator([], workflows=[asking])
defs = orchestrator.definitions()
"""


class OtherPage(FormPage):
    other: UUID


@step("Answer the other one")
def answer_other(processes: Processes, other: UUID) -> None:
    processes.resume(other, {"one": "from a step"}, step="ask_one")


@step("Answer and break")
def answer_and_break(processes: Processes, other: UUID) -> None:
    processes.resume(other, {"one": "from a step"}, step="ask_one")
    raise RuntimeError("broken after the answer")


class TestGoingOn:
    def test_is_asked_for_from_the_command_line(self, project: Any, tmp_path: Path) -> None:
        project.write(PROJECT)
        with project.connected() as (_, wfo):
            process = wfo.run("asking")
            command = project.home.command
            shown = command("orchestrator-dagster", "process", "show", process.process_id, "-m", "network")
            assert "words" in shown.output, shown.output
            arguments = ("process", "resume", process.process_id, "-m", "network", "--user", "grace", "--input")
            refused = command("orchestrator-dagster", *arguments, '{"word": "yes"}')
            assert refused.status != 0
            assert "words" in refused.output
            resumed = command("orchestrator-dagster", *arguments, "words: yes please")
            assert resumed.status == 0, resumed.output
            assert_complete(process.refresh())
            assert_state(process, {"words": "yes please"})
            assert process.steps[-1].created_by == "grace"

    def test_is_asked_for_by_a_job_of_dagster(self, benches: Benches) -> None:
        waiting = flow(asks("one"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            resume = bench.session.orchestrator.definitions().resolve_job_def("resume_process")
            config = {"process_id": str(process.process_id), "input": {"one": "x"}}
            assert resume.execute_in_process(run_config=config, instance=bench.session.instance).success
            bench.go_on()
            assert_complete(process.refresh())
            assert_state(process, {"one": "x"})

    @pytest.mark.parametrize("wrong", [{"one": 7}, {}, {"two": "x"}], ids=["type", "nothing", "other"])
    def test_a_job_of_dagster_with_a_wrong_answer_fails_and_says_why(
        self, benches: Benches, wrong: dict[str, Any]
    ) -> None:
        waiting = flow(asks("one"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            resume = bench.session.orchestrator.definitions().resolve_job_def("resume_process")
            config = {"process_id": str(process.process_id), "input": wrong}
            ran = resume.execute_in_process(run_config=config, instance=bench.session.instance, raise_on_error=False)
            assert not ran.success
            (failure,) = [event for event in ran.all_events if event.is_step_failure]
            assert "one" in str(failure.step_failure_data)
            assert_suspended(process.refresh())

    def test_is_asked_for_by_a_step_of_another_process(self, benches: Benches) -> None:
        waiting, answering = flow(asks("one")), flow(answer_other, initial_input_form=OtherPage)
        with benches.open(waiting, answering) as bench:
            process = bench.run(waiting.name)
            assert_complete(bench.run(answering.name, {"other": str(process.process_id)}))
            bench.go_on()
            assert_complete(process.refresh())
            assert_state(process, {"one": "from a step"})

    def test_is_not_asked_for_by_a_step_that_failed(self, benches: Benches) -> None:
        waiting, answering = flow(asks("one")), flow(answer_and_break, initial_input_form=OtherPage)
        with benches.open(waiting, answering) as bench:
            process = bench.run(waiting.name)
            assert_failed(bench.run(answering.name, {"other": str(process.process_id)}))
            bench.go_on()
            assert_suspended(process.refresh())

    def test_is_asked_for_by_a_sensor_and_by_a_schedule(self, benches: Benches) -> None:
        waiting = flow(asks("one"))
        with benches.open(waiting) as bench:
            processes = bench.session.orchestrator.definitions().resources["processes"]

            @dg.sensor(target="*")
            def tickets(processes: Processes) -> dg.SkipReason:
                (found,) = processes.find(status=[ProcessStatus.SUSPENDED], workflow=waiting.name)
                processes.resume(found.process_id, {"one": "from a sensor"})
                return dg.SkipReason("answered")

            @dg.schedule(cron_schedule="@hourly", target="*")
            def nightly(processes: Processes) -> dg.SkipReason:
                (found,) = processes.find(status=[ProcessStatus.SUSPENDED], workflow=waiting.name)
                processes.resume(found.process_id, {"one": "from a schedule"})
                return dg.SkipReason("answered")

            def from_a_sensor() -> None:
                with dg.build_sensor_context(resources={"processes": processes}) as context:
                    tickets(context)

            def from_a_schedule() -> None:
                with dg.build_schedule_context(resources={"processes": processes}) as context:
                    nightly(context)

            for said, evaluate in (("from a sensor", from_a_sensor), ("from a schedule", from_a_schedule)):
                process = bench.run(waiting.name)
                evaluate()
                bench.go_on()
                assert_complete(process.refresh())
                assert_state(process, {"one": said})

    def test_passes_by_what_is_finished(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(outside.step("first"), asks("one"), outside.step("second"), asks("two"), outside.step("third"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            process.resume({"one": "x"})
            assert_complete(process.resume({"two": "y"}))
            assert outside.calls == ["first", "second", "third"]
            assert len(runs_of(bench, process)) == 3

    def test_does_not_need_dagsters_earlier_runs(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(outside.step("first"), asks("one"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            for run in runs_of(bench, process):
                bench.session.instance.delete_run(run.run_id)
            assert_complete(process.resume({"one": "x"}))
            assert outside.calls == ["first"]
