"""`orchestrator-dagster engine`."""

from pathlib import Path

import click

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.db.engine_settings import EngineStatus


@click.group
def engine() -> None:
    """Whether processes run."""


@engine.command
@click.option("--reason", required=True, help="Why; whoever is refused is told.")
@click.option("--user", default="SYSTEM", show_default=True, help="On whose behalf.")
@code_options
def pause(reason: str, user: str, module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Let all processes stop after their current step, and start none."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user) as session:
        click.echo(_described(session.pause_engine(reason)))


@engine.command
@click.option("--user", default="SYSTEM", show_default=True, help="On whose behalf.")
@code_options
def resume(user: str, module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Let processes go on."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user) as session:
        click.echo(_described(session.resume_engine()))


@engine.command
@code_options
def status(module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Say whether the engine is paused, and how many processes run."""
    with load_orchestrator(module_name, python_file, workspace).connect() as session:
        click.echo(_described(session.engine_status()))


def _described(found: EngineStatus) -> str:
    running = f"{found.running} running"
    if not found.paused:
        return f"Going on; {running}"
    return f"Paused by {found.by} at {found.at:%Y-%m-%d %H:%M:%S}: {found.reason}; {running}"
