"""`orchestrator-dagster subscription`."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.db.subscriptions.history import subscription_versions
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.db.subscriptions.reader import load_subscription
from orchestrator_dagster.db.subscriptions.relations import subscriptions_that_use, subscriptions_used_by
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import SORT_COLUMNS, SubscriptionQuery
from orchestrator_dagster.domain.record_view import as_json as record_as_json
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow

_CONDITION = re.compile(r"\s*(?P<path>[^\s<>=!]+?)\s*(?P<operator>!=|<=|>=|=|<|>|\s(?:in|contains)\s)\s*(?P<value>.*)")

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_statuses = click.option(
    "--status", multiple=True, type=click.Choice([status.value for status in SubscriptionLifecycle]), help="Only these."
)
_product_types = click.option("--product-type", multiple=True, help="Only those with a product of this type.")
_subscription_id = click.argument("subscription_id", type=click.UUID)
_depth = click.option("--depth", type=click.IntRange(min=1), help="How many steps away.  [all the way]")


def _in_database(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a connection instead of the options that say where the code is."""

    @code_options
    @wraps(command)
    def connected(
        *, module_name: str | None, python_file: Path | None, workspace: Path | None, **arguments: Any
    ) -> None:
        orchestrator = load_orchestrator(module_name, python_file, workspace)
        orchestrator.register_models()
        with orchestrator.database.engine.connect() as connection:
            command(connection, **arguments)

    return connected


@click.group
def subscription() -> None:
    """Look for subscriptions, and at one of them."""


@subscription.command("list")
@click.option("--product", multiple=True, help="Only those to the product of this name.")
@_product_types
@click.option("--tag", multiple=True, help="Only those with a product of this tag.")
@_statuses
@click.option("--customer", "customer_id", multiple=True, help="Only those of this customer.")
@click.option("--in-sync/--out-of-sync", "insync", default=None, help="Only those that are, or are not, in sync.")
@click.option("--created", nargs=2, metavar="FROM TO", help="When they were made, as dates or moments; - is open.")
@click.option("--started", nargs=2, metavar="FROM TO", help="When they became active.")
@click.option("--ended", nargs=2, metavar="FROM TO", help="When they were terminated.")
@click.option("--text", help="Words to search for.")
@click.option("--where", multiple=True, metavar="CONDITION", help="As in node.node_name=ams-core-1 or port.vlan>=100.")
@click.option("--sort", default="-created_at", show_default=True, help=f"{', '.join(SORT_COLUMNS)}; - for descending.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
@click.option("--after", help="Where to go on, as the page before said.")
@_as_json
@_in_database
def list_command(
    connection: Connection,
    *,
    as_json: bool,
    where: Sequence[str],
    created: tuple[str, str] | None,
    started: tuple[str, str] | None,
    ended: tuple[str, str] | None,
    **filters: Any,
) -> None:
    """List subscriptions, newest first.

    A CONDITION is a path, an operator (= != < <= > >= in contains) and a value: JSON where it is JSON, else text.
    """
    wanted = _given(filters)
    wanted |= {"created_at": _period(created), "start_date": _period(started), "end_date": _period(ended)}
    query = SubscriptionQuery(**wanted, where=_where(where))
    page = find_subscriptions(connection, query)
    if as_json:
        _print_json({"subscriptions": [asdict(row) for row in page], "next": page.next})
        return
    columns = ("subscription_id", "description", "product", "customer_id", "status", "insync", "created_at")
    _print_table(columns, [[getattr(row, name) for name in columns] for row in page])
    if page.next:
        click.echo(f"There are more: --after {page.next}", err=True)


@subscription.command
@_subscription_id
@_in_database
def show(connection: Connection, *, subscription_id: UUID) -> None:
    """Show a subscription with its blocks as JSON."""
    _print_json(record_as_json(load_subscription(connection, subscription_id)))


@subscription.command
@_subscription_id
@_as_json
@_in_database
def history(connection: Connection, *, subscription_id: UUID, as_json: bool) -> None:
    """Show who changed what in a subscription, oldest change first."""
    versions = subscription_versions(connection, subscription_id)
    if as_json:
        _print_json([asdict(version) for version in versions])
        return
    for version in versions:
        by = " ".join(str(part) for part in (version.changed_by, version.process_id, version.step) if part)
        click.echo(f"{version.version:4}  {version.changed_at:%Y-%m-%d %H:%M:%S}  {by}")
        for path, change in version.changes.items():
            click.echo(f"      {path}: {json.dumps(change['before'])} -> {json.dumps(change['after'])}")


@subscription.command("in-use-by")
@_subscription_id
@_depth
@_statuses
@_product_types
@_as_json
@_in_database
def in_use_by(connection: Connection, *, as_json: bool, **filters: Any) -> None:
    """List the subscriptions that use a subscription, directly or by way of others."""
    _print_related(subscriptions_that_use(connection, _related_query(filters)), as_json)


@subscription.command("depends-on")
@_subscription_id
@_depth
@_statuses
@_product_types
@_as_json
@_in_database
def depends_on(connection: Connection, *, as_json: bool, **filters: Any) -> None:
    """List the subscriptions that a subscription depends on, directly or by way of others."""
    _print_related(subscriptions_used_by(connection, _related_query(filters)), as_json)


def _related_query(filters: dict[str, Any]) -> RelatedQuery:
    return RelatedQuery(**_given(filters))


def _given(filters: dict[str, Any]) -> dict[str, Any]:
    """Return filters without the empty sequences that click makes of options that were not given."""
    return {name: None if value == () else value for name, value in filters.items()}


def _where(conditions: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        parts = _CONDITION.fullmatch(condition)
        if parts is None:
            raise click.BadParameter(
                f"{condition!r} is no condition such as node.node_name=ams-core-1", param_hint="--where"
            )
        operators = found.setdefault(parts["path"], {})
        operator = parts["operator"].strip()
        if operator in operators:
            raise click.BadParameter(f"{parts['path']} {operator} is there twice", param_hint="--where")
        operators[operator] = _json_or_text(parts["value"])
    return found


def _json_or_text(given: str) -> Any:
    try:
        return json.loads(given)
    except ValueError:
        return given


def _period(given: tuple[str, str] | None) -> tuple[datetime | None, datetime | None] | None:
    if given is None:
        return None
    try:
        start, end = (None if one == "-" else datetime.fromisoformat(one) for one in given)
    except ValueError as error:
        raise click.BadParameter(f"{error}; a date is 2026-01-31, a moment 2026-01-31T12:00+01:00") from error
    return start, end


def _print_related(rows: Sequence[RelatedSubscriptionRow], as_json: bool) -> None:
    if as_json:
        _print_json([asdict(row) for row in rows])
        return
    columns = ("depth", "subscription_id", "description", "product", "status", "insync")
    _print_table(columns, [[getattr(row, name) for name in columns] for row in rows])


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    lines = [[column.replace("_", " ") for column in columns], *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
