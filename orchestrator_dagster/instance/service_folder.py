"""Where the processes of one machine that share a worker service meet: its locks and its log."""

import fcntl
import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

_MOST_LOG_BYTES = 10 * 1024 * 1024
_SECONDS_BETWEEN_SIGNALS = 0.2
_TRIES, _SECONDS_BETWEEN_TRIES = 20, 0.02


@dataclass(frozen=True)
class ServiceFolder:
    """The files of the worker service of an instance on this machine.

    The locks are those of the operating system: they end with the process that holds them, however that ends.

    Attributes:
        folder: a folder of the instance.
    """

    folder: Path

    @classmethod
    def of(cls, instance_folder: str) -> Self:
        """Return the files of an instance's worker service; makes their folder.

        Args:
            instance_folder: the instance's root folder. Machines may share it.
        """
        folder = Path(instance_folder).resolve() / "worker_service" / socket.gethostname()
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @property
    def name(self) -> str:
        """What the service is called in the database."""
        return f"{socket.gethostname()}:{self.folder.parent.parent}"

    @property
    def _service_lock(self) -> Path:
        return self.folder / "service.lock"

    @property
    def log(self) -> Path:
        """What the service and its workers print."""
        return self.folder / "worker_service.log"

    def open_log(self) -> BinaryIO:
        """Open the log for appending."""
        return self.log.open("ab")

    def shorten_log(self) -> None:
        """Put a log aside that has grown too long, in place of the one before. Those who write to it may go on."""
        if self.log.stat().st_size > _MOST_LOG_BYTES:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def serve(self) -> "Lock | None":
        """Become the service; `None` when there is one."""
        lock = Lock.take_soon(self._service_lock, fcntl.LOCK_EX)
        if lock is not None:
            lock.write(str(os.getpid()))
        return lock

    def start(self) -> "Lock | None":
        """Take the lock for the service, to hand it to the process that becomes it; `None` when there is one."""
        lock = Lock.take_soon(self._service_lock, fcntl.LOCK_EX)
        if lock is not None:
            lock.write("")
        return lock

    def server(self) -> int | None:
        """Return the process id of the service, 0 when it is just being started, `None` when there is none."""
        lock = Lock.take(self._service_lock, fcntl.LOCK_SH)
        if lock is None:
            return int(self._service_lock.read_text() or 0)
        lock.close()
        return None

    def join(self) -> "Lock | None":
        """Be a client of the service, for which it stays."""
        return Lock.take_soon(self.folder / "clients.lock", fcntl.LOCK_SH)

    def stop_server(self, *, now: bool = False) -> int | None:
        """Tell the service to stop, and wait for it; return the process id that it had, `None` when there was none.

        Args:
            now: whether it ends the workers that have a run, rather than to wait for them; the runs fail.
        """
        process = self.server()
        if not process:
            return None
        for _ in range(2 if now else 1):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
            time.sleep(_SECONDS_BETWEEN_SIGNALS)
        while self.server() == process:
            time.sleep(_SECONDS_BETWEEN_SIGNALS)
        return process

    def has_clients(self) -> bool:
        """Whether any process that launches runs is there."""
        lock = Lock.take(self.folder / "clients.lock", fcntl.LOCK_EX)
        if lock is None:
            return True
        lock.close()
        return False


class Lock:
    """A lock on a file.

    A process that inherits the descriptor has the lock too.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, kind: int) -> Self | None:
        """Take a lock; `None` when it is taken.

        Args:
            path: the file, made where it is missing.
            kind: `fcntl.LOCK_EX` or `fcntl.LOCK_SH`.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    @classmethod
    def take_soon(cls, path: Path, kind: int) -> Self | None:
        """Take a lock, even if somebody is just looking whether it is taken; `None` when it stays taken."""
        for _ in range(_TRIES):
            if lock := cls.take(path, kind):
                return lock
            time.sleep(_SECONDS_BETWEEN_TRIES)
        return None

    def write(self, text: str) -> None:
        """Replace what is in the file."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def close(self) -> None:
        """Let it go."""
        os.close(self.descriptor)
