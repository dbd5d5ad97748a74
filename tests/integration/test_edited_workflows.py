"""Workflows that are edited while processes wait: they go on where their steps still match, or are refused."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import dagster as dg
import pytest

from orchestrator_dagster import (
    Assignee,
    FormPage,
    Orchestrator,
    Process,
    Session,
    State,
    StepList,
    Workflow,
    begin,
    done,
    foreach,
    init,
    inputstep,
    parallel,
    step,
    step_group,
    workflow,
)

pytestmark = pytest.mark.usefixtures("orchestrator_database")


@pytest.fixture
def session() -> Iterator[Any]:
    """Open a session with one workflow, `work`."""
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())

        def session(steps: Any, given: State | None = None) -> Session:
            return stack.enter_context(Orchestrator([], workflows=[working(steps, given)]).connect(instance=instance))

        yield session


def working(steps: Any, given: State | None = None) -> Workflow:
    def form() -> Any:
        yield from ()
        return given or {}

    @workflow("Work", initial_input_form=form)
    def work() -> StepList:
        return begin >> init >> steps >> done

    return work


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
    with pytest.raises(ValueError, match="have changed while they were under way"):
        answered(session(parallel(asking("confirm"), a_step("one"), a_step("two"))), process)
    assert process.refresh().status == "failed"
    assert "have changed" in process.failed_reason
    gone_on = session(parallel(asking("confirm"), a_step("one"))).process(process.process_id).retry()
    assert gone_on.status == "completed", "with the answer that it has"


def test_branches_that_have_joined_may_change(session: Any) -> None:
    steps = foreach("saps")(a_step("one"))
    process = session(steps >> asking("confirm"), {"saps": [1, 2]}).run("work")
    assert process.status == "suspended", process.traceback
    changed = foreach("saps")(a_step("one") >> a_step("two"))
    gone_on = answered(session(changed >> asking("confirm"), {"saps": [1, 2]}), process)
    assert gone_on.status == "completed", gone_on.traceback
