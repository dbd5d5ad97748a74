"""Steps that may take so long and no longer."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    Orchestrator,
    Process,
    Session,
    State,
    StepList,
    begin,
    done,
    init,
    retrystep,
    step,
    workflow,
)
from orchestrator_dagster.errors import StepTimeoutError
from orchestrator_dagster.ops.step_timeout import in_time
from orchestrator_dagster.ops.transaction import StepTransaction

pytestmark = pytest.mark.usefixtures("orchestrator_database")

A_MOMENT = timedelta(milliseconds=50)


@pytest.fixture
def run() -> Iterator[Any]:
    """Run one step as a workflow."""
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())

        def run(the_step: Any) -> Process:
            @workflow("Work")
            def work() -> StepList:
                return begin >> init >> the_step >> done

            session: Session = stack.enter_context(Orchestrator([], workflows=[work]).connect(instance=instance))
            return session.run("work")

        yield run


def for_ever() -> None:
    while True:
        pass


def test_a_step_that_takes_too_long_fails_and_leaves_nothing(run: Any, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE marks (mark text)"))
    endings = [for_ever, lambda: None]

    @step("Slow", timeout=A_MOMENT)
    def slow(transaction: StepTransaction) -> State:
        transaction.connection.execute(text("INSERT INTO marks VALUES ('slow')"))
        endings.pop(0)()
        return {"slow": True}

    process = run(slow)
    assert (process.status, process.failed_reason) == (
        "failed",
        "Step Slow took longer than the 0.05 seconds that it may",
    )
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT mark FROM marks")).all() == []


def test_a_statement_that_takes_too_long_is_stopped_too(run: Any) -> None:
    @step("Slow", timeout=A_MOMENT)
    def slow(transaction: StepTransaction) -> None:
        transaction.connection.execute(text("SELECT pg_sleep(3600)"))

    process = run(slow)
    assert "took longer than the 0.05 seconds" in process.failed_reason
    assert process.steps[-1].error["class"] == "StepTimeoutError"


def test_a_step_that_catches_it_fails_all_the_same(run: Any) -> None:
    @step("Stubborn", timeout=A_MOMENT)
    def stubborn() -> State:
        try:
            for_ever()
        except Exception:
            return {"fine": True}
        return {}

    process = run(stubborn)
    assert (process.status, "fine" in process.state) == ("failed", False)


def test_a_retrystep_that_takes_too_long_is_tried_again(run: Any) -> None:
    @retrystep("Slow", timeout=A_MOMENT)
    def slow() -> None:
        for_ever()

    assert run(slow).status == "waiting"


def test_a_step_that_is_quick_enough_is_not_disturbed(run: Any) -> None:
    @step("Quick", timeout=timedelta(hours=1))
    def quick() -> State:
        return {"quick": True}

    assert run(quick).status == "completed"


def test_in_another_thread_the_time_is_limited_as_well() -> None:
    @step("Slow", timeout=A_MOMENT)
    def slow() -> None: ...

    errors: list[BaseException] = []

    def work() -> None:
        try:
            in_time(slow, for_ever)
        except StepTimeoutError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [str(error) for error in errors] == ["Step Slow took longer than the 0.05 seconds that it may"]
