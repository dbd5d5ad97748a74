"""Working out what is to become of stored blocks and links, in temporary tables, and writing it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Insert, Result, column, insert, select, table

from orchestrator_dagster.db.catalogue.data import statements
from orchestrator_dagster.db.catalogue.data.history import Lists, note_paths, write_versions
from orchestrator_dagster.db.catalogue.data.locks import moved_subscriptions
from orchestrator_dagster.db.catalogue.data.selection import Blocks, ids_of
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.subscriptions.writer import Author
from orchestrator_dagster.db.tables import product_blocks, subscription_instances
from orchestrator_dagster.errors import CatalogueDataError

Items = Sequence[Mapping[str, Any]]
"""What operations ask for, each with the number of the operation."""

_SHOWN = 10


@contextmanager
def temporary_tables(connection: Connection) -> Iterator[None]:
    """Have the tables in which everything is worked out; an error leaves them to the savepoint that ends with it."""
    for statement in statements.CREATE_TABLES:
        connection.execute(statement)
    yield
    connection.execute(statements.DROP_TABLES)


def take_in(connection: Connection, blocks: Sequence[Blocks]) -> None:
    """Copy the blocks that are concerned, as they are now that their subscriptions are locked."""
    connection.execute(_take_in(blocks))
    connection.execute(statements.ANALYZE_BLOCKS)


def move_fields(connection: Connection, fields: Items) -> dict[int, int]:
    """Give values their new names, or take them away where there is none.

    Args:
        connection: the transaction.
        fields: `block`, `old` and `new` name of each.

    Returns:
        The number of subscriptions, by the number of the operation.

    Raises:
        CatalogueDataError: there is a value under a new name already.
    """
    if not fields:
        return {}
    given = {"fields": to_json(fields)}
    _refuse(
        connection.execute(statements.NAMES_TAKEN, given),
        "Values cannot get a name under which there are others",
        "{place} of subscription {subscription_id}",
    )
    return _counts(connection.execute(statements.MOVE_FIELDS, given))


def move_links(connection: Connection, links: Items) -> dict[int, int]:
    """Give links their new attributes, or mark them as removed where there is none.

    Args:
        connection: the transaction.
        links: `old` and `new` attribute of each, and the `block` that holds others or the `products` of subscriptions.

    Returns:
        The number of subscriptions, by the number of the operation.

    Raises:
        CatalogueDataError: there are blocks in a new attribute already.
    """
    if not links:
        return {}
    given = {"links": to_json(links)}
    connection.execute(statements.TAKE_IN_LINKS, given)
    connection.execute(statements.MOVE_ROOTS, given)
    connection.execute(statements.ANALYZE_LINKS)
    _refuse(
        connection.execute(statements.PLACES_TAKEN),
        "Blocks cannot move to a field that holds others",
        "{place} of subscription {subscription_id}",
    )
    return _counts(connection.execute(statements.COUNT_MOVED_LINKS, given))


def remove_unreached(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Mark the blocks as removed that nothing leads to any more.

    Args:
        connection: the transaction.
        names: product blocks of which none may be left.

    Returns:
        The number of subscriptions that lose blocks, by name.

    Raises:
        CatalogueDataError: a link that stays leads to a block of one of the names; or other subscriptions use a block
            that would have to go.
    """
    given = {"names": list(names)}
    connection.execute(statements.REMOVE_UNREACHED, given)
    connection.execute(statements.REMOVE_LINKS_OF_REMOVED)
    _refuse(
        connection.execute(statements.STILL_HELD, given),
        "Blocks cannot be removed that subscriptions still hold",
        "{product_block} of subscription {subscription_id}",
    )
    _refuse(
        connection.execute(statements.STILL_USED),
        "Blocks cannot be removed that other subscriptions use",
        "{product_block} of subscription {subscription_id}, in use by {user_id}",
    )
    return _counts(connection.execute(statements.COUNT_REMOVED_BLOCKS, given))


def fill_fields(connection: Connection, fills: Items) -> dict[int, int]:
    """Give blocks a constant where they have no value.

    Args:
        connection: the transaction.
        fills: `block`, `field` and JSON `value` of each, the `statuses` of subscriptions, and whether null will do.

    Returns:
        The number of subscriptions, by the number of the operation.
    """
    return _counts(connection.execute(statements.FILL_FIELDS, {"fills": to_json(fills)})) if fills else {}


def write(connection: Connection, author: Author, lists: Lists) -> None:
    """Write what was worked out, each table once, and one version of each subscription that is changed."""
    connection.execute(statements.FORGET_UNCHANGED)
    connection.execute(statements.FORGET_UNCHANGED_SUBSCRIPTIONS)
    moves_links = connection.scalar(statements.MOVES_LINKS)
    if moves_links:
        note_paths(connection, "before", lists)
        connection.execute(statements.DELETE_LINKS)
        connection.execute(statements.WRITE_LINKS)
        connection.execute(statements.DELETE_BLOCKS)
    connection.execute(statements.WRITE_BLOCKS)
    note_paths(connection, "after", lists)
    write_versions(connection, author, lists)


def _take_in(blocks: Sequence[Blocks]) -> Insert:
    """Copy blocks; each is what it was, and what it is to be."""
    instances = subscription_instances.c
    copied = {
        "subscription_instance_id": instances.subscription_instance_id,
        "subscription_id": instances.subscription_id,
        "product_block": product_blocks.c.name,
        "label": instances.label,
        "old_attribute": instances.attribute,
        "old_position": instances.position,
        "old_values": instances["values"],
        "attribute": instances.attribute,
        "position": instances.position,
        "values": instances["values"],
    }
    concerned = (
        select(*(value.label(name) for name, value in copied.items()))
        .join(product_blocks, product_blocks.c.product_block_id == instances.product_block_id)
        .where(instances.subscription_instance_id.in_(ids_of(blocks)))
        .where(instances.subscription_id.in_(select(moved_subscriptions.c.subscription_id)))
    )
    moved_blocks = table("moved_blocks", *map(column, copied), schema="pg_temp")
    return insert(moved_blocks).from_select(list(copied), concerned)


def _counts(result: Result[Any]) -> dict[Any, int]:
    return {row.key: row.changed for row in result}


def _refuse(result: Result[Any], why: str, which: str) -> None:
    """Raise where there are rows; name the first of them."""
    rows = result.all()
    if rows:
        shown = [which.format_map(row._mapping) for row in rows[:_SHOWN]]
        more = [f"and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
        raise CatalogueDataError(
            "\n  ".join([f"{why}:", *shown, *more]), subscription_ids=[row.subscription_id for row in rows]
        )
