"""A store in memory that keeps the promises of `orchestrator_dagster.domain.repository.Repository`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductLifecycle, ProductModel
from orchestrator_dagster.domain.repository import (
    BlockRecord,
    InstanceReference,
    ProductBlockRecord,
    ProductRecord,
    SubscriptionRecord,
)
from orchestrator_dagster.errors import (
    ModelError,
    ProductBlockNotFoundError,
    ProductNotFoundError,
    StaleDataError,
    SubscriptionNotFoundError,
)


@dataclass
class MemoryRepository:
    """Keeps subscriptions in dictionaries, and their values as the JSON text that a `jsonb` column would hold."""

    products: dict[UUID, ProductRecord] = field(default_factory=dict)
    product_blocks: dict[str, ProductBlockRecord] = field(default_factory=dict)
    subscriptions: dict[UUID, SubscriptionRecord] = field(default_factory=dict)
    blocks: dict[UUID, BlockRecord] = field(default_factory=dict)

    def add_product(self, name: str, fixed_inputs: Mapping[str, Any] | None = None) -> ProductModel:
        product = ProductModel(
            product_id=uuid4(),
            name=name,
            description=f"{name} of a test",
            product_type=name,
            tag=name.upper(),
            status=ProductLifecycle.ACTIVE,
        )
        self.products[product.product_id] = ProductRecord(product, _as_jsonb(fixed_inputs or {}))
        return product

    def add_product_block(self, name: str) -> ProductBlockRecord:
        record = ProductBlockRecord(uuid4(), name, f"{name} of a test", name.upper())
        self.product_blocks[name] = record
        return record

    def product(self, product_id: UUID) -> ProductRecord:
        if product_id not in self.products:
            raise ProductNotFoundError(product_id)
        return self.products[product_id]

    def product_block(self, name: str) -> ProductBlockRecord:
        if name not in self.product_blocks:
            raise ProductBlockNotFoundError(name)
        return self.product_blocks[name]

    def load_subscription(self, subscription_id: UUID) -> SubscriptionRecord:
        if subscription_id not in self.subscriptions:
            raise SubscriptionNotFoundError(subscription_id)
        record = self.subscriptions[subscription_id]
        product = self.products[record.product.product_id]
        return replace(
            record,
            product=product.product,
            fixed_inputs=product.fixed_inputs,
            blocks=self._reachable(block_id for ids in record.roots.values() for block_id in ids),
        )

    def load_subscriptions(self, subscription_ids: Sequence[UUID]) -> Mapping[UUID, SubscriptionRecord]:
        return {
            found: self.load_subscription(found)
            for found in dict.fromkeys(subscription_ids)
            if found in self.subscriptions
        }

    def load_block(self, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
        if subscription_instance_id not in self.blocks:
            raise ProductBlockNotFoundError(subscription_instance_id)
        return self._reachable([subscription_instance_id])

    def save_subscription(self, record: SubscriptionRecord) -> int:
        present = self.subscriptions.get(record.subscription_id)
        version = present.version if present else 0
        if record.version != version:
            raise StaleDataError(
                subscription_id=record.subscription_id, given_version=record.version, current_version=version
            )
        given = {
            block_id: replace(block, values=_as_jsonb(block.values), links=_as_links(block.links))
            for block_id, block in record.blocks.items()
            if block.owner_subscription_id == record.subscription_id
        }
        self._check_links(record, given)
        own = {block_id: block for block_id, block in self.blocks.items() if _is_owned(block, record)}
        changed = replace(record, fixed_inputs={}, roots=_as_links(record.roots), blocks={})
        if present == changed and _without_status(own) == _without_status(given):
            return version
        for block_id in own.keys() - given.keys():
            del self.blocks[block_id]
        self.blocks |= given
        self.subscriptions[record.subscription_id] = replace(changed, version=version + 1)
        return version + 1

    def note_saved(self, model: Any) -> None:
        pass

    def in_use_by(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        return {
            block_id: [self._reference(user) for user in self.blocks.values() if block_id in set(_linked(user))]
            for block_id in subscription_instance_ids
        }

    def depends_on(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        return {
            block_id: [self._reference(self.blocks[used]) for used in _linked(self.blocks[block_id])]
            for block_id in subscription_instance_ids
            if block_id in self.blocks
        }

    def _reachable(self, roots: Iterator[UUID] | Sequence[UUID]) -> dict[UUID, BlockRecord]:
        found: dict[UUID, BlockRecord] = {}
        pending = list(roots)
        while pending:
            block = self.blocks[pending.pop()]
            if block.subscription_instance_id not in found:
                status = self.subscriptions[block.owner_subscription_id].status
                values = json.loads(json.dumps(block.values))
                found[block.subscription_instance_id] = replace(block, owner_status=status, values=values)
                pending += _linked(block)
        return found

    def _check_links(self, record: SubscriptionRecord, given: Mapping[UUID, BlockRecord]) -> None:
        wanted = {block_id for ids in record.roots.values() for block_id in ids}
        wanted |= {block_id for block in given.values() for block_id in _linked(block)}
        foreign = {block_id for block_id, block in self.blocks.items() if not _is_owned(block, record)}
        missing = wanted - given.keys() - foreign
        if missing:
            raise ModelError(f"Blocks that do not exist are linked: {', '.join(map(str, missing))}")
        removed = {block_id for block_id, block in self.blocks.items() if _is_owned(block, record)} - given.keys()
        for block_id in removed:
            if any(block_id in set(_linked(self.blocks[user])) for user in foreign):
                raise ModelError(f"Block {block_id} is removed, but others use it")

    def _reference(self, block: BlockRecord) -> InstanceReference:
        owner = self.subscriptions[block.owner_subscription_id]
        return InstanceReference(
            subscription_instance_id=block.subscription_instance_id,
            product_block_name=block.product_block_name,
            subscription_id=owner.subscription_id,
            subscription_status=owner.status,
            subscription_description=owner.description,
            insync=owner.insync,
        )


def _linked(block: BlockRecord) -> list[UUID]:
    return [block_id for ids in block.links.values() for block_id in ids]


def _is_owned(block: BlockRecord, record: SubscriptionRecord) -> bool:
    return block.owner_subscription_id == record.subscription_id


def _as_links(links: Mapping[str, Sequence[UUID]]) -> dict[str, list[UUID]]:
    return {attribute: list(ids) for attribute, ids in links.items() if ids}


def _without_status(blocks: Mapping[UUID, BlockRecord]) -> dict[UUID, BlockRecord]:
    return {block_id: replace(block, owner_status=SubscriptionLifecycle.INITIAL) for block_id, block in blocks.items()}


def _as_jsonb(values: Mapping[str, Any]) -> dict[str, Any]:
    """What Postgres gives back: keys in another order, numbers as `numeric` writes them; it refuses a NUL."""
    text = json.dumps(dict(values), allow_nan=False, sort_keys=True)
    json.dumps(dict(values), ensure_ascii=False).encode()
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("unsupported Unicode escape sequence: \\u0000 cannot be converted to text")
    found: dict[str, Any] = json.loads(text, parse_float=_as_numeric)
    return found


def _as_numeric(text: str) -> float | int:
    written = format(Decimal(text).copy_abs() if Decimal(text) == 0 else Decimal(text), "f")
    return float(written) if "." in written else int(written)
