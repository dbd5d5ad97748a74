"""How to get from a version of a subscription back to the one before it: what a history row holds of that.

    {"subscription": {column: value before},
     "blocks": {id: null,                                           it was not there before
                id: {"product_block": name, "label": …, "attribute": …, "position": …,
                     "set": {key: value before}, "unset": [keys that were not there]}},
     "links": [[in_use_by_id, attribute, position, depends_on_id or null], …]}

Only what changed is in it, and parts that would be empty are left out; of a block that was removed all is there. Links
are the places of relations between blocks, as they were before; a block that was not there takes its own along. Root
blocks have their place in `attribute` and `position`.

Whoever writes history rows writes this, and whatever is written so can be undone: the newest version first, starting
from what is stored now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from orchestrator_dagster.db.exact_json import same_json
from orchestrator_dagster.db.subscription_changes import Changes
from orchestrator_dagster.db.subscription_tree import BlockRow, Place, Tree

Undo = Mapping[str, Any]
Links = Mapping[tuple[str, int], UUID]
"""The blocks that one block uses, by attribute and position."""


@dataclass(frozen=True)
class SubscriptionState:
    """The rows of one subscription, at one time.

    Attributes:
        columns: its own columns, those that have a history.
        blocks: its blocks, by id.
        links: what each of its blocks uses.
    """

    columns: Mapping[str, Any]
    blocks: Mapping[UUID, BlockRow] = field(default_factory=dict)
    links: Mapping[UUID, Links] = field(default_factory=dict)

    def undone(self, undos: Iterable[Undo]) -> "SubscriptionState":
        """Return the state before some versions.

        Args:
            undos: how to undo each of them, the newest first.
        """
        columns, blocks = dict(self.columns), dict(self.blocks)
        links = {block_id: dict(places) for block_id, places in self.links.items()}
        for undo in undos:
            columns.update(undo.get("subscription", {}))
            for block_id, entry in undo.get("blocks", {}).items():
                _undo_block(blocks, links, UUID(block_id), entry)
            for in_use_by_id, attribute, position, depends_on_id in undo.get("links", ()):
                places = links.setdefault(UUID(in_use_by_id), {})
                places.pop((attribute, position), None)
                if depends_on_id is not None:
                    places[attribute, position] = UUID(depends_on_id)
        return SubscriptionState(columns, blocks, links)


def undo_of(field_changes: Changes, before: Tree, after: Tree) -> Undo:
    """Return how to get back from one version of a subscription to the one before.

    Args:
        field_changes: what changed in the subscription's own fields.
        before: its blocks in the version before.
        after: its blocks in the version.
    """
    columns = {_column(name): change["before"] for name, change in field_changes.items() if name != "product.name"}
    blocks = {str(block_id): None for block_id in after.blocks.keys() - before.blocks.keys()}
    entries = {str(block_id): _block_before(row, after.blocks.get(block_id)) for block_id, row in before.blocks.items()}
    parts = {
        "subscription": columns,
        "blocks": blocks | {block_id: entry for block_id, entry in entries.items() if entry},
        "links": _links_before(before, after),
    }
    return {name: part for name, part in parts.items() if part}


def _column(name: str) -> str:
    return "product_id" if name == "product.product_id" else name


def _block_before(before: BlockRow, after: BlockRow | None) -> dict[str, Any]:
    """Return what was different in a block; all of it where the block is gone."""
    old, new = _columns(before), _columns(after) if after else {}
    entry = {name: value for name, value in old.items() if name not in new or new[name] != value}
    values = after.values if after else {}
    set_back = {
        key: value for key, value in before.values.items() if key not in values or not same_json(value, values[key])
    }
    unset = sorted(values.keys() - before.values.keys())
    return entry | ({"set": set_back} if set_back else {}) | ({"unset": unset} if unset else {})


def _columns(row: BlockRow) -> dict[str, Any]:
    return {
        "product_block": row.product_block_name,
        "label": row.label,
        "attribute": row.attribute,
        "position": row.position,
    }


def _links_before(before: Tree, after: Tree) -> list[tuple[str, str, int, str | None]]:
    old, new = before.relations, after.relations
    changed = [place for place in old | new if old.get(place) != new.get(place) and place.in_use_by_id in before.blocks]
    return [(str(place.in_use_by_id), place.attribute, place.position, _text(old, place)) for place in sorted(changed)]


def _text(links: Mapping[Place, UUID], place: Place) -> str | None:
    return str(links[place]) if place in links else None


def _undo_block(
    blocks: dict[UUID, BlockRow],
    links: dict[UUID, dict[tuple[str, int], UUID]],
    block_id: UUID,
    entry: Mapping[str, Any] | None,
) -> None:
    if entry is None:
        blocks.pop(block_id, None)
        links.pop(block_id, None)
        return
    row = blocks.get(block_id, BlockRow(product_block_name="", label=None, values={}))
    unset = entry.get("unset", ())
    kept = {key: value for key, value in row.values.items() if key not in unset}
    blocks[block_id] = replace(
        row,
        product_block_name=entry.get("product_block", row.product_block_name),
        label=entry.get("label", row.label),
        attribute=entry.get("attribute", row.attribute),
        position=entry.get("position", row.position),
        values=kept | dict(entry.get("set", {})),
    )
