"""What a save has to write: how a subscription as it is to be differs from what is stored of it."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from orchestrator_dagster.db.subscriptions.tree import BlockRow, Place, Tree

if TYPE_CHECKING:
    from orchestrator_dagster.db.subscriptions.changes import Changes


@dataclass(frozen=True)
class Difference:
    """What a save has to write.

    Attributes:
        fields: the changes of the subscription's own fields.
        before: the tree that is stored; empty for a new subscription.
        after: the tree that is to be.
        blocks: the blocks to write.
        removed_blocks: the blocks to delete.
        relations: the block to link at each place of another block.
        removed_relations: the places of blocks to clear.
    """

    fields: "Changes"
    before: Tree
    after: Tree
    blocks: Mapping[UUID, BlockRow]
    removed_blocks: Sequence[UUID]
    relations: Mapping[Place, UUID]
    removed_relations: Sequence[Place]

    @classmethod
    def between(cls, fields: "Changes", before: Tree, after: Tree) -> "Difference":
        """Compare two trees.

        Args:
            fields: how the subscription's own fields differ.
            before: the tree that is stored.
            after: the tree that is to be.
        """
        old, new = before.links, after.links
        return cls(
            fields=fields,
            before=before,
            after=after,
            blocks={key: row for key, row in after.blocks.items() if not row.same_as(before.blocks.get(key))},
            removed_blocks=sorted(before.blocks.keys() - after.blocks.keys()),
            relations={
                place: linked
                for place, linked in new.items()
                if place.in_use_by_id is not None and old.get(place) != linked
            },
            removed_relations=[place for place in old.keys() - new.keys() if place.in_use_by_id is not None],
        )

    def __bool__(self) -> bool:
        return bool(self.fields or self.changes_tree)

    @property
    def changes_tree(self) -> bool:
        """Whether there is anything to write but the subscription's own row."""
        return bool(self.blocks or self.changes_places)

    @cached_property
    def changes_places(self) -> bool:
        """Whether any block stands elsewhere than before, comes or goes."""
        return bool(
            self.removed_blocks
            or self.relations
            or self.removed_relations
            or self.new_blocks
            or any(not row.stands_as(self.before.blocks[block_id]) for block_id, row in self.blocks.items())
        )

    @property
    def is_new_product(self) -> bool:
        """Whether the subscription goes over to another product, or is new."""
        return "product.product_id" in self.fields

    @cached_property
    def new_blocks(self) -> Set[UUID]:
        """The blocks that are created."""
        return self.blocks.keys() - self.before.blocks.keys()

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
