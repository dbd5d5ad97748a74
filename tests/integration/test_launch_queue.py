"""The queue of launched runs in Postgres: nothing is lost, nothing is taken twice."""

import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from orchestrator_dagster.instance.engine import dispose_pooled_engine, pooled_engine
from orchestrator_dagster.instance.launch_queue import CHANNEL, Demand, LaunchQueue

CODE = "the code"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    yield pooled_engine(database_url)
    dispose_pooled_engine(database_url)


@pytest.fixture
def queue(engine: Engine) -> LaunchQueue:
    return LaunchQueue(engine, "here")


def add(queue: LaunchQueue, *runs: str, code: str = CODE, version: str = "", not_before: float = 0) -> None:
    for run in runs:
        queue.add(run, code=code, code_version=version, not_before=not_before)


def claim(queue: LaunchQueue, most: int = 100, version: str | None = None) -> list[str]:
    return [launch.run_id for launch in queue.claim(CODE, version, most)]


@pytest.fixture
def heard(queue: LaunchQueue, engine: Engine) -> Iterator[Any]:
    """Return which services were called since the last time."""
    with engine.connect() as connection:
        connection.execute(text(f"LISTEN {CHANNEL}"))
        driver: Any = connection.connection.dbapi_connection

        def since_then() -> list[str]:
            select.select([driver], [], [], 10)
            driver.poll()
            names = [notification.payload for notification in driver.notifies]
            driver.notifies.clear()
            return names

        yield since_then


def test_runs_are_taken_once_and_oldest_first(queue: LaunchQueue) -> None:
    add(queue, "first", "second", "third")
    assert claim(queue, 2) == ["first", "second"]
    assert claim(queue) == ["third"]
    assert claim(queue) == []


def test_a_run_is_in_the_queue_once_however_often_it_is_launched(queue: LaunchQueue) -> None:
    add(queue, "first", "second", "first")
    assert claim(queue) == ["first", "second"]
    add(queue, "first")
    assert claim(queue) == []


def test_many_who_take_at_the_same_time_share_the_runs(queue: LaunchQueue) -> None:
    runs = {f"run {number}" for number in range(40)}
    add(queue, *runs)
    with ThreadPoolExecutor(4) as threads:
        taken = [run for some in threads.map(lambda _: claim(queue, 3), range(40)) for run in some]
    assert len(taken) == len(runs)
    assert set(taken) == runs


def test_a_run_that_is_given_back_has_its_old_place(queue: LaunchQueue) -> None:
    add(queue, "first", "second")
    claim(queue, 1)
    queue.give_back("first")
    assert claim(queue) == ["first", "second"]


def test_demand_says_what_waits_for_whom_oldest_first(queue: LaunchQueue) -> None:
    add(queue, "taken", code="other")
    queue.claim("other", None, 1)
    add(queue, "one", version="old")
    add(queue, "two", code="other")
    add(queue, "three", version="new", not_before=7)
    add(queue, "four", version="new", not_before=5)
    assert queue.demand() == [Demand(CODE, "old", 0, 1), Demand("other", "", 0, 1), Demand(CODE, "new", 7, 2)]


def test_runs_of_one_version_of_the_code_can_be_taken_alone(queue: LaunchQueue) -> None:
    add(queue, "new one", version="new")
    add(queue, "old one", version="old")
    assert claim(queue, version="old") == ["old one"]
    assert claim(queue, version="") == []
    assert claim(queue) == ["new one"]


def test_services_see_their_own_runs_only(queue: LaunchQueue, engine: Engine) -> None:
    elsewhere = LaunchQueue(engine, "elsewhere")
    add(queue, "ours")
    add(elsewhere, "theirs")
    assert claim(queue) == ["ours"]
    assert [launch.run_id for launch in queue.claimed()] == ["ours"]
    queue.remove("ours")
    assert queue.empty()
    assert not elsewhere.empty()
    found = queue.find("theirs")
    assert found is not None
    assert (found.service, found.claimed_at) == ("elsewhere", None)


def test_the_service_is_called_for_each_launch_and_termination(queue: LaunchQueue, heard: Any) -> None:
    add(queue, "run")
    assert heard() == ["here"]
    queue.request_cancel("run")
    assert heard() == ["here"]


def test_only_what_waits_can_be_taken_out(queue: LaunchQueue) -> None:
    add(queue, "taken", "waits")
    claim(queue, 1)
    assert not queue.remove_waiting("taken")
    assert queue.remove_waiting("waits")
    assert not queue.remove_waiting("waits")


def test_whoever_forgets_a_run_learns_whether_it_was_terminated(queue: LaunchQueue) -> None:
    add(queue, "terminated", "left alone")
    assert queue.request_cancel("terminated")
    first = queue.find("terminated")
    assert queue.request_cancel("terminated")
    second = queue.find("terminated")
    assert first is not None
    assert second is not None
    assert second.cancel_requested_at == first.cancel_requested_at, "the first request counts"
    assert (first.cancel_requests, second.cancel_requests) == (1, 2), "a second one breaks in"
    assert queue.remove("terminated")
    assert not queue.remove("left alone")
    assert not queue.remove("terminated")
    assert not queue.request_cancel("terminated")


class TestLongWaiting:
    def shown(self, queue: LaunchQueue, seconds: float = 0) -> list[str]:
        with queue.long_waiting(seconds) as launches:
            return [launch.run_id for launch in launches]

    def test_each_is_shown_once(self, queue: LaunchQueue) -> None:
        add(queue, "taken", "waits")
        claim(queue, 1)
        assert self.shown(queue, seconds=1000) == []
        assert self.shown(queue) == ["waits"]
        assert self.shown(queue) == []
        (launch,) = queue.claim(CODE, None, 1)
        assert launch.shown_as_queued

    def test_what_could_not_be_shown_is_shown_later(self, queue: LaunchQueue) -> None:
        add(queue, "waits")
        with pytest.raises(ZeroDivisionError), queue.long_waiting(0):
            raise ZeroDivisionError
        assert self.shown(queue) == ["waits"]

    def test_what_is_launched_again_is_shown_again_in_its_old_place(self, queue: LaunchQueue) -> None:
        add(queue, "waits", "too")
        assert self.shown(queue) == ["waits", "too"]
        add(queue, "waits")
        assert self.shown(queue) == ["waits"]
        assert claim(queue) == ["waits", "too"]

    def test_nobody_takes_what_is_just_being_shown(self, queue: LaunchQueue) -> None:
        add(queue, "waits")
        with queue.long_waiting(0):
            assert claim(queue) == []
        assert claim(queue) == ["waits"]


def test_a_service_is_alive_for_as_long_as_it_says_so(queue: LaunchQueue, engine: Engine) -> None:
    assert not queue.alive("here")
    queue.say_alive(1)
    assert queue.alive("here")
    assert not queue.alive("elsewhere")
    with engine.begin() as connection:
        connection.execute(text("UPDATE orchestrator_instance.services SET seen_at = seen_at - interval '1 minute'"))
    assert not queue.alive("here")


def test_many_can_be_the_first_to_use_it(new_database: Any) -> None:
    url = new_database()
    engines = [pooled_engine(f"{url}?application_name=first-{number}") for number in range(4)]
    try:
        with ThreadPoolExecutor(4) as threads:
            assert [queue.empty() for queue in threads.map(lambda engine: LaunchQueue(engine, "here"), engines)]
    finally:
        for number in range(4):
            dispose_pooled_engine(f"{url}?application_name=first-{number}")


class TestWhatAMachineLeft:
    """A container that is started anew has another name, and its runs are to be executed all the same."""

    @pytest.fixture
    def left(self, engine: Engine) -> LaunchQueue:
        queue = LaunchQueue(engine, "old:/instance")
        add(queue, "executed", "waiting")
        claim(queue, 1)
        with engine.connect() as connection:
            connection.execute(
                text("UPDATE orchestrator_instance.launches SET queued_at = queued_at - interval '1 hour'")
            )
        return queue

    def test_is_taken_over_by_a_machine_that_shares_the_instance(self, left: LaunchQueue, engine: Engine) -> None:
        new = LaunchQueue(engine, "new:/instance")
        assert [launch.run_id for launch in new.adopt()] == ["executed"]
        assert claim(new) == ["waiting"]
        assert left.empty()

    def test_is_not_taken_over_by_another_instance(self, left: LaunchQueue, engine: Engine) -> None:
        assert LaunchQueue(engine, "new:/other").adopt() == []
        assert claim(left) == ["waiting"]

    def test_is_not_taken_over_while_its_service_is_alive(self, left: LaunchQueue, engine: Engine) -> None:
        left.say_alive(1)
        assert LaunchQueue(engine, "new:/instance").adopt() == []
        assert claim(left) == ["waiting"]
