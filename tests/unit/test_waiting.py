"""What steps wait for, and where a process stands because of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.waiting import RetrySchedule, Wait, WaitKind, most_pressing, standing
from orchestrator_dagster.errors import DefinitionError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def wait(kind: WaitKind, step: str = "a", **more: Any) -> Wait:
    return Wait(step=step, name="A", kind=kind, since=NOW, **more)


@pytest.mark.parametrize("kind", WaitKind)
def test_every_kind_says_where_a_process_stands_that_waits_for_it(kind: WaitKind) -> None:
    assert kind.process_status.halted
    assert standing([wait(kind)]) is kind.process_status


def test_every_status_is_of_one_sort_only() -> None:
    """A process runs, has halted, is in the queue, or has ended."""
    for status in ProcessStatus:
        sorts = [status is ProcessStatus.RUNNING, status.halted, status.queued, status.ended]
        assert sorts.count(True) == 1, status


def test_a_process_without_waits_stands_nowhere() -> None:
    assert standing([]) is None
    assert most_pressing([]) is None


def test_a_process_of_which_one_step_can_go_on_is_resumed() -> None:
    assert standing([wait(WaitKind.FAILURE), wait(WaitKind.INPUT, ready_at=NOW)]) is ProcessStatus.RESUMED


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ([WaitKind.TIME, WaitKind.FAILURE, WaitKind.INPUT], ProcessStatus.FAILED),
        ([WaitKind.TIME, WaitKind.CALLBACK, WaitKind.INPUT], ProcessStatus.SUSPENDED),
        ([WaitKind.PROCESS, WaitKind.CALLBACK, WaitKind.RETRY], ProcessStatus.AWAITING_CALLBACK),
        ([WaitKind.PROCESS, WaitKind.RETRY], ProcessStatus.WAITING),
    ],
    ids=str,
)
def test_of_several_branches_the_one_counts_that_asks_most_of_people(
    kinds: list[WaitKind], status: ProcessStatus
) -> None:
    assert standing(wait(kind) for kind in kinds) is status
    assert standing(wait(kind) for kind in reversed(kinds)) is status


@pytest.mark.parametrize("status", [status for status in ProcessStatus if status.failed])
def test_a_failure_may_say_itself_where_the_process_stands(status: ProcessStatus) -> None:
    failed = wait(WaitKind.FAILURE, status=status)
    assert standing([wait(WaitKind.INPUT), failed]) is status
    assert most_pressing([wait(WaitKind.INPUT), failed]) is failed


def test_the_most_pressing_wait_is_not_one_that_is_ready() -> None:
    assert most_pressing([wait(WaitKind.FAILURE, ready_at=NOW), wait(WaitKind.TIME, "b")]) == wait(WaitKind.TIME, "b")


def test_without_a_schedule_of_its_own_a_step_is_tried_again_every_hour_without_end() -> None:
    assert [RetrySchedule().next_after(attempt) for attempt in (1, 2, 1_000_000)] == [timedelta(hours=1)] * 3


def test_pauses_grow_until_they_are_long_enough() -> None:
    schedule = RetrySchedule(timedelta(minutes=10), backoff=3, most=timedelta(hours=1))
    assert [schedule.next_after(attempt) for attempt in (1, 2, 3, 4, 10_000)] == [
        timedelta(minutes=10),
        timedelta(minutes=30),
        timedelta(hours=1),
        timedelta(hours=1),
        timedelta(hours=1),
    ]


def test_a_pause_that_was_asked_for_is_not_cut_short() -> None:
    assert RetrySchedule(timedelta(days=7)).next_after(1) == timedelta(days=7)


def test_the_last_attempt_is_followed_by_none() -> None:
    assert RetrySchedule(max_attempts=1).next_after(1) is None
    assert [RetrySchedule(max_attempts=2).next_after(attempt) for attempt in (1, 2)] == [timedelta(hours=1), None]


@given(st.floats(1, 1e6), st.integers(1, 10_000), st.timedeltas(timedelta(seconds=1), timedelta(days=400)))
def test_pauses_never_get_shorter(backoff: float, attempt: int, retry_every: timedelta) -> None:
    schedule = RetrySchedule(retry_every, backoff=backoff)
    pause, next_pause = schedule.next_after(attempt), schedule.next_after(attempt + 1)
    assert pause is not None
    assert next_pause is not None
    assert retry_every <= pause <= next_pause <= max(timedelta(days=1), retry_every)


@pytest.mark.parametrize(
    "wrong",
    [{"retry_every": timedelta()}, {"max_attempts": 0}, {"backoff": 0.5}, {"backoff": float("nan")}],
    ids=str,
)
def test_a_schedule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(wrong))):
        RetrySchedule(**wrong)
