"""The keeper: a process of its own that starts an embedded server, watches it, and stops it when nobody uses it.

There is one for each server, and it holds `keeper.lock`. Clients come and go as they like, also by SIGKILL: the kernel
gives up their shared lock, and that is all a keeper looks at.
"""

import json
import logging
import os
import secrets
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from orchestrator_dagster.db.server_account import choose_account
from orchestrator_dagster.db.server_binaries import Wheel, choose_binaries
from orchestrator_dagster.db.server_files import (
    FileLock,
    KeeperError,
    ServerFolder,
    ServerState,
    open_private,
    read_state,
    write_atomically,
    write_state,
)
from orchestrator_dagster.db.server_place import choose_place, existing_place, remove_unfinished
from orchestrator_dagster.db.server_postmaster import USER, Postmaster, data_major, initialise, run_single

LONGEST_TICK = 1.0
SHORTEST_TICK = 0.05
LOCK_SECONDS = 2
LOG_BYTES = 10_000_000
REVIVALS = 3
REVIVAL_WINDOW = 60

logger = logging.getLogger("keeper")


class Keeper:
    """Serves one folder until nobody has used the server for `idle_seconds`."""

    def __init__(self, folder: ServerFolder, wheel: Wheel | None, idle_seconds: float) -> None:
        self.folder = folder
        self.wheel = wheel
        self.idle_seconds = idle_seconds
        self.tick = min(LONGEST_TICK, max(idle_seconds / 4, SHORTEST_TICK))
        self.state = ServerState("starting")
        self._lock = FileLock(folder.keeper_lock)
        self._clients = FileLock(folder.clients_lock)
        self._postmaster: Postmaster | None = None
        self._requests = -1
        self._terminated = False
        self._last_use = time.monotonic()
        self._last_trace = 0
        self._revivals: list[float] = []

    def become_the_one(self) -> bool:
        """Whether this is the server's only keeper."""
        return self._lock.take(seconds=LOCK_SECONDS)

    def open_up(self) -> None:
        """Bring the server up, and be there for requests.

        Raises:
            KeeperError: It cannot be brought up.
        """
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._open_requests()
        before = read_state(self.folder) or ServerState("stopped")
        self._say("starting", port=before.port)
        postmaster = self._postmaster = self._prepare()
        running = postmaster.find()
        if running and before.status == "stopping":
            postmaster.stop()
            running = False
        if not running:
            self._give_password()
            postmaster.start(before.port)
        self._say_ready()

    def _prepare(self) -> Postmaster:
        known = existing_place(self.folder)
        account = choose_account((known or self.folder.path) / "data")
        place = choose_place(self.folder, account)
        data = place / "data"
        remove_unfinished(place)
        binaries = choose_binaries(self.wheel, account, data_major(data))
        if data_major(data) is None:
            if data.exists():
                raise KeeperError("place", f"{data} is not the data directory of a Postgres server")
            initialise(place, binaries, account, self._password())
        return Postmaster(data, binaries, account, self.folder.log)

    def _password(self) -> str:
        if not self.folder.password.exists():
            write_atomically(self.folder.password, secrets.token_hex(24))
        return self.folder.password.read_text(encoding="ascii")

    def _give_password(self) -> None:
        """A password file that was lost is made again, and the database told."""
        postmaster = self._postmaster
        if postmaster and not self.folder.password.exists():
            statement = f"ALTER ROLE {USER} PASSWORD '{self._password()}'"
            run_single(postmaster.data, postmaster.binaries, postmaster.account, statement, "postgres")

    def watch(self) -> None:
        """Look after the server until it may end, then end it."""
        while not self._may_end():
            requests = self._next_requests()
            self._limit_log()
            for token in requests:
                if self._clients.take():
                    return self.close("asked to")
                self._say(self.state.status, refused=token)
        return None

    def _may_end(self) -> bool:
        if self._terminated:
            self.close("terminated")
        elif not self._lock.is_held() or not self._server().data.exists():
            logger.info("the folder is gone")
            self._server().stop(signal.SIGQUIT)
        elif self._is_idle():
            self.close("nobody uses it")
        elif self._server().is_running():
            return False
        else:
            self._revive()
            return False
        return True

    def _server(self) -> Postmaster:
        if self._postmaster is None:
            raise RuntimeError("The keeper has not opened up")
        return self._postmaster

    def _is_idle(self) -> bool:
        """Whether nobody has used the server for long enough; then nobody can come in until this process ends."""
        now = time.monotonic()
        if not self._clients.take():
            self._last_use = now
            return False
        trace = self.folder.clients_lock.stat().st_mtime_ns
        if trace != self._last_trace:
            self._last_trace, self._last_use = trace, now
        if now - self._last_use >= self.idle_seconds:
            return True
        return self._clients.release()

    def _revive(self) -> None:
        """Start a server again that died under its clients, on the port that they know."""
        now = time.monotonic()
        self._revivals = [*(then for then in self._revivals if now - then < REVIVAL_WINDOW), now]
        if len(self._revivals) > REVIVALS:
            raise KeeperError("start", f"Postgres died {REVIVALS + 1} times in {REVIVAL_WINDOW} seconds")
        logger.warning("Postgres has died, starting it again")
        self._say("starting")
        self._server().start(self._server().port)
        self._say_ready()

    def close(self, reason: str) -> None:
        """Stop the server. What is written first tells a next keeper that a stop had begun, should this one die."""
        logger.info("stopping: %s", reason)
        self._say("stopping")
        if self._postmaster:
            self._postmaster.stop()
        self._say("stopped")

    def fail(self, error: Exception) -> None:
        """Leave nothing running that could not be served."""
        logger.error("failed", exc_info=error)
        if self._postmaster:
            self._postmaster.stop()
        with suppress(OSError):
            self._say("failed")

    def _say(self, status: str, **changes: object) -> None:
        self.state = replace(self.state, status=status, **changes)  # type: ignore[arg-type]
        write_state(self.folder, self.state)

    def _say_ready(self) -> None:
        server = self._server()
        self._say("ready", postmaster=server.pid, port=server.port)
        logger.info("ready: process %d, port %d", server.pid, server.port)

    def _open_requests(self) -> None:
        with suppress(FileExistsError):
            os.mkfifo(self.folder.requests, 0o600)
            owner = self.folder.path.stat()
            os.chown(self.folder.requests, owner.st_uid, owner.st_gid)
        self._requests = os.open(self.folder.requests, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)

    def _next_requests(self) -> list[str]:
        """The tokens of requests to stop; any other request only ends the wait."""
        readable, _, _ = select.select([self._requests], [], [], self.tick)
        words = [line.split() for line in os.read(self._requests, 65536).decode().splitlines()] if readable else []
        return [line[1] for line in words if len(line) == 2 and line[0] == "stop"]

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def _limit_log(self) -> None:
        """Keep one old log. Postgres appends to the file it was given, so it is emptied and not replaced."""
        with suppress(FileNotFoundError):
            if self.folder.log.stat().st_size > LOG_BYTES:
                old = open_private(self.folder.log.with_suffix(".log.1"), os.O_WRONLY | os.O_TRUNC)
                with self.folder.log.open("rb") as source, open(old, "wb") as target:
                    target.write(source.read())
                os.truncate(self.folder.log, 0)


def keep(keeper: Keeper, outcome: int) -> None:
    """Be the keeper, if there is no other, and tell the client that started us how it went."""
    if not keeper.become_the_one():
        return tell(outcome, status="other")
    try:
        keeper.open_up()
    except Exception as error:
        failure = error if isinstance(error, KeeperError) else KeeperError("start", f"{type(error).__name__}: {error}")
        keeper.fail(error)
        return tell(outcome, status="failed", kind=failure.kind, message=failure.message)
    tell(outcome, status="ready")
    try:
        keeper.watch()
    except Exception as error:
        keeper.fail(error)
    return None


def tell(outcome: int, **facts: str) -> None:
    """Write to the client, which may be gone, and let go of its pipe."""
    with suppress(OSError):
        os.write(outcome, f"{json.dumps(facts)}\n".encode())
        os.close(outcome)


def main() -> None:
    """Run as `server_keeper_process.py FOLDER OUTCOME_FD IDLE_SECONDS [WHEEL_FOLDER WHEEL_VERSION]`."""
    folder, outcome, idle_seconds, *wheel = sys.argv[1:]
    if os.fork():
        # The client waits for this process only, and has no child left to reap.
        os._exit(0)
    os.umask(0o077)
    os.chdir("/")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(process)d %(message)s")
    found = Wheel(Path(wheel[0]), wheel[1]) if wheel else None
    keep(Keeper(ServerFolder(Path(folder)), found, float(idle_seconds)), int(outcome))
