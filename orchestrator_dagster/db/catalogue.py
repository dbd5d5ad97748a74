"""The catalogue follows the code: what differs, and making the database follow."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import fields
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from orchestrator_dagster.db.catalogue_entries import Catalogue, declared_catalogue
from orchestrator_dagster.db.catalogue_rows import LOCK, read_catalogue, write_catalogue
from orchestrator_dagster.db.exact_json import same_json
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration
from orchestrator_dagster.errors import ConfigurationError

APPLY_COMMAND = "orchestrator-dagster catalogue apply"

_SHOWN = 10


def plan(connection: Connection, declaration: CatalogueDeclaration) -> list[str]:
    """Return what `apply` would do, without doing it.

    Raises:
        ConfigurationError: the declaration contradicts itself.
    """
    declared, stored = declared_catalogue(declaration), read_catalogue(connection)
    return [*_changes(declared, stored), *_undeclared(declared, stored)]


def apply(connection: Connection, declaration: CatalogueDeclaration) -> list[str]:
    """Make the catalogue of the database follow the code.

    Products and blocks that are not declared any more stay as they are, since subscriptions may have them; workflows
    are marked as deleted. Two that do this at once wait for each other.

    Args:
        connection: the transaction.
        declaration: what the code declares.

    Returns:
        What was changed and what was left, a line each for people to read; empty when database and code agree.

    Raises:
        ConfigurationError: the declaration contradicts itself.
    """
    declared = declared_catalogue(declaration)
    connection.execute(LOCK)
    stored = read_catalogue(connection)
    changes = list(_changes(declared, stored))
    if changes:
        write_catalogue(connection, declared)
    return [*changes, *_undeclared(declared, stored)]


def check(connection: Connection, declaration: CatalogueDeclaration) -> None:
    """Check that the catalogue of the database follows the code.

    Raises:
        ConfigurationError: it does not; the message says what differs and what to run.
    """
    changes = list(_changes(declared_catalogue(declaration), read_catalogue(connection)))
    if changes:
        shown = [*changes[:_SHOWN], f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else changes
        lines = "".join(f"\n  {line}" for line in shown)
        raise ConfigurationError(
            f"The catalogue in the database does not follow the code. Run `{APPLY_COMMAND}`, which does this:{lines}"
        )


def _changes(declared: Catalogue, stored: Catalogue) -> Iterator[str]:
    for name, workflow in declared.workflows.items():
        yield from _entry_changes(f"workflow {name}", workflow, stored.workflows.get(name))
    for name in sorted(stored.workflows.keys() - declared.workflows.keys()):
        yield f"workflow {name}: deleted"
    yield from _resource_type_changes(declared, stored)
    for name, block in declared.blocks.items():
        yield from _entry_changes(f"product block {name}", block, stored.blocks.get(name))
    for name, product in declared.products.items():
        yield from _entry_changes(f"product {name}", product, stored.products.get(name))


def _undeclared(declared: Catalogue, stored: Catalogue) -> Iterator[str]:
    for name in sorted(stored.products.keys() - declared.products.keys()):
        yield f"product {name}: not declared any more, left as it is"
    for name in sorted(stored.blocks.keys() - declared.blocks.keys()):
        yield f"product block {name}: not declared any more, left as it is"


def _resource_type_changes(declared: Catalogue, stored: Catalogue) -> Iterator[str]:
    for name, description in declared.resource_types.items():
        present = stored.resource_types.get(name)
        if present is None:
            yield f"resource type {name}: new"
        elif present != description:
            yield f"resource type {name}: description from {present!r} to {description!r}"


def _entry_changes(title: str, declared: Any, stored: Any) -> Iterator[str]:
    if stored is None:
        yield f"{title}: new"
        return
    for attribute in (field.name for field in fields(declared)):
        before, after = getattr(stored, attribute), getattr(declared, attribute)
        label = attribute.replace("_", " ")
        if isinstance(after, frozenset):
            yield from _member_changes(f"{title}: {label}", before, after)
        elif isinstance(after, Mapping):
            yield from _value_changes(f"{title}: {label}", before, after)
        elif before != after:
            yield f"{title}: {label} from {_shown(before)} to {_shown(after)}"


def _shown(value: Any) -> str:
    return repr(str(value) if isinstance(value, StrEnum) else value)


def _member_changes(title: str, before: Set[str], after: Set[str]) -> Iterator[str]:
    if after - before:
        yield f"{title}: added {', '.join(sorted(after - before))}"
    if before - after:
        yield f"{title}: removed {', '.join(sorted(before - after))}"


def _value_changes(title: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{title}: {name} added, {after[name]!r}"
        elif name not in after:
            yield f"{title}: {name} removed"
        elif not same_json(before[name], after[name]):
            yield f"{title}: {name} from {before[name]!r} to {after[name]!r}"
