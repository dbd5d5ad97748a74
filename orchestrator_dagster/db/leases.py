"""Who is alive: a run that works on a process holds a lock that Postgres takes back when the worker dies."""

import select
import time
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Connection, Engine, PoolResetState, text
from sqlalchemy.exc import DBAPIError, OperationalError

_TAKE = text("SELECT pg_try_advisory_lock(hashtextextended('orchestrator process ' || :process_id, 0))")
_KEEP_OTHERS_OUT = text("SELECT pg_try_advisory_xact_lock(hashtextextended('orchestrator process ' || :process_id, 0))")
_GIVE_BACK = "SELECT pg_advisory_unlock_all()"

_IS_LEASED = "orchestrator lease"
_MOST_SECONDS_UNTIL_FREE = 5.0
_POLL_SECONDS = 0.05


class Lease:
    """The claim of a living run on a process: a lock that is bound to a connection, and gone when that is.

    The run's transactions are on that same connection. So a run whose lease is lost cannot commit what it has under
    way, and a busy run needs one connection. A lease says that nobody else is at work; what keeps a run that lost it
    from writing later is the number in `processes.lease`.

    Attributes:
        connection: where the run's transactions are.
    """

    def __init__(self, engine: Engine, process_id: UUID, connection: Connection) -> None:
        self._engine = engine
        self._process_id = process_id
        self.connection = connection

    @classmethod
    def take(cls, engine: Engine, process_id: UUID) -> Self | None:
        """Return the lease of a process, or `None` where a living run has it."""
        connection = _lock(engine, process_id)
        return None if connection is None else cls(engine, process_id, connection)

    @property
    def is_held(self) -> bool:
        """Whether the lease is still there, as far as this side of the connection knows."""
        if self.connection.closed or self.connection.invalidated or self.connection.in_transaction():
            return False
        driver: Any = self.connection.connection.driver_connection
        # a server that was not asked says nothing, but that it goes; to look costs less than to ask
        unasked = select.poll()
        try:
            unasked.register(driver.fileno(), select.POLLIN)
            return not unasked.poll(0) or self._engine.dialect.do_ping(driver)
        except (DBAPIError, self._engine.dialect.loaded_dbapi.Error):
            return False

    def take_again(self) -> bool:
        """Take a lease that was lost with its connection once more, on another one; return whether nobody has it."""
        self.release()
        deadline = time.monotonic() + _MOST_SECONDS_UNTIL_FREE
        while True:
            last = time.monotonic() > deadline
            try:
                connection = _lock(self._engine, self._process_id)
            except OperationalError:
                # the server may be starting again
                if last:
                    raise
                connection = None
            if connection is not None:
                self.connection = connection
                return True
            if last:
                return False
            # or it is about to notice that the old connection is gone
            time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """Give the lease back, and roll back what is under way; more than once does no harm."""
        if not (self.connection.closed or self.is_held):
            # it cannot go back to the pool
            self.connection.invalidate()
        self.connection.close()


def keep_runs_out(connection: Connection, process_id: UUID) -> bool:
    """Keep runs from working on a process until the transaction ends; return whether none does."""
    return bool(connection.scalar(_KEEP_OTHERS_OUT, {"process_id": str(process_id)}))


def give_back(driver: Any, record: Any, state: PoolResetState) -> None:
    """Take the locks of a lease from a connection that goes back to the pool, whoever put it there.

    To be called by the pool. Where it raises, the pool closes the connection, and the locks are gone as well.
    """
    if record is None or state.terminate_only or not record.info.pop(_IS_LEASED, False):
        return
    driver.rollback()
    with driver.cursor() as cursor:
        cursor.execute(_GIVE_BACK)
    driver.rollback()


def _lock(engine: Engine, process_id: UUID) -> Connection | None:
    connection = engine.connect()
    try:
        connection.info[_IS_LEASED] = True
        taken = connection.scalar(_TAKE, {"process_id": str(process_id)})
        connection.rollback()
    except BaseException:
        connection.close()
        raise
    if not taken:
        connection.close()
        return None
    return connection
