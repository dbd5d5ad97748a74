"""What a save has to write: how a subscription as it is to be differs from what is stored of it."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from orchestrator_dagster.db.subscription_changes import Changes, field_changes
from orchestrator_dagster.db.subscription_tree import BlockRow, Place, Stored, Tree
from orchestrator_dagster.domain.repository import SubscriptionRecord


@dataclass(frozen=True)
class Difference:
    """What a save has to write.

    Attributes:
        before: the tree that is stored; empty for a new subscription.
        after: the tree that is to be.
        fields: the changes of the subscription's own fields.
        blocks: the blocks to write.
        removed_blocks: the blocks to delete.
        relations: the block to link at each place.
        removed_relations: the places to clear.
    """

    before: Tree
    after: Tree
    fields: Changes
    blocks: Mapping[UUID, BlockRow]
    removed_blocks: Sequence[UUID]
    relations: Mapping[Place, UUID]
    removed_relations: Sequence[Place]

    @classmethod
    def between(cls, stored: Stored | None, record: SubscriptionRecord, after: Tree) -> "Difference":
        """Compare.

        Args:
            stored: the subscription as it is stored; `None` for a new one.
            record: the subscription as it is to be.
            after: its tree.
        """
        before = stored.tree if stored else Tree()
        removed = before.blocks.keys() - after.blocks.keys()
        old, new = before.relations, after.relations
        return cls(
            before=before,
            after=after,
            fields=field_changes(stored.record if stored else None, record),
            blocks={key: row for key, row in after.blocks.items() if not row.same_as(before.blocks.get(key))},
            removed_blocks=sorted(removed),
            relations={place: linked for place, linked in new.items() if old.get(place) != linked},
            # what a removed block linked goes with it
            removed_relations=[place for place in old.keys() - new.keys() if place.in_use_by_id not in removed],
        )

    def __bool__(self) -> bool:
        return bool(self.fields or self.changes_tree)

    @property
    def changes_tree(self) -> bool:
        """Whether there is anything to write but the subscription's own row."""
        return bool(self.blocks or self.removed_blocks or self.relations or self.removed_relations)

    @property
    def is_new_product(self) -> bool:
        """Whether the subscription goes over to another product, or is new."""
        return "product.product_id" in self.fields

    @cached_property
    def new_blocks(self) -> Set[UUID]:
        """The blocks that are created."""
        return self.after.blocks.keys() - self.before.blocks.keys()

    @cached_property
    def new_links(self) -> Set[UUID]:
        """The blocks of other subscriptions that were not linked before."""
        return self.after.foreign - self.before.foreign

    @cached_property
    def new_block_names(self) -> Set[str]:
        """The product blocks that the subscription had no block of before."""
        return self.after.block_names - self.before.block_names

    @property
    def concerns_others(self) -> bool:
        """Whether it says something new of the rest of the database, which has to be checked."""
        return bool(
            self.is_new_product or self.new_blocks or self.new_links or self.new_block_names or self.removed_blocks
        )
