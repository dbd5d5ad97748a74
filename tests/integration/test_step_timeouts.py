"""Steps that may take so long and no longer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
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
from orchestrator_dagster.ops import step_timeout
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


def test_a_step_that_catches_every_error_in_a_loop_is_stopped(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_timeout, "_SECONDS_TO_CLEAN_UP", 0.05)

    @step("Stubborn", timeout=A_MOMENT)
    def stubborn() -> None:
        while True:
            with suppress(Exception):
                for_ever()

    process = run(stubborn)
    assert (process.status, process.steps[-1].error["class"]) == ("failed", "StepTimeoutError")


def test_what_a_step_makes_of_it_is_no_other_failure(run: Any) -> None:
    @step("Wrapping", timeout=A_MOMENT)
    def wrapping() -> None:
        try:
            for_ever()
        except Exception as error:
            raise ValueError("the device does not answer") from error

    assert run(wrapping).steps[-1].error["class"] == "StepTimeoutError"


def test_an_error_before_the_time_is_over_is_the_failure(run: Any) -> None:
    @step("Wrong", timeout=timedelta(hours=1))
    def wrong() -> None:
        raise ValueError("the device does not answer")

    assert run(wrong).steps[-1].error["class"] == "ValueError"


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


def in_main_thread(work: Callable[[], None]) -> None:
    work()


def in_another_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("within", [in_main_thread, in_another_thread])
class TestInEveryThread:
    """Signals reach the main one only."""

    @pytest.mark.parametrize("error", [(), Exception], ids=["stops at once", "catches errors"])
    def test_the_time_is_limited(self, monkeypatch: pytest.MonkeyPatch, within: Any, error: Any) -> None:
        monkeypatch.setattr(step_timeout, "_SECONDS_TO_CLEAN_UP", 0.05)
        slow = step("Slow", timeout=A_MOMENT)(for_ever)
        errors: list[BaseException] = []

        def insist() -> None:
            while True:
                with suppress(error):
                    for_ever()

        def work() -> None:
            try:
                in_time(slow, insist)
            except StepTimeoutError as late:
                errors.append(late)

        within(work)
        assert [str(late) for late in errors] == ["Step Slow took longer than the 0.05 seconds that it may"]

    def test_nothing_strikes_once_the_step_has_returned(self, within: Any) -> None:
        just_in_time = step("Just in time", timeout=timedelta(milliseconds=1))(for_ever)
        came = {"in time": 0, "late": 0}

        def work() -> None:
            for size in range(300):
                try:
                    in_time(just_in_time, partial(sum, range(200 * size)))
                    came["in time"] += 1
                except StepTimeoutError:
                    came["late"] += 1
                sum(range(1_000))

        within(work)
        assert sum(came.values()) == 300, "what strikes anywhere else ends the work"
