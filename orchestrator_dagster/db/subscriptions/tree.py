"""The rows that a subscription record is made of, as values: what is compared, checked and written."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from orchestrator_dagster.db.exact_json import from_json, same_json, to_json
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord
from orchestrator_dagster.errors import ModelError


class Place(NamedTuple):
    """Where a block stands: in a field of another block, or of the subscription itself (`in_use_by_id` is None)."""

    in_use_by_id: UUID | None
    attribute: str
    position: int


@dataclass(frozen=True)
class BlockRow:
    """What the table of blocks holds of a block."""

    product_block_name: str
    label: str | None
    values: Mapping[str, Any]
    attribute: str | None = None
    position: int | None = None

    def same_as(self, other: "BlockRow | None") -> bool:
        """Whether writing this row over the other changes nothing."""
        return (
            other is not None
            and (self.product_block_name, self.label) == (other.product_block_name, other.label)
            and self.stands_as(other)
            and same_json(self.values, other.values)
        )

    def stands_as(self, other: "BlockRow") -> bool:
        """Whether both are at the same place of the subscription, or at none."""
        return (self.attribute, self.position) == (other.attribute, other.position)


@dataclass(frozen=True)
class Tree:
    """The blocks that a subscription owns, and where they and those that it links stand.

    Attributes:
        blocks: its own blocks, by id.
        links: the block at each place, its own and those of other subscriptions.
        owners: the subscription that a linked block of another subscription belongs to, where the record says it.
        lists: the fields of blocks, and of the subscription itself (None), that hold lists, where the record says it.
    """

    blocks: Mapping[UUID, BlockRow] = field(default_factory=dict)
    links: Mapping[Place, UUID] = field(default_factory=dict)
    owners: Mapping[UUID, UUID] = field(default_factory=dict)
    lists: Set[tuple[UUID | None, str]] = frozenset()

    @property
    def block_names(self) -> set[str]:
        """The names of its own blocks in the catalogue."""
        return {row.product_block_name for row in self.blocks.values()}

    @property
    def foreign(self) -> set[UUID]:
        """The blocks of other subscriptions that are linked."""
        return {block_id for block_id in self.links.values() if block_id not in self.blocks}


@dataclass(frozen=True)
class StoredSubscription:
    """A subscription as it is stored, for a save to compare with.

    Attributes:
        record: its own fields, without its blocks.
        tree: all blocks that it owns, reached or not.
    """

    record: SubscriptionRecord
    tree: Tree


def loaded_tree(record: SubscriptionRecord) -> Tree:
    """Return the tree of a record that was loaded: all blocks that the subscription owns, reached or not."""
    own = {
        block_id: block
        for block_id, block in record.blocks.items()
        if block.owner_subscription_id == record.subscription_id
    }
    return _tree(record, own, {block_id: block.values for block_id, block in own.items()})


def tree_to_save(record: SubscriptionRecord) -> Tree:
    """Return the tree of a record to save: the own blocks that are reached from its roots.

    Raises:
        ModelError: the record contradicts itself, or has a value that cannot be stored.
    """
    own: dict[UUID, BlockRecord] = {}
    _check_links("subscription", record.subscription_id, record.roots)
    waiting = [block_id for ids in record.roots.values() for block_id in ids]
    for root_id in waiting:
        _check_root(record, root_id)
    while waiting:
        block_id = waiting.pop()
        block = record.blocks.get(block_id)
        if block_id in own or block is None or block.owner_subscription_id != record.subscription_id:
            continue
        own[block_id] = block
        _check_links(f"block {block.product_block_name}", block_id, block.links)
        waiting += [linked for ids in block.links.values() for linked in ids]
    return _tree(record, own, {block_id: _as_stored(block) for block_id, block in own.items()})


def _tree(
    record: SubscriptionRecord, own: Mapping[UUID, BlockRecord], values: Mapping[UUID, Mapping[str, Any]]
) -> Tree:
    roots = dict(_places(None, record.roots))
    links = roots | {
        place: linked for block_id, block in own.items() for place, linked in _places(block_id, block.links)
    }
    root_places = {block_id: place for place, block_id in roots.items()}
    return Tree(
        blocks={block_id: _row(block, values[block_id], root_places.get(block_id)) for block_id, block in own.items()},
        links=links,
        owners={
            linked: record.blocks[linked].owner_subscription_id
            for linked in links.values()
            if linked in record.blocks and linked not in own
        },
        lists={(None, attribute) for attribute in record.lists}
        | {(block_id, attribute) for block_id, block in own.items() for attribute in block.lists},
    )


def _places(in_use_by_id: UUID | None, links: Mapping[str, Sequence[UUID]]) -> Iterator[tuple[Place, UUID]]:
    for attribute, ids in links.items():
        for position, block_id in enumerate(ids):
            yield Place(in_use_by_id, attribute, position), block_id


def _as_stored(block: BlockRecord) -> Mapping[str, Any]:
    """Return the values of a block as the database will give them back."""
    try:
        values: Mapping[str, Any] = from_json(to_json(dict(block.values)))
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"A value of block {block.product_block_name} {block.subscription_instance_id} cannot be stored: {error}"
        ) from error
    return values


def _row(block: BlockRecord, values: Mapping[str, Any], root: Place | None) -> BlockRow:
    return BlockRow(
        product_block_name=block.product_block_name,
        label=block.label,
        values=values,
        attribute=root.attribute if root else None,
        position=root.position if root else None,
    )


def _check_links(kind: str, holder_id: UUID, links: Mapping[str, Sequence[UUID]]) -> None:
    fields: dict[UUID, list[str]] = {}
    for attribute, ids in links.items():
        for block_id in ids:
            fields.setdefault(block_id, []).append(attribute)
    for block_id, attributes in fields.items():
        if len(attributes) > 1:
            raise ModelError(
                "Cannot link the same subscription instance multiple times: "
                f"instance {block_id} is used in fields {attributes} of {kind} {holder_id}"
            )


def _check_root(record: SubscriptionRecord, block_id: UUID) -> None:
    block = record.blocks.get(block_id)
    if block is None:
        raise ModelError(f"Block {block_id} of subscription {record.subscription_id} is linked but not given")
    if block.owner_subscription_id != record.subscription_id:
        raise ModelError(
            f"Attempting to save a foreign block directly below a subscription, which is not allowed: "
            f"{block.product_block_name} {block_id} belongs to subscription {block.owner_subscription_id}, "
            f"not to {record.subscription_id}"
        )
