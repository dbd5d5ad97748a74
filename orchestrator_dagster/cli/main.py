"""The commands, and how their errors are shown."""

import sys
from importlib import import_module
from typing import Any

import click

from orchestrator_dagster.errors import OrchestratorError
from orchestrator_dagster.version import __version__

_MODULES = {
    "callbacks": "callbacks",
    "catalogue": "catalogue",
    "db": "database",
    "dev": "dev",
    "engine": "engine",
    "form": "form",
    "process": "process",
    "secret": "secret",
    "subscription": "subscription",
    "worker": "worker",
}


class _Commands(click.Group):
    """Loads a command when it is asked for, and shows the package's own errors as messages."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_MODULES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if name not in _MODULES:
            return None
        command: click.Command = getattr(import_module(f"orchestrator_dagster.cli.{_MODULES[name]}"), name)
        return command

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
