"""Starts a database and Dagster, leads the example's subscriptions through their life, and stops everything again.

    python -m examples.demo

It keeps what it needs in the folder `.demo` of this repository, which it makes anew each time. The database is the one
of `ORCHESTRATOR_DATABASE_URL`, or else an embedded server in that folder.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import Request, urlopen

import click

from examples.definitions import orchestrator
from examples.services import ServiceError, Services, end_leftovers
from orchestrator_dagster import OrchestratorError
from orchestrator_dagster.db.catalogue.following import apply
from orchestrator_dagster.db.engine import dispose_engine, engine_for
from orchestrator_dagster.db.migrate import upgrade
from orchestrator_dagster.db.server import EmbeddedServer, EmbeddedServerError
from orchestrator_dagster.db.url import database_url
from orchestrator_dagster.instance.service_folder import ServiceFolder

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("ORCHESTRATOR_DEMO_HOME") or ROOT / ".demo").resolve()
WORKSPACE = ROOT / "workspace.yaml"
START_SECONDS = 180.0
LEFT_SECONDS = 90.0
POLL_SECONDS = 0.2

DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
SENSORS = """
query($repository: RepositorySelector!) {
  sensorsOrError(repositorySelector: $repository) {
    ... on Sensors { results { id name } }
    ... on PythonError { message }
  }
}
"""
STOP_SENSOR = "mutation($id: String) { stopSensor(id: $id) { __typename } }"
RESET_SENSOR = "mutation($sensor: SensorSelector!) { resetSensor(sensorSelector: $sensor) { __typename } }"
Answer = TypeVar("Answer")
REPOSITORY = {"repositoryLocationName": "examples", "repositoryName": "__repository__"}


class DemoError(Exception):
    """The demo did not succeed."""


class Interrupted(Exception):
    """Somebody wants the demo to end."""


class Dagit:
    """What is asked of Dagit while it starts.

    Args:
        port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a query and return the answer.

        Raises:
            OSError: it does not answer.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310 - ours
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def sensors(self) -> list[dict[str, str]]:
        """Return the sensors of the example, none as long as its code is not loaded."""
        found: list[dict[str, str]] = self.ask(SENSORS, repository=REPOSITORY)["sensorsOrError"].get("results", [])
        return found

    def missing_daemons(self) -> list[str]:
        """Return the daemons that do not run yet."""
        daemons = self.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [daemon["daemonType"] for daemon in daemons if daemon["required"] and not daemon["healthy"]]


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the folder: two demos would end each other.

    Raises:
        DemoError: another one holds it.
    """
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"Another demo is running in {HOME}") from None
        yield


def clean_up() -> None:
    """Remove what an earlier run left: processes, the embedded server, files."""
    for service in end_leftovers(HOME):
        click.echo(f"Ended {service.name} (process {service.pid}), which an earlier demo left behind")
    deadline = time.monotonic() + LEFT_SECONDS
    while True:
        try:
            EmbeddedServer(HOME / "postgres").destroy()
            break
        except EmbeddedServerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
    for path in HOME.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


@contextmanager
def database() -> Iterator[None]:
    """Have the database, with the schema and the catalogue that the example needs."""
    is_ours = not os.environ.get("ORCHESTRATOR_DATABASE_URL")
    with ExitStack() as stack:
        if is_ours:
            stack.callback(stop_server, EmbeddedServer(HOME / "postgres"))
        with timed("the embedded Postgres" if is_ours else "the database of ORCHESTRATOR_DATABASE_URL"):
            url = database_url()
            engine = engine_for(url)
            engine.connect().close()
        stack.callback(dispose_engine, url)
        with timed("migrations and catalogue"):
            upgrade(engine)
            with engine.begin() as connection:
                apply(connection, orchestrator.declaration)
        yield


def stop_server(server: EmbeddedServer) -> None:
    """Stop the embedded server.

    Raises:
        DemoError: something still uses it.
    """
    if not server.stop():
        raise DemoError("The embedded Postgres still runs: another process uses it")


@contextmanager
def dagster(services: Services) -> Iterator[Dagit]:
    """Have workers, Dagit and the daemon, with the nightly validation switched off: it would come in between."""
    dagit = Dagit(free_port())
    with timed("the workers"):
        services.start("workers", [sys.executable, "-m", "orchestrator_dagster.cli", "worker"])
        wait_for(services, ServiceFolder.of(str(HOME)).server)
    with timed(f"Dagit, {dagit.address}"):
        port = dagit.address.rpartition(":")[2]
        services.start("dagster", [sys.executable, "-m", "dagster", "dev", *("-w", str(WORKSPACE)), *("-p", port)])
        sensors = wait_for(services, dagit.sensors)
    with timed("Dagster's daemon"):
        wait_for(services, lambda: not dagit.missing_daemons())
    for sensor in sensors:
        dagit.ask(STOP_SENSOR, id=sensor["id"])
    try:
        yield dagit
    finally:
        with suppress(OSError):
            for sensor in sensors:
                dagit.ask(RESET_SENSOR, sensor={**REPOSITORY, "sensorName": sensor["name"]})


def wait_for(services: Services, ask: Callable[[], Answer]) -> Answer:
    """Ask until the answer is a yes.

    Raises:
        DemoError: it takes too long.
        ServiceError: a service ended.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        services.require_running()
        with suppress(URLError, ConnectionError, TimeoutError):
            if answer := ask():
                return answer
        time.sleep(POLL_SECONDS)
    raise DemoError(f"Dagster is not ready after {START_SECONDS:.0f} s")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say what is waited for, and how long that took."""
    began = time.monotonic()
    click.echo(f"Starting {what} ... ", nl=False)
    yield
    click.echo(f"{time.monotonic() - began:.1f} s")


def tell_story(services: Services) -> None:
    """Run the story, which prints what happens.

    Raises:
        DemoError: it did not go well.
    """
    story = services.start(
        "story",
        [sys.executable, "-m", "examples.story", str(WORKSPACE), "--parent", str(os.getpid())],
        is_shown=True,
    )
    while story.poll() is None:
        services.require_running(but=story)
        time.sleep(POLL_SECONDS)
    if story.returncode != 0:
        raise DemoError(f"The story ended with status {story.returncode}")


def run() -> None:
    """Do it all."""
    with ExitStack() as stack:
        stack.enter_context(only_one())
        clean_up()
        shutil.copy(ROOT / "dagster.yaml", HOME)
        stack.enter_context(database())
        services = Services(HOME, dict(os.environ))
        stack.callback(services.stop)
        stack.enter_context(dagster(services))
        stack.callback(ignore_signals)
        tell_story(services)


def ignore_signals() -> None:
    """Let nothing disturb what ends the services."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Take a signal, once."""
    ignore_signals()
    raise Interrupted(f"it was ended by {signal.Signals(number).name}")


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(help=__doc__)
def main() -> None:
    """Run the demo, and say how it went."""
    began = time.monotonic()
    os.environ["DAGSTER_HOME"] = str(HOME)
    os.environ["NETWORK_CONTROLLER_DIRECTORY"] = str(HOME / "controller")
    os.chdir(ROOT)
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        run()
    except Exception as error:
        if not isinstance(error, (DemoError, ServiceError, OrchestratorError, Interrupted)):
            traceback.print_exc()
        click.secho(f"\nThe demo did not succeed: {error}\nThe logs are in {HOME / 'logs'}", fg="red", err=True)
        sys.exit(1)
    click.secho(f"\nEverything that was started is stopped, after {time.monotonic() - began:.0f} s", bold=True)


if __name__ == "__main__":
    main()
