"""The account that an embedded server runs as, and what that account can do.

Postgres refuses to run as root. Where we are root, the server runs as `nobody`, or as the owner of the data.
"""

import os
import pwd
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator_dagster.db.server_files import KeeperError

NOBODY = 65534
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Account:
    """Who runs the server; without `ids` (user, group) it is who we are ourselves."""

    ids: tuple[int, int] | None = None

    @property
    def uid(self) -> int:
        return self.ids[0] if self.ids else os.geteuid()

    def start(
        self, command: Sequence[str], *, output: int, source: int = subprocess.DEVNULL
    ) -> "subprocess.Popen[bytes]":
        """Start a program as this account, in a session of its own and without anything inherited."""
        user, group = self.ids or (None, None)
        try:
            return subprocess.Popen(  # noqa: S603 - a server of our choice, with arguments of our own
                command,
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=plain_environment(),
                start_new_session=True,
                umask=0o077,
                user=user,
                group=group,
                extra_groups=[] if self.ids else None,
            )
        except OSError as error:
            raise KeeperError("start", f"Cannot run {command[0]} as user {self.uid}: {error}") from error

    def run(self, command: Sequence[str], *, text: str = "", seconds: float = 120) -> tuple[int, str]:
        """Run a program to its end; its exit code and what it wrote."""
        with self.start(command, source=subprocess.PIPE, output=subprocess.PIPE) as process:
            try:
                output, _ = process.communicate(text.encode(), timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return -1, f"no end after {seconds:g} seconds"
        return process.returncode, output.decode(errors="replace").strip()

    def can(self, action: Callable[[], object]) -> bool:
        """Whether this account can do something, which it tries in a child process."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self._become()
                action()
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def _become(self) -> None:
        if self.ids:
            os.setgroups([])
            os.setgid(self.ids[1])
            os.setuid(self.ids[0])

    def give(self, path: Path) -> None:
        """Make this account the owner."""
        if self.ids:
            os.chown(path, *self.ids, follow_symlinks=False)


def choose_account(data: Path) -> Account:
    """Who runs the server with that data directory, which need not exist yet.

    Raises:
        KeeperError: The data belongs to somebody we may not be.
    """
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner and owner.st_uid != os.geteuid():
            raise KeeperError("place", f"{data} belongs to user {owner.st_uid}, and this is user {os.geteuid()}")
        return Account()
    if owner is None:
        return Account(nobody())
    if owner.st_uid == 0:
        raise KeeperError("place", f"{data} belongs to root, and Postgres does not run as root")
    return Account((owner.st_uid, owner.st_gid))


def nobody() -> tuple[int, int]:
    """User and group of the account without rights."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return NOBODY, NOBODY
    return entry.pw_uid, entry.pw_gid


def plain_environment() -> dict[str, str]:
    """An environment in which no setting of the user (PGPORT, a locale) changes what a program does."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
