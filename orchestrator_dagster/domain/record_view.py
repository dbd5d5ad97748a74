"""A subscription's record as people read it: JSON, with the blocks where they belong, whatever the models are today."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from orchestrator_dagster.domain.fields import BlockField, fields_of
from orchestrator_dagster.domain.lifecycle import lookup_specialized_type
from orchestrator_dagster.domain.registry import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord
from orchestrator_dagster.domain.tree import descendants

if TYPE_CHECKING:
    from orchestrator_dagster.domain.block import ProductBlockModel
    from orchestrator_dagster.domain.model import DomainModel


def as_json(record: SubscriptionRecord) -> dict[str, Any]:
    """Return a subscription with its fields, fixed inputs and blocks by name, the values as they are stored.

    A field that holds a list of blocks is one here where today's model of the product says so, or where it has more
    than one block. A block stands where it is reached first; elsewhere, and if it is not in the record, by its id.

    Args:
        record: the subscription.

    Example:
        ```python
        as_json(record)["port"]["channels"][0]["vlan"]
        ```
    """
    return _View(with_lists(record)).run()


def with_lists(record: SubscriptionRecord) -> SubscriptionRecord:
    """Return a record that says which fields hold lists of blocks, as far as today's models know them."""
    registered = SUBSCRIPTION_MODEL_REGISTRY.get(record.product.name)
    if registered is None:
        return record
    model = lookup_specialized_type(registered, record.status)
    lists: dict[UUID, frozenset[str]] = {}
    waiting = _below(model, record.roots, record)
    while waiting:
        block_id, cls = waiting.pop()
        if block_id not in lists:
            lists[block_id] = _lists(cls)
            waiting += _below(cls, record.blocks[block_id].links, record)
    blocks = {
        block_id: replace(block, lists=lists.get(block_id, block.lists)) for block_id, block in record.blocks.items()
    }
    return replace(record, lists=_lists(model), blocks=blocks)


def _lists(model: type["DomainModel"]) -> frozenset[str]:
    return frozenset(at.key for at in fields_of(model).blocks.values() if at.many)


def _below(
    model: type["DomainModel"], links: Mapping[str, Sequence[UUID]], record: SubscriptionRecord
) -> "list[tuple[UUID, type[ProductBlockModel]]]":
    """Return the blocks that a model's fields hold, with a class of the name that each has."""
    return [
        (block_id, cls)
        for at in fields_of(model).blocks.values()
        for block_id in links.get(at.key, ())
        if block_id in record.blocks
        for cls in _class_of(at, record.blocks[block_id].product_block_name)
    ]


def _class_of(at: BlockField, product_block_name: str) -> "Sequence[type[ProductBlockModel]]":
    """Return the first class of a name that a field takes, if there is one."""
    candidates = (*at.types, *(found for member in at.types for found in descendants(member)))
    return [cls for cls in candidates if cls.product_block_name == product_block_name][:1]


@dataclass
class _View:
    """One walk through the blocks of a record."""

    record: SubscriptionRecord
    shown: set[UUID] = field(default_factory=set)
    waiting: deque[tuple[dict[str, Any], BlockRecord]] = field(default_factory=deque)

    def run(self) -> dict[str, Any]:
        record = self.record
        whole: dict[str, Any] = {
            "subscription_id": str(record.subscription_id),
            "product": record.product.model_dump(mode="json"),
            "customer_id": record.customer_id,
            "description": record.description,
            "status": str(record.status),
            "insync": record.insync,
            "start_date": _text(record.start_date),
            "end_date": _text(record.end_date),
            "note": record.note,
            "version": record.version,
            **record.fixed_inputs,
        }
        whole |= self._blocks(record.roots, record.lists)
        while self.waiting:
            holder, block = self.waiting.popleft()
            holder |= self._blocks(block.links, block.lists)
        return whole

    def _blocks(self, links: Mapping[str, Sequence[UUID]], lists: frozenset[str]) -> dict[str, Any]:
        blocks: dict[str, Any] = {attribute: [] for attribute in sorted(lists)}
        for attribute, ids in links.items():
            held = [self._block(block_id) for block_id in ids]
            blocks[attribute] = held if attribute in lists or len(held) != 1 else held[0]
        return blocks

    def _block(self, block_id: UUID) -> dict[str, Any]:
        shown: dict[str, Any] = {"subscription_instance_id": str(block_id)}
        block = self.record.blocks.get(block_id)
        if block is not None and block_id not in self.shown:
            self.shown.add(block_id)
            shown["owner_subscription_id"] = str(block.owner_subscription_id)
            shown["product_block_name"] = block.product_block_name
            shown["label"] = block.label
            shown |= block.values
            self.waiting.append((shown, block))
        return shown


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
