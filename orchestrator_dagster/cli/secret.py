"""`orchestrator-dagster secret`."""

import json
import sys

import click
from pydantic import SecretStr

from orchestrator_dagster.domain.secret import seal
from orchestrator_dagster.domain.secret_key import new_key


@click.group(invoke_without_command=True)
@click.pass_context
def secret(context: click.Context) -> None:
    """Encrypt a secret, to give it in run config.

    Asks for the secret, or reads it from standard input, and prints what to write in its place: JSON, and YAML as well.
    The key is that of ORCHESTRATOR_SECRET_KEY, or else of DAGSTER_HOME: the same that the orchestrator runs with.
    """
    if context.invoked_subcommand is None:
        click.echo(json.dumps(seal(SecretStr(_read()))))


@secret.command("new-key")
def new_key_command() -> None:
    """Print a new key for ORCHESTRATOR_SECRET_KEY."""
    click.echo(new_key())


def _read() -> str:
    if sys.stdin.isatty():
        asked: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    given = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not given:
        raise click.ClickException("There is nothing on standard input")
    return given
