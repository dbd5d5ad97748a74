"""Writes events in the order in which they came, several at a time."""

import atexit
import logging
import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.util import Finalize
from typing import Any

from dagster._core.storage.event_log import SqlEventLogStorageTable
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

Row = dict[str, Any]

MOST_ROWS = 500
MOST_CHARACTERS = 4_000_000
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)
_writers: "weakref.WeakSet[EventWriter]" = weakref.WeakSet()


@dataclass
class _Prompt:
    """What can't wait: a row and its id, once it has one; or no row, for who only has written what is kept."""

    row: Row | None = None
    id: int = 0


@dataclass(frozen=True)
class _Batch:
    """The rows of one statement. The last one is that of the prompt, if there is one."""

    rows: list[Row]
    prompt: _Prompt | None


class EventWriter:
    """Keeps rows for a moment, to write them together with the next one that can't wait.

    Rows get their ids in the order in which they were handed in, whatever thread or run they are of; only one whose
    connection was lost may come after those that other threads handed in before it was written. A row is in memory only
    until it is written: for as long as the delay, or for longer while the database can't be reached.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]], delay_seconds: float) -> None:
        """Write to a database.

        Args:
            connect: gives a connection on which a statement is a transaction.
            delay_seconds: how long a row may be kept; 0 to write each at once.
        """
        self._connect = connect
        self.forget()
        self._delay_seconds = delay_seconds
        _writers.add(self)
        if multiprocessing.parent_process() is not None:
            Finalize(None, _flush_at_exit, exitpriority=0)  # a child that was forked ends without `atexit`

    def forget(self) -> None:
        """Start with nothing, and keep nothing from now on.

        For a forked process: what was kept is its parent's to write, and it may end without any notice.
        """
        self._delay_seconds = 0.0
        self._state = threading.Lock()
        self._turn = threading.Lock()
        self._whose_turn = 0
        self._kept: list[Row] = []
        self._kept_characters = 0
        self._kept_since = 0.0
        self._unsettled: list[Row] = []
        self._in_doubt: _Batch | None = None
        self._last_id = 0
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
            SQLAlchemyError: It was not written, as far as one can know whose connection was lost twice. What came
                before it is kept, to be written with the next one.
        """
        return self._write(_Prompt(row))

    def flush(self) -> None:
        """Write what is kept, and wait for what is being written.

        What is logged while this thread writes, of a lost connection for instance, is written after that.
        """
        if (self._kept or self._unsettled or self._turn.locked()) and self._whose_turn != threading.get_ident():
            self._write(_Prompt())

    def _write(self, prompt: _Prompt) -> int:
        try:
            return self._write_in_turn(prompt)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # The turn was given up with the connection: who waits for another one must not have others wait for it.
        return self._write_in_turn(prompt)

    def _write_in_turn(self, prompt: _Prompt) -> int:
        # First the connection, then the turn: who waits for a connection must not have others wait for it.
        with self._connect() as connection, self._my_turn():
            self._settle(connection)
            if not prompt.id:
                self._take()
                self._insert_all(connection, prompt)
            return prompt.id

    def _settle(self, connection: Connection) -> None:
        """Find out whether the rows are there that were inserted last, if nobody saw the end of that."""
        if self._in_doubt is None:
            return
        if last_id := _id_of(connection, self._in_doubt.rows[-1], self._last_id):
            self._note_written(self._in_doubt, last_id)
        self._in_doubt = None

    def _insert_all(self, connection: Connection, prompt: _Prompt) -> None:
        rows = self._unsettled if prompt.row is None else [*self._unsettled, prompt.row]
        for start in range(0, len(rows), MOST_ROWS):
            some = rows[start : start + MOST_ROWS]
            self._insert(connection, _Batch(some, prompt if some[-1] is prompt.row else None))

    def _insert(self, connection: Connection, batch: _Batch) -> None:
        self._in_doubt = batch
        try:
            last_id = _insert(connection, batch.rows)
        except Exception as error:
            if _was_refused(error):
                self._in_doubt = None
            raise
        self._note_written(batch, last_id)

    def _note_written(self, batch: _Batch, last_id: int) -> None:
        left = self._unsettled[len(batch.rows) :]
        if batch.prompt is not None:
            batch.prompt.id = last_id
        # Nothing is called from here on: an interrupt comes before all of it or after.
        self._unsettled, self._in_doubt, self._last_id = left, None, last_id

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._turn:
            self._whose_turn = threading.get_ident()
            try:
                yield
            finally:
                self._whose_turn = 0

    def _take(self) -> None:
        with self._state:
            self._unsettled, self._kept, self._kept_characters = self._unsettled + self._kept, [], 0

    def _is_full(self) -> bool:
        return not self._delay_seconds or len(self._kept) >= MOST_ROWS or self._kept_characters >= MOST_CHARACTERS

    def _see_to_what_is_kept(self) -> None:
        try:
            self._start_thread()
        except RuntimeError:  # no thread can start any more, as when the interpreter ends
            self.flush()

    def _start_thread(self) -> None:
        with self._state:
            if self._thread is None and (self._kept or self._unsettled):
                thread = threading.Thread(target=self._write_what_is_due, name="event-writer", daemon=True)
                thread.start()
                self._thread = thread

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


def _insert(connection: Connection, rows: Sequence[Row]) -> int:
    """Insert all rows or none, by one statement: SQLAlchemy makes several of more than a thousand rows."""
    statement = SqlEventLogStorageTable.insert().returning(
        SqlEventLogStorageTable.c.id, sort_by_parameter_order=len(rows) > 1
    )
    return int(connection.execute(statement, list(rows)).scalars().all()[-1])


def _was_refused(error: Exception) -> bool:
    """Whether a statement surely did nothing: Postgres said no, or a value could not even be sent."""
    return isinstance(error, ValueError) or (isinstance(error, DBAPIError) and not error.connection_invalidated)


def _id_of(connection: Connection, row: Row, after: int) -> int | None:
    """The id of a row that may have been written, by a statement whose end nobody saw.

    A statement that the server is still at, unaware that the connection is lost, is not seen.

    Args:
        connection: on which to look.
        row: the last one of the statement.
        after: the last id before; an equal row up to there is another one.
    """
    events = SqlEventLogStorageTable.c
    statement = select(events.id).where(events.run_id == row["run_id"], events.event == row["event"], events.id > after)
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
