"""One Postgres server process: its data directory, its start, its end."""

import itertools
import locale
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator_dagster.db.server_account import Account, plain_environment
from orchestrator_dagster.db.server_binaries import Binaries
from orchestrator_dagster.db.server_files import (
    POLL_SECONDS,
    KeeperError,
    open_private,
    sync_folder,
    wait_until,
)
from orchestrator_dagster.db.server_place import WORK_PREFIX

USER = "orchestrator"
DATABASE = "orchestrator"
HOST = "127.0.0.1"
START_SECONDS = 120
KILLS_BORNE = 3
BUILTIN_LOCALE_SINCE = 17
SETTINGS = (
    f"listen_addresses={HOST}",
    "unix_socket_directories=",
    "password_encryption=scram-sha-256",
    "max_connections=200",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "timezone=UTC",
    "log_timezone=UTC",
    "logging_collector=off",
    "log_destination=stderr",
)
# What passes by itself: another program was quicker with the port, or a killed server's children are still ending.
PORT_TAKEN = "could not create any TCP/IP sockets"
CHILDREN_LEFT = "pre-existing shared memory block"


@dataclass(frozen=True)
class PidFile:
    """The `postmaster.pid` that a server keeps in its data directory."""

    pid: int
    port: int
    status: str


def read_pid_file(data: Path) -> PidFile | None:
    """What the server says of itself; None when there is no file or it is being written."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return PidFile(int(lines[0]), int(lines[3]), lines[7].strip() if len(lines) > 7 else "starting")
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None


def exists(pid: int) -> bool:
    """Whether the number is that of a process, be it a zombie."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended; a zombie has."""
    if not exists(pid):
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return not Path("/proc/self").exists()


def is_postmaster(pid: int, data: Path) -> bool:
    """Whether the process is the server of that data, and not one that got the number of a dead server."""
    if not is_alive(pid):
        return False
    if Path("/proc/self").exists():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return Path(os.fsdecode(words[0])).name == "postgres" and bytes(data) in words
        return False
    ps = ["/bin/ps", "-o", "command=", "-p", str(pid)]
    command = subprocess.run(ps, capture_output=True, check=False, env=plain_environment())  # noqa: S603 - a number only
    return b"postgres" in command.stdout and bytes(data) in command.stdout


def answers(port: int) -> bool:
    """Whether something listens on that port."""
    try:
        with socket.create_connection((HOST, port), timeout=2):
            return True
    except OSError:
        return False


def free_port(wanted: int = 0) -> int:
    """The wanted port when it is free, else any that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise KeeperError("start", f"There is no free port on {HOST}")


def data_major(data: Path) -> int | None:
    """The major version that made the data; None when there is none yet."""
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise KeeperError("place", f"{data / 'PG_VERSION'} is not the version of a Postgres server") from error


def initialise(place: Path, binaries: Binaries, account: Account, password: str) -> None:
    """Make `place/data` with our database in it, whole or not at all."""
    work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=place))
    account.give(work)
    data, secret = work / "data", work / "password"
    descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(password)
    account.give(secret)
    command = [binaries.program("initdb"), "-D", str(data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}"]
    command += ["--encoding=UTF8", *locale_options(binaries.major), "--data-checksums", "--no-instructions"]
    code, output = account.run(command)
    if code != 0:
        raise KeeperError("start", f"initdb failed: {output}")
    run_single(data, binaries, account, f"CREATE DATABASE {DATABASE}", "postgres")
    data.rename(place / "data")
    sync_folder(place)
    shutil.rmtree(work, ignore_errors=True)


def locale_options(major: int) -> list[str]:
    """C.UTF-8: characters are Unicode, the order is that of the bytes, whatever the machine has installed."""
    if major >= BUILTIN_LOCALE_SINCE:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return ["--locale=C"]
    return ["--locale=C.UTF-8", "--lc-messages=C"]


def run_single(data: Path, binaries: Binaries, account: Account, statement: str, database: str) -> None:
    """Run one statement on data that no server has open."""
    command = [binaries.program("postgres"), "--single", "-D", str(data), "-c", "exit_on_error=true", database]
    code, output = account.run(command, text=f"{statement}\n")
    if code != 0:
        raise KeeperError("start", f"The database could not be prepared: {output}")


class Postmaster:
    """The server of one data directory, whether we started it or found it running."""

    def __init__(self, data: Path, binaries: Binaries, account: Account, log: Path) -> None:
        self.data = data
        self.binaries = binaries
        self.account = account
        self.log = log
        self.port = 0
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    def is_running(self) -> bool:
        if self._process:
            return self._process.poll() is None
        return is_postmaster(self.pid, self.data)

    def find(self) -> bool:
        """Take over a server that runs already, and wait until it can be used."""
        facts = read_pid_file(self.data)
        if facts is None or not is_postmaster(facts.pid, self.data):
            return False
        self.pid, self.port, self._process = facts.pid, facts.port, None
        return (
            wait_until(lambda: not self.is_running() or self._status() == "ready", START_SECONDS) and self.is_running()
        )

    def start(self, wanted_port: int = 0) -> None:
        """Start the server and wait until it can be used.

        Raises:
            KeeperError: It ended, or took too long.
        """
        deadline = time.monotonic() + START_SECONDS
        for attempt in itertools.count(1):
            self._forget_stranger()
            said = self._try_start(free_port(wanted_port), deadline)
            if said is None:
                return
            killed = self._process is not None and self._process.returncode == -signal.SIGKILL
            passes = PORT_TAKEN in said or CHILDREN_LEFT in said or (killed and attempt < KILLS_BORNE)
            if not passes or time.monotonic() >= deadline:
                raise KeeperError("start", f"Postgres did not start: {said[-3000:]}")
            time.sleep(10 * POLL_SECONDS)

    def _try_start(self, port: int, deadline: float) -> str | None:
        """None when it runs, else what it said."""
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        command = [self.binaries.program("postgres"), "-D", str(self.data), "-p", str(port), *settings]
        log = open_private(self.log, os.O_RDWR | os.O_APPEND)
        try:
            before = os.fstat(log).st_size
            self._process = self.account.start(command, output=log)
            self.pid, self.port = self._process.pid, port
            wait_until(lambda: not self.is_running() or self._status() == "ready", deadline - time.monotonic())
            if self.is_running() and self._status() == "ready":
                return None
            self.stop(signal.SIGQUIT)
            return os.pread(log, 100_000, before).decode(errors="replace").strip() or "it said nothing"
        finally:
            os.close(log)

    def _status(self) -> str:
        facts = read_pid_file(self.data)
        return facts.status if facts and facts.pid == self.pid else ""

    def _forget_stranger(self) -> None:
        """Remove a dead server's pid file that Postgres would respect.

        That is one whose number is another process's by now, or a zombie's: in many containers nobody reaps orphans.
        Postgres has another way to see that children of the dead server still use the data.
        """
        facts = read_pid_file(self.data)
        if facts and exists(facts.pid) and not is_postmaster(facts.pid, self.data):
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self, first: signal.Signals = signal.SIGINT) -> None:
        """End the server: with a fast shutdown, and harder when that takes too long."""
        for number, seconds in ((first, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            if not self.is_running():
                return
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
            wait_until(lambda: not self.is_running(), seconds)
