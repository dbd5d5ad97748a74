"""Processes that a benchmark starts, and what those start in turn."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.errors import BenchmarkError

STOP_SECONDS = 20.0
HOST = "127.0.0.1"


@dataclass
class Children:
    """Processes with one environment; all of them have ended when the block has.

    What they started themselves, detached or not, is found by a variable of that environment.

    Args:
        environment: their environment variables.
        mark: the variable whose value no other process has.
        folder: where their output goes.
    """

    environment: Mapping[str, str]
    mark: str
    folder: Path
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in self.find():
                with suppress(ProcessLookupError):
                    os.kill(child.pid, number)
            if wait_until(self._all_ended, STOP_SECONDS):
                break

    def start(self, name: str, *command: str) -> None:
        """Start a process whose output goes to a file of that name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=dict(self.environment),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)

    def require_alive(self) -> None:
        """Raise an error when one of those that were started has ended."""
        for process in self._started:
            if process.poll() is not None:
                raise BenchmarkError(f"{process.args!r} ended with status {process.returncode}; see {self.folder}")

    def find(self) -> list["Child"]:
        """Return all living processes that have the environment."""
        mark = f"{self.mark}={self.environment[self.mark]}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            # others' processes, and those that end meanwhile
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(Child(int(folder.name), (folder / "cmdline").read_text().split("\0")))
        return [child for child in found if child.pid != os.getpid()]

    def _all_ended(self) -> bool:
        for process in self._started:
            process.poll()
        return not self.find()


@dataclass(frozen=True)
class Child:
    """A running process.

    Attributes:
        pid: its number.
        command: its words.
    """

    pid: int
    command: Sequence[str]

    @property
    def resident_mib(self) -> float:
        """Its resident memory; nothing once it has ended."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0.0


def run_to_end(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> str:
    """Run a command and return what it printed.

    Raises:
        BenchmarkError: it failed.
    """
    finished = subprocess.run(command, env=dict(environment), cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)} failed: {finished.stderr[-3000:]}")
    return finished.stdout


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
