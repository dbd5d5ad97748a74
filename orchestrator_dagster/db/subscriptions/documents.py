"""Subscriptions as one statement gives them, and the records that they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from orchestrator_dagster.db.exact_json import from_json
from orchestrator_dagster.db.subscriptions.tree import BlockRow, Place, StoredSubscription, Tree
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductModel
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord


@dataclass(frozen=True)
class SubscriptionDocuments:
    """Subscriptions with all that their blocks depend on, as JSON texts: small, and nobody can change them.

    Attributes:
        subscriptions: their rows.
        products: their products with fixed inputs.
        blocks: their blocks and those of other subscriptions that they use, each once; see `block_records`.
    """

    subscriptions: str | None
    products: str | None
    blocks: str | None

    def records(self) -> dict[UUID, SubscriptionRecord]:
        """Return the subscriptions by id. They share the records of what several of them use."""
        ids = _Ids()
        products = {row["product_id"]: _product(row) for row in _rows(self.products)}
        blocks = _Blocks(_rows(self.blocks), ids)
        rows = _rows(self.subscriptions)
        return {ids[row["subscription_id"]]: _record(row, *products[row["product_id"]], blocks, ids) for row in rows}

    def stored(self, subscription_id: UUID) -> StoredSubscription:
        """Return one of them as it is stored, each block at its very place: there may be gaps in a list."""
        ids = _Ids()
        products = {row["product_id"]: _product(row) for row in _rows(self.products)}
        (row,) = (row for row in _rows(self.subscriptions) if row["subscription_id"] == str(subscription_id))
        record = _record(row, *products[row["product_id"]], _Blocks([], ids), ids)
        return StoredSubscription(record, _stored_tree(_rows(self.blocks), subscription_id, ids))


def block_records(blocks: str | None) -> Mapping[UUID, BlockRecord]:
    """Return the blocks of a document by id.

    Args:
        blocks: for each block its id, owner, the owner's status, name, label, values, its attribute and position if it
            is a root, and its links as attribute, position and id, in their order.
    """
    return _Blocks(_rows(blocks), _Ids()).records


class _Ids(dict[str, UUID]):
    """Ids by their text: the same id is the same object, made once."""

    def __missing__(self, text: str) -> UUID:
        made = self[text] = UUID(text)
        return made


class _Blocks:
    """The blocks of a document.

    Attributes:
        records: all of them, by id.
        of_subscription: by the subscription that they are part of.
        roots: for each subscription, those that it holds itself, by attribute and in order.
    """

    def __init__(self, rows: Sequence[Sequence[Any]], ids: _Ids) -> None:
        self.records: dict[UUID, BlockRecord] = {}
        self.of_subscription: dict[UUID, dict[UUID, BlockRecord]] = {}
        self.roots: dict[UUID, dict[str, list[UUID]]] = {}
        for block_id, owner_id, status, name, label, values, attribute, _, links in rows:
            block, owner = ids[block_id], ids[owner_id]
            record = BlockRecord(
                subscription_instance_id=block,
                owner_subscription_id=owner,
                owner_status=SubscriptionLifecycle(status),
                product_block_name=name,
                label=label,
                values=values,
                links=_by_attribute(links or (), ids),
            )
            self.records[block] = self.of_subscription.setdefault(owner, {})[block] = record
            if attribute is not None:
                self.roots.setdefault(owner, {}).setdefault(attribute, []).append(block)

    def reached_from(self, subscription_id: UUID) -> dict[UUID, BlockRecord]:
        """Return the blocks of a subscription and all that they depend on."""
        found = dict(self.of_subscription.get(subscription_id, {}))
        waiting = list(found.values())
        while waiting:
            for linked in waiting.pop().links.values():
                for block_id in linked:
                    if block_id not in found:
                        found[block_id] = self.records[block_id]
                        waiting.append(found[block_id])
        return found


def _stored_tree(rows: Sequence[Sequence[Any]], subscription_id: UUID, ids: _Ids) -> Tree:
    blocks: dict[UUID, BlockRow] = {}
    places: dict[Place, UUID] = {}
    owners: dict[UUID, UUID] = {}
    for block_id, owner_id, _, name, label, values, attribute, position, links in rows:
        block, owner = ids[block_id], ids[owner_id]
        if owner != subscription_id:
            owners[block] = owner
            continue
        blocks[block] = BlockRow(name, label, values, attribute, position)
        if attribute is not None:
            places[Place(None, attribute, position)] = block
        for held_in, index, linked in links or ():
            places[Place(block, held_in, index)] = ids[linked]
    return Tree(blocks, places, owners)


def _record(
    row: Mapping[str, Any], product: ProductModel, fixed_inputs: Mapping[str, Any], blocks: _Blocks, ids: _Ids
) -> SubscriptionRecord:
    subscription_id = ids[row["subscription_id"]]
    return SubscriptionRecord(
        subscription_id=subscription_id,
        product=product,
        customer_id=row["customer_id"],
        description=row["description"],
        status=SubscriptionLifecycle(row["status"]),
        insync=row["insync"],
        start_date=_moment(row["start_date"]),
        end_date=_moment(row["end_date"]),
        note=row["note"],
        version=row["version"],
        fixed_inputs=fixed_inputs,
        roots=blocks.roots.get(subscription_id, {}),
        blocks=blocks.reached_from(subscription_id),
    )


def _product(row: dict[str, Any]) -> tuple[ProductModel, Mapping[str, Any]]:
    return ProductModel.model_validate(row), row["fixed_inputs"] or {}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _rows(text: str | None) -> Sequence[Any]:
    rows: Sequence[Any] = from_json(text) if text else ()
    return rows


def _by_attribute(links: Sequence[Sequence[str]], ids: _Ids) -> dict[str, list[UUID]]:
    grouped: dict[str, list[UUID]] = {}
    for attribute, _, block_id in links:
        grouped.setdefault(attribute, []).append(ids[block_id])
    return grouped
