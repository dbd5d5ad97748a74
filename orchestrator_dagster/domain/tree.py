"""Trees of blocks: built from what is stored or from another model, and turned into what is to be stored.

A tree is built in two passes. The first decides the class of every block from the fields that lead to it, so that a
block that is reached twice is one object. The second makes the blocks, the innermost first.

Where a tree closes. A block of another subscription may use, at the end, the block that one came from. Such a circle
is cut where it closes: the block is shown once more there as another object, with its values but without the blocks
that it uses (`None` or an empty list; a field that allows neither has no attribute). That happens where a foreign
block uses a block of the tree's own subscription that uses others in turn, and where foreign blocks use each other in
a circle. Nothing is lost, because foreign blocks are never written. Blocks of one subscription that use each other in a
circle are refused when they are saved.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from orchestrator_dagster.domain.fields import BlockField, fields_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle, lookup_specialized_type
from orchestrator_dagster.errors import ModelError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.block import ProductBlockModel
    from orchestrator_dagster.domain.model import DomainModel

B = TypeVar("B", bound="ProductBlockModel")


@dataclass(frozen=True)
class Node:
    """One block of a tree that is to be built.

    Attributes:
        block_id: the block's id.
        owner_id: the subscription that it is part of.
        name: the name of its product block.
        label: free text.
        status: the status that decides its class where the field leaves a choice; `None` if nothing is known.
        links: the blocks it uses, by stored name and in order.
        values: what validation of a class takes as its values.
        model: the block itself, where it may stay as it is.
    """

    block_id: UUID
    owner_id: UUID
    name: str
    label: str | None
    status: SubscriptionLifecycle | None
    links: Mapping[str, Sequence[UUID]]
    values: Callable[[type["ProductBlockModel"]], dict[str, Any]]
    model: "ProductBlockModel | None" = None


@dataclass
class Tree:
    """The blocks that can be reached from a subscription or a block.

    Args:
        nodes: the blocks by id.
        subscription_id: the subscription whose tree it is; `None` if it is a single block's.
    """

    nodes: Mapping[UUID, Node]
    subscription_id: UUID | None
    _classes: "dict[UUID, type[ProductBlockModel]]" = field(default_factory=dict)
    _built: "dict[UUID, ProductBlockModel]" = field(default_factory=dict)

    def build(self, model: type["DomainModel"], links: Mapping[str, Sequence[UUID]]) -> dict[str, Any]:
        """Return the blocks of the fields of a model, by attribute.

        Args:
            model: the class whose fields they are for.
            links: the ids of the blocks, by stored name.

        Raises:
            ModelError: a block does not fit its field, or is missing.
            pydantic.ValidationError: a block's values do not fit its class.
        """
        self._choose_classes([(at, block_id) for at in _block_fields(model) for block_id in links.get(at.key, ())])
        for ids in links.values():
            for block_id in ids:
                if block_id in self._classes:
                    self._make(block_id)
        return {
            at.name: value
            for at in _block_fields(model)
            for value in _field_value(at, [self._built[block_id] for block_id in links.get(at.key, ())])
        }

    def build_block(self, cls: type[B], block_id: UUID) -> B:
        """Return one block as an instance of a class."""
        self._classes[block_id] = cls
        self._choose_classes(self._children(block_id))
        self._make(block_id)
        built = self._built[block_id]
        assert isinstance(built, cls)  # noqa: S101
        return built

    def _choose_classes(self, pending: list[tuple[BlockField, UUID]]) -> None:
        while pending:
            at, block_id = pending.pop()
            chosen = self._class_for(at, self._node(at, block_id))
            present = self._classes.get(block_id)
            if present is not None and issubclass(present, chosen):
                continue
            if present is not None and not issubclass(chosen, present):
                raise ModelError(f"Block {block_id} is asked for as {present} and, by field {at.name}, as {chosen}")
            self._classes[block_id] = chosen
            if not self._stays(block_id):
                pending += self._children(block_id)

    def _children(self, block_id: UUID) -> list[tuple[BlockField, UUID]]:
        links = self.nodes[block_id].links
        return [(at, child) for at in _block_fields(self._classes[block_id]) for child in links.get(at.key, ())]

    def _class_for(self, at: BlockField, node: Node) -> type["ProductBlockModel"]:
        if node.model is not None and not self._is_own(node) and isinstance(node.model, at.types):
            return type(node.model)
        exact = [member for member in at.types if member.product_block_name == node.name]
        candidates = exact or [found for found in _descendants(at) if found.product_block_name == node.name]
        if not candidates:
            names = ", ".join(member.product_block_name or member.__name__ for member in at.types)
            raise ModelError(f"Block {node.block_id} is a {node.name}, but field {at.name} takes {names}")
        if len(exact) == 1 and self._is_own(node):
            return exact[0]
        fitting = lookup_specialized_type(candidates[-1], node.status)
        if fitting in candidates or (exact and issubclass(fitting, tuple(exact))):
            return fitting
        return next(found for found in candidates if found.__base_type__ is candidates[-1].__base_type__)

    def _make(self, root: UUID) -> None:
        """Make a block, after all that it uses, without recursion: trees can be deep."""
        open_ids: set[UUID] = set()
        stack = [root]
        while stack:
            block_id = stack[-1]
            if block_id in self._built:
                stack.pop()
            elif block_id in open_ids or self._stays(block_id):
                stack.pop()
                open_ids.discard(block_id)
                self._built[block_id] = self._made(block_id)
            else:
                open_ids.add(block_id)
                stack += self._needed(block_id, open_ids)

    def _needed(self, block_id: UUID, open_ids: set[UUID]) -> Iterator[UUID]:
        node = self.nodes[block_id]
        for at, child in self._children(block_id):
            if child in open_ids and self._is_own(node) and self._is_own(self.nodes[child]):
                raise ModelError(f"Block {child} uses itself, by way of field {at.name} of block {block_id}")
            if child not in open_ids and not self._closes(node, child):
                yield child

    def _closes(self, node: Node, child: UUID) -> bool:
        """Whether a foreign block leads back into the subscription's own tree."""
        target = self.nodes[child]
        return self._is_own(target) and not self._is_own(node) and any(target.links.values())

    def _made(self, block_id: UUID) -> "ProductBlockModel":
        node = self.nodes[block_id]
        if node.model is not None and self._stays(block_id):
            return node.model
        cls = self._classes[block_id]
        blocks: dict[str, Any] = {}
        for at in _block_fields(cls):
            children = [self._child(node, child) for child in node.links.get(at.key, ())]
            blocks.update((at.name, value) for value in _field_value(at, children))
        try:
            return cls.model_validate(_base_values(node) | node.values(cls) | blocks)
        except ValidationError as error:
            error.add_note(f"in block {node.name} {block_id} of subscription {node.owner_id}")
            raise

    def _child(self, node: Node, child: UUID) -> "ProductBlockModel":
        if child in self._built and not self._closes(node, child):
            return self._built[child]
        target = self.nodes[child]
        cls = self._classes[child]
        blocks: dict[str, Any] = {}
        for at in _block_fields(cls):
            if at.many or at.optional:
                blocks[at.name] = [] if at.many else None
        return cls.model_construct(**_base_values(target), **target.values(cls), **blocks)

    def _node(self, at: BlockField, block_id: UUID) -> Node:
        if block_id not in self.nodes:
            raise ModelError(f"Field {at.name} refers to block {block_id}, which was not loaded")
        return self.nodes[block_id]

    def _is_own(self, node: Node) -> bool:
        return node.owner_id == self.subscription_id

    def _stays(self, block_id: UUID) -> bool:
        node = self.nodes[block_id]
        return node.model is not None and not self._is_own(node) and type(node.model) is self._classes[block_id]


def descendants(cls: type[B]) -> Iterator[type[B]]:
    """Yield the classes that inherit from a class, in the order of their declaration."""
    pending = cls.__subclasses__()
    while pending:
        found = pending.pop(0)
        yield found
        pending += found.__subclasses__()


def takes(at: BlockField, product_block_name: str | None) -> bool:
    """Whether a field can hold the blocks of a name."""
    return any(cls.product_block_name == product_block_name for cls in (*at.types, *_descendants(at)))


def _descendants(at: BlockField) -> "Iterator[type[ProductBlockModel]]":
    for member in at.types:
        yield from descendants(member)


def _block_fields(model: type["DomainModel"]) -> Sequence[BlockField]:
    return tuple(fields_of(model).blocks.values())


def _field_value(at: BlockField, blocks: Sequence["ProductBlockModel"]) -> Iterator[Any]:
    """Yield the value of a field; nothing where the field's default, or the lack of one, decides."""
    if at.many:
        empty_is_none = at.optional and (at.info.is_required() or at.info.default is None)
        yield None if empty_is_none and not blocks else list(blocks)
    elif len(blocks) > 1:
        raise ModelError(f"Field {at.name} takes one block, but {len(blocks)} are linked")
    elif blocks:
        yield blocks[0]
    elif at.optional:
        yield None


def _base_values(node: Node) -> dict[str, Any]:
    return {
        "subscription_instance_id": node.block_id,
        "owner_subscription_id": node.owner_id,
        "label": node.label,
    }
