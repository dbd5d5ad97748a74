"""How the threads of a process share a few connections to Postgres."""

import select
import threading
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc
from sqlalchemy.pool import ConnectionPoolEntry, Pool

LINGER_SECONDS = 5.0
PATIENCE_SECONDS = 30.0


@dataclass
class PoolSettings:
    """What may change while connections are in use.

    Attributes:
        max_connections: how many threads may use a connection at a time; others wait for their turn.
        recycle_seconds: the age at which a connection is replaced, when it is used next.
        statement_timeout_milliseconds: when Postgres stops a statement; 0 is never, None leaves it to the server.
    """

    max_connections: int = 5
    recycle_seconds: int = 1800
    statement_timeout_milliseconds: int | None = None


class SharingPool(Pool):
    """A pool for a process that is mostly idle, or busy in one thread: it then holds one connection.

    SQLAlchemy's own pool either keeps the connections of its busiest moment for ever, or opens and closes one for each
    statement of a second thread; pings with a statement; and lets threads that hold a connection and need another wait
    for each other. This one

    - keeps one connection, and those that a burst needed for some seconds more;
    - lets a thread that holds a connection have another one at once;
    - looks at the socket before it hands out a connection. The server says nothing on an idle one but that it ended it.
    """

    def __init__(self, creator: Any, settings: PoolSettings, linger_seconds: float = LINGER_SECONDS, **kw: Any) -> None:
        super().__init__(creator, **{**kw, "recycle": settings.recycle_seconds})
        self._settings = settings
        self._linger_seconds = linger_seconds
        self._turn = threading.Condition()
        self._idle: list[tuple[ConnectionPoolEntry, float]] = []
        self._holders: dict[ConnectionPoolEntry | object, int] = {}
        self._sweeping = False

    def status(self) -> str:
        """Say how many connections there are."""
        return f"SharingPool: {len(self._idle)} idle, {len(self._holders)} in use"

    def recreate(self) -> "SharingPool":
        """Make an empty pool of the same kind."""
        return SharingPool(
            self._creator,
            self._settings,
            self._linger_seconds,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def dispose(self) -> None:
        """Close the idle connections."""
        with self._turn:
            idle, self._idle = self._idle, []
        for record, _ in idle:
            record.close()

    def _do_get(self) -> ConnectionPoolEntry:
        thread = threading.get_ident()
        place = object()
        with self._turn:
            self._await_turn(thread)
            self._holders[place] = thread
            kept = self._idle.pop()[0] if self._idle else None
        try:
            record = _usable(kept) if kept is not None else self._create_connection()
            with self._turn:
                self._holders[record] = thread
            return record
        finally:
            self._leave(place)

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        with self._turn:
            self._idle.append((record, time.monotonic()))
            sweep = len(self._idle) > 1 and not self._sweeping
            self._sweeping |= sweep
        self._leave(record)
        if sweep:
            self._sweep_later()

    def _await_turn(self, thread: int) -> None:
        def may_have_one() -> bool:
            return len(self._holders) < self._settings.max_connections or thread in self._holders.values()

        if not self._turn.wait_for(may_have_one, PATIENCE_SECONDS):
            raise exc.TimeoutError(f"No connection became free within {PATIENCE_SECONDS:.0f} s. {self.status()}")

    def _leave(self, holder: ConnectionPoolEntry | object) -> None:
        with self._turn:
            self._holders.pop(holder, None)
            self._turn.notify()

    def _sweep_later(self) -> None:
        timer = threading.Timer(self._linger_seconds, self._sweep)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # no thread can start any more, as when the interpreter ends
            self._sweeping = False  # the next connection that is given back tries again

    def _sweep(self) -> None:
        """Close what nobody used for a while, but the connection that was used last."""
        long_ago = time.monotonic() - self._linger_seconds
        with self._turn:
            unused = [record for record, since in self._idle[:-1] if since <= long_ago]
            self._idle = [entry for entry in self._idle if entry[0] not in unused]
            self._sweeping = len(self._idle) > 1
        for record in unused:
            record.close()
        if self._sweeping:
            self._sweep_later()


def _usable(record: ConnectionPoolEntry) -> ConnectionPoolEntry:
    """Let go of a connection that the server ended; SQLAlchemy opens another one for a record without one."""
    connection = record.dbapi_connection
    if connection is not None and _was_ended(connection):
        record.invalidate()
    return record


def _was_ended(connection: Any) -> bool:
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
