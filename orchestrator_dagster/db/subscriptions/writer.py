"""Saving subscriptions: only what changed, in a number of statements that does not grow with the tree."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.subscriptions import statements
from orchestrator_dagster.db.subscriptions.changes import changes_of, field_changes
from orchestrator_dagster.db.subscriptions.checks import check_database
from orchestrator_dagster.db.subscriptions.difference import Difference
from orchestrator_dagster.db.subscriptions.reader import load_documents
from orchestrator_dagster.db.subscriptions.tree import BlockRow, Place, StoredSubscription, Tree, tree_to_save
from orchestrator_dagster.db.subscriptions.undo import undo_of
from orchestrator_dagster.domain.repository import SubscriptionRecord
from orchestrator_dagster.errors import ModelError, StaleDataError, SubscriptionNotFoundError


@dataclass(frozen=True)
class Author:
    """Who saves, as the history names it."""

    changed_by: str
    process_id: UUID | None = None
    step: str | None = None


def save_subscription(
    connection: Connection, record: SubscriptionRecord, author: Author, loaded: StoredSubscription | None = None
) -> StoredSubscription:
    """Write what differs from what is stored, if that is the version that was loaded.

    Where it is remembered what was loaded, and nothing has to be checked with other subscriptions, the statement that
    writes compares the version and locks the row. Everything else happens under the row lock from the beginning.

    Args:
        connection: the transaction.
        record: the subscription as it is to be.
        author: who saves.
        loaded: the subscription as it was loaded before, where somebody remembers that. Every change makes a new
            version, so it need not be loaded again to know what is stored, if it is still in that version.

    Returns:
        The subscription as it is stored now: in its new version, or the old one if nothing differs.

    Raises:
        SubscriptionNotFoundError: the record was loaded once, but the subscription is gone.
        StaleDataError: the stored version is not `record.version`.
        ModelError: the record cannot be saved, whatever the version.
    """
    _check_dates(record)
    after = tree_to_save(record)
    difference = None
    if loaded is not None and loaded.record.version == record.version:
        difference = _difference(loaded, record, after)
    if not difference or difference.concerns_others:  # where nothing differs, nothing else would compare the version
        is_stored = _lock(connection, record)
        if difference is None:
            difference = _difference(_load(connection, record) if is_stored else None, record, after)
    version = record.version
    if difference:
        version = _write(connection, record, author, difference)
    else:
        _link_process(connection, record.subscription_id, author)
    return StoredSubscription(replace(record, version=version, roots={}, blocks={}), after)


def _difference(stored: StoredSubscription | None, record: SubscriptionRecord, after: Tree) -> Difference:
    fields = field_changes(stored.record if stored else None, record)
    return Difference.between(fields, stored.tree if stored else Tree(), after)


def _load(connection: Connection, record: SubscriptionRecord) -> StoredSubscription:
    return load_documents(connection, [record.subscription_id]).stored(record.subscription_id)


def _write(connection: Connection, record: SubscriptionRecord, author: Author, difference: Difference) -> int:
    check_database(connection, record, difference, author.process_id)
    version = _write_subscription(connection, record, author, difference)
    _write_tree(connection, record, difference)
    return version


def _check_dates(record: SubscriptionRecord) -> None:
    dates: dict[str, datetime | None] = {"start_date": record.start_date, "end_date": record.end_date}
    for name, date in dates.items():
        if date is not None and date.tzinfo is None:
            raise ModelError(f"The {name} of subscription {record.subscription_id} has no time zone")


def _lock(connection: Connection, record: SubscriptionRecord) -> bool:
    """Lock the subscription's row, and return whether there is one."""
    version = connection.scalar(statements.LOCK_SUBSCRIPTION, {"subscription_id": record.subscription_id})
    if version is None and record.version:
        raise SubscriptionNotFoundError(record.subscription_id)
    if version is not None and version != record.version:
        raise _stale(record, version)
    return version is not None


def _stale(record: SubscriptionRecord, version: int) -> StaleDataError:
    return StaleDataError(subscription_id=record.subscription_id, given_version=record.version, current_version=version)


def _link_process(connection: Connection, subscription_id: UUID, author: Author) -> None:
    if author.process_id is not None:
        connection.execute(
            statements.LINK_PROCESS, {"process_id": author.process_id, "subscription_id": subscription_id}
        )


def _write_subscription(
    connection: Connection, record: SubscriptionRecord, author: Author, difference: Difference
) -> int:
    version = connection.scalar(
        statements.SAVE_SUBSCRIPTION,
        {
            "subscription_id": record.subscription_id,
            "product_id": record.product.product_id,
            "customer_id": record.customer_id,
            "description": record.description,
            "status": str(record.status),
            "insync": record.insync,
            "start_date": record.start_date,
            "end_date": record.end_date,
            "note": record.note,
            "version": record.version,
            "changed_by": author.changed_by,
            "process_id": author.process_id,
            "step": author.step,
            "changes": _json(record, changes_of(difference)),
            "undo": _json(record, undo_of(difference)) if record.version else None,
        },
    )
    if version is None:
        _lock(connection, record)  # says why
        raise _stale(record, record.version)
    return int(version)


def _write_tree(connection: Connection, record: SubscriptionRecord, difference: Difference) -> None:
    if not difference.changes_tree:
        return
    relations = [_place(place) | {"depends_on_id": str(linked)} for place, linked in difference.relations.items()]
    written = connection.scalar(
        statements.SAVE_TREE,
        {
            "subscription_id": record.subscription_id,
            "removed_blocks": list(difference.removed_blocks),
            "blocks": _json(record, [_block(block_id, row) for block_id, row in difference.blocks.items()]),
            "removed_relations": to_json([_place(place) for place in difference.removed_relations]),
            "relations": to_json(relations),
        },
    )
    if written != len(difference.blocks):
        raise ModelError(
            f"Subscription {record.subscription_id} cannot be saved: somebody else created one of its blocks, or "
            "renamed or removed its product block in the catalogue"
        )


def _block(block_id: UUID, row: BlockRow) -> dict[str, Any]:
    return {
        "subscription_instance_id": str(block_id),
        "product_block": row.product_block_name,
        "label": row.label,
        "values": row.values,
        "attribute": row.attribute,
        "position": row.position,
    }


def _place(place: Place) -> dict[str, Any]:
    return {"in_use_by_id": str(place.in_use_by_id), "attribute": place.attribute, "position": place.position}


def _json(record: SubscriptionRecord, value: Any) -> str:
    try:
        return to_json(value)
    except ValueError as error:
        raise ModelError(f"Subscription {record.subscription_id} cannot be stored: {error}") from error
