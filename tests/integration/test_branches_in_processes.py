"""Processes that branch: what each branch sees, what is left where they join, and branches that halt one by one."""

from typing import Any

import pytest
from flows import working

from orchestrator_dagster import (
    Assignee,
    FormPage,
    Process,
    State,
    begin,
    conditional,
    foreach,
    inputstep,
    parallel,
    step,
)

pytestmark = pytest.mark.usefixtures("orchestrator_database")


def finished_once(process: Process) -> bool:
    finished = [(row.step, row.round) for row in process.steps if row.status.finished]
    return len(finished) == len(set(finished))


class Ticket(FormPage):
    ticket: str


@inputstep("Confirm", Assignee.NOC)
def confirm() -> Any:
    answer = yield Ticket
    return answer.model_dump()


@step("Left")
def left(count: int) -> State:
    return {"left": count + 1}


@step("Right")
def right(state: State) -> State:
    assert "left" not in state
    return {"right": state["count"] + 2}


@step("Add up")
def add_up(left: int, right: int) -> State:
    return {"sum": left + right}


def test_branches_do_not_see_each_other_and_their_keys_come_together(session: Any) -> None:
    process = session(working(parallel(left, right) >> add_up, {"count": 1})).run("work")
    assert process.status == "completed", process.traceback
    assert process.state["sum"] == 5
    assert finished_once(process)


def test_branches_that_write_the_same_key_differently_fail_where_they_join(session: Any) -> None:
    @step("Also left")
    def also_left() -> State:
        return {"left": 7}

    process = session(working(parallel(left, also_left), {"count": 1})).run("work")
    assert process.status == "failed"
    assert "'left'" in process.failed_reason


def test_a_branch_that_fails_does_not_keep_its_sibling_from_running(session: Any) -> None:
    failures = [RuntimeError("no fibre")]

    @step("Fail once")
    def fail_once() -> State:
        if failures:
            raise failures.pop()
        return {"left": 1}

    process = session(working(parallel(fail_once, right) >> add_up, {"count": 1})).run("work")
    assert (process.status, process.failed_reason) == ("failed", "no fibre")
    assert [row.step for row in process.steps if row.status == "success"] == ["init", "right"]
    process.retry()
    assert (process.status, process.state["sum"]) == ("completed", 4)
    assert finished_once(process)


def test_the_join_waits_for_every_branch(session: Any) -> None:
    process = session(working(parallel(begin >> confirm >> left, right) >> add_up, {"count": 1})).run("work")
    assert process.status == "suspended"
    assert [row.step for row in process.steps if row.status == "success"] == ["init", "right"]
    process.resume({"ticket": "CHG1"})
    assert process.status == "completed", process.traceback
    assert process.state.items() >= {"ticket": "CHG1", "sum": 5}.items()


@step("Visit")
def visit(item: str, index: int) -> State:
    return {"visited": f"{item}{index}"}


def test_a_foreach_collects_new_keys_in_the_order_of_its_items(session: Any) -> None:
    process = session(working(foreach("saps")(visit), {"saps": ["a", "b", "c"]})).run("work")
    assert process.status == "completed", process.traceback
    assert process.state["visited"] == ["a0", "b1", "c2"]
    assert not {"item", "index"} & process.state.keys()
    assert "visit[2]" in [row.step for row in process.steps]


def test_a_foreach_over_nothing_runs_the_rest(session: Any) -> None:
    @step("Rest")
    def rest() -> State:
        return {"rest": True}

    process = session(working(foreach("saps")(visit) >> rest, {"saps": []})).run("work")
    assert (process.status, process.state["rest"]) == ("completed", True)


@pytest.mark.parametrize("given", [{}, {"saps": "abc"}], ids=["missing", "no list"])
def test_a_foreach_over_what_is_no_list_fails_and_names_it(session: Any, given: State) -> None:
    process = session(working(foreach("saps")(visit), given)).run("work")
    assert process.status == "failed"
    assert "saps" in process.failed_reason


def test_items_halt_and_fail_one_by_one(session: Any) -> None:
    failing = {"b"}

    @step("Reach")
    def reach(item: str) -> State:
        if item in failing:
            raise RuntimeError(f"{item} is away")
        return {"reached": item}

    ask_for_a = conditional(lambda state: state["item"] == "a")(confirm)
    process = session(working(foreach("saps")(begin >> ask_for_a >> reach), {"saps": ["a", "b", "c"]})).run("work")
    assert (process.status, process.failed_reason) == ("failed", "b is away")
    failing.clear()
    process.retry()
    assert process.status == "suspended"
    process.resume({"ticket": "CHG1"})
    assert process.status == "completed", process.traceback
    assert process.state["reached"] == ["a", "b", "c"]
    assert process.state["ticket"] == ["CHG1", None, None]
    assert finished_once(process)


def test_a_foreach_may_stand_in_a_branch(session: Any) -> None:
    process = session(working(parallel(foreach("saps")(visit), left), {"saps": ["a", "b"], "count": 1})).run("work")
    assert process.status == "completed", process.traceback
    assert process.state.items() >= {"visited": ["a0", "b1"], "left": 2}.items()


def test_branches_may_stand_in_a_foreach(session: Any) -> None:
    @step("Measure")
    def measure(item: str) -> State:
        return {"measured": item * 2}

    process = session(working(foreach("saps")(begin >> parallel(visit, measure)), {"saps": ["a", "b"]})).run("work")
    assert process.status == "completed", process.traceback
    assert process.state.items() >= {"visited": ["a0", "b1"], "measured": ["aa", "bb"]}.items()


def test_branches_that_are_skipped_change_nothing(session: Any) -> None:
    never = conditional(lambda _: False)
    steps = never(begin >> parallel(left, right)) >> never(begin >> foreach("saps")(visit))
    process = session(working(steps, {"count": 1, "saps": ["a"]})).run("work")
    assert process.status == "completed", process.traceback
    assert not {"left", "right", "visited"} & process.state.keys()
