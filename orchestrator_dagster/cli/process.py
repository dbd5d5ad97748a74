"""`orchestrator-dagster process`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click
import yaml

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.waiting import Wait
from orchestrator_dagster.jobs.process import Process

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group
def process() -> None:
    """The runs of workflows."""


def _acting(command: _Command) -> _Command:
    """Add what every command takes that does something to a process."""
    command = click.option("--user", default="SYSTEM", show_default=True, help="On whose behalf.")(command)
    command = click.argument("process_id", type=click.UUID)(command)
    return code_options(command)


def _going_on(command: _Command) -> _Command:
    """Add what every command takes by which a process goes on."""
    launch = click.option("--launch", is_flag=True, help="Go on through the Dagster instance, not here.")
    return _acting(launch(command))


_step = click.option("--step", help="Key of the step; needed where the process stands at several.")
_reason = click.option("--reason", required=True, help="Why; it stays on record.")


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
    """Show a process, its step log and what it waits for, with a form to fill in where it asks for input."""
    with load_orchestrator(module_name, python_file, workspace).connect() as session:
        found = session.process(process_id)
        click.echo("\n".join(_described(found)))


@process.command
@_going_on
@_step
@click.option("--input", "text", help="The fields of the form, as JSON or YAML.")
@click.option(
    "--input-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same from a file, YAML or JSON.",
)
def resume(
    process_id: UUID,
    user: str,
    step: str | None,
    text: str | None,
    input_file: Path | None,
    launch: bool,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Answer what a process asks for. It goes on here until it halts again."""
    given = _read(text, input_file)
    with load_orchestrator(module_name, python_file, workspace).connect(user=user, workspace=workspace) as session:
        _report(session.resume(process_id, given, step=step, launch=launch))


@process.command
@_going_on
@_step
def retry(
    process_id: UUID,
    user: str,
    step: str | None,
    launch: bool,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Go on with a process that failed, here, from where it stands."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user, workspace=workspace) as session:
        _report(session.retry(process_id, step=step, launch=launch))


@process.command
@_going_on
@_step
@_reason
def skip(
    process_id: UUID,
    user: str,
    step: str | None,
    reason: str,
    launch: bool,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Pass a step by that failed, or waits. The process goes on here after it."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user, workspace=workspace) as session:
        _report(session.skip(process_id, step, reason, launch=launch))


@process.command
@_going_on
@_reason
def abort(
    process_id: UUID,
    user: str,
    reason: str,
    launch: bool,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """End a process. What its steps did is undone here, as they say."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user, workspace=workspace) as session:
        _report(session.abort(process_id, reason, launch=launch))


@process.command
@_acting
@click.option("--key", required=True, help="Key of the state.")
@click.option("--value", required=True, help="The new value, as JSON or YAML.")
@click.option("--step", help="Key of a step that it stands at, to replace the value in that step's branch.")
@_reason
def replace(
    process_id: UUID,
    user: str,
    key: str,
    value: str,
    step: str | None,
    reason: str,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Put another value into the state of a process. It does not go on by this."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user) as session:
        click.echo(repr(session.replace_value(process_id, key, _parse(value, "--value"), reason, step=step)))


@process.command
@_acting
@click.argument("text")
def note(
    process_id: UUID,
    user: str,
    text: str,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Write down what people are to know of a process: TEXT, empty to remove the note."""
    with load_orchestrator(module_name, python_file, workspace).connect(user=user) as session:
        click.echo(repr(session.set_note(process_id, text or None)))


@process.command("go-on")
@code_options
def go_on(module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Run here every process that is due, or waits for a run; the daemon does so otherwise."""
    with load_orchestrator(module_name, python_file, workspace).connect() as session:
        for found in session.go_on():
            click.echo(repr(found))


def _report(found: Process) -> None:
    """Say where a process stands; a command by which it failed has failed itself."""
    click.echo(repr(found))
    if found.status.failed:
        raise SystemExit(1)


def _read(text: str | None, file: Path | None) -> dict[str, Any]:
    if text is not None and file is not None:
        raise click.UsageError("Give --input or --input-file, not both")
    given = _parse(file.read_text() if file else text or "{}", "The input")
    if not isinstance(given, dict):
        raise click.UsageError("The input must be a mapping of fields")
    return given


def _parse(text: str, what: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise click.UsageError(f"{what} is neither JSON nor YAML: {error}") from error


def _described(found: Process) -> Iterator[str]:
    yield repr(found)
    if found.note:
        yield f"  note: {found.note}"
    if found.parent is not None:
        yield f"  started by {found.parent!r}"
    for row in found.steps:
        error = f": {row.error['error']}" if row.error else ""
        yield f"  {row.completed_at:%H:%M:%S.%f}  {row.status:17}  {row.step:24}  {row.name}{error}"
    for child in found.children:
        yield f"  started {child!r}"
    for wait in found.waits:
        yield from _described_wait(wait)
    if (progress := found.callback_progress) is not None:
        yield f"  progress: {progress}"


def _described_wait(wait: Wait) -> Iterator[str]:
    due = f", due {wait.due_at:%Y-%m-%d %H:%M:%S}" if wait.due_at else ""
    yield f"  {wait.step}: {wait.kind}, since {wait.since:%Y-%m-%d %H:%M:%S}{due}, {wait.assignee}"
    if wait.reason:
        yield f"    {wait.reason}"
    required = (wait.form or {}).get("required", ())
    for name, about in (wait.form or {}).get("properties", {}).items():
        yield f"    {name}: {about.get('type', 'any')}{', required' if name in required else ''}"
