"""Who is alive: a run that works on a process holds a lock that Postgres takes back when the worker dies."""

import select
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, PoolResetState, text
from sqlalchemy.exc import DBAPIError, OperationalError

_TAKE = text("SELECT pg_try_advisory_lock(hashtextextended('orchestrator process ' || :process_id, 0))")
_KEEP_OTHERS_OUT = text("SELECT pg_try_advisory_xact_lock(hashtextextended('orchestrator process ' || :process_id, 0))")
_GIVE_BACK = "SELECT pg_advisory_unlock_all()"

_IS_LEASED = "orchestrator lease"
_MOST_SECONDS_OF_PATIENCE = 5.0
_POLL_SECONDS = 0.05

Found = TypeVar("Found")


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
    def take(cls, engine: Engine, process_id: UUID, *, patience: float = 0.0) -> Self | None:
        """Return the lease of a process, or `None` where a living run has it.

        Args:
            engine: the database.
            process_id: id of the process.
            patience: for how many seconds to try, since others may hold it for a moment, to see who is alive.
        """
        connection = patiently(lambda: _lock(engine, process_id), patience=patience)
        return None if connection is None else cls(engine, process_id, connection)

    @property
    def is_held(self) -> bool:
        """Whether the lease is still there, as far as this side of the connection knows."""
        if self.connection.closed or self.connection.invalidated or self.connection.in_transaction():
            return False
        driver: Any = self.connection.connection.driver_connection
        if driver.closed or driver.info.transaction_status != _driver_is_idle(self._engine):
            # what was neither committed nor rolled back would be committed with what comes next
            return False
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
        # the server may be about to notice that the old connection is gone
        connection = patiently(lambda: _lock(self._engine, self._process_id))
        if connection is None:
            return False
        self.connection = connection
        return True

    def release(self) -> None:
        """Give the lease back, and roll back what is under way; more than once does no harm."""
        if not (self.connection.closed or self.is_held):
            # it cannot go back to the pool
            self.connection.invalidate()
        self.connection.close()


def patiently(attempt: Callable[[], Found], *, patience: float = _MOST_SECONDS_OF_PATIENCE) -> Found:
    """Return what an attempt finds, after several where it finds nothing or the server cannot be reached.

    Args:
        attempt: what to try, at least once.
        patience: for how many seconds.

    Raises:
        OperationalError: the server cannot be reached.
    """
    deadline = time.monotonic() + patience
    while True:
        last = time.monotonic() >= deadline
        try:
            found = attempt()
            if found is not None or last:
                return found
        except OperationalError:
            # it may be starting again
            if last:
                raise
        time.sleep(_POLL_SECONDS)


def keep_runs_out(connection: Connection, process_id: UUID) -> bool:
    """Keep runs from working on a process until the transaction ends; return whether none does."""
    return bool(connection.scalar(_KEEP_OTHERS_OUT, {"process_id": str(process_id)}))


def give_back(driver: Any, record: Any, state: PoolResetState) -> None:
    """Take the locks of a lease from a connection that goes back to the pool, whoever put it there.

    To be called by the pool. Where it raises, the pool closes the connection, and the locks are gone as well.
    """
    if record is None or state.terminate_only or not record.info.pop(_IS_LEASED, False) or driver.closed:
        return
    driver.rollback()
    with driver.cursor() as cursor:
        cursor.execute(_GIVE_BACK)
    driver.rollback()


def _driver_is_idle(engine: Engine) -> int:
    dbapi: Any = engine.dialect.loaded_dbapi
    idle: int = dbapi.extensions.TRANSACTION_STATUS_IDLE
    return idle


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
