"""Ten people want the same of a process at once: it happens once, and nobody hears of an error."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import waiting_workflows
from sqlalchemy import Engine, text
from waiting_workflows import broken, effects, orchestrator

from orchestrator_dagster import Process, ProcessStateError, Session
from orchestrator_dagster.jobs import going_on

PEOPLE = 10


@pytest.fixture
def wfo(orchestrator_database: str) -> Iterator[Session]:
    waiting_workflows.forget()
    with orchestrator.connect() as session:  # type: ignore[attr-defined]
        yield session


def all_at_once(act: Callable[[int], Any]) -> list[Any]:
    """Let ten threads do something at the same moment; return what came of it, errors too."""
    start = Barrier(PEOPLE)

    def one(number: int) -> Any:
        start.wait()
        try:
            return act(number)
        except ProcessStateError as refused:
            return refused

    with ThreadPoolExecutor(PEOPLE) as threads:
        return list(threads.map(one, range(PEOPLE)))


def statuses(process: Process, step: str) -> Counter[str]:
    return Counter(row.status for row in process.refresh().steps if row.step == step)


def answers(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT count(*) FROM orchestrator.process_inputs WHERE input_type = 'user_input'")
        ).scalar_one()


def test_the_same_answer_ten_times_lets_the_process_go_on_once(wfo: Session, engine: Engine) -> None:
    asking = wfo.run("ask")

    def answer(number: int) -> bool:
        with engine.begin() as connection:
            return going_on.answer(
                connection, orchestrator.workflows, asking.process_id, {"ticket": "CHG1"}, user=f"person {number}"
            )

    assert Counter(all_at_once(answer)) == {True: 1, False: PEOPLE - 1}
    assert answers(engine) == 1
    wfo.go_on()
    assert asking.refresh().status == "completed"
    assert effects == {"configure": 1}


def test_of_ten_different_answers_the_first_one_counts(wfo: Session, engine: Engine) -> None:
    asking = wfo.run("ask")

    def answer(number: int) -> int:
        with engine.begin() as connection:
            given = {"ticket": f"CHG{number}"}
            going_on.answer(connection, orchestrator.workflows, asking.process_id, given, user=f"person {number}")
        return number

    came = all_at_once(answer)
    (first,) = [number for number in came if isinstance(number, int)]
    refused = [refusal for refusal in came if isinstance(refusal, ProcessStateError)]
    assert len(refused) == PEOPLE - 1
    assert all(f"answered already by person {first}" in str(refusal) for refusal in refused)
    wfo.go_on()
    assert asking.refresh().state["ticket"] == f"CHG{first}"


def test_ten_who_answer_and_run_it_themselves_run_it_once(wfo: Session) -> None:
    asking = wfo.run("ask")

    def answer(number: int) -> Process:
        with orchestrator.connect(user=f"person {number}") as session:  # type: ignore[attr-defined]
            return session.resume(asking.process_id, {"ticket": "CHG1"})

    assert all(isinstance(process, Process) for process in all_at_once(answer))
    assert asking.refresh().status == "completed"
    assert statuses(asking, "confirm")["success"] == 1
    assert effects == {"configure": 1}


def test_ten_who_retry_try_again_once(wfo: Session, engine: Engine) -> None:
    broken.add("configure")
    failed = wfo.run("do_plainly")
    broken.clear()

    def retry(number: int) -> bool:
        with engine.begin() as connection:
            return going_on.retry(connection, orchestrator.workflows, failed.process_id, user=f"person {number}")

    assert Counter(all_at_once(retry)) == {True: 1, False: PEOPLE - 1}
    wfo.go_on()
    assert failed.refresh().status == "completed"
    assert effects == {"configure": 2}


def test_ten_who_skip_a_step_skip_it_once(wfo: Session, engine: Engine) -> None:
    asking = wfo.run("ask")

    def skip(_: int) -> bool:
        with engine.begin() as connection:
            return going_on.skip(
                connection, orchestrator.workflows, asking.process_id, "confirm", "nobody to ask", user="ada"
            )

    assert Counter(all_at_once(skip)) == {True: 1, False: PEOPLE - 1}
    wfo.go_on()
    assert statuses(asking, "confirm")["skipped"] == 1
    assert asking.status == "completed"


def test_ten_who_abort_end_it_once(wfo: Session, engine: Engine) -> None:
    broken.add("configure")
    failed = wfo.run("do")

    def abort(number: int) -> bool:
        with engine.begin() as connection:
            return going_on.abort(
                connection, orchestrator.workflows, failed.process_id, "no hope", user=f"person {number}"
            )

    all_at_once(abort)
    wfo.go_on()
    assert failed.refresh().status == "aborted"
    assert statuses(failed, "abort") == {"abort": 1}
    assert effects["take down"] == 1


def test_ten_who_run_what_is_due_run_it_once(wfo: Session, engine: Engine) -> None:
    asking = [wfo.run("ask") for _ in range(3)]
    for process in asking:
        with engine.begin() as connection:
            going_on.answer(connection, orchestrator.workflows, process.process_id, {"ticket": "CHG1"}, user="ada")

    def go_on(_: int) -> None:
        with orchestrator.connect() as session:  # type: ignore[attr-defined]
            session.go_on()

    assert all_at_once(go_on) == [None] * PEOPLE
    assert {process.refresh().status for process in asking} == {"completed"}
    assert effects == {"configure": 3}
