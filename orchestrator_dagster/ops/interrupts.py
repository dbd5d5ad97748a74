"""Signals that reach a run while it is in a step: the first one of a terminated run waits until the step is done."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dagster import DagsterExecutionInterruptedError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MOST_SECONDS_TO_ASK = 30.0


class InterruptGuard:
    """Keeps the first interrupt of a run that is terminated, and lets every other one through.

    Whether the run is terminated it asks in a thread of its own: the signal may have come while the main thread was
    talking to Dagster's database. Where it is not, the interrupt is let through after all.

    Args:
        is_terminated: whether somebody terminated the run.
    """

    patient = True
    """What tells the worker, which finds the guard as the handler of the signal, that the run may take its time."""

    def __init__(self, is_terminated: Callable[[], bool]) -> None:
        self._is_terminated = is_terminated
        self._asking: threading.Thread | None = None
        self._held_off = False
        self._terminated = False
        self._active = False

    @contextmanager
    def keeping_interrupts(self) -> Iterator[None]:
        """Run a step; elsewhere than in the main thread no signal arrives."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, self)
        self._active = True
        try:
            yield
        finally:
            self._active = False
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def holding_off(self) -> Iterator[None]:
        """Run what must not be broken into, such as writing down how a step failed."""
        self._held_off = True
        try:
            yield
        finally:
            self._held_off = False

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt came."""
        return self._asking is not None

    @property
    def terminated(self) -> bool:
        """Whether an interrupt came, and because somebody terminated the run."""
        if self._asking is not None:
            self._asking.join(_MOST_SECONDS_TO_ASK)
        return self._terminated

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._asking is None:
            self._asking = threading.Thread(target=self._ask, name="who-interrupted", daemon=True)
            self._asking.start()
        elif not self._held_off:
            raise DagsterExecutionInterruptedError

    def _ask(self) -> None:
        try:
            self._terminated = self._is_terminated()
        finally:
            if not self._terminated and self._active:
                os.kill(os.getpid(), signal.SIGINT)
