"""How long a step may take: it is interrupted wherever it is, in Python or in a statement."""

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from orchestrator_dagster.errors import StepTimeoutError
from orchestrator_dagster.ops.step import Step

_LIMIT_STATEMENTS = text("SELECT set_config('statement_timeout', :milliseconds, true)")
_LIMIT_NO_STATEMENTS = text("SET LOCAL statement_timeout TO DEFAULT")
_QUERY_CANCELED = "57014"


@contextmanager
def time_limit(step: Step, connection: Connection) -> Iterator[None]:
    """Let the block fail when it takes longer than the step may.

    Args:
        step: the step; without a timeout nothing happens.
        connection: the step's transaction, whose statements are limited too: Python cannot interrupt them.

    Raises:
        StepTimeoutError: the time is over.
    """
    if step.timeout is None:
        yield
        return
    seconds = step.timeout.total_seconds()

    class OutOfTimeError(StepTimeoutError):
        def __init__(self) -> None:
            super().__init__(step=step.name, seconds=seconds)

    late = StepTimeoutError(step=step.name, seconds=seconds)
    connection.execute(_LIMIT_STATEMENTS, {"milliseconds": str(max(1, round(seconds * 1000)))})
    alarm = _SignalAlarm if threading.current_thread() is threading.main_thread() else _ThreadAlarm
    with alarm(seconds, OutOfTimeError) as set_alarm:
        try:
            yield
        except OutOfTimeError as error:
            raise late from error
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != _QUERY_CANCELED:
                raise
            raise late from error
    if set_alarm.rang:
        # the step caught it and went on
        raise late
    connection.execute(_LIMIT_NO_STATEMENTS)


class _SignalAlarm:
    """Raises an error in the main thread after some seconds, unless the block has ended by then."""

    def __init__(self, seconds: float, error: type[StepTimeoutError]) -> None:
        self._seconds = seconds
        self._error = error
        self.rang = False

    def __enter__(self) -> "_SignalAlarm":
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        self.rang = True
        raise self._error


class _ThreadAlarm:
    """Raises an error in the thread that it was set in, which gets no signals."""

    def __init__(self, seconds: float, error: type[StepTimeoutError]) -> None:
        self._error = error
        self._thread = threading.get_ident()
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._ending = threading.Lock()
        self._ended = False
        self.rang = False

    def __enter__(self) -> "_ThreadAlarm":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._ending:
            self._ended = True
            # what has not been raised by now comes too late
            _raise_in(self._thread, None)
        self._timer.cancel()

    def _ring(self) -> None:
        with self._ending:
            if not self._ended:
                self.rang = True
                _raise_in(self._thread, self._error)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
