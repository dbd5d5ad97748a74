"""`orchestrator-dagster catalogue`."""

import json
from pathlib import Path
from typing import Any

import click

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.errors import CatalogueRefusedError

_SOMETHING_TO_DO = 2

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group
def catalogue() -> None:
    """Products and workflows: what the code declares, and what the database has."""


@catalogue.command
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 where there is something to do.")
@_as_json
@code_options
def plan(
    detailed_exitcode: bool,
    as_json: bool,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Show what `apply` would do, and to which subscriptions; change nothing.

    Exits with 1 where `apply` would refuse.
    """
    found = load_orchestrator(module_name, python_file, workspace).catalogue.plan()
    _print(found, as_json=as_json)
    if found.refusals or found.ahead:
        raise SystemExit(1)
    if found and detailed_exitcode:
        raise SystemExit(_SOMETHING_TO_DO)


@catalogue.command
@click.option("--allow-data-loss", is_flag=True, help="Delete what is stored of fields and blocks that are gone.")
@click.option("--force", is_flag=True, help="Go back to a catalogue that was applied before the newest one.")
@click.option("--user", help="On whose behalf.  [the user of the operating system]")
@_as_json
@code_options
def apply(
    allow_data_loss: bool,
    force: bool,
    user: str | None,
    as_json: bool,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Make the database follow the code, what is stored of subscriptions included, in one transaction.

    Exits with 1 where it refuses.
    """
    database = load_orchestrator(module_name, python_file, workspace).catalogue
    try:
        done = database.apply(allow_data_loss=allow_data_loss, force=force, by=user)
    except CatalogueRefusedError as refused:
        if as_json:
            _print(refused.plan, as_json=True)
            raise SystemExit(1) from refused
        raise
    _print(done, as_json=as_json)


@catalogue.command
@_as_json
@code_options
def show(as_json: bool, module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Show what the database has, and when it was made to follow the code."""
    _print(load_orchestrator(module_name, python_file, workspace).catalogue.show(), as_json=as_json)


def _print(told: Any, *, as_json: bool) -> None:
    click.echo(json.dumps(told.to_json(), indent=2, ensure_ascii=False) if as_json else str(told))
