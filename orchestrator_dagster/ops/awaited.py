"""What a step waits for, of those that wait for something else than a person."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, TypeAdapter


@dataclass(frozen=True)
class Timer:
    """A time that has to come. The step's function returns the duration, or the moment.

    Attributes:
        relative: whether the function returns a duration, counted from when the step is reached.

    Example:
        >>> from datetime import UTC
        >>> Timer(relative=True).due("PT2H", now=datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
        '2026-01-01T02:00:00+00:00'
    """

    relative: bool

    def due(self, returned: Any, *, now: datetime) -> datetime:
        """Return when the step goes on.

        Args:
            returned: what its function returned: a `timedelta`, seconds or an ISO 8601 duration; or an aware
                `datetime` or one in ISO 8601 with its offset.
            now: when the step was reached.

        Raises:
            ValueError: it is none of these.
        """
        if self.relative:
            return now + TypeAdapter(timedelta).validate_python(returned)
        return TypeAdapter[datetime](AwareDatetime).validate_python(returned)


@dataclass(frozen=True)
class ChildWorkflow:
    """A process of another workflow that has to end. The step's function returns its input.

    Attributes:
        workflow: the name of the workflow.
        result_key: where the child's state is put in this one's, if anywhere.
    """

    workflow: str
    result_key: str | None = None


@dataclass(frozen=True)
class Callback:
    """A request of another system that has to arrive.

    Attributes:
        result_key: where the body of the request is put in the state.
        timeout: how long it is waited for; `None`: as long as it takes.
    """

    result_key: str
    timeout: timedelta | None = None


Awaited = Timer | ChildWorkflow | Callback
