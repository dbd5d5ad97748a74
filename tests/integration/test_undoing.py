"""What is undone when a process is aborted, and where it leaves its subscription."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from flows import working
from sqlalchemy import Engine, NullPool, create_engine

from orchestrator_dagster import (
    Assignee,
    FormPage,
    Orchestrator,
    Process,
    Product,
    ProductBlockModel,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    abort,
    begin,
    conditional,
    create_workflow,
    finally_,
    foreach,
    inputstep,
    parallel,
    step,
)
from orchestrator_dagster.db.processes import request_abort

pytestmark = pytest.mark.usefixtures("orchestrator_database")


@pytest.fixture
def did() -> list[str]:
    """What was done and undone, in order."""
    return []


def doing(did: list[str], name: str, *, failing: list[Exception] | None = None) -> Any:
    """A step that can be undone."""

    @step(f"Undo {name}")
    def undo(idempotency_key: str) -> State:
        if failing:
            raise failing.pop()
        did.append(f"undo {name}")
        return {f"undone_{name}": idempotency_key}

    def do(idempotency_key: str) -> State:
        did.append(name)
        return {name: idempotency_key}

    do.__name__ = name
    return step(f"Do {name}", compensate=undo)(do)


class Ticket(FormPage):
    ticket: str


@inputstep("Confirm", Assignee.NOC)
def confirm() -> Any:
    answer = yield Ticket
    return answer.model_dump()


def statuses(process: Process) -> dict[str, str]:
    return {row.step: str(row.status) for row in process.steps}


def test_an_abort_undoes_the_finished_steps_in_reverse(session: Any, did: list[str]) -> None:
    process = session(working(doing(did, "one") >> doing(did, "two") >> confirm), user="ada").run("work")
    assert process.status == "suspended"
    process.abort("not wanted any more")
    assert process.status == "aborted"
    assert did == ["one", "two", "undo two", "undo one"]
    assert [row.step for row in process.steps][-3:] == ["two:undo", "one:undo", "abort"]
    last = process.steps[-1]
    assert (last.status, last.created_by, last.detail) == ("abort", "ada", {"reason": "not wanted any more"})


def test_an_undo_has_an_idempotency_key_of_its_own(session: Any, did: list[str]) -> None:
    process = session(working(doing(did, "one") >> confirm)).run("work")
    process.abort("not wanted any more")
    assert process.state["undone_one"] != process.state["one"]


def test_what_was_skipped_or_cannot_be_undone_is_left_alone(session: Any, did: list[str]) -> None:
    never = conditional(lambda _: False)

    @step("Plain")
    def plain() -> None: ...

    process = session(working(never(doing(did, "one")) >> plain >> confirm)).run("work")
    process.abort("not wanted any more")
    assert (process.status, did) == ("aborted", [])


def test_an_undo_that_fails_can_be_retried_and_goes_on_where_it_was(session: Any, did: list[str]) -> None:
    failing: list[Exception] = [RuntimeError("no route")]
    steps = doing(did, "one") >> doing(did, "two", failing=failing) >> doing(did, "three") >> confirm
    process = session(working(steps)).run("work")
    process.abort("not wanted any more")
    assert (process.status, process.failed_reason, process.current_step) == ("failed", "no route", "two:undo")
    assert did[3:] == ["undo three"]
    process.retry()
    assert process.status == "aborted", process.traceback
    assert did[3:] == ["undo three", "undo two", "undo one"]


def test_an_undo_can_be_skipped(session: Any, did: list[str]) -> None:
    failing: list[Exception] = [RuntimeError("no route")] * 9
    process = session(working(doing(did, "one") >> doing(did, "two", failing=failing) >> confirm)).run("work")
    process.abort("not wanted any more")
    process.skip("two:undo", "the router is gone")
    assert (process.status, did) == ("aborted", ["one", "two", "undo one"])


def test_a_failure_undoes_where_the_workflow_says_so(session: Any, did: list[str]) -> None:
    @step("Fail")
    def fail() -> None:
        raise RuntimeError("no route")

    process = session(working(doing(did, "one") >> fail, undo_on_failure=True)).run("work")
    assert process.status == "aborted", process.traceback
    assert did == ["one", "undo one"]
    assert process.steps[-1].detail == {"reason": "Step Fail failed: no route"}


def test_a_failure_undoes_nothing_by_itself(session: Any, did: list[str]) -> None:
    @step("Fail")
    def fail() -> None:
        raise RuntimeError("no route")

    process = session(working(doing(did, "one") >> fail)).run("work")
    assert (process.status, did) == ("failed", ["one"])


def test_branches_are_undone_each_with_its_own_state(session: Any, did: list[str]) -> None:
    @step("Leave")
    def leave(item: str) -> None:
        did.append(f"left {item}")

    @step("Enter", compensate=leave)
    def enter(item: str) -> None:
        did.append(f"entered {item}")

    steps = parallel(foreach("saps")(enter), doing(did, "one")) >> confirm
    process = session(working(steps, {"saps": ["a", "b"]})).run("work")
    assert process.status == "suspended", process.traceback
    process.abort("not wanted any more")
    assert process.status == "aborted", process.traceback
    done_first = did[: len(did) // 2]
    undone = {"one": "undo one", "entered a": "left a", "entered b": "left b"}
    assert did[len(did) // 2 :] == [undone[name] for name in reversed(done_first)]
    assert "enter[1]:undo" in statuses(process)


def test_what_comes_at_the_end_runs_whatever_happened(session: Any, did: list[str]) -> None:
    @step("Clean up")
    def clean_up() -> None:
        did.append("clean up")

    steps = doing(did, "one") >> confirm >> finally_(begin >> clean_up)
    wfo = session(working(steps))
    aborted = wfo.run("work")
    aborted.abort("not wanted any more")
    assert (aborted.status, did) == ("aborted", ["one", "undo one", "clean up"])
    did.clear()
    completed = wfo.run("work").resume({"ticket": "CHG1"})
    assert (completed.status, did) == ("completed", ["one", "clean up"])


def test_a_workflow_may_abort_its_process(session: Any, did: list[str]) -> None:
    if_hopeless = conditional(lambda state: state["hopeless"])
    steps = doing(did, "one") >> if_hopeless(abort) >> doing(did, "two")
    process = session(working(steps, {"hopeless": True})).run("work")
    assert (process.status, did) == ("aborted", ["one", "undo one"])
    did.clear()
    process = session(working(steps, {"hopeless": False})).run("work")
    assert (process.status, did) == ("completed", ["one", "two"])


def test_an_aborted_process_cannot_go_on(session: Any) -> None:
    process = session(working(confirm)).run("work")
    process.abort("not wanted any more")
    assert process.status == "aborted"
    with pytest.raises(ValueError, match="aborted"):
        process.resume({"ticket": "CHG1"})


def test_a_running_process_stops_after_its_step_and_is_undone(session: Any, did: list[str], engine: Engine) -> None:
    @step("Ask to abort")
    def ask_to_abort(process_id: UUID) -> State:
        with create_engine(engine.url, poolclass=NullPool).begin() as somebody_else:
            request_abort(somebody_else, process_id, "bob", "a mistake", datetime.now(UTC))
        return {"asked": True}

    process = session(working(doing(did, "one") >> ask_to_abort >> doing(did, "two"))).run("work")
    assert (process.status, process.state["asked"]) == ("aborted", True), process.traceback
    assert did == ["one", "undo one"]
    assert process.steps[-1].created_by == "bob"


class LampBlock(ProductBlockModel, product_block_name="Lamp to be undone"):
    watts: int = 10


class Lamp(SubscriptionModel, is_base=True):
    lamp: LampBlock


@step("Construct lamp")
def construct_lamp(product: UUID) -> State:
    return {"subscription": Lamp.from_product_id(product, "acme")}


def test_the_subscription_ends_as_the_workflow_says(orchestrator_database: str) -> None:
    @create_workflow("Create lamp", status_on_abort=SubscriptionLifecycle.TERMINATED, insync_on_abort=True)
    def create_lamp() -> StepList:
        return begin >> construct_lamp >> confirm

    orchestrator = Orchestrator([Product("Lamp", Lamp, workflows=[create_lamp])])
    with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as wfo:
        process = wfo.run("create_lamp", {"product": "Lamp"})
        assert process.status == "suspended", process.traceback
        process.abort("not wanted any more")
        assert process.status == "aborted", process.traceback
        (row,) = wfo.subscriptions()
        assert (row.status, row.insync, row.held_by) == ("terminated", True, None)
        assert wfo.history(row.subscription_id)[-1].step == "abort"
