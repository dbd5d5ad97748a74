"""The commands, and how their errors are shown."""

import sys
from typing import Any

import click

from orchestrator_dagster.cli.catalogue import catalogue
from orchestrator_dagster.cli.database import db
from orchestrator_dagster.cli.dev import dev
from orchestrator_dagster.cli.form import form
from orchestrator_dagster.cli.process import process
from orchestrator_dagster.cli.worker import worker
from orchestrator_dagster.errors import OrchestratorError
from orchestrator_dagster.version import __version__


class _Commands(click.Group):
    """Shows the package's own errors as messages rather than as tracebacks."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except OrchestratorError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Products, subscriptions and their whole life as Dagster jobs on Postgres."""
    # what is not installed but stands in the current folder is found, as with `dagster`
    if "" not in sys.path:
        sys.path.insert(0, "")


for command in (catalogue, db, dev, form, process, worker):
    main.add_command(command)
