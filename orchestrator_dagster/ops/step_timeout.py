"""How long a step may take: it is interrupted wherever it is, in Python or in a statement."""

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from orchestrator_dagster.errors import StepTimeoutError
from orchestrator_dagster.ops.step import Step

_LIMIT_STATEMENTS = text("SELECT set_config('statement_timeout', :milliseconds, true)")
_LIMIT_NO_STATEMENTS = text("SET LOCAL statement_timeout TO DEFAULT")
_QUERY_CANCELED = "57014"

_SECONDS_TO_CLEAN_UP = 1.0
"""How long after it was interrupted a step may still take, before it is interrupted again."""

Returned = TypeVar("Returned")


class OutOfTimeError(Exception):
    """The time that the step may take is over."""


class OutOfTimeInterrupt(BaseException):
    """The time that the step may take was over before, and it went on: most code that catches errors lets this by."""


@contextmanager
def statement_limit(step: Step, connection: Connection) -> Iterator[None]:
    """Let a statement in the block fail when it takes longer than the step may: Python cannot interrupt it.

    Args:
        step: the step; without a timeout nothing happens.
        connection: the step's transaction.

    Raises:
        StepTimeoutError: a statement took longer.
    """
    if step.timeout is None:
        yield
        return
    seconds = step.timeout.total_seconds()
    connection.execute(_LIMIT_STATEMENTS, {"milliseconds": str(max(1, round(seconds * 1000)))})
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != _QUERY_CANCELED:
            raise
        raise StepTimeoutError(step=step.name, seconds=seconds) from error
    connection.execute(_LIMIT_NO_STATEMENTS)


def in_time(step: Step, call: Callable[[], Returned]) -> Returned:
    """Return what a call returns, if it takes no longer than the step may.

    When the time is over it is interrupted by an error; and should it catch that and go on, again and again until it
    ends. By then nothing strikes any more.

    Args:
        step: the step; without a timeout nothing happens.
        call: what calls the step's function.

    Raises:
        StepTimeoutError: the time was over, whatever became of the call.
    """
    if step.timeout is None:
        return call()
    seconds = step.timeout.total_seconds()
    late, alarm = StepTimeoutError(step=step.name, seconds=seconds), _alarm(seconds)
    # a function, not a context manager: an alarm that rings while it is being stopped must find this frame around it
    try:
        try:
            alarm.start()
            returned = call()
        finally:
            alarm.stop()
    except (Exception, OutOfTimeInterrupt) as error:
        alarm.stop()
        if alarm.rang:
            raise late from error
        raise
    if alarm.rang:
        raise late
    return returned


class _Alarm(Protocol):
    """Raises errors in the thread in which it was started, from when the time is over until it is stopped."""

    rang: bool

    def start(self) -> None: ...

    def stop(self) -> None:
        """Let nothing be raised any more; more than once does no harm."""


def _alarm(seconds: float) -> _Alarm:
    return _SignalAlarm(seconds) if threading.current_thread() is threading.main_thread() else _ThreadAlarm(seconds)


class _SignalAlarm:
    """Raises errors in the main thread."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._before = signal.getsignal(signal.SIGALRM)
        self.rang = False

    def start(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        error = OutOfTimeInterrupt if self.rang else OutOfTimeError
        self.rang = True
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_CLEAN_UP)
        raise error


class _ThreadAlarm:
    """Raises errors in another thread than the main one, which gets no signals."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._ringing = threading.Thread(target=self._ring, name="step-timeout", daemon=True)
        self._ending = threading.Lock()
        self._ended = threading.Event()
        self.rang = False

    def start(self) -> None:
        self._ringing.start()

    def stop(self) -> None:
        with self._ending:
            self._ended.set()
            # what has not been raised by now comes too late
            _raise_in(self._thread, None)

    def _ring(self) -> None:
        pause = self._seconds
        while not self._ended.wait(pause):
            with self._ending:
                if self._ended.is_set():
                    return
                _raise_in(self._thread, OutOfTimeInterrupt if self.rang else OutOfTimeError)
                self.rang = True
            pause = _SECONDS_TO_CLEAN_UP


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
