"""Workflows that are edited while processes wait: they go on where their steps still match, or are refused."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flows import working
from sqlalchemy import Engine

from orchestrator_dagster import (
    Assignee,
    FormPage,
    Process,
    Session,
    State,
    begin,
    callback_step,
    foreach,
    inputstep,
    parallel,
    retrystep,
    step,
    step_group,
    wait_for,
)
from orchestrator_dagster.domain.clock import machine_time, use_clock
from orchestrator_dagster.testing.outside import FakeCaller

pytestmark = pytest.mark.usefixtures("orchestrator_database")


@pytest.fixture
def session(session: Any) -> Any:
    """Open a session with one workflow, `work`, of these steps."""
    return lambda steps, given=None: session(working(steps, given))


def a_step(name: str, **options: Any) -> Any:
    def do(state: State) -> State:
        return {name: state.get(name, 0) + 1}

    do.__name__ = name
    return step(f"Do {name}", **options)(do)


class Ticket(FormPage):
    ticket: str


def asking(name: str, **options: Any) -> Any:
    def form() -> Any:
        answer = yield Ticket
        return answer.model_dump()

    form.__name__ = name
    return inputstep(f"Ask {name}", Assignee.NOC, **options)(form)


def answered(wfo: Session, process: Process) -> Process:
    return wfo.process(process.process_id).resume({"ticket": "CHG1"})


def test_a_finished_step_that_is_no_more_is_not_missed(session: Any) -> None:
    process = session(a_step("one") >> a_step("two") >> asking("confirm")).run("work")
    gone_on = answered(session(a_step("two") >> asking("confirm")), process)
    assert gone_on.status == "completed", gone_on.traceback
    assert gone_on.state["one"] == 1, "what it did stays"


def test_a_finished_step_that_was_renamed_is_not_done_again(session: Any) -> None:
    process = session(a_step("one") >> asking("confirm")).run("work")
    renamed = step("Do one", renamed_from="one")(lambda: {"one": 99})
    gone_on = answered(session(renamed >> asking("confirm")), process)
    assert (gone_on.status, gone_on.state["one"]) == ("completed", 1)


def test_a_process_goes_on_at_the_step_that_was_renamed_while_it_waited(session: Any) -> None:
    process = session(a_step("one") >> asking("confirm") >> a_step("two")).run("work")
    gone_on = answered(session(a_step("one") >> asking("approve", renamed_from="confirm") >> a_step("two")), process)
    assert gone_on.status == "completed", gone_on.traceback
    assert gone_on.state.items() >= {"ticket": "CHG1", "one": 1, "two": 1}.items()


def test_a_step_that_waits_and_is_no_more_keeps_the_process_from_going_on(session: Any) -> None:
    process = session(asking("confirm") >> a_step("two")).run("work")
    with pytest.raises(ValueError, match="confirm"):
        answered(session(a_step("two")), process)
    assert process.refresh().status == "suspended"
    gone_on = answered(session(asking("confirm") >> a_step("two")), process)
    assert gone_on.status == "completed", "once the step is back"


def test_a_step_that_was_added_runs_and_the_others_do_not_run_again(session: Any) -> None:
    process = session(a_step("one") >> asking("confirm")).run("work")
    gone_on = answered(session(a_step("zero") >> a_step("one") >> asking("confirm") >> a_step("two")), process)
    assert gone_on.status == "completed"
    assert gone_on.state.items() >= {"zero": 1, "one": 1, "two": 1}.items()


def test_a_group_that_was_renamed_is_known_by_its_steps(session: Any) -> None:
    process = session(step_group("Prepare", begin >> a_step("one") >> asking("confirm"))).run("work")
    renamed = step_group("Get ready", begin >> a_step("one") >> asking("confirm"), renamed_from="Prepare")
    gone_on = answered(session(renamed), process)
    assert (gone_on.status, gone_on.state["one"]) == ("completed", 1)


def test_branches_that_changed_under_way_keep_the_process_from_going_on(session: Any) -> None:
    process = session(parallel(asking("confirm"), a_step("one"))).run("work")
    assert process.status == "suspended"
    with pytest.raises(ValueError, match=r"branches of parallel have changed while they were under way.*see two"):
        answered(session(parallel(asking("confirm"), a_step("one"), a_step("two"))), process)
    assert process.refresh().status == "suspended", "as it was"
    assert answered(session(parallel(asking("confirm"), a_step("one"))), process).status == "completed"


class TestMoves:
    """A step that is in another group now is the same, where its name occurs once before and once now."""

    def test_what_was_done_and_what_waits_is_known_in_every_later_version(self, session: Any) -> None:
        process = session(a_step("one") >> asking("confirm") >> asking("again")).run("work")
        moved = step_group("Prepare", begin >> a_step("one") >> asking("confirm")) >> asking("again")
        assert answered(session(moved), process).status == "suspended"
        renamed = step_group("Get ready", begin >> a_step("one") >> asking("confirm")) >> asking("again")
        gone_on = answered(session(renamed), process)
        assert (gone_on.status, gone_on.state["one"]) == ("completed", 1), gone_on.failed_reason

    def test_what_a_later_version_added_is_known_in_the_versions_after_it(self, session: Any) -> None:
        process = session(asking("confirm") >> asking("again")).run("work")
        answered(session(a_step("one") >> asking("confirm") >> asking("again")), process)
        gone_on = answered(
            session(step_group("Prepare", a_step("one")) >> asking("confirm") >> asking("again")), process
        )
        assert (gone_on.status, gone_on.state["one"]) == ("completed", 1), gone_on.failed_reason

    def test_a_step_that_went_away_while_others_of_its_name_came_keeps_the_process_from_going_on(
        self, session: Any
    ) -> None:
        process = session(a_step("one") >> asking("confirm")).run("work")
        twice = step_group("A", a_step("one")) >> step_group("B", a_step("one"))
        with pytest.raises(ValueError, match=r"step one is not where it was.*a\.one or b\.one.*abort the process"):
            answered(session(twice >> asking("confirm")), process)
        assert process.refresh().status == "suspended"

    def test_a_step_that_went_away_is_none_of_those_that_were_there_before(self, session: Any) -> None:
        other = step_group("A", a_step("one"))
        process = session(a_step("one") >> asking("confirm") >> other).run("work")
        assert answered(session(asking("confirm") >> other), process).state["one"] == 2

    def test_a_wait_in_a_group_is_not_taken_for_another_one(self, session: Any) -> None:
        process = session(wait_for(timedelta(hours=1)) >> asking("confirm")).run("work")
        with pytest.raises(ValueError, match="'Wait for 1:00:00' when it was reached, and is 'Wait for 2:00:00'"):
            session(step_group("Later", wait_for(timedelta(hours=2))) >> asking("confirm")).process(
                process.process_id
            ).skip("wait_for", "Not needed")

    def test_what_was_done_in_a_joined_fork_that_was_moved_is_undone_with_what_its_branch_knew(
        self, session: Any
    ) -> None:
        undone = []
        plug_in = step("Plug in", compensate=step("Plug out")(lambda item, plugged: undone.append((item, plugged))))
        both = foreach("saps")(plug_in(lambda item: {"plugged": f"{item}!"}))
        process = session(both >> asking("confirm"), {"saps": ["a", "b"]}).run("work")
        moved = session(step_group("Prepare", both) >> asking("confirm")).process(process.process_id)
        assert moved.abort("The customer left").status == "aborted"
        assert undone == [("b", "b!"), ("a", "a!")]


class TestForks:
    def test_branches_that_have_joined_are_finished_as_a_whole(self, session: Any) -> None:
        steps = foreach("saps")(a_step("one"))
        process = session(steps >> asking("confirm") >> asking("again"), {"saps": [1, 2]}).run("work")
        assert process.status == "suspended", process.traceback
        changed = foreach("saps")(a_step("zero") >> a_step("one") >> parallel(a_step("two"), a_step("three")))
        later = session(changed >> asking("confirm") >> asking("again"), {"saps": [1, 2]})
        assert answered(later, process).status == "suspended"
        gone_on = answered(later, process)
        assert gone_on.status == "completed", gone_on.traceback
        assert [row.step for row in gone_on.steps if row.step.startswith(("zero", "two", "three"))] == []
        assert gone_on.state["one"] == [1, 1]

    def test_branches_that_have_joined_may_be_dissolved(self, session: Any) -> None:
        process = session(parallel(a_step("one"), a_step("two")) >> asking("confirm")).run("work")
        gone_on = answered(session(a_step("one") >> a_step("two") >> asking("confirm")), process)
        assert gone_on.state.items() >= {"one": 1, "two": 1}.items()
        assert gone_on.status == "completed"

    @pytest.mark.parametrize(
        ("before", "now"),
        [
            pytest.param(
                lambda: parallel(a_step("one"), a_step("two")),
                lambda: parallel(a_step("x"), a_step("y")) >> parallel(a_step("one"), a_step("two")),
                id="a parallel before another one",
            ),
            pytest.param(
                lambda: parallel(a_step("one"), a_step("two")),
                lambda: parallel(a_step("x"), a_step("y")),
                id="other branches altogether",
            ),
            pytest.param(
                lambda: foreach("saps")(a_step("one")),
                lambda: foreach("saps")(a_step("x")) >> foreach("saps")(a_step("one")),
                id="a foreach before another one of the same list",
            ),
            pytest.param(
                lambda: parallel(a_step("x"), a_step("y")) >> parallel(a_step("one"), a_step("two")),
                lambda: parallel(a_step("one"), a_step("two")),
                id="a parallel removed before another one",
            ),
            pytest.param(
                lambda: parallel(a_step("one"), a_step("two")),
                lambda: a_step("join") >> parallel(a_step("one"), a_step("two")),
                id="a step called as the join",
            ),
            pytest.param(
                lambda: foreach("saps")(a_step("one")),
                lambda: begin >> a_step("one"),
                id="no foreach any more, but its step",
            ),
            pytest.param(
                lambda: begin >> a_step("one"),
                lambda: foreach("saps")(a_step("one")),
                id="a foreach around a step that was done",
            ),
        ],
    )
    def test_forks_that_cannot_be_told_apart_keep_the_process_from_going_on(
        self, session: Any, before: Any, now: Any
    ) -> None:
        process = session(before() >> asking("confirm"), {"saps": [1, 2]}).run("work")
        assert process.status == "suspended", process.traceback
        with pytest.raises(ValueError, match="abort the process"):
            answered(session(now() >> asking("confirm"), {"saps": [1, 2]}), process)
        assert process.refresh().status == "suspended"

    @pytest.mark.parametrize(
        "now",
        [
            pytest.param(lambda one: one >> parallel(a_step("x"), a_step("y")), id="after it"),
            pytest.param(lambda one: parallel(a_step("x"), a_step("y"), name="Others") >> one, id="before it, named"),
            pytest.param(lambda one: step_group("G", parallel(a_step("x"), a_step("y"))) >> one, id="in a group"),
        ],
    )
    def test_another_fork_is_told_apart(self, session: Any, now: Any) -> None:
        one = parallel(a_step("one"), a_step("two"))
        process = session(one >> asking("confirm")).run("work")
        gone_on = answered(session(now(one) >> asking("confirm")), process)
        assert gone_on.state.items() >= {"one": 1, "two": 1, "x": 1, "y": 1}.items()

    def test_a_fork_that_could_not_begin_may_change(self, session: Any) -> None:
        process = session(foreach("saps")(a_step("one")), {"saps": 1}).run("work")
        assert process.status == "failed"
        wfo = session(foreach("saps")(a_step("one") >> a_step("two")))
        wfo.process(process.process_id).replace_value("saps", [1, 2], "A list is needed")
        assert wfo.retry(process.process_id).state.items() >= {"one": [1, 1], "two": [1, 1]}.items()

    def test_a_fork_that_was_not_reached_may_come_after_a_new_one(self, session: Any) -> None:
        process = session(asking("confirm") >> parallel(a_step("one"), a_step("two"))).run("work")
        both = parallel(a_step("x"), a_step("y")) >> parallel(a_step("one"), a_step("two"))
        gone_on = answered(session(asking("confirm") >> both), process)
        assert gone_on.state.items() >= {"one": 1, "two": 1, "x": 1, "y": 1}.items()


class TestCallbacks:
    @staticmethod
    def cable(title: str, **options: Any) -> Any:
        order = step("Order")(lambda ordered=0: {"ordered": ordered + 1})
        check = step("Check")(lambda callback_result: {"metres": callback_result["metres"]})
        return callback_step(title, order, check, **options)

    def test_a_callback_step_that_was_renamed_goes_on_in_the_round_that_it_was_in(
        self, session: Any, engine: Engine
    ) -> None:
        caller, process = FakeCaller(engine), session(self.cable("Cable")).run("work")
        caller.call_back(process, {})
        wfo = session(self.cable("Cable"))
        wfo.go_on()
        assert process.refresh().status == "failed", "nothing says how long the cable is"
        assert wfo.retry(process.process_id).status == "awaiting_callback"

        renamed = session(self.cable("Fibre", renamed_from="Cable"))
        caller.call_back(process, {})
        renamed.go_on()
        assert renamed.retry(process.process_id).status == "awaiting_callback"
        caller.call_back(process, {"metres": 3})
        [gone_on] = session(self.cable("Line", renamed_from=["Fibre", "Cable"])).go_on()
        assert gone_on.refresh().state.items() >= {"ordered": 3, "metres": 3}.items()
        assert gone_on.status == "completed"

    def test_another_callback_step_may_be_added(self, session: Any, engine: Engine) -> None:
        process = session(self.cable("Cable")).run("work")
        FakeCaller(engine).call_back(process, {"metres": 3})
        session(self.cable("Cable") >> self.cable("Fibre")).go_on()
        assert [wait.step for wait in process.refresh().waits] == ["fibre.await_callback"]

    def test_another_callback_step_does_not_take_its_call(self, session: Any, engine: Engine) -> None:
        process = session(self.cable("Cable")).run("work")
        FakeCaller(engine).call_back(process, {"metres": 3})
        session(self.cable("Fibre")).go_on()
        assert process.refresh().status == "failed"
        assert "abort the process" in process.failed_reason
        assert session(self.cable("Cable")).retry(process.process_id).status == "completed"


class TestDoors:
    """What a person wants of a process that cannot go on is refused, and changes nothing."""

    def test_a_step_that_asks_no_more_does_not_get_the_answer(self, session: Any) -> None:
        done_at = []
        process = session(asking("confirm")).run("work")
        plain = step("Do confirm")(lambda: done_at.append("the door"))
        with pytest.raises(ValueError, match=r"step confirm .* waited for input, and is a step now.*abort the process"):
            answered(session(replace(plain, key="confirm")), process)
        assert (done_at, process.refresh().status) == ([], "suspended")

    def test_a_retry_is_refused_while_another_step_does_not_match(self, session: Any) -> None:
        fails = step("Fail")(lambda cable: {"cable": cable})
        process = session(a_step("one") >> fails).run("work")
        failed_reason = process.failed_reason
        with pytest.raises(ValueError, match="step one occurs 2 times"):
            session(a_step("one") >> fails >> a_step("one")).retry(process.process_id)
        assert process.refresh().failed_reason == failed_reason, "as before"

    def test_a_skip_is_refused_where_the_process_cannot_go_on_without_the_step(self, session: Any) -> None:
        process = session(a_step("one") >> asking("confirm")).run("work")
        later = session(a_step("one") >> a_step("one")).process(process.process_id)
        with pytest.raises(ValueError, match="step one occurs 2 times"):
            later.skip("confirm", "Not needed")
        assert process.refresh().status == "suspended"

    def test_a_step_is_known_by_its_new_name(self, session: Any) -> None:
        process = session(asking("confirm")).run("work")
        later = session(asking("approve", renamed_from="confirm")).process(process.process_id)
        assert later.resume({"ticket": "CHG1"}, step="approve").status == "completed"

    def test_what_a_run_refuses_stands_failed_until_the_code_is_back(self, session: Any) -> None:
        steps = wait_for(timedelta(hours=1)) >> a_step("one")
        process = session(steps).run("work")
        with use_clock(lambda: machine_time() + timedelta(hours=2)):
            session(begin >> a_step("one")).go_on()
            assert process.refresh().status == "failed"
            assert "stands at step wait_for" in process.failed_reason
            assert session(steps).retry(process.process_id).status == "completed"


def test_a_step_that_was_renamed_while_it_waits_has_the_attempts_that_it_had(session: Any) -> None:
    @retrystep("Fetch", retry_every=timedelta(hours=1), max_attempts=2)
    def fetch(cable: str) -> None: ...

    process = session(fetch).run("work")
    assert process.status == "waiting"
    with use_clock(lambda: machine_time() + timedelta(hours=2)):
        session(replace(fetch, key="fetch_again", renamed_from=("fetch",))).go_on()
    assert process.refresh().status == "failed", "that was the last one"


class TestNames:
    def test_a_step_that_was_not_reached_may_be_used_twice(self, session: Any) -> None:
        process = session(asking("confirm") >> wait_for(timedelta(hours=1))).run("work")
        twice = asking("confirm") >> wait_for(timedelta(hours=1)) >> wait_for(timedelta(hours=1))
        assert answered(session(twice), process).status == "waiting"

    def test_a_step_that_was_made_with_something_else_keeps_the_process_from_going_on(self, session: Any) -> None:
        process = session(a_step("one") >> asking("confirm")).run("work")
        with pytest.raises(ValueError, match="step one was 'Do one' when it was reached, and is 'Do it'"):
            answered(session(replace(a_step("one"), name="Do it") >> asking("confirm")), process)

    def test_a_step_that_has_the_key_of_another_one_is_not_taken_for_it(self, session: Any) -> None:
        process = session(a_step("one") >> a_step("one") >> asking("confirm")).run("work")
        with pytest.raises(ValueError, match="step one occurs 1 times"):
            answered(session(a_step("one") >> a_step("one_2") >> asking("confirm")), process)
