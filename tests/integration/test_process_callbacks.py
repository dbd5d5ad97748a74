"""The addresses at which processes wait for other systems, in the database."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from orchestrator_dagster.db.callbacks import (
    callback_of,
    callbacks_of,
    close_callback,
    find_callback,
    open_callback,
    progress,
    receive,
)
from orchestrator_dagster.db.processes import insert_process

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@pytest.fixture
def process_id(connection: Connection) -> UUID:
    connection.execute(
        text("INSERT INTO orchestrator.workflows (name, target, description) VALUES ('talk', 'SYSTEM', '')")
    )
    process_id = uuid4()
    insert_process(
        connection,
        process_id=process_id,
        workflow="talk",
        run_id=str(process_id),
        created_by="me",
        plan=[],
        given={},
        state="{}",
    )
    return process_id


@pytest.mark.parametrize("body", [{"b": [1.0, None]}, [], "text", None], ids=str)
def test_what_another_system_sends_is_kept_as_it_is(connection: Connection, process_id: UUID, body: Any) -> None:
    open_callback(connection, process_id, "await", "hash", NOW)
    assert receive(connection, process_id, "hash", body, LATER)
    callback = callback_of(connection, process_id, "await")
    assert callback is not None
    assert (callback.body, callback.received_at) == (body, LATER)


def test_the_first_that_is_received_counts(connection: Connection, process_id: UUID) -> None:
    open_callback(connection, process_id, "await", "hash", NOW)
    assert receive(connection, process_id, "hash", None, NOW)
    assert not receive(connection, process_id, "hash", {"b": 2}, LATER)
    assert not progress(connection, process_id, "hash", {"percent": 99}, LATER)
    callback = find_callback(connection, process_id, "hash")
    assert callback is not None
    assert (callback.body, callback.progress) == (None, None)


def test_of_ten_that_are_sent_at_once_one_is_received(connection: Connection, process_id: UUID, engine: Engine) -> None:
    open_callback(connection, process_id, "await", "hash", NOW)
    ready, received = threading.Barrier(10), list[bool]()

    def send(number: int) -> None:
        ready.wait()
        with engine.begin() as own:
            received.append(receive(own, process_id, "hash", number, NOW))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert received.count(True) == 1
    assert len(received) == 10


def test_the_newest_progress_is_known(connection: Connection, process_id: UUID) -> None:
    open_callback(connection, process_id, "await", "hash", NOW)
    assert progress(connection, process_id, "hash", {"percent": 10}, NOW)
    assert progress(connection, process_id, "hash", "nearly there", LATER)
    callback = callback_of(connection, process_id, "await")
    assert callback is not None
    assert (callback.progress, callback.progress_at, callback.received_at) == ("nearly there", LATER, None)


def test_an_address_that_was_replaced_is_not_good_any_more(connection: Connection, process_id: UUID) -> None:
    open_callback(connection, process_id, "await", "first", NOW)
    open_callback(connection, process_id, "await", "second", LATER)
    assert not receive(connection, process_id, "first", {"b": 1}, LATER)
    first, second = callbacks_of(connection, process_id)
    assert (first.closed_at, second.closed_at) == (LATER, None)
    assert callback_of(connection, process_id, "await") == second


def test_a_callback_that_comes_too_late_is_not_received(connection: Connection, process_id: UUID) -> None:
    open_callback(connection, process_id, "await", "hash", NOW)
    close_callback(connection, process_id, "await", NOW)
    assert callback_of(connection, process_id, "await") is None
    assert not receive(connection, process_id, "hash", {}, LATER)
    assert not progress(connection, process_id, "hash", {}, LATER)
    assert find_callback(connection, process_id, "hash") is not None, "who asks is told that it was too late"


def test_steps_of_one_process_wait_side_by_side(connection: Connection, process_id: UUID) -> None:
    open_callback(connection, process_id, "await[0]", "first", NOW)
    open_callback(connection, process_id, "await[1]", "second", NOW)
    close_callback(connection, process_id, "await[0]", NOW)
    assert receive(connection, process_id, "second", {}, NOW)


def test_an_address_is_good_for_its_process_only(connection: Connection, process_id: UUID) -> None:
    open_callback(connection, process_id, "await", "hash", NOW)
    assert find_callback(connection, uuid4(), "hash") is None
    assert find_callback(connection, process_id, "other") is None
