"""A worker as its service sees it: a process, and the socket on which they talk."""

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from orchestrator_dagster.instance.launch_queue import Launch

_CHUNK = 64 * 1024
_SECONDS_TO_END = 1.0


class WorkerProcess:
    """A process that executes runs of one code location.

    Args:
        python: the interpreter of the code location.
        purpose: what the worker is for, as JSON.
        log: what it prints goes there.

    Attributes:
        ready: whether it has loaded the code.
        launch: the run that it has.
        runs: how many runs it has executed.
        retired: whether it gets no more runs.
        idle_since: when it last had a run, on the monotonic clock.
    """

    def __init__(self, python: str, purpose: str, log: BinaryIO) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own worker, with the interpreter that Dagster names
                [python, "-m", "orchestrator_dagster.instance.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C on a terminal is for the service
            )
        self._socket = ours
        self._received = b""
        self._cancelled_at: float | None = None
        self._cancels = 0
        self.ready = False
        self.launch: Launch | None = None
        self.runs = 0
        self.retired = False
        self.idle_since = time.monotonic()
        self._send(purpose)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def free(self) -> bool:
        """Whether it can take a run."""
        return self.ready and self.launch is None and not self.retired

    @property
    def gone(self) -> bool:
        """Whether it has ended, even if its socket does not say so since a process that it forked holds that open."""
        return self._process.poll() is not None and not select.select([self], [], [], 0)[0]

    def fileno(self) -> int:
        """The socket, to wait for news."""
        return self._socket.fileno()

    def run(self, launch: Launch) -> None:
        """Give it a run."""
        self.launch = launch
        self._order(run=launch.run_id)

    def cancel(self, requests: int) -> None:
        """Interrupt the run that it has, as often as somebody asked for that."""
        while self.launch is not None and self._cancels < requests:
            self._cancels += 1
            self._cancelled_at = time.monotonic()
            self._order(cancel=self.launch.run_id)

    def be_patient(self) -> None:
        """Let the run take its time: it has heard that it was terminated, and ends after what it is doing."""
        if self._cancels == 1:
            self._cancelled_at = None

    @property
    def cancelled_once(self) -> bool:
        """Whether its run was interrupted once, and may be so again."""
        return self._cancels == 1

    @property
    def seconds_since_cancelled(self) -> float:
        """For how long its run has been asked to stop; 0 where nobody asked."""
        return time.monotonic() - self._cancelled_at if self._cancelled_at is not None else 0

    def finish(self) -> Launch | None:
        """Take back the run, which has ended."""
        launch, self.launch, self._cancelled_at, self._cancels = self.launch, None, None, 0
        self.idle_since = time.monotonic()
        return launch

    def retire(self) -> None:
        """Let it end as soon as it has no run."""
        if not self.retired:
            self.retired = True
            self._order(run=None)

    def kill(self) -> None:
        """End it at once, with every process that it started and left in its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def news(self) -> Iterator[dict[str, Any]]:
        """Yield what it has said by now.

        Raises:
            EOFError: it has ended.
        """
        try:
            chunk = self._socket.recv(_CHUNK)
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise EOFError
        *lines, self._received = (self._received + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def ended(self) -> str:
        """See to its end and say how it came."""
        self._socket.close()
        try:
            status = self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self._process.wait()
        how = f"was ended by signal {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"The worker process {self.pid} {how}"

    def _order(self, **order: Any) -> None:
        self._send(json.dumps(order))

    def _send(self, line: str) -> None:
        with suppress(ConnectionError):  # it has ended, which its socket will say
            self._socket.sendall(line.encode() + b"\n")
