"""What the steps of a process wait for, and where the process stands because of that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from orchestrator_dagster.domain.process import Assignee, ProcessStatus
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import DefinitionError


class WaitKind(StrEnum):
    """What lets a step go on that was reached and is not finished."""

    INPUT = "input"
    CALLBACK = "callback"
    TIME = "time"
    RETRY = "retry"
    PROCESS = "process"
    FAILURE = "failure"

    @property
    def process_status(self) -> ProcessStatus:
        """Where a process stands that waits for nothing but this."""
        return _STATUS_OF_KIND[self]


_STATUS_OF_KIND = {
    WaitKind.INPUT: ProcessStatus.SUSPENDED,
    WaitKind.CALLBACK: ProcessStatus.AWAITING_CALLBACK,
    WaitKind.TIME: ProcessStatus.WAITING,
    WaitKind.RETRY: ProcessStatus.WAITING,
    WaitKind.PROCESS: ProcessStatus.WAITING,
    WaitKind.FAILURE: ProcessStatus.FAILED,
}

# Of several branches the one counts that asks most of people.
_PRIORITY = (
    ProcessStatus.FAILED,
    ProcessStatus.INCONSISTENT_DATA,
    ProcessStatus.API_UNAVAILABLE,
    ProcessStatus.SUSPENDED,
    ProcessStatus.AWAITING_CALLBACK,
    ProcessStatus.WAITING,
)


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A step that was reached and is not finished: what it waits for, and what came of that.

    Attributes:
        step: the step's key, inside a foreach with its item's index.
        name: the step's title.
        kind: what it waits for.
        branch: the branch of the process that the step is in; empty for the root.
        since: when it began to wait.
        due_at: when it goes on by itself; for input and callbacks, when it is too late.
        assignee: who is asked to act.
        waits_for: the process that it waits for.
        form: JSON schema of the first page that is to be answered.
        reason: why it failed, or is tried again.
        traceback: where it failed.
        status: where the process stands because of it, where its kind doesn't say that.
        ready_at: when what it waits for was there.
        answer: what the answer adds to the state.
        given: the answer as it was given.
        answered_by: who let it go on.
    """

    step: str
    name: str
    kind: WaitKind
    since: datetime
    branch: str = ""
    due_at: datetime | None = None
    assignee: Assignee = Assignee.SYSTEM
    waits_for: UUID | None = None
    form: Mapping[str, Any] | None = None
    reason: str | None = None
    traceback: str | None = None
    status: ProcessStatus | None = None
    ready_at: datetime | None = None
    answer: State | None = None
    given: Mapping[str, Any] | None = None
    answered_by: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the step can go on."""
        return self.ready_at is not None

    @property
    def process_status(self) -> ProcessStatus:
        """Where a process stands that waits for nothing but this."""
        return self.status or self.kind.process_status


def most_pressing(waits: Iterable[Wait]) -> Wait | None:
    """Return the wait that a process stands for, of those that are not ready: the one that asks most of people."""
    open_waits = [wait for wait in waits if not wait.ready]
    return min(open_waits, key=lambda wait: _PRIORITY.index(wait.process_status), default=None)


def standing(waits: Iterable[Wait]) -> ProcessStatus | None:
    """Return where a process stands that no run works on: `resumed` where a step can go on, `None` without waits."""
    known = list(waits)
    if any(wait.ready for wait in known):
        return ProcessStatus.RESUMED
    pressing = most_pressing(known)
    return pressing.process_status if pressing else None


@dataclass(frozen=True)
class RetrySchedule:
    """When a step that failed is tried again.

    Attributes:
        retry_every: how long after the first attempt; without backoff after every one.
        max_attempts: how often it is tried, the first time included; without end where it is `None`.
        backoff: how many times longer every pause is than the one before.
        most: how long a pause becomes at most.

    Example:
        >>> schedule = RetrySchedule(timedelta(minutes=10), max_attempts=3, backoff=2)
        >>> [str(schedule.next_after(attempt)) for attempt in (1, 2, 3)]
        ['0:10:00', '0:20:00', 'None']
    """

    retry_every: timedelta = timedelta(hours=1)
    max_attempts: int | None = None
    backoff: float = 1.0
    most: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        if self.retry_every <= timedelta():
            raise DefinitionError(f"retry_every is {self.retry_every}; it must be longer than nothing")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise DefinitionError(f"max_attempts is {self.max_attempts}; it must be 1 or more")
        if not self.backoff >= 1:
            raise DefinitionError(f"backoff is {self.backoff}; it must be 1 or more")

    def next_after(self, attempt: int) -> timedelta | None:
        """Return the pause after an attempt, `None` after the last one. Attempts count from 1."""
        if self.max_attempts is not None and attempt >= self.max_attempts:
            return None
        longest = max(self.most, self.retry_every)
        try:
            return min(self.retry_every * self.backoff ** (attempt - 1), longest)
        except OverflowError:
            return longest


@dataclass(frozen=True)
class Flags:
    """What a run is to heed before its next step.

    Attributes:
        abort_requested: whether the process is to be aborted.
        paused: whether the engine is paused.
    """

    abort_requested: bool = False
    paused: bool = False
