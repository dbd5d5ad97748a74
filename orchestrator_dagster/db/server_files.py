"""The files in the folder of an embedded server, which its clients and its keeper share.

This module and the other `server_*` modules use the standard library only: the keeper runs without site-packages.
"""

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

POLL_SECONDS = 0.02


class KeeperError(Exception):
    """The server cannot be served; `kind` tells a client which error of its own to raise."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message
        super().__init__(message)


@dataclass(frozen=True)
class ServerFolder:
    """Where an embedded server keeps what; `data` is elsewhere when `location` says so."""

    path: Path

    @property
    def clients_lock(self) -> Path:
        """Held shared by every process that uses the server, exclusively by a keeper that stops it."""
        return self.path / "clients.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the one keeper."""
        return self.path / "keeper.lock"

    @property
    def start_lock(self) -> Path:
        """Held by a client while it makes sure that there is a keeper and a server."""
        return self.path / "start.lock"

    @property
    def requests(self) -> Path:
        """A named pipe by which clients ask something of the keeper."""
        return self.path / "requests"

    @property
    def state(self) -> Path:
        return self.path / "server.json"

    @property
    def password(self) -> Path:
        return self.path / "password"

    @property
    def location(self) -> Path:
        return self.path / "location"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    @property
    def keeper_log(self) -> Path:
        return self.path / "keeper.log"


@dataclass(frozen=True)
class ServerState:
    """What the keeper last said about the server."""

    status: str
    """One of `starting`, `ready`, `stopping`, `stopped` and `failed`."""
    postmaster: int = 0
    port: int = 0
    refused: str = ""
    """The token of the last request to stop that was refused, because another process uses the server."""


def read_state(folder: ServerFolder) -> ServerState | None:
    """What the keeper last wrote; None when there is nothing that can be understood."""
    try:
        return ServerState(**json.loads(folder.state.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_state(folder: ServerFolder, state: ServerState) -> None:
    write_atomically(folder.state, json.dumps(asdict(state)))


def write_atomically(path: Path, text: str) -> None:
    """Replace a private file as a whole; it is durable when this returns. Only the keeper does this."""
    temporary = path.with_name(f"{path.name}.new")
    descriptor = open_private(temporary, os.O_WRONLY | os.O_TRUNC)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_private(path: Path, flags: int) -> int:
    """Open a file that only its owner reads, and create it for the owner of its folder."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def tail(path: Path, size: int = 3000) -> str:
    """The last lines of a log file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in time; it is looked at once at least."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class FileLock:
    """A lock between processes that the kernel releases when the last process that inherited it by fork is dead.

    Programs started with exec do not keep it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self, *, shared: bool = False, seconds: float = 0) -> bool:
        """Take the lock within that time; False when somebody else keeps it."""
        return wait_until(lambda: self._try(fcntl.LOCK_SH if shared else fcntl.LOCK_EX), seconds)

    def _try(self, operation: int) -> bool:
        descriptor = open_private(self.path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self.release()
        self._descriptor = descriptor
        return self.is_held() or self.release()

    def is_held(self) -> bool:
        """Whether this process holds the lock of the file that is there now (not of one since deleted)."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def touch(self) -> None:
        """Leave a trace of use for a keeper that looks at the lock now and then only."""
        os.utime(self.path)

    def release(self) -> bool:
        """Give it up, closing instead of unlocking: a forked child goes on holding it. Always False."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock exclusively."""
    with FileLock(path) as lock:
        return not lock.take(shared=True)


def send_request(folder: ServerFolder, request: str) -> bool:
    """Ask the keeper something; False when there is none that listens."""
    try:
        descriptor = os.open(folder.requests, os.O_WRONLY | os.O_NONBLOCK)
    except (FileNotFoundError, OSError):
        return False
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode) and os.write(descriptor, f"{request}\n".encode()) > 0
    except (BlockingIOError, BrokenPipeError):
        return False
    finally:
        os.close(descriptor)
