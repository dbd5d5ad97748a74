"""A process whose abort is asked for and not at its end yet: nothing but the abort goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flows import working
from sqlalchemy import Engine

from orchestrator_dagster import (
    Assignee,
    CallbackRefusedError,
    FormPage,
    Process,
    Session,
    State,
    Workflow,
    begin,
    callback_step,
    inputstep,
    parallel,
    retrystep,
    step,
    wait_for,
)
from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.testing.outside import FakeCaller

pytestmark = pytest.mark.usefixtures("orchestrator_database")


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def did() -> list[str]:
    """What was done and undone, in order."""
    return []


class Ticket(FormPage):
    ticket: str


@inputstep("Confirm", Assignee.NOC)
def confirm() -> Any:
    answer = yield Ticket
    return answer.model_dump()


def building(did: list[str], failing: list[Exception], undoing: Any) -> Any:
    """A step whose undoing fails for a while."""

    @undoing
    def undo() -> None:
        did.append("undo one")
        if failing:
            raise failing.pop()

    @step("Do one", compensate=undo)
    def one() -> None:
        did.append("one")

    return one


class TestAProcessThatIsBeingAborted:
    """Its undoing failed, while several of its steps waited for other things."""

    @pytest.fixture
    def failing(self) -> list[Exception]:
        return [ConnectionError("it does not answer")]

    @pytest.fixture
    def wfo(self, session: Any, did: list[str], failing: list[Exception]) -> Session:
        @step("Order")
        def order() -> State:
            return {}

        @step("After")
        def after() -> None:
            did.append("after")

        waiting = parallel(confirm, callback_step("Cable", order), begin >> wait_for(HOUR) >> after)
        wfo: Session = session(working(building(did, failing, step("Undo one")) >> waiting), user="ada")
        return wfo

    @pytest.fixture
    def process(self, wfo: Session) -> Process:
        process = wfo.run("work")
        assert len(process.waits) == 3
        return process.abort("not wanted any more")

    def test_it_stands_at_nothing_but_what_could_not_be_undone(self, process: Process) -> None:
        assert (process.status, process.current_step, process.forms) == ("failed", "one:undo", {})
        assert [wait.step for wait in process.waits] == ["one:undo"]

    def test_no_answer_is_taken(self, process: Process) -> None:
        with pytest.raises(ValueError, match=r"is being aborted by ada, failed at one:undo .* does not wait for input"):
            process.resume({"ticket": "CHG1"}, step="confirm")
        assert process.refresh().status == "failed"

    def test_no_callback_is_taken(self, process: Process, engine: Engine) -> None:
        with pytest.raises(CallbackRefusedError, match="is being aborted by ada"):
            FakeCaller(engine).call_back(process, {"metres": 3}, route=self.route_of(process, engine))
        assert process.refresh().status == "failed"

    def test_none_of_its_steps_can_be_skipped_or_tried_again(self, process: Process) -> None:
        with pytest.raises(ValueError, match="is being aborted by ada"):
            process.skip("confirm", "not needed")
        with pytest.raises(ValueError, match="is being aborted by ada"):
            process.retry("cable.await_callback")

    def test_no_time_wakes_it(self, wfo: Session, process: Process, did: list[str]) -> None:
        with use_clock(lambda: datetime.now(UTC) + 2 * HOUR):
            assert list(wfo.go_on()) == []
        assert (process.refresh().status, did) == ("failed", ["one", "undo one"])

    def test_a_retry_goes_on_with_it(self, process: Process, did: list[str]) -> None:
        assert process.retry().status == "aborted"
        assert did == ["one", "undo one", "undo one"]

    def test_so_does_a_skip(self, process: Process, did: list[str]) -> None:
        assert process.skip("one:undo", "taken down by hand").status == "aborted"
        assert did == ["one", "undo one"]

    def route_of(self, process: Process, engine: Engine) -> str:
        """The route is in the state of a branch."""
        (row,) = [row for row in process.steps if row.step == "cable.create_endpoint"]
        return str((row.changes or {})["callback_route"])


class TestAnUndoThatIsTriedAgainByItself:
    @pytest.fixture
    def failing(self) -> list[Exception]:
        return [ConnectionError("it does not answer") for _ in range(2)]

    @pytest.fixture
    def work(self, did: list[str], failing: list[Exception]) -> Workflow:
        again = retrystep("Undo one", retry_every=HOUR, max_attempts=2)
        return working(building(did, failing, again) >> confirm)

    def test_it_waits_for_its_next_attempt(self, session: Any, work: Workflow, did: list[str]) -> None:
        wfo = session(work)
        with use_clock(lambda: NOON):
            process = wfo.run("work").abort("not wanted any more")
            assert (process.status, did) == ("waiting", ["one", "undo one"])
            wfo.go_on()
            process.abort("really not")
        assert (process.status, did) == ("waiting", ["one", "undo one"]), "before its time nothing is tried"

    def test_after_the_last_attempt_it_stands_failed(self, session: Any, work: Workflow, did: list[str]) -> None:
        wfo = session(work)
        with use_clock(lambda: NOON):
            process = wfo.run("work").abort("not wanted any more")
        with use_clock(lambda: NOON + HOUR):
            wfo.go_on()
        with use_clock(lambda: NOON + 3 * HOUR):
            wfo.go_on()
        assert (process.refresh().status, did) == ("failed", ["one", "undo one", "undo one"])
        assert process.retry().status == "aborted"

    def test_a_person_need_not_wait(
        self, session: Any, work: Workflow, failing: list[Exception], did: list[str]
    ) -> None:
        process = session(work).run("work").abort("not wanted any more")
        failing.clear()
        assert process.retry().status == "aborted"
        assert did == ["one", "undo one", "undo one"]
