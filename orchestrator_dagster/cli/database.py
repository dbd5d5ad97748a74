"""`orchestrator-dagster db`."""

import click

from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrate import current_revision, newest_revision, upgrade
from orchestrator_dagster.db.url import database_url


@click.group
def db() -> None:
    """The tables in Postgres."""


@db.command("upgrade")
def upgrade_command() -> None:
    """Bring the tables up to this version of the package."""
    engine = engine_for(database_url())
    before = current_revision(engine)
    upgrade(engine)
    after = current_revision(engine)
    click.echo(f"The database is at revision {after}." if before == after else f"Upgraded from {before} to {after}.")


@db.command
def current() -> None:
    """Show the revision of the tables, and the one that this version needs."""
    click.echo(f"database: {current_revision(engine_for(database_url()))}")
    click.echo(f"code:     {newest_revision()}")


@db.command
def url() -> None:
    """Show the URL of the database; starts the embedded server where that is the one."""
    click.echo(database_url())
