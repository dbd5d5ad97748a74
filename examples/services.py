"""The processes that the demo starts, and how it makes sure that all of them end: in this run, or in the next one."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

PROC = Path("/proc")
TERMINATE_SECONDS = 20.0
KILL_SECONDS = 10.0


class ServiceError(Exception):
    """A service ended, or does not end."""


@dataclass(frozen=True)
class Service:
    """A process that was started, and leads a process group with all that it starts in turn.

    Attributes:
        name: what it is for.
        pid: its id, which is also that of its group.
        born: when it started, as the system tells it; another process with the same id was born at another time.
    """

    name: str
    pid: int
    born: str


@dataclass(frozen=True)
class ProcessFacts:
    """What the system knows of a process."""

    pid: int
    group: int
    is_zombie: bool
    born: str


class Services:
    """Starts services, and keeps a record of them for a run that has to end what this one left.

    Args:
        folder: where the record and the logs are.
        environment: what the services find in their environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.logs = folder / "logs"
        self._record = folder / "services.json"
        self._environment = environment
        self._running: dict[Service, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], *, is_shown: bool = False) -> subprocess.Popen[bytes]:
        """Start a service. It does nothing before it is on record, so that it cannot be left over unseen.

        Args:
            name: what it is for; also the name of its log.
            command: its program and arguments.
            is_shown: whether its output goes to the screen. Its errors go to the log in any case.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        log = (self.logs / f"{name}.log").open("ab")
        process = subprocess.Popen(  # noqa: S603 - our own commands
            ["/bin/sh", "-c", 'read -r go && exec "$@" < /dev/null', name, *command],
            stdin=subprocess.PIPE,
            stdout=None if is_shown else log,
            stderr=log,
            env=dict(self._environment),
            start_new_session=True,
        )
        log.close()
        facts = next(facts for facts in processes() if facts.pid == process.pid)
        self._running[Service(name, process.pid, facts.born)] = process
        self._write()
        _say_go(process)
        return process

    def require_running(self, but: subprocess.Popen[bytes] | None = None) -> None:
        """Make sure that no service ended by itself.

        Args:
            but: one that may.

        Raises:
            ServiceError: one did.
        """
        for service, process in self._running.items():
            if process is not but and process.poll() is not None:
                raise ServiceError(f"{service.name} ended with status {process.returncode}; see {self.logs}")

    def stop(self) -> None:
        """End all services, the last one first.

        Raises:
            ServiceError: something does not end.
        """
        for service, process in reversed(list(self._running.items())):
            end_group(service, reap=process)
            del self._running[service]
            self._write()

    def _write(self) -> None:
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps([asdict(service) for service in self._running]))
        new.replace(self._record)


def _say_go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    with suppress(BrokenPipeError):
        process.stdin.write(b"go\n")
        process.stdin.close()


def end_leftovers(folder: Path) -> list[Service]:
    """End the services that an earlier run started in a folder and could not end; return them."""
    try:
        recorded = [Service(**record) for record in json.loads((folder / "services.json").read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []
    born = {facts.pid: facts.born for facts in processes()}
    ours = [service for service in recorded if born.get(service.pid) == service.born]
    for service in reversed(ours):
        end_group(service)
    return ours


def end_group(service: Service, reap: subprocess.Popen[bytes] | None = None) -> None:
    """Ask the processes of a service's group to end, and then make them.

    Raises:
        ServiceError: they do not.
    """
    for ask, seconds in ((signal.SIGTERM, TERMINATE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(service.pid, ask)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if reap:
                reap.poll()
            if not alive_in_group(service.pid):
                return
            time.sleep(0.05)
    raise ServiceError(f"{service.name}: processes {alive_in_group(service.pid)} do not end")


def alive_in_group(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    return [facts.pid for facts in processes() if facts.group == group and not facts.is_zombie]


def processes() -> Iterator[ProcessFacts]:
    """Return every process of the system, from `/proc` where there is one, else from `ps`."""
    return _processes_of_proc() if (PROC / "self" / "stat").exists() else _processes_of_ps()


def _processes_of_proc() -> Iterator[ProcessFacts]:
    for folder in PROC.glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # the name, in brackets, may hold anything; see proc(5) for what follows it
            _, _, rest = (folder / "stat").read_text().rpartition(")")
            state, _, group, *more = rest.split()
            yield ProcessFacts(int(folder.name), int(group), state == "Z", born=more[16])


def _processes_of_ps() -> Iterator[ProcessFacts]:
    listing = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, group, state, born = line.split(maxsplit=3)
        yield ProcessFacts(int(pid), int(group), state.startswith("Z"), born)
