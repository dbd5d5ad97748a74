"""The testing kit: what authors of workflows test them with."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator_dagster import (
    Assignee,
    Database,
    FormGenerator,
    FormPage,
    Orchestrator,
    State,
    StepList,
    begin,
    callback_step,
    done,
    init,
    inputstep,
    retrystep,
    step,
    wait_for,
    workflow,
)
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.testing import (
    JumpingClock,
    Workbench,
    assert_aborted,
    assert_assignee,
    assert_awaiting_callback,
    assert_complete,
    assert_failed,
    assert_state,
    assert_step_name,
    assert_suspended,
    assert_waiting,
    extract_error,
    extract_state,
)

HOUR = timedelta(hours=1)


class Line:
    """The system outside."""

    up = False


line = Line()


@step("Dial")
def dial(number: str = "112") -> State:
    return {"dialled": number}


@step("Break")
def break_it() -> State:
    raise RuntimeError("no route")


@retrystep("Ring", retry_every=HOUR)
def ring() -> State:
    if not line.up:
        raise ConnectionError("nobody there")
    return {"rang": True}


@inputstep("Ask", assignee=Assignee.NOC)
def ask() -> FormGenerator:
    class Answer(FormPage):
        words: str

    answer = yield Answer
    return answer.model_dump()


@step("Call out")
def call_out(callback_route: str) -> State:
    return {"called": callback_route}


@step("Check answer")
def check_answer(callback_result: dict[str, str]) -> State:
    return {"checked": callback_result["line"]}


@workflow("Breaking")
def breaking() -> StepList:
    return begin >> init >> dial >> break_it >> done


@workflow("Asking")
def asking() -> StepList:
    return begin >> init >> ask >> done


@workflow("Resting")
def resting() -> StepList:
    return begin >> init >> wait_for(HOUR) >> dial >> done


@workflow("Ringing")
def ringing() -> StepList:
    return begin >> init >> ring >> done


@workflow("Calling")
def calling() -> StepList:
    called = callback_step("Call", call_out, check_answer, timeout=HOUR)
    return begin >> init >> called >> done


@pytest.fixture
def bench(database_url: str) -> Iterator[Workbench]:
    orchestrator = Orchestrator([], workflows=[breaking, asking, resting, ringing, calling])
    line.up = False
    with Workbench(orchestrator, database=Database(url=database_url), user="ada") as bench:
        yield bench


class TestWhatIsTold:
    def test_a_failed_assertion_tells_the_status_the_failure_and_the_log(self, bench: Workbench) -> None:
        failed = bench.run("breaking")
        with pytest.raises(AssertionError) as told:
            assert_complete(failed)
        message = str(told.value)
        assert message.startswith("expected completed\n")
        for words in ("breaking", "is failed at break_it", "because: no route", "Dial", "RuntimeError: no route"):
            assert words in message

    def test_its_cause_is_the_traceback_of_the_step(self, bench: Workbench) -> None:
        with pytest.raises(AssertionError) as told:
            assert_complete(bench.run("breaking"))
        assert "in break_it" in str(told.value.__cause__)

    def test_the_state_is_compared_key_by_key(self, bench: Workbench) -> None:
        failed = bench.run("breaking")
        assert_state(failed, {"dialled": "112"})
        with pytest.raises(AssertionError, match=r"expected \{'dialled': '110'\} .* \{'dialled': '112'\}"):
            assert_state(failed, {"dialled": "110"})
        with pytest.raises(AssertionError, match="nothing"):
            assert_state(failed, {"missing": None})
        assert extract_state(failed)["dialled"] == "112"

    @pytest.mark.parametrize(
        "wrong", [assert_complete, assert_suspended, assert_waiting, assert_awaiting_callback, assert_aborted]
    )
    def test_what_is_not_so_is_an_error(self, bench: Workbench, wrong: object) -> None:
        assert callable(wrong)
        with pytest.raises(AssertionError, match="expected"):
            wrong(bench.run("breaking"))

    def test_a_failure_is_asserted_by_step_and_words(self, bench: Workbench) -> None:
        failed = bench.run("breaking")
        assert_failed(failed, "no route", step="break_it")
        assert_step_name(failed, "Break")
        assert extract_error(failed) == "no route"
        with pytest.raises(AssertionError, match="expected 'timeout' in the reason"):
            assert_failed(failed, "timeout")
        with pytest.raises(AssertionError, match="expected it at dial"):
            assert_failed(failed, step="dial")


class TestWhatGoesOn:
    def test_an_answer(self, bench: Workbench) -> None:
        asked = bench.run("asking")
        assert_suspended(asked, "ask")
        assert_assignee(asked, Assignee.NOC)
        assert_complete(asked.resume({"words": "yes"}))
        assert_state(asked, {"words": "yes"})

    def test_an_abort(self, bench: Workbench) -> None:
        asked = bench.run("asking")
        assert_aborted(asked.abort("nobody wants it"))

    def test_a_timer_that_is_due_after_a_jump(self, bench: Workbench) -> None:
        resting = bench.run("resting")
        assert_waiting(resting)
        bench.clock.jump(HOUR / 2)
        assert bench.go_on() == []
        assert_waiting(resting.refresh())
        bench.clock.jump(HOUR / 2)
        assert [process.process_id for process in bench.go_on()] == [resting.process_id]
        assert_complete(resting.refresh())

    def test_a_step_that_is_tried_again_after_a_jump(self, bench: Workbench) -> None:
        ringing = bench.run("ringing")
        assert_waiting(ringing, "ring")
        bench.clock.jump(HOUR)
        bench.go_on()
        assert_waiting(ringing.refresh(), "ring")
        line.up = True
        bench.clock.jump(HOUR)
        bench.go_on()
        assert_complete(ringing.refresh())
        assert [row.attempt for row in ringing.steps if row.step == "ring"] == [1, 2, 3]

    def test_a_callback(self, bench: Workbench) -> None:
        calling = bench.run("calling")
        assert_awaiting_callback(calling)
        bench.progress(calling, "half way")
        assert_awaiting_callback(calling)
        assert_complete(bench.callback(calling, {"line": "up"}))
        assert_state(calling, {"checked": "up"})

    def test_a_callback_that_never_comes(self, bench: Workbench) -> None:
        calling = bench.run("calling")
        bench.clock.jump(HOUR + timedelta(seconds=1))
        bench.go_on()
        assert_failed(calling.refresh())

    def test_a_process_that_awaits_nothing_cannot_be_called(self, bench: Workbench) -> None:
        with pytest.raises(AssertionError, match="no route"):
            bench.callback(bench.run("breaking"), {})


class TestTheClock:
    def test_it_counts_while_the_bench_is_open(self, bench: Workbench) -> None:
        bench.clock.jump(1000 * HOUR)
        assert now() - datetime.now(UTC) > 999 * HOUR
        resting = bench.run("resting")
        assert resting.steps[0].started_at - datetime.now(UTC) > 999 * HOUR

    def test_afterwards_it_is_as_late_as_ever(self, database_url: str) -> None:
        with Workbench(Orchestrator([]), database=Database(url=database_url)) as bench:
            bench.clock.jump(HOUR)
        assert abs(now() - datetime.now(UTC)) < HOUR / 2

    def test_it_jumps_to_a_moment_and_never_back(self) -> None:
        clock = JumpingClock()
        moment = (clock() + HOUR).replace(microsecond=0)
        clock.jump_to(moment.replace(tzinfo=None))
        assert timedelta() <= clock() - moment < HOUR / 2
        with pytest.raises(ValueError, match="back"):
            clock.jump_to(moment - HOUR)


WORKFLOWS = """
from orchestrator_dagster import Orchestrator, State, StepList, begin, done, init, step, workflow

@step("Dial")
def dial() -> State:
    return {"dialled": "112"}

@workflow("Dialling")
def dialling() -> StepList:
    return begin >> init >> dial >> done

orchestrator = Orchestrator([], workflows=[dialling])
"""
WITH_PYTEST = """
import pytest
import dialling
from orchestrator_dagster.testing import assert_complete, assert_failed

@pytest.fixture
def orchestrator():
    return dialling.orchestrator

def test_dialling(workbench):
    assert_complete(workbench.run("dialling"))

def test_each_test_has_a_database_of_its_own(workbench):
    assert workbench.session.processes() == []

def test_wrong(workbench):
    assert_failed(workbench.run("dialling"))
"""
WITHOUT_PYTEST = """
from dialling import orchestrator
from orchestrator_dagster.testing import Workbench, assert_complete, assert_state

with Workbench(orchestrator) as bench:
    dialled = bench.run("dialling")
    assert_complete(dialled)
    assert_state(dialled, {"dialled": "112"})
print("well done")
"""


class TestInAProjectOfItsOwn:
    """With nothing around it: the server, the database and the instance are the kit's."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for variable in ("DAGSTER_HOME", "ORCHESTRATOR_DATABASE_URL", "ORCHESTRATOR_TEST_DATABASE_URL"):
            monkeypatch.delenv(variable, raising=False)
        (tmp_path / "dialling.py").write_text(textwrap.dedent(WORKFLOWS))
        return tmp_path

    def run(self, folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )

    def test_the_fixtures_are_a_plugin(self, folder: Path) -> None:
        (folder / "conftest.py").write_text('pytest_plugins = ["orchestrator_dagster.testing.pytest"]\n')
        (folder / "test_dialling.py").write_text(WITH_PYTEST)
        ran = self.run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        assert "1 failed, 2 passed" in ran.stdout, ran.stdout + ran.stderr
        assert "expected failed or api_unavailable" in ran.stdout

    def test_the_plugin_says_what_it_needs(self, folder: Path) -> None:
        (folder / "conftest.py").write_text('pytest_plugins = ["orchestrator_dagster.testing.pytest"]\n')
        (folder / "test_dialling.py").write_text("def test_it(workbench):\n    pass\n")
        ran = self.run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        assert "Define a fixture `orchestrator`" in ran.stdout, ran.stdout + ran.stderr

    def test_pytest_is_not_needed(self, folder: Path) -> None:
        (folder / "script.py").write_text(WITHOUT_PYTEST)
        ran = self.run(folder, "script.py")
        assert ran.stdout.endswith("well done\n"), ran.stdout + ran.stderr
        assert ran.returncode == 0
