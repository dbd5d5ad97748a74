"""`orchestrator-dagster dev`."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

import click
from dagster import DagsterInstance

from orchestrator_dagster.cli.code import load_orchestrator
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrate import upgrade
from orchestrator_dagster.instance import WarmRunLauncher

_OURS = (sys.executable, "-m", "orchestrator_dagster.cli")
_CALLBACK_HOST = "127.0.0.1"
_CALLBACK_PORT = 3001


@click.command
@click.option("-w", "--workspace", type=click.Path(path_type=Path), default=Path("workspace.yaml"), show_default=True)
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address that Dagit listens on.")
@click.option("-p", "--port", type=int, default=3000, show_default=True, help="Port; the next free one if it is taken.")
def dev(workspace: Path, host: str, port: int) -> None:
    """Start everything: database, catalogue, workers, callbacks, Dagit and the daemon; stop it with Ctrl-C.

    Without DAGSTER_HOME the folder of the workspace file is taken for it.
    """
    workspace = workspace.resolve()
    home = os.environ.setdefault("DAGSTER_HOME", str(workspace.parent))
    click.echo(f"Dagster home: {home}")
    orchestrator = load_orchestrator(None, None, workspace)
    engine = engine_for(orchestrator.database.address)
    upgrade(engine)
    click.echo(f"Database:     {engine.url.render_as_string()}")
    applied = orchestrator.catalogue.apply()
    click.echo(f"Catalogue:    {len(orchestrator.products)} products, {len(orchestrator.workflows)} workflows")
    for line in applied.lines:
        click.echo(f"              {line}")
    commands = []
    if workers := _workers():
        click.echo(f"Workers:      {workers}")
        commands.append([*_OURS, "worker"])
    port = _free_port(host, port)
    commands.append(_callbacks(workspace, besides=port))
    click.echo(f"Dagit:        http://{host}:{port}")
    commands.append([sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)])
    raise SystemExit(_run(commands))


def _workers() -> str:
    """Say how many warm workers there may be; end a worker service that has the environment of an earlier start."""
    with DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, WarmRunLauncher):
            return ""
        launcher.folder.stop_server()
        return f"up to {launcher.settings.workers} for each code location"


def _callbacks(workspace: Path, *, besides: int) -> list[str]:
    """Return the command that serves callbacks, to this machine only, on a port that Dagit does not take."""
    port = _free_port(_CALLBACK_HOST, _CALLBACK_PORT, but=besides)
    click.echo(f"Callbacks:    http://{_CALLBACK_HOST}:{port}")
    return [*_OURS, "callbacks", "-w", str(workspace), "-h", _CALLBACK_HOST, "-p", str(port)]


def _free_port(host: str, wanted: int, *, but: int | None = None) -> int:
    for port in (port for port in range(wanted, wanted + 100) if port != but):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise click.ClickException(f"No port from {wanted} to {wanted + 99} is free on {host}")


def _run(commands: list[list[str]]) -> int:
    """Run commands until the last one ends, then end the others; pass on the signals that ask for the end."""
    children = [subprocess.Popen(command) for command in commands]  # noqa: S603 - our own commands

    def pass_on(number: int, _frame: FrameType | None) -> None:
        children[-1].send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    # Ctrl-C reaches the children by the terminal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = children[-1].wait()
    for child in children[:-1]:
        child.terminate()
        child.wait()
    return status
