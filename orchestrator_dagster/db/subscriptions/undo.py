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
from orchestrator_dagster.db.subscriptions.difference import Difference
from orchestrator_dagster.db.subscriptions.tree import BlockRow

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


def undo_of(difference: Difference) -> Undo:
    """Return how to get back from one version of a subscription to the one before.

    Args:
        difference: what makes the one out of the other.
    """
    parts = {
        "subscription": {
            _column(name): change["before"] for name, change in difference.fields.items() if name != "product.name"
        },
        "blocks": {str(block_id): None for block_id in sorted(difference.new_blocks)} | _blocks_before(difference),
        "links": _links_before(difference),
    }
    return {name: part for name, part in parts.items() if part}


def _column(name: str) -> str:
    return "product_id" if name == "product.product_id" else name


def _blocks_before(difference: Difference) -> dict[str, dict[str, Any]]:
    before, after = difference.before.blocks, difference.after.blocks
    return {
        str(block_id): _block_before(before[block_id], after.get(block_id))
        for block_id in [*difference.blocks, *difference.removed_blocks]
        if block_id in before
    }


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


def _links_before(difference: Difference) -> list[tuple[str, str, int, str | None]]:
    before = difference.before
    changed = [
        place for place in [*difference.relations, *difference.removed_relations] if place.in_use_by_id in before.blocks
    ]
    return [
        (str(place.in_use_by_id), place.attribute, place.position, _text(before.links.get(place)))
        for place in sorted(changed)
    ]


def _text(block_id: UUID | None) -> str | None:
    return None if block_id is None else str(block_id)


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
