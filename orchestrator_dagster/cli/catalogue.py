"""`orchestrator-dagster catalogue`."""

from pathlib import Path

import click

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.db.catalogue import apply, plan
from orchestrator_dagster.db.products import all_products


@click.group
def catalogue() -> None:
    """Products and workflows: what the code declares, and what the database has."""


@catalogue.command("plan")
@code_options
def plan_command(module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Show what `apply` would change, and change nothing."""
    orchestrator = load_orchestrator(module_name, python_file, workspace)
    with orchestrator.database.engine.connect() as connection:
        _show(plan(connection, orchestrator.declaration), "The database follows the code.")


@catalogue.command("apply")
@code_options
def apply_command(module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Make the database follow the code, in one transaction."""
    orchestrator = load_orchestrator(module_name, python_file, workspace)
    with orchestrator.database.engine.begin() as connection:
        _show(apply(connection, orchestrator.declaration), "Nothing to do: the database follows the code.")


@catalogue.command
@code_options
def show(module_name: str | None, python_file: Path | None, workspace: Path | None) -> None:
    """Show the products that the database has."""
    orchestrator = load_orchestrator(module_name, python_file, workspace)
    with orchestrator.database.engine.connect() as connection:
        for product in all_products(connection):
            click.echo(
                f"{product.name} ({product.product_type}, {product.tag}, {product.status}): {product.product_id}"
            )


def _show(changes: list[str], otherwise: str) -> None:
    for line in changes or [otherwise]:
        click.echo(line)
