"""`orchestrator-dagster process`."""

from pathlib import Path
from uuid import UUID

import click

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.domain.process import ProcessStatus


@click.group
def process() -> None:
    """The runs of workflows."""


@process.command("list")
@click.option("--status", type=click.Choice(list(ProcessStatus)), help="Only those that stand so.")
@click.option("--limit", default=20, show_default=True, help="How many of the newest.")
@code_options
def list_command(
    status: str | None, limit: int, module_name: str | None, python_file: Path | None, workspace: Path | None
) -> None:
    """List processes, oldest first."""
    with load_orchestrator(module_name, python_file, workspace).connect() as session:
        for found in session.processes(status=status, limit=limit):
            click.echo(f"{found.started_at:%Y-%m-%d %H:%M:%S}  {found!r}")


@process.command
@click.argument("process_id", type=click.UUID)
@code_options
def show(process_id: UUID, module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Show a process and its step log."""
    with load_orchestrator(module_name, python_file, workspace).connect() as session:
        found = session.process(process_id)
        click.echo(repr(found))
        for row in found.steps:
            error = f": {row.error['error']}" if row.error else ""
            click.echo(f"  {row.completed_at:%H:%M:%S.%f}  {row.status:8}  {row.step:24}  {row.name}{error}")


@process.command
@click.argument("process_id", type=click.UUID)
@click.option("--user", default="SYSTEM", show_default=True, help="On whose behalf.")
@code_options
def retry(
    process_id: UUID, user: str, module_name: str | None, python_file: Path | None, workspace: Path | None
) -> None:
    """Go on with a process that failed, here, from its first unfinished step."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user) as session:
        retried = session.retry(process_id)
        click.echo(repr(retried))
        if retried.failed_reason:
            raise SystemExit(1)
