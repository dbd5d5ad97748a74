"""Values that functions work out: the blocks come through in batches, so that memory stays the same."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from orchestrator_dagster.db.catalogue.data import statements
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.stored import StoredBlock
from orchestrator_dagster.errors import CatalogueDataError

_BATCH = 2000

_BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True)
class Rewrite:
    """A new value for a field of the blocks that want one.

    Attributes:
        block: the product block.
        field: the resource type.
        statuses: the statuses of the subscriptions that are looked at.
        wants: whether a block gets a new value.
        value: the new value, as JSON.
    """

    block: str
    field: str
    statuses: frozenset[SubscriptionLifecycle]
    wants: Callable[[StoredBlock], bool]
    value: Callable[[StoredBlock], Any]


def rewrite_values(connection: Connection, rewrite: Rewrite) -> int:
    """Give the blocks that were taken in their new values; return the number of subscriptions that own them.

    Raises:
        CatalogueDataError: the value of a block cannot be worked out, or is not valid.
    """
    connection.execute(statements.INDEX_OWNERS)
    owners, last = 0, None
    for batch in _batches(connection, rewrite):
        wanting = [block for block in batch if rewrite.wants(block)]
        for block in wanting:
            owners += block.subscription_id != last
            last = block.subscription_id
        _write(connection, rewrite, wanting)
    return owners


def _stored_block(row: Row[Any]) -> StoredBlock:
    return StoredBlock(**{**row._mapping, "status": SubscriptionLifecycle(row.status)})


def _batches(connection: Connection, rewrite: Rewrite) -> Iterator[Sequence[StoredBlock]]:
    after = (_BEFORE_ALL, _BEFORE_ALL)
    while True:
        rows = connection.execute(
            statements.NEXT_BLOCKS,
            {
                "subscription_id": after[0],
                "subscription_instance_id": after[1],
                "block": rewrite.block,
                "field": rewrite.field,
                "statuses": sorted(rewrite.statuses),
                "limit": _BATCH,
            },
        ).all()
        if not rows:
            return
        after = (rows[-1].subscription_id, rows[-1].subscription_instance_id)
        yield [_stored_block(row) for row in rows]


def _write(connection: Connection, rewrite: Rewrite, blocks: Sequence[StoredBlock]) -> None:
    values = [
        {"subscription_instance_id": str(block.subscription_instance_id), "value": _value(rewrite, block)}
        for block in blocks
    ]
    if values:
        connection.execute(statements.SET_VALUES, {"field": rewrite.field, "values": to_json(values)})


def _value(rewrite: Rewrite, block: StoredBlock) -> Any:
    try:
        return rewrite.value(block)
    except Exception as error:  # whatever a function of a user raises
        raise CatalogueDataError(
            f"No value can be filled in for {rewrite.block}.{rewrite.field}, "
            f"block {block.subscription_instance_id} of subscription {block.subscription_id}: "
            f"{type(error).__name__}: {error}",
            subscription_ids=[block.subscription_id],
        ) from error
