"""Who is alive: a run that works on a process holds a lock that Postgres takes back when the worker dies."""

from typing import Self
from uuid import UUID

from sqlalchemy import Connection, Engine, text

_TAKE = text("SELECT pg_try_advisory_lock(hashtextextended('orchestrator process ' || :process_id, 0))")
_KEEP_OTHERS_OUT = text("SELECT pg_try_advisory_xact_lock(hashtextextended('orchestrator process ' || :process_id, 0))")


class Lease:
    """The claim of a living run on a process. It is bound to a connection, and gone when that is.

    A lease says that nobody else is at work; it does not keep a run that lost it from writing. The number in
    `processes.lease` does that.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    def take(cls, engine: Engine, process_id: UUID) -> Self | None:
        """Return the lease of a process, or `None` where a living run has it."""
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # it never goes back to the pool: the lock would go with it
        connection.detach()
        try:
            taken = connection.scalar(_TAKE, {"process_id": str(process_id)})
        except BaseException:
            connection.close()
            raise
        if not taken:
            connection.close()
            return None
        return cls(connection)

    def release(self) -> None:
        """Give the lease back; more than once does no harm."""
        self._connection.close()


def keep_runs_out(connection: Connection, process_id: UUID) -> bool:
    """Keep runs from working on a process until the transaction ends; return whether none does."""
    return bool(connection.scalar(_KEEP_OTHERS_OUT, {"process_id": str(process_id)}))
