"""What time it is for the engine: every due time and every timestamp of a step asks here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def machine_time() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


_clock: Clock = machine_time


def now() -> datetime:
    """The time that counts for the engine, in UTC: that of this machine, unless a test uses another clock.

    >>> now().tzinfo
    datetime.timezone.utc
    """
    return _clock()


@contextmanager
def use_clock(clock: Clock) -> Iterator[None]:
    """Let the engine take the time from `clock`, in all threads of this interpreter.

    Args:
        clock: gives the time, with its time zone.

    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> with use_clock(lambda: noon):
    ...     now() == noon
    True
    """
    global _clock
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before
