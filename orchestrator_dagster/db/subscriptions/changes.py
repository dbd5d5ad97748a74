"""What a save changes, as the history of the subscription keeps it: `{path: {"before": …, "after": …}}`.

A path names a field as a reader of the model would: `description`, `node.site`, `port.channels.0.vlan`. A block that
was added or removed stands at its own path with all that it held; one that was only moved, or that belongs to another
subscription, stands there by its id.
"""

from collections import deque
from collections.abc import Iterator, Set
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

from orchestrator_dagster.db.exact_json import same_json
from orchestrator_dagster.db.subscriptions.difference import Difference
from orchestrator_dagster.db.subscriptions.tree import BlockRow, Place, Tree
from orchestrator_dagster.domain.repository import SubscriptionRecord


class Change(TypedDict):
    """A value before and after; `None` where there was, or is, none."""

    before: Any
    after: Any


Changes = dict[str, Change]
Lists = Set[tuple[UUID | None, str]]
"""Fields of blocks, and of the subscription itself (None), that hold lists."""


def field_changes(before: SubscriptionRecord | None, after: SubscriptionRecord) -> Changes:
    """Return the changes of the subscription's own fields: all that are set, for a new one."""
    fields = _fields(after) | _product_fields(after)
    if before is None:
        return _differences(dict.fromkeys(fields), fields)
    changes = _differences(_fields(before), _fields(after))
    if before.product.product_id != after.product.product_id:  # a product that was renamed is still the same
        changes |= _differences(_product_fields(before), _product_fields(after))
    return changes


def changes_of(difference: Difference) -> Changes:
    """Return what a difference changes, in the subscription's own fields and in its blocks."""
    before, after = difference.before, difference.after
    lists = _lists(before) | _lists(after)
    changes = dict(difference.fields)
    if difference.changes_places:
        changes |= _place_changes(before, after, lists)
    kept = difference.blocks.keys() & before.blocks.keys()
    for path, block_id in _first_paths(after, lists, kept):
        old, new = _block_fields(before.blocks[block_id]), _block_fields(after.blocks[block_id])
        for name, change in _differences(old, new).items():
            changes[f"{path}.{name}"] = change
    return changes


def _place_changes(before: Tree, after: Tree, lists: Lists) -> Changes:
    """Return what stands at another path than before."""
    old, new = dict(_paths(before, lists)), dict(_paths(after, lists))
    return {
        path: Change(before=_block(old.get(path), before, after), after=_block(new.get(path), after, before))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    }


def _product_fields(record: SubscriptionRecord) -> dict[str, Any]:
    return {"product.product_id": str(record.product.product_id), "product.name": record.product.name}


def _fields(record: SubscriptionRecord) -> dict[str, Any]:
    return {
        "customer_id": record.customer_id,
        "description": record.description,
        "status": str(record.status),
        "insync": record.insync,
        "start_date": _moment(record.start_date),
        "end_date": _moment(record.end_date),
        "note": record.note,
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Changes:
    return {
        name: Change(before=before.get(name), after=after.get(name))
        for name in before | after
        if (name in before) != (name in after) or not same_json(before.get(name), after.get(name))
    }


def _block_fields(row: BlockRow) -> dict[str, Any]:
    return {**row.values, "label": row.label, "product_block_name": row.product_block_name}


def _block(block_id: UUID | None, tree: Tree, other: Tree) -> dict[str, Any] | None:
    if block_id is None:
        return None
    row = tree.blocks.get(block_id)
    if row is None:
        owner = tree.owners.get(block_id)
        return {"subscription_instance_id": str(block_id), "owner_subscription_id": str(owner) if owner else None}
    if block_id in other.blocks:
        return {"subscription_instance_id": str(block_id)}
    return {"subscription_instance_id": str(block_id), **_block_fields(row)}


def _lists(tree: Tree) -> Lists:
    """Return the fields that hold lists: what the record says, and what has more than one block."""
    return tree.lists | {(place.in_use_by_id, place.attribute) for place in tree.links if place.position > 0}


def _first_paths(tree: Tree, lists: Lists, wanted: Set[UUID]) -> Iterator[tuple[str, UUID]]:
    """Yield the first path to each of some blocks, and look no further than the last of them."""
    left = set(wanted)
    for path, block_id in _paths(tree, lists) if left else ():
        if block_id in left:
            yield path, block_id
            left.discard(block_id)
            if not left:
                return


def _paths(tree: Tree, lists: Lists) -> Iterator[tuple[str, UUID]]:
    """Yield each path with the block at it, the shortest first; what is below a block, at its first path only."""
    below: dict[UUID | None, list[tuple[Place, UUID]]] = {}
    for place, block_id in tree.links.items():
        below.setdefault(place.in_use_by_id, []).append((place, block_id))
    waiting: deque[tuple[UUID | None, str]] = deque([(None, "")])
    while waiting:
        holder, prefix = waiting.popleft()
        for place, block_id in below.pop(holder, ()):
            index = f".{place.position}" if (holder, place.attribute) in lists else ""
            path = f"{prefix}{place.attribute}{index}"
            yield path, block_id
            waiting.append((block_id, f"{path}."))
