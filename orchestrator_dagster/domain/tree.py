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


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One block of a tree that is to be built; two nodes are the same only if they are one object.

    Attributes:
        block_id: the block's id.
        owner_id: the subscription that it is part of.
        is_own: whether that is the subscription whose tree it is.
        name: the name of its product block.
        label: free text.
        status: the status that decides its class where the field leaves a choice; `None` if nothing is known.
        links: the blocks it uses, by stored name and in order.
        values: what validation of a class takes as its values.
        model: the block itself, where it may stay as it is.
    """

    block_id: UUID
    owner_id: UUID
    is_own: bool
    name: str
    label: str | None
    status: SubscriptionLifecycle | None
    links: Mapping[str, Sequence[UUID]]
    values: Callable[[type["ProductBlockModel"]], dict[str, Any]]
    model: "ProductBlockModel | None" = None


Children = Sequence[tuple[BlockField, Sequence[Node]]]
"""The nodes that stand in each field of a class, the empty fields included."""


@dataclass
class Tree:
    """The blocks that can be reached from a subscription or a block.

    Args:
        nodes: the blocks by id.
    """

    nodes: Mapping[UUID, Node]
    _classes: "dict[Node, type[ProductBlockModel]]" = field(default_factory=dict)
    _children: dict[Node, Children] = field(default_factory=dict)
    _built: "dict[Node, ProductBlockModel]" = field(default_factory=dict)

    def build(self, model: type["DomainModel"], links: Mapping[str, Sequence[UUID]]) -> dict[str, Any]:
        """Return the blocks of the fields of a model, by attribute.

        Args:
            model: the class whose fields they are for.
            links: the ids of the blocks, by stored name.

        Raises:
            ModelError: a block does not fit its field, or is missing.
            pydantic.ValidationError: a block's values do not fit its class.
        """
        roots = self._children_of(model, links)
        self._choose_classes(roots)
        for _, nodes in roots:
            for node in nodes:
                self._make(node)
        blocks: dict[str, Any] = {}
        for at, nodes in roots:
            _put(blocks, at, [self._built[node] for node in nodes])
        return blocks

    def build_block(self, cls: type[B], block_id: UUID) -> B:
        """Return one block as an instance of a class."""
        node = self.nodes[block_id]
        self._choose_classes(self._give_class(node, cls))
        self._make(node)
        built = self._built[node]
        assert isinstance(built, cls)  # noqa: S101
        return built

    def _children_of(self, model: type["DomainModel"], links: Mapping[str, Sequence[UUID]]) -> Children:
        return [
            (at, [self._node(at, block_id) for block_id in links.get(at.key, ())])
            for at in fields_of(model).blocks.values()
        ]

    def _node(self, at: BlockField, block_id: UUID) -> Node:
        node = self.nodes.get(block_id)
        if node is None:
            raise ModelError(f"Field {at.name} refers to block {block_id}, which was not loaded")
        return node

    def _give_class(self, node: Node, cls: type["ProductBlockModel"]) -> Children:
        self._classes[node] = cls
        children = self._children[node] = self._children_of(cls, node.links)
        return children

    def _choose_classes(self, children: Children) -> None:
        pending = [(at, node) for at, nodes in children for node in nodes]
        while pending:
            at, node = pending.pop()
            chosen = _class_for(at, node)
            present = self._classes.get(node)
            if present is not None and issubclass(present, chosen):
                continue
            if present is not None and not issubclass(chosen, present):
                raise ModelError(
                    f"Block {node.block_id} is asked for as {present} and, by field {at.name}, as {chosen}"
                )
            below = self._give_class(node, chosen)
            if not self._stays(node):
                pending += [(inner, child) for inner, nodes in below for child in nodes]

    def _make(self, root: Node) -> None:
        """Make a block, after all that it uses, without recursion: trees can be deep."""
        open_nodes: set[Node] = set()
        stack = [root]
        while stack:
            node = stack[-1]
            if node in self._built:
                stack.pop()
            elif node in open_nodes or self._stays(node):
                stack.pop()
                open_nodes.discard(node)
                self._built[node] = self._made(node)
            else:
                open_nodes.add(node)
                stack += self._needed(node, open_nodes)

    def _needed(self, node: Node, open_nodes: set[Node]) -> Iterator[Node]:
        for at, children in self._children[node]:
            for child in children:
                if child not in open_nodes:
                    if not _closes(node, child):
                        yield child
                elif node.is_own and child.is_own:
                    raise ModelError(
                        f"Block {child.block_id} uses itself, by way of field {at.name} of block {node.block_id}"
                    )

    def _made(self, node: Node) -> "ProductBlockModel":
        if node.model is not None and self._stays(node):
            return node.model
        cls = self._classes[node]
        data = _base_values(node) | node.values(cls)
        for at, children in self._children[node]:
            _put(data, at, [self._child(node, child) for child in children])
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            error.add_note(f"in block {node.name} {node.block_id} of subscription {node.owner_id}")
            raise

    def _child(self, node: Node, child: Node) -> "ProductBlockModel":
        built = self._built.get(child)
        if built is not None and not _closes(node, child):
            return built
        cls = self._classes[child]
        blocks: dict[str, Any] = {}
        for at in fields_of(cls).blocks.values():
            if at.many or at.optional:
                blocks[at.name] = [] if at.many else None
        return cls.model_construct(**_base_values(child), **child.values(cls), **blocks)

    def _stays(self, node: Node) -> bool:
        return node.model is not None and not node.is_own and type(node.model) is self._classes[node]


def _class_for(at: BlockField, node: Node) -> type["ProductBlockModel"]:
    if node.model is not None and not node.is_own and isinstance(node.model, at.types):
        return type(node.model)
    exact = [member for member in at.types if member.product_block_name == node.name]
    if len(exact) == 1 and node.is_own:
        return exact[0]
    candidates = exact or [found for found in _descendants(at) if found.product_block_name == node.name]
    if not candidates:
        names = ", ".join(member.product_block_name or member.__name__ for member in at.types)
        raise ModelError(f"Block {node.block_id} is a {node.name}, but field {at.name} takes {names}")
    fitting = lookup_specialized_type(candidates[-1], node.status)
    if fitting in candidates or (exact and issubclass(fitting, tuple(exact))):
        return fitting
    return next(found for found in candidates if found.__base_type__ is candidates[-1].__base_type__)


def _closes(node: Node, child: Node) -> bool:
    """Whether a foreign block leads back into the subscription's own tree."""
    return child.is_own and not node.is_own and any(child.links.values())


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


def _put(values: dict[str, Any], at: BlockField, blocks: "list[ProductBlockModel]") -> None:
    """Give a field its blocks; nothing where the field's default, or the lack of one, decides."""
    if at.many:
        empty_is_none = at.optional and (at.info.is_required() or at.info.default is None)
        values[at.name] = None if empty_is_none and not blocks else blocks
    elif len(blocks) > 1:
        raise ModelError(f"Field {at.name} takes one block, but {len(blocks)} are linked")
    elif blocks:
        values[at.name] = blocks[0]
    elif at.optional:
        values[at.name] = None


def _base_values(node: Node) -> dict[str, Any]:
    return {
        "subscription_instance_id": node.block_id,
        "owner_subscription_id": node.owner_id,
        "label": node.label,
    }
