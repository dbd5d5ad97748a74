"""Connections that are lost while events are written, and processes that end: nothing is lost or doubled."""

import contextlib
import itertools
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from dagster import DagsterEventType
from sqlalchemy import NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from stored_events import (
    NEVER,
    PATIENCE,
    eventually,
    line,
    opened,
    status,
    terminate_backends,
    wait_until_blocked,
    written,
)

from orchestrator_dagster.instance.engine import dispose_pooled_engine, pooled_engine, tune_pool
from orchestrator_dagster.instance.event_log import PooledEventLogStorage


@pytest.fixture
def url(new_database: Callable[..., str]) -> Iterator[str]:
    """An empty database."""
    url = new_database()
    yield url
    dispose_pooled_engine(url)


@pytest.fixture
def storage(url: str) -> Iterator[PooledEventLogStorage]:
    storage = opened(url)
    yield storage
    storage._writer.forget()
    storage.dispose()


def lose_the_connection(url: str, *, number: int = 1, landed: bool = False, then: Callable[[], Any] = bool) -> None:
    """Lose the connection at the nth statement from now that inserts events, before it did its work or after."""
    inserts = itertools.count(1)

    def lose(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
        if not statement.startswith("INSERT INTO event_logs") or next(inserts) != number:
            return False
        if landed:
            cursor.execute(statement, parameters)
        cursor.connection.close()
        then()
        return landed  # what is left to do fails

    event.listen(pooled_engine(url), "do_execute", lose)


def before_this_thread_connects(url: str, do: Callable[[], Any]) -> None:
    this = threading.get_ident()
    event.listen(pooled_engine(url), "do_connect", lambda *_: do() if threading.get_ident() == this else None)


def test_connections_that_were_ended_between_writes_are_not_noticed(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("one"))
    assert terminate_backends(url)
    storage.store_event(status(DagsterEventType.RUN_START))
    assert terminate_backends(url)
    assert len(storage.get_logs_for_run("run")) == 2
    assert written(url) == ["one", "PIPELINE_START"]


def test_a_connection_that_is_ended_during_a_write_doubles_and_loses_nothing(
    url: str, storage: PooledEventLogStorage
) -> None:
    storage.store_event(line("one"))
    with create_engine(url, poolclass=NullPool).connect() as connection:
        connection.execute(text("LOCK TABLE event_logs"))
        writing = threading.Thread(target=storage.store_event, args=(status(DagsterEventType.RUN_SUCCESS),))
        writing.start()
        wait_until_blocked(url)
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
        connection.rollback()
    writing.join()
    assert written(url) == ["one", "PIPELINE_SUCCESS"]


def test_a_write_whose_end_nobody_saw_is_not_done_twice(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("one"))
    lose_the_connection(url, landed=True)
    storage.store_event(status(DagsterEventType.RUN_SUCCESS))
    assert written(url) == ["one", "PIPELINE_SUCCESS"]


def test_an_interrupt_at_the_end_of_a_write_doubles_nothing(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("one"))
    engine = pooled_engine(url)

    def interrupt(cursor: Any, statement: str, parameters: Any, _context: Any) -> None:
        event.remove(engine, "do_execute", interrupt)
        cursor.execute(statement, parameters)
        raise KeyboardInterrupt

    event.listen(engine, "do_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.get_logs_for_run("run")
    storage.store_event(status(DagsterEventType.RUN_SUCCESS))
    assert written(url) == ["one", "PIPELINE_SUCCESS"]


def test_who_reconnects_keeps_nobody_from_writing(url: str, storage: PooledEventLogStorage) -> None:
    tune_pool(url, max_connections=1)
    assert storage.get_logs_for_run("run") == []  # there is a connection from here on
    storage.store_event(line("one"))
    other_connected = threading.Event()
    other = threading.Thread(target=storage.store_event, args=(status(DagsterEventType.RUN_START),), daemon=True)

    def write() -> None:
        lose_the_connection(url, then=other.start)
        before_this_thread_connects(url, refuse_until_the_other_connected)
        storage.store_event(status(DagsterEventType.RUN_SUCCESS))

    def refuse_until_the_other_connected() -> None:
        if not other_connected.is_set():
            raise psycopg2.OperationalError("the database system is starting up")

    event.listen(pooled_engine(url), "connect", lambda *_: other_connected.set())
    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    for thread in (writing, other):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert written(url)[0] == "one"
    assert sorted(written(url)[1:]) == ["PIPELINE_START", "PIPELINE_SUCCESS"]


@pytest.mark.parametrize("landed", [True, False])
def test_another_thread_settles_a_write_whose_end_nobody_saw(
    url: str, storage: PooledEventLogStorage, *, landed: bool
) -> None:
    """The other one writes an event that is equal to the last character, and is another one all the same."""
    success = status(DagsterEventType.RUN_SUCCESS)
    storage.store_event(line("one"))
    other = threading.Thread(target=storage.store_event, args=(success,), daemon=True)
    lose_the_connection(url, landed=landed, then=other.start)
    before_this_thread_connects(url, lambda: other.ident and other.join(PATIENCE))
    event_id = storage._writer.write(storage._event_to_row(success))
    other.join(PATIENCE)
    assert written(url) == ["one", "PIPELINE_SUCCESS", "PIPELINE_SUCCESS"]
    with create_engine(url, poolclass=NullPool).connect() as connection:
        ids = list(connection.execute(text("SELECT id FROM event_logs ORDER BY id")).scalars())
    assert event_id == ids[1 if landed else 2]


def test_an_equal_event_that_was_written_before_is_another_one(url: str, storage: PooledEventLogStorage) -> None:
    same = line("same")
    for _ in range(2):
        storage.store_event(same)
        lose_the_connection(url)
        storage.get_logs_for_run("run")
    assert written(url) == ["same", "same"]


def test_more_events_than_one_statement_takes_are_written_once(url: str, storage: PooledEventLogStorage) -> None:
    messages = [str(number) for number in range(1200)]
    with _without_the_table(url):
        for message in messages:
            with contextlib.suppress(DBAPIError):
                storage.store_event(line(message))
    lose_the_connection(url, number=2)
    storage.get_logs_for_run("run")
    assert written(url) == messages


@contextlib.contextmanager
def _without_the_table(url: str) -> Iterator[None]:
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("ALTER TABLE event_logs RENAME TO elsewhere"))
        yield
        connection.execute(text("ALTER TABLE elsewhere RENAME TO event_logs"))


def test_a_forked_child_leaves_the_events_of_its_parent_alone(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("of the parent"))
    child = multiprocessing.get_context("fork").Process(target=_log_and_end, args=(storage,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert written(url) == ["of the child"]
    storage.store_event(status(DagsterEventType.RUN_START))
    assert written(url) == ["of the child", "of the parent", "PIPELINE_START"]


def _log_and_end(storage: PooledEventLogStorage) -> None:
    storage.store_event(line("of the child"))
    storage.dispose()


def test_a_forked_child_that_just_ends_has_written_everything(url: str, storage: PooledEventLogStorage) -> None:
    for target, arguments in ((storage.store_event, (line("inherited"),)), (_open_and_log, (url, "its own"))):
        child = multiprocessing.get_context("fork").Process(target=target, args=arguments)
        child.start()
        child.join()
        assert child.exitcode == 0
    assert written(url) == ["inherited", "its own"]


def _open_and_log(url: str, message: str) -> None:
    opened(url, NEVER).store_event(line(message))


def test_where_no_thread_can_start_a_line_is_written_at_once(url: str) -> None:
    storage = opened(url, batch_milliseconds=20)
    usual = threading.stack_size(2**48)  # more than there are addresses
    try:
        storage.store_event(line("one"))
    finally:
        threading.stack_size(usual)
    assert written(url) == ["one"]
    storage.store_event(line("two"))
    eventually(url, ["one", "two"])
