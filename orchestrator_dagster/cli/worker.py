"""`orchestrator-dagster worker`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click
from dagster import DagsterInstance

from orchestrator_dagster.instance import WarmRunLauncher


@click.group(invoke_without_command=True)
@click.pass_context
def worker(context: click.Context) -> None:
    """Execute launched runs in warm workers, until stopped with Ctrl-C: the worker service of DAGSTER_HOME.

    Whoever launches a run starts the service where there is none. To run it yourself, under a service manager, keeps it
    and its workers there for the first run too. Ctrl-C lets runs end that have a worker; at a second one they fail.
    """
    if context.invoked_subcommand is not None:
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with _launcher() as launcher:
        if not launcher.serve(stays=True):
            raise click.ClickException(f"There is one already: process {launcher.folder.server()}")


@worker.command
def status() -> None:
    """Say whether the worker service is there, and what it has to do."""
    with _launcher() as launcher:
        process = launcher.folder.server()
        click.echo(f"Process:  {process}" if process else "Not running; the next launch starts it")
        click.echo(f"Log:      {launcher.folder.log}")
        click.echo(f"Waiting:  {sum(demand.runs for demand in launcher.queue.demand())}")
        click.echo(f"Running:  {len(launcher.queue.claimed())}")


@worker.command
@click.option("--now", is_flag=True, help="Kill the workers, and with them the runs that they have: those fail.")
def stop(*, now: bool) -> None:
    """Stop the worker service, when the runs that have a worker are done. Waiting runs stay in the queue."""
    with _launcher() as launcher:
        process = launcher.folder.stop_server(now=now)
        click.echo(f"Stopped process {process}" if process else "Not running")


@contextmanager
def _launcher() -> Iterator[WarmRunLauncher]:
    with DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, WarmRunLauncher):
            raise click.ClickException(
                "The instance has no warm workers: DAGSTER_HOME/dagster.yaml must name WarmRunLauncher as run_launcher"
            )
        yield launcher
