"""Signs of life of the runs that are at work, and an end for those that give none.

A lease is gone when the worker dies. A worker that is frozen keeps its connection, and with it the lease: the server
cannot tell it from one that is busy. So a thread of each Python process says from time to time which of its runs are
at work. A run that was not heard of for longer loses its connection, and with that all that it has under way.
"""

import os
import threading
from contextlib import suppress
from datetime import timedelta
from uuid import UUID
from weakref import WeakKeyDictionary, ref

from sqlalchemy import ARRAY, Connection, Engine, Integer, Uuid, bindparam, text
from sqlalchemy.exc import DBAPIError

BEAT_SECONDS = 10.0
FROZEN_AFTER = timedelta(seconds=45)

# Whoever changes a process now shows that somebody is alive, and shouldn't have to wait.
_BEAT = text("""
    UPDATE orchestrator.processes
    SET seen_at = clock_timestamp()
    WHERE process_id IN (SELECT process.process_id
                         FROM orchestrator.processes AS process
                         JOIN unnest(:process_ids, :leases) AS alive (process_id, lease)
                           ON alive.process_id = process.process_id AND alive.lease = process.lease
                         FOR NO KEY UPDATE OF process SKIP LOCKED)
""").bindparams(bindparam("process_ids", type_=ARRAY(Uuid)), bindparam("leases", type_=ARRAY(Integer)))

_END_FROZEN = text("""
    SELECT pg_terminate_backend(lock.pid)
    FROM orchestrator.processes AS process
    CROSS JOIN LATERAL hashtextextended('orchestrator process ' || process.process_id, 0) AS key
    JOIN pg_locks AS lock
      ON lock.locktype = 'advisory'
     AND lock.granted
     AND lock.objsubid = 1
     AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND lock.classid = ((key >> 32) & 4294967295)::oid
     AND lock.objid = (key & 4294967295)::oid
     AND lock.pid <> pg_backend_pid()
    WHERE process.process_id = :process_id
      AND process.last_status = 'running'
      AND greatest(process.last_modified_at, process.seen_at) < clock_timestamp() - CAST(:frozen_after AS interval)
""")


class Heart:
    """Says which runs of this Python process are at work, as long as there are any.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        # the runs keep it; this one is found by it, and would keep it for ever
        self._engine = ref(engine)
        self._alive: dict[UUID, int] = {}
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._nothing_left = threading.Event()

    @classmethod
    def of(cls, engine: Engine) -> "Heart":
        """Return the one for a database."""
        # asked at every step: another one is made only where there is none
        return _hearts.get(engine) or _hearts.setdefault(engine, cls(engine))

    def beat_for(self, process_id: UUID, lease: int) -> None:
        """Say from now on that a run works on a process."""
        with self._changing:
            self._alive[process_id] = lease
            self._nothing_left.clear()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()

    def stop_for(self, process_id: UUID, lease: int) -> None:
        """Say no more that a run works on a process."""
        with self._changing:
            if self._alive.get(process_id) == lease:
                del self._alive[process_id]
            if not self._alive:
                self._nothing_left.set()

    def _beat(self) -> None:
        while True:
            self._nothing_left.wait(BEAT_SECONDS)
            with self._changing:
                alive = dict(self._alive)
                if not alive:
                    self._thread = None
                    return
            self._say(alive)

    def _say(self, alive: dict[UUID, int]) -> None:
        engine = self._engine()
        if engine is None:
            return
        # where the server is starting again, who asks it meanwhile doesn't get an answer either
        with suppress(DBAPIError), engine.begin() as connection:
            connection.execute(_BEAT, {"process_ids": list(alive), "leases": list(alive.values())})


_hearts: WeakKeyDictionary[Engine, Heart] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_hearts.clear)


def end_frozen_run(connection: Connection, process_id: UUID) -> bool:
    """Take its connection from a run that has the lease of a process and was not heard of for too long.

    Whatever it does when it wakes up comes too late: what it had under way is rolled back.

    Returns:
        Whether there was one.
    """
    ended = connection.execute(_END_FROZEN, {"process_id": process_id, "frozen_after": FROZEN_AFTER})
    return ended.first() is not None
