"""Keeping the subscriptions of which data is to be moved from being changed by others meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Insert, column, insert, select, table, text
from sqlalchemy.exc import OperationalError

from orchestrator_dagster.db.catalogue.data.selection import Blocks, owners_of
from orchestrator_dagster.db.tables import products, subscriptions
from orchestrator_dagster.errors import CatalogueBusyError

PATIENCE = 3.0
"""How many seconds each wait for a lock may last."""

_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"

_LOCK_TIMEOUT = text("SHOW lock_timeout")
_SET_LOCK_TIMEOUT = text("SELECT set_config('lock_timeout', :lock_timeout, true)")

_COLUMNS = ("subscription_id", "product", "customer_id", "status")
moved_subscriptions = table("moved_subscriptions", *(column(name) for name in _COLUMNS), schema="pg_temp")
"""The subscriptions that were locked."""


@contextmanager
def patient(connection: Connection, blocks: Sequence[Blocks] = (), seconds: float = PATIENCE) -> Iterator[None]:
    """Wait for the locks of others that long, and say who has them where that was not enough.

    Everything within is a savepoint: nothing of it remains where an error leaves it.

    Args:
        connection: the transaction.
        blocks: select the blocks whose subscriptions are going to be locked, to say which of them could not be.
        seconds: how long each wait for a lock may last.

    Raises:
        CatalogueBusyError: somebody else works on some of the subscriptions.
    """
    before = connection.scalar(_LOCK_TIMEOUT)
    try:
        with connection.begin_nested():
            connection.execute(_SET_LOCK_TIMEOUT, {"lock_timeout": f"{round(seconds * 1000)}ms"})
            yield
            connection.execute(_SET_LOCK_TIMEOUT, {"lock_timeout": before})
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
            raise (_busy(connection, blocks) if blocks else CatalogueBusyError({})) from error
        raise


def lock_subscriptions(connection: Connection, blocks: Sequence[Blocks]) -> int:
    """Lock the subscriptions that own the blocks, in the order of their ids, and note them; return how many they are.

    It looks again until it finds no more: while it waited for some, others may have come into being.
    """
    locked = 0
    while found := connection.execute(_lock(blocks)).rowcount:
        locked += found
    return locked


def _lock(blocks: Sequence[Blocks]) -> Insert:
    known = select(moved_subscriptions.c.subscription_id).where(
        moved_subscriptions.c.subscription_id == subscriptions.c.subscription_id
    )
    affected = (
        select(
            subscriptions.c.subscription_id,
            products.c.name,
            subscriptions.c.customer_id,
            subscriptions.c.status,
        )
        .join(products, products.c.product_id == subscriptions.c.product_id)
        .where(subscriptions.c.subscription_id.in_(owners_of(blocks)), ~known.exists())
        .order_by(subscriptions.c.subscription_id)
        .with_for_update(key_share=True, of=subscriptions)
    )
    return insert(moved_subscriptions).from_select(_COLUMNS, affected)


def _busy(connection: Connection, blocks: Sequence[Blocks]) -> CatalogueBusyError:
    """Find out which subscriptions cannot be locked, and which processes hold them."""
    free = (
        select(subscriptions.c.subscription_id)
        .where(subscriptions.c.subscription_id.in_(owners_of(blocks)))
        .with_for_update(key_share=True, skip_locked=True)
        .cte("free")
    )
    busy = (
        select(subscriptions.c.subscription_id, subscriptions.c.held_by)
        .where(subscriptions.c.subscription_id.in_(owners_of(blocks)))
        .where(subscriptions.c.subscription_id.not_in(select(free.c.subscription_id)))
        .order_by(subscriptions.c.subscription_id)
    )
    return CatalogueBusyError({row.subscription_id: row.held_by for row in connection.execute(busy)})
