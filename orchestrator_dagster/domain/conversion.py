"""Models made from other models: of another lifecycle status, or of another product."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from orchestrator_dagster.domain.fields import BlockField, fields_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.tree import Node, Tree, takes
from orchestrator_dagster.errors import ModelError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.block import ProductBlockModel
    from orchestrator_dagster.domain.model import DomainModel


def blocks_of(model: "DomainModel", at: BlockField) -> "Sequence[ProductBlockModel]":
    """Return the blocks that a field of a model holds, in order."""
    value = getattr(model, at.name, None)
    if value is None:
        return ()
    return value if at.many else (value,)


def links_of(model: "DomainModel") -> dict[str, list[UUID]]:
    """Return the ids of the blocks that a model holds, by the name under which they are stored."""
    links = {
        at.key: [block.subscription_instance_id for block in blocks_of(model, at)]
        for at in fields_of(type(model)).blocks.values()
    }
    return {key: ids for key, ids in links.items() if ids}


def own_blocks(model: "DomainModel", subscription_id: UUID) -> "dict[UUID, ProductBlockModel]":
    """Return the blocks below a model that are part of a subscription, by id and without those of others."""
    return {block.subscription_instance_id: block for block in _walk([model], subscription_id, with_foreign=False)}


def copied_values(model: "DomainModel", target: "type[DomainModel]") -> dict[str, Any]:
    """Return the values of a model that a class has a field for."""
    return {name: model.__dict__[name] for name in fields_of(target).values if name in model.__dict__}


def match_roots(old: "DomainModel", target: "type[DomainModel]") -> dict[str, list[UUID]]:
    """Return which blocks of a subscription go to which field of another class, by stored name.

    Raises:
        ModelError: a block fits none.
    """
    links = links_of(old)
    fields = fields_of(target).blocks
    matched = {at.key: links.pop(at.key) for at in fields.values() if at.key in links}
    left = {
        block.subscription_instance_id: block
        for at in fields_of(type(old)).blocks.values()
        for block in blocks_of(old, at)
        if at.key in links
    }
    for at in fields.values():
        fitting = [block_id for block_id, block in left.items() if takes(at, block.product_block_name)]
        if fitting and at.key not in matched:
            matched[at.key] = fitting if at.many else fitting[:1]
            left = {block_id: block for block_id, block in left.items() if block_id not in matched[at.key]}
    if left:
        names = ", ".join(f"{block.product_block_name} {block_id}" for block_id, block in left.items())
        raise ModelError(f"{target} has no field for {names}")
    return matched


def convert_blocks(
    models: "Iterable[DomainModel]",
    target: "type[DomainModel]",
    links: Mapping[str, Sequence[UUID]],
    *,
    subscription_id: UUID,
    status: SubscriptionLifecycle,
) -> dict[str, Any]:
    """Return blocks for the fields of a class, made from those that are held by models.

    Blocks of the subscription become new objects of the classes that the fields ask for. Those of other subscriptions
    stay as they are where they fit the field, and are converted otherwise.

    Args:
        models: the models that hold the blocks, directly or further down.
        target: the class whose fields they are for.
        links: the ids of the blocks, by the stored name of the field.
        subscription_id: the subscription that the target is of.
        status: the status that it gets.

    Raises:
        ModelError: a block does not fit its field.
        pydantic.ValidationError: a block lacks what its new class asks for.
    """
    nodes = {
        block.subscription_instance_id: _node(block, status, is_own=block.owner_subscription_id == subscription_id)
        for block in _walk(models, subscription_id, with_foreign=True)
    }
    return Tree(nodes).build(target, links)


def _node(block: "ProductBlockModel", status: SubscriptionLifecycle, *, is_own: bool) -> Node:
    return Node(
        block_id=block.subscription_instance_id,
        owner_id=block.owner_subscription_id,
        is_own=is_own,
        name=block.product_block_name or "",
        label=block.label,
        status=status if is_own else None,
        links=links_of(block),
        values=lambda target: copied_values(block, target),
        model=block,
    )


def _walk(
    models: "Iterable[DomainModel]", subscription_id: UUID, *, with_foreign: bool
) -> "Iterable[ProductBlockModel]":
    """Yield the blocks below models, each once.

    Those of the subscription come first: inside of a foreign block, one of them may be shown without what it uses.
    """
    seen: set[UUID] = set()
    own: deque[ProductBlockModel] = deque()
    foreign: deque[ProductBlockModel] = deque()

    def add_blocks_of(model: "DomainModel") -> None:
        for at in fields_of(type(model)).blocks.values():
            for block in blocks_of(model, at):
                if block.owner_subscription_id == subscription_id:
                    own.append(block)
                elif with_foreign:
                    foreign.append(block)

    for model in models:
        add_blocks_of(model)
    while own or foreign:
        block = (own or foreign).popleft()
        if block.subscription_instance_id not in seen:
            seen.add(block.subscription_instance_id)
            yield block
            add_blocks_of(block)
