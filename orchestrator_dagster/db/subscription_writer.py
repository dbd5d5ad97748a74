"""Saving subscriptions: only what changed, in a number of statements that does not grow with the tree."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from orchestrator_dagster.db import subscription_statements as statements
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.subscription_changes import Changes, field_changes, tree_changes
from orchestrator_dagster.db.subscription_reader import load_subscription
from orchestrator_dagster.db.subscription_tree import BlockRow, Place, Tree, stored_tree, tree_to_save
from orchestrator_dagster.domain.repository import SubscriptionRecord
from orchestrator_dagster.errors import ModelError, StaleDataError, SubscriptionNotFoundError


@dataclass(frozen=True)
class Author:
    """Who saves, as the history names it."""

    changed_by: str
    process_id: UUID | None = None
    step: str | None = None


@dataclass(frozen=True)
class _Difference:
    """What a save has to write."""

    blocks: Mapping[UUID, BlockRow]
    removed_blocks: Sequence[UUID]
    relations: Mapping[Place, UUID]
    removed_relations: Sequence[Place]

    @classmethod
    def between(cls, before: Tree, after: Tree) -> "_Difference":
        removed = before.blocks.keys() - after.blocks.keys()
        old, new = before.relations, after.relations
        return cls(
            blocks={key: row for key, row in after.blocks.items() if not row.same_as(before.blocks.get(key))},
            removed_blocks=sorted(removed),
            relations={place: linked for place, linked in new.items() if old.get(place) != linked},
            # what a removed block linked goes with it
            removed_relations=[place for place in old.keys() - new.keys() if place.in_use_by_id not in removed],
        )

    def __bool__(self) -> bool:
        return bool(self.blocks or self.removed_blocks or self.relations or self.removed_relations)


def save_subscription(
    connection: Connection, record: SubscriptionRecord, author: Author, loaded: SubscriptionRecord | None = None
) -> int:
    """Write what differs from what is stored, under the subscription's row lock.

    Args:
        connection: the transaction.
        record: the subscription as it is to be.
        author: who saves.
        loaded: the subscription as it was loaded before, where somebody remembers that. Every change makes a new
            version, so it need not be loaded again to know what is stored, if it is still in that version.

    Returns:
        The new version, or the old one if nothing differs.

    Raises:
        SubscriptionNotFoundError: the record was loaded once, but the subscription is gone.
        StaleDataError: the stored version is not `record.version`.
        ModelError: the record cannot be saved, whatever the version.
    """
    _check_dates(record)
    after = tree_to_save(record)
    stored = _lock_and_load(connection, record, loaded)
    before = stored_tree(stored) if stored else Tree()
    difference = _Difference.between(before, after)
    changes = field_changes(stored, record)
    if not (difference or changes):
        _link_process(connection, record.subscription_id, author)
        return record.version
    changes |= tree_changes(before, after)
    _check_database(connection, record, author, "product.product_id" in changes, before, after, difference)
    version = _write_subscription(connection, record, author, changes)
    _write_blocks(connection, record, difference)
    _write_relations(connection, difference)
    return version


def _check_dates(record: SubscriptionRecord) -> None:
    dates: dict[str, datetime | None] = {"start_date": record.start_date, "end_date": record.end_date}
    for name, date in dates.items():
        if date is not None and date.tzinfo is None:
            raise ModelError(f"The {name} of subscription {record.subscription_id} has no time zone")


def _lock_and_load(
    connection: Connection, record: SubscriptionRecord, loaded: SubscriptionRecord | None
) -> SubscriptionRecord | None:
    version = connection.scalar(statements.LOCK_SUBSCRIPTION, {"subscription_id": record.subscription_id})
    if version is None and record.version == 0:
        return None
    if version is None:
        raise SubscriptionNotFoundError(record.subscription_id)
    if version != record.version:
        raise _stale(record, version)
    if loaded is not None and loaded.version == version:
        return loaded
    return load_subscription(connection, record.subscription_id)


def _stale(record: SubscriptionRecord, version: int) -> StaleDataError:
    return StaleDataError(subscription_id=record.subscription_id, given_version=record.version, current_version=version)


def _taken_over(record: SubscriptionRecord, block_id: UUID, owner: object) -> ModelError:
    return ModelError(
        f"Block {block_id} belongs to subscription {owner}; subscription {record.subscription_id} cannot take it over"
    )


def _not_given(record: SubscriptionRecord, block_id: UUID) -> ModelError:
    return ModelError(f"Block {block_id} of subscription {record.subscription_id} is linked but not given")


def _check_database(
    connection: Connection,
    record: SubscriptionRecord,
    author: Author,
    new_product: bool,
    before: Tree,
    after: Tree,
    difference: _Difference,
) -> None:
    """Check what the record says of the rest of the database: in one statement, or none if it says nothing new.

    One more is needed where a process works on a subscription that is going to be linked.
    """
    new_blocks = after.blocks.keys() - before.blocks.keys()
    new_links = after.foreign - before.foreign
    names = after.block_names - before.block_names
    if not (new_product or new_blocks or new_links or names or difference.removed_blocks):
        return
    found = connection.execute(
        statements.CHECK_SAVE,
        {
            "product_id": record.product.product_id,
            "unknown_blocks": sorted(new_blocks | new_links),
            "block_names": sorted(names),
            "removed_blocks": list(difference.removed_blocks),
            "subscription_id": record.subscription_id,
        },
    ).one()
    owners = {UUID(block_id): UUID(owner) for block_id, owner in (found.owners or {}).items()}
    if not found.product_exists:
        raise ModelError(f"Product {record.product.name} ({record.product.product_id}) is not in the catalogue")
    if found.missing_block_names:
        raise ModelError(f"Not in the catalogue: product block {', '.join(found.missing_block_names)}")
    _check_new_blocks(record, new_blocks, owners)
    _check_new_links(record, new_links, owners)
    _check_not_ending(connection, record, author, found.terminated or [], found.holders or [])
    _check_removed(record, before, found.users_of_removed or [])


def _check_new_blocks(record: SubscriptionRecord, new_blocks: Set[UUID], owners: Mapping[UUID, UUID]) -> None:
    for block_id in sorted(new_blocks & owners.keys()):
        raise _taken_over(record, block_id, owners[block_id])


def _check_new_links(record: SubscriptionRecord, new_links: Set[UUID], owners: Mapping[UUID, UUID]) -> None:
    not_given = sorted(block_id for block_id in new_links if owners.get(block_id) == record.subscription_id)
    if not_given:
        raise _not_given(record, not_given[0])
    missing = sorted(new_links - owners.keys())
    if missing:
        raise ModelError(
            f"Subscription {record.subscription_id} links blocks that do not exist: {', '.join(map(str, missing))}"
        )


def _check_not_ending(
    connection: Connection,
    record: SubscriptionRecord,
    author: Author,
    terminated: Sequence[str],
    holders: Sequence[str],
) -> None:
    """Check that nothing is linked that is, or is about to be, terminated."""
    if terminated:
        raise ModelError(
            f"Subscription {record.subscription_id} links blocks of {', '.join(terminated)}, which is terminated"
        )
    if holders:
        parameters = {"holders": list(holders), "process_id": author.process_id}
        for ending in connection.execute(statements.TERMINATING, parameters):
            raise ModelError(
                f"Subscription {record.subscription_id} links blocks of {ending.subscription_id}, "
                f"which process {ending.process_id} is terminating"
            )


def _check_removed(record: SubscriptionRecord, before: Tree, users: Sequence[Sequence[Any]]) -> None:
    if users:
        in_the_way = sorted(
            f"block {before.blocks[UUID(block_id)].product_block_name} {block_id} is in use by subscription {user} "
            f"({description})"
            for block_id, user, description in users
        )
        raise ModelError(
            f"Subscription {record.subscription_id} cannot remove blocks that others use: {', '.join(in_the_way)}"
        )


def _link_process(connection: Connection, subscription_id: UUID, author: Author) -> None:
    if author.process_id is not None:
        connection.execute(
            statements.LINK_PROCESS, {"process_id": author.process_id, "subscription_id": subscription_id}
        )


def _write_subscription(connection: Connection, record: SubscriptionRecord, author: Author, changes: Changes) -> int:
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
            "changes": _json(record, changes),
        },
    )
    if version is None:
        now = connection.scalar(statements.LOCK_SUBSCRIPTION, {"subscription_id": record.subscription_id})
        raise _stale(record, now or 1)
    return int(version)


def _write_blocks(connection: Connection, record: SubscriptionRecord, difference: _Difference) -> None:
    if not (difference.blocks or difference.removed_blocks):
        return
    blocks = [
        {
            "subscription_instance_id": str(block_id),
            "product_block": row.product_block_name,
            "label": row.label,
            "values": row.values,
            "attribute": row.attribute,
            "position": row.position,
        }
        for block_id, row in difference.blocks.items()
    ]
    written = connection.execute(
        statements.SAVE_BLOCKS,
        {
            "subscription_id": record.subscription_id,
            "removed_blocks": list(difference.removed_blocks),
            "blocks": _json(record, blocks),
        },
    ).rowcount
    if written != len(blocks):
        raise ModelError(
            f"Subscription {record.subscription_id} cannot be saved: somebody else created one of its blocks"
        )


def _write_relations(connection: Connection, difference: _Difference) -> None:
    if not (difference.relations or difference.removed_relations):
        return
    written = [_place(place) | {"depends_on_id": str(linked)} for place, linked in difference.relations.items()]
    connection.execute(
        statements.SAVE_RELATIONS,
        {
            "removed_relations": to_json([_place(place) for place in difference.removed_relations]),
            "relations": to_json(written),
        },
    )


def _place(place: Place) -> dict[str, Any]:
    return {"in_use_by_id": str(place.in_use_by_id), "attribute": place.attribute, "position": place.position}


def _json(record: SubscriptionRecord, value: Any) -> str:
    try:
        return to_json(value)
    except ValueError as error:
        raise ModelError(f"Subscription {record.subscription_id} cannot be stored: {error}") from error
