"""What a save changes, as the history of the subscription keeps it: `{path: {"before": …, "after": …}}`.

A path names a field as a reader of the model would: `description`, `node.site`, `port.channels.0.vlan`. A block that
was added or removed stands at its own path with all that it held; one that was only moved, or that belongs to another
subscription, stands there by its id.
"""

from collections.abc import Set
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

from orchestrator_dagster.db.exact_json import same_json
from orchestrator_dagster.db.subscription_tree import BlockRow, Place, Tree
from orchestrator_dagster.domain.repository import SubscriptionRecord


class Change(TypedDict):
    """A value before and after; `None` where there was, or is, none."""

    before: Any
    after: Any


Changes = dict[str, Change]


def field_changes(before: SubscriptionRecord | None, after: SubscriptionRecord) -> Changes:
    """Return the changes of the subscription's own fields: all that are set, for a new one."""
    fields = _fields(after) | _product_fields(after)
    if before is None:
        return _differences(dict.fromkeys(fields), fields)
    changes = _differences(_fields(before), _fields(after))
    if before.product.product_id != after.product.product_id:  # a product that was renamed is still the same
        changes |= _differences(_product_fields(before), _product_fields(after))
    return changes


def tree_changes(before: Tree, after: Tree) -> Changes:
    """Return the changes of the subscription's blocks."""
    lists = _lists(before) | _lists(after)
    slots_before, _ = _paths(before, lists)
    slots_after, paths = _paths(after, lists)
    changes: Changes = {}
    for path in sorted(slots_before.keys() | slots_after.keys()):
        old, new = slots_before.get(path), slots_after.get(path)
        if old != new:
            changes[path] = Change(before=_block(old, before, after), after=_block(new, after, before))
    for block_id, path in paths.items():
        if block_id in before.blocks:
            old_fields, new_fields = _block_fields(before.blocks[block_id]), _block_fields(after.blocks[block_id])
            for name, change in _differences(old_fields, new_fields).items():
                changes[f"{path}.{name}"] = change
    return changes


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


def _lists(tree: Tree) -> Set[tuple[UUID | None, str]]:
    """Return the fields that hold lists: what the record says, and what has more than one block."""
    return tree.lists | {(place.in_use_by_id, place.attribute) for place in tree.links if place.position > 0}


def _paths(tree: Tree, lists: Set[tuple[UUID | None, str]]) -> tuple[dict[str, UUID], dict[UUID, str]]:
    """Return the block at each path, and the first path to each own block."""
    below: dict[UUID | None, list[tuple[Place, UUID]]] = {}
    for place, block_id in tree.links.items():
        below.setdefault(place.in_use_by_id, []).append((place, block_id))
    slots: dict[str, UUID] = {}
    paths: dict[UUID, str] = {}
    waiting: list[tuple[UUID | None, str]] = [(None, "")]
    while waiting:
        holder, prefix = waiting.pop(0)
        for place, block_id in below.get(holder, []):
            index = f".{place.position}" if (holder, place.attribute) in lists else ""
            path = f"{prefix}{place.attribute}{index}"
            slots[path] = block_id
            if block_id in tree.blocks and block_id not in paths:
                paths[block_id] = path
                waiting.append((block_id, f"{path}."))
    return slots, paths
