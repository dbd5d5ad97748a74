"""Timing calls and counting the statements that they send."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event

from benchmarks.samples import percentile, short, spread


@dataclass
class Measured:
    """How long calls took, how many statements each of them sent, and how many rows or models it returned."""

    seconds: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one of the times, in seconds."""
        return statistics.median(self.seconds)

    @property
    def most_statements(self) -> int:
        """The statements of the call that sent the most."""
        return max(self.statements)

    def in_milliseconds(self) -> str:
        """Return median, middle half and 95th percentile for people to read."""
        times = [second * 1000 for second in self.seconds]
        return f"{short(statistics.median(times))} ({spread(times)}), p95 {short(percentile(times, 95))}"

    def in_seconds(self) -> str:
        """Return median and spread of a few long calls for people to read."""
        around = spread(self.seconds)
        return short(self.median) + (f" ({around})" if around else "")


@dataclass(frozen=True)
class Sent:
    """A statement that was sent, with its parameters."""

    statement: str
    parameters: Any


@contextmanager
def sent_to(engine: Engine) -> Iterator[list[Sent]]:
    """Collect the statements that an engine sends."""
    found: list[Sent] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append(Sent(statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def measure(engine: Engine, calls: Iterable[Callable[[], object]], into: Measured | None = None) -> Measured:
    """Time calls one after the other.

    Args:
        engine: whose statements are counted.
        calls: what is timed.
        into: what was measured before, to add to.
    """
    measured = into or Measured()
    with sent_to(engine) as sent:
        for call in calls:
            sent.clear()
            started = time.perf_counter()
            result = call()
            measured.seconds.append(time.perf_counter() - started)
            measured.results.append(len(result) if isinstance(result, Sized) else 1)
            measured.statements.append(len(sent))
    return measured
