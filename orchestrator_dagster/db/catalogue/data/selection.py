"""Which blocks of stored subscriptions a difference between code and database concerns."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, cast, func, or_, select, union_all
from sqlalchemy.dialects.postgresql import JSONB

from orchestrator_dagster.db.tables import (
    product_blocks,
    products,
    subscription_instance_relations,
    subscription_instances,
    subscriptions,
)
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle

Blocks = Select[tuple[UUID, UUID]]
"""Selects blocks by id, each with the subscription that owns it."""

_ID = subscription_instances.c.subscription_instance_id
_OWNER = subscription_instances.c.subscription_id
_VALUES = subscription_instances.c["values"]

_NOTHING = (cast(None, JSONB), cast([], JSONB), cast({}, JSONB))

_BATCH = 2000


@dataclass(frozen=True)
class Affected:
    """The subscriptions that a difference concerns.

    Attributes:
        count: how many there are.
        subscription_ids: the first of them, by id.
    """

    count: int
    subscription_ids: tuple[UUID, ...]


def ids_of(blocks: Sequence[Blocks]) -> Select[tuple[UUID]]:
    """Select the ids of the blocks of all."""
    return select(union_all(*blocks).subquery().c.subscription_instance_id)


def owners_of(blocks: Sequence[Blocks]) -> Select[tuple[UUID]]:
    """Select the subscriptions that own the blocks."""
    return select(union_all(*blocks).subquery().c.subscription_id)


def count_affected(connection: Connection, blocks: Blocks, limit: int) -> Affected:
    """Count the subscriptions that own the blocks, and name the first `limit`, in one statement."""
    owners = select(blocks.subquery().c.subscription_id).distinct().cte("owners")
    first = select(owners.c.subscription_id).order_by(owners.c.subscription_id).limit(limit).subquery()
    row = connection.execute(
        select(
            select(func.count()).select_from(owners).scalar_subquery().label("count"),
            select(func.array_agg(first.c.subscription_id)).scalar_subquery().label("first"),
        )
    ).one()
    return Affected(count=row[0], subscription_ids=tuple(row.first or ()))


def count_unfit(
    connection: Connection, blocks: Blocks, names: Sequence[str], fits: Callable[[Any], bool], limit: int
) -> Affected:
    """Count the subscriptions that own blocks with a value that does not fit, and name the first `limit`.

    Args:
        connection: where to look; rows come through in batches.
        blocks: select the blocks.
        names: the names of which one has the value.
        fits: whether a value, in JSON, fits.
        limit: how many subscriptions to name.
    """
    count, first, last = 0, list[UUID](), None
    statement = blocks.add_columns(_VALUES).order_by(_OWNER).execution_options(yield_per=_BATCH)
    for row in connection.execute(statement):
        found = [row[2][name] for name in names if row[2].get(name) is not None]
        if row.subscription_id != last and not all(map(fits, found)):
            count, last = count + 1, row.subscription_id
            first += [last] if len(first) < limit else []
    return Affected(count=count, subscription_ids=tuple(first))


def blocks_named(block: str) -> Blocks:
    """Select all blocks of a product block."""
    of_name = select(product_blocks.c.product_block_id).where(product_blocks.c.name == block).scalar_subquery()
    return select(_ID, _OWNER).where(subscription_instances.c.product_block_id == of_name)


def blocks_with(block: str, field: str) -> Blocks:
    """Select the blocks that have a value, be it null, for a field."""
    return blocks_named(block).where(_VALUES.has_key(field))


def blocks_holding(block: str, field: str, *, data: bool) -> Blocks:
    """Select the blocks that have data for a field; or else those that have it, but nothing in it."""
    is_data = _VALUES[field].not_in(_NOTHING)
    return blocks_with(block, field).where(is_data if data else ~is_data)


def blocks_with_value(block: str, names: Sequence[str], statuses: Iterable[SubscriptionLifecycle]) -> Blocks:
    """Select the blocks of subscriptions in one of the statuses that have a value other than null under a name."""
    return _in_status(blocks_named(block), statuses).where(or_(*map(_has_value, names)))


def blocks_without(
    block: str, names: Sequence[str], statuses: Iterable[SubscriptionLifecycle], *, null_will_do: bool
) -> Blocks:
    """Select the blocks of subscriptions in one of the statuses that have no value under any of the names."""
    present = [_VALUES.has_key(name) if null_will_do else _has_value(name) for name in names]
    return _in_status(blocks_named(block), statuses).where(~or_(*present))


def blocks_at(block: str | None, product_names: Iterable[str], attribute: str) -> Blocks:
    """Select the blocks at one end of the links of an attribute.

    Args:
        block: select the blocks of this name that hold others in the attribute.
        product_names: where no block is given, select those that stand in it directly below subscriptions to these.
        attribute: the attribute.
    """
    return _roots_at(product_names, attribute) if block is None else _holders_at(block, attribute)


def _holders_at(block: str, attribute: str) -> Blocks:
    held = select(subscription_instance_relations.c.in_use_by_id).where(
        subscription_instance_relations.c.in_use_by_id == _ID,
        subscription_instance_relations.c.attribute == attribute,
    )
    return blocks_named(block).where(held.exists())


def _roots_at(product_names: Iterable[str], attribute: str) -> Blocks:
    of_products = (
        select(subscriptions.c.subscription_id)
        .join(products, products.c.product_id == subscriptions.c.product_id)
        .where(products.c.name.in_(sorted(product_names)))
    )
    return select(_ID, _OWNER).where(subscription_instances.c.attribute == attribute, _OWNER.in_(of_products))


def _has_value(field: str) -> ColumnElement[bool]:
    return and_(_VALUES.has_key(field), func.jsonb_typeof(_VALUES[field]) != "null")


def _in_status(blocks: Blocks, statuses: Iterable[SubscriptionLifecycle]) -> Blocks:
    return blocks.join(subscriptions, subscriptions.c.subscription_id == _OWNER).where(
        subscriptions.c.status.in_(sorted(statuses))
    )
