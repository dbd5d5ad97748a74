"""Writes events in the order in which they came, several at a time."""

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster_postgres.utils import retry_pg_connection_fn
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

Row = dict[str, Any]

MOST_ROWS = 500
MOST_CHARACTERS = 4_000_000
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)
_writers: "weakref.WeakSet[EventWriter]" = weakref.WeakSet()


class EventWriter:
    """Keeps rows for a moment, to write them together with the next one that can't wait.

    Rows get their ids in the order in which they were handed in, whatever thread or run they are of. A row is in memory
    only until it is written: for as long as the delay, or for longer while the database can't be reached.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]], delay_seconds: float) -> None:
        """Write to a database.

        Args:
            connect: gives a connection on which a statement is a transaction.
            delay_seconds: how long a row may be kept; 0 to write each at once.
        """
        self._connect = connect
        self._delay_seconds = delay_seconds
        self.forget()
        _writers.add(self)

    def forget(self) -> None:
        """Start with nothing: in a forked process, what was kept is its parent's to write."""
        self._state = threading.Lock()
        self._turn = threading.Lock()
        self._whose_turn = 0
        self._kept: list[Row] = []
        self._kept_characters = 0
        self._kept_since = 0.0
        self._unsettled: list[Row] = []
        self._thread: threading.Thread | None = None

    def defer(self, row: Row) -> None:
        """Write a row soon: with the next one that can't wait, or after the delay, or now, if there are many."""
        with self._state:
            self._kept_since = self._kept_since if self._kept else time.monotonic()
            self._kept.append(row)
            self._kept_characters += len(row["event"])
        try:
            if self._is_full():
                self.flush()
        finally:
            self._see_to_what_is_kept()

    def write(self, row: Row) -> int:
        """Write a row now, after all that came before it.

        Returns:
            Its id.

        Raises:
            SQLAlchemyError: It was not written. What came before it is kept, to be written with the next one.
        """
        return self._write([row])

    def flush(self) -> None:
        """Write what is kept, and wait for what is being written.

        What is logged while this thread writes, of a lost connection for instance, is written after that.
        """
        if (self._kept or self._unsettled or self._turn.locked()) and self._whose_turn != threading.get_ident():
            self._write([])

    def _write(self, prompt: list[Row]) -> int:
        # First the connection, then the turn: who waits for a connection must not have others wait for it.
        with self._connect() as connection, self._my_turn():
            if self._unsettled and _id_of(connection, self._unsettled[-1]):
                self._unsettled = []
            self._unsettled += self._take()
            rows = self._unsettled + prompt
            last = _insert_surely(connection, rows) if rows else 0
            self._unsettled = []
            return last

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._turn:
            self._whose_turn = threading.get_ident()
            try:
                yield
            finally:
                self._whose_turn = 0

    def _take(self) -> list[Row]:
        with self._state:
            kept, self._kept, self._kept_characters = self._kept, [], 0
            return kept

    def _is_full(self) -> bool:
        return not self._delay_seconds or len(self._kept) >= MOST_ROWS or self._kept_characters >= MOST_CHARACTERS

    def _see_to_what_is_kept(self) -> None:
        with self._state:
            if self._thread is None and (self._kept or self._unsettled):
                self._thread = threading.Thread(target=self._write_what_is_due, name="event-writer", daemon=True)
                self._thread.start()

    def _write_what_is_due(self) -> None:
        pause = SHORTEST_PAUSE_SECONDS
        while (wait := self._seconds_until_due()) is not None:
            time.sleep(wait)
            try:
                self._flush_if_due()
                pause = SHORTEST_PAUSE_SECONDS
            except Exception:
                _log.warning("Events could not be written; they are kept, and written later", exc_info=True)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _flush_if_due(self) -> None:
        with self._turn:
            pass  # who writes now takes along what is kept, and this thread need not open a second connection
        if self._unsettled or (self._kept and self._due_at() <= time.monotonic()):
            self.flush()

    def _seconds_until_due(self) -> float | None:
        """None if there is nothing to wait for, and so no thread any more."""
        with self._state:
            if not self._kept and not self._unsettled:
                self._thread = None
                return None
            return max(0.0, self._due_at() - time.monotonic())

    def _due_at(self) -> float:
        return self._kept_since + self._delay_seconds


def _insert_surely(connection: Connection, rows: Sequence[Row]) -> int:
    """Insert rows, once more if the connection was lost, and at most once: they are all there or none."""
    try:
        return _insert(connection, rows)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    connection.rollback()
    retry_pg_connection_fn(lambda: connection.connection)
    return _id_of(connection, rows[-1]) or _insert(connection, rows)


def _insert(connection: Connection, rows: Sequence[Row]) -> int:
    statement = SqlEventLogStorageTable.insert().returning(
        SqlEventLogStorageTable.c.id, sort_by_parameter_order=len(rows) > 1
    )
    return int(connection.execute(statement, list(rows)).scalars().all()[-1])


def _id_of(connection: Connection, row: Row) -> int | None:
    """The id of a row that may have been written, by a statement whose end nobody saw."""
    events = SqlEventLogStorageTable.c
    statement = select(events.id).where(events.run_id == row["run_id"], events.event == row["event"])
    return connection.execute(statement.order_by(events.id.desc()).limit(1)).scalar()


def _flush_at_exit() -> None:
    for writer in list(_writers):
        try:
            writer.flush()
        except Exception:
            _log.exception("Events were lost: they could not be written before the process ended")


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer.forget()


atexit.register(_flush_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
