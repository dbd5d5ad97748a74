"""Connections of the storage: few, shared, alive."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe

import pytest
from dagster import DagsterInstance, job, op
from dagster._core.test_utils import instance_for_test
from sqlalchemy import Engine, NullPool, create_engine, event, make_url, text

from orchestrator_dagster.instance import PostgresStorage
from orchestrator_dagster.instance.engine import (
    APPLICATION_NAME,
    _connect_args,
    dispose_pooled_engine,
    pooled_engine,
    tune_pool,
)
from orchestrator_dagster.instance.pool import SharingPool

PATIENCE = 60.0


@op
def do_nothing() -> None:
    return None


@job
def nothing() -> None:
    do_nothing()


@pytest.fixture
def url(new_database: Callable[..., str]) -> Iterator[str]:
    """An empty database."""
    url = new_database()
    yield url
    dispose_pooled_engine(url)


@pytest.fixture
def instance(url: str) -> Iterator[DagsterInstance]:
    storage = {
        "module": "orchestrator_dagster.instance",
        "class": "PostgresStorage",
        "config": {"postgres_url": url},
    }
    with instance_for_test(overrides={"storage": {"custom": storage}}) as instance:
        yield instance


def connections(url: str) -> int:
    """How many connections the storage has, as the server sees it."""
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        count = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
        )
        return int(connection.execute(count, {"name": APPLICATION_NAME}).scalar_one())


def eventually(count: Callable[[], int], expected: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while count() != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert count() == expected


def at_once(engine: Engine, threads: int) -> int:
    """Let threads use a connection at the same time; say how many had one at a time."""
    lock, using, most = threading.Lock(), 0, 0

    def use() -> None:
        nonlocal using, most
        with engine.connect() as connection:
            with lock:
                using += 1
                most = max(most, using)
            connection.execute(text("SELECT pg_sleep(0.05)"))
            with lock:
                using -= 1

    started = [threading.Thread(target=use) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return most


def test_a_process_that_runs_a_job_holds_one_connection(instance: DagsterInstance, url: str) -> None:
    nothing.execute_in_process(instance=instance)
    assert connections(url) == 1


def test_a_second_instance_in_a_process_opens_no_connection(instance: DagsterInstance, url: str) -> None:
    opened: list[object] = []
    event.listen(pooled_engine(url), "connect", lambda connection, _: opened.append(connection))
    with DagsterInstance.from_ref(instance.get_ref()) as second:
        nothing.execute_in_process(instance=second)
    assert opened == []
    assert connections(url) == 1


def test_opening_a_storage_whose_tables_are_there_takes_one_statement(url: str) -> None:
    PostgresStorage(url)
    statements: list[str] = []
    event.listen(pooled_engine(url), "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    PostgresStorage(url)
    assert len(statements) == 1


def test_processes_that_start_together_make_the_tables_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=PostgresStorage, args=(url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4


def test_threads_take_turns(url: str) -> None:
    tune_pool(url, max_connections=2)
    assert at_once(pooled_engine(url), threads=8) == 2


def test_a_thread_that_holds_a_connection_gets_another_at_once(url: str) -> None:
    tune_pool(url, max_connections=1)
    with pooled_engine(url).connect(), pooled_engine(url).connect() as second:
        assert second.execute(text("SELECT 1")).scalar() == 1


def test_connections_of_a_busy_moment_are_closed_again(url: str) -> None:
    engine = pooled_engine(url)
    pool = engine.pool
    assert isinstance(pool, SharingPool)
    pool._linger_seconds = 0.1
    assert at_once(engine, threads=4) > 1
    eventually(lambda: connections(url), 1)


def test_where_no_thread_can_start_connections_are_closed_later(url: str) -> None:
    engine = pooled_engine(url)
    assert isinstance(engine.pool, SharingPool)
    engine.pool._linger_seconds = 0.1
    usual = threading.stack_size(2**48)  # more than there are addresses
    try:
        with engine.connect(), engine.connect():
            pass
    finally:
        threading.stack_size(usual)
    assert connections(url) == 2
    with engine.connect():
        pass
    eventually(lambda: connections(url), 1)


def test_a_connection_that_the_server_ended_is_replaced(url: str) -> None:
    engine = pooled_engine(url)
    for _ in range(3):
        with engine.connect() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with create_engine(url, poolclass=NullPool).connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
        with engine.connect() as connection:
            assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    engine = pooled_engine(url)
    with engine.connect() as held:
        of_parent = held.execute(text("SELECT pg_backend_pid()")).scalar_one()
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(target=_send_backend, args=(engine, sender))
        child.start()
        assert receiver.recv() != of_parent
        child.join()
        assert held.execute(text("SELECT pg_backend_pid()")).scalar_one() == of_parent


def _send_backend(engine: Engine, sender: "Pipe[object, object]") -> None:
    with engine.connect() as connection:
        sender.send(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_the_webserver_gets_its_statement_timeout_and_keeps_the_one_pool(instance: DagsterInstance, url: str) -> None:
    nothing.execute_in_process(instance=instance)
    instance.optimize_for_webserver(statement_timeout=4321, pool_recycle=60, max_overflow=20)
    with pooled_engine(url).connect() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "4321ms"
    nothing.execute_in_process(instance=instance)
    assert connections(url) == 1


def test_what_the_url_says_of_a_connection_is_kept() -> None:
    given = make_url("postgresql+psycopg2://host/db?application_name=mine&keepalives_idle=3")
    assert {"application_name", "keepalives_idle"}.isdisjoint(_connect_args(given))
