"""Connections to the database."""

import os
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import StatementError

from orchestrator_dagster.db import engine as engine_module
from orchestrator_dagster.db.engine import dispose_engine, engine_for
from orchestrator_dagster.db.exact_json import from_json, same_json, to_json
from orchestrator_dagster.db.tables import process_inputs


def test_a_url_has_one_engine(database_url: str) -> None:
    assert engine_for(database_url) is engine_for(database_url)


def test_an_engine_that_was_disposed_is_made_again(database_url: str) -> None:
    first = engine_for(database_url)
    dispose_engine(database_url)
    dispose_engine(database_url)
    assert engine_for(database_url) is not first


def test_connections_speak_utc_and_say_who_they_are(engine: Engine) -> None:
    with engine.connect() as connection:
        moment = connection.scalar(text("SELECT timestamptz '2024-01-01 12:00+02'"))
        name = connection.scalar(text("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"))
    assert (moment, moment.tzinfo, name) == (datetime(2024, 1, 1, 10, tzinfo=UTC), UTC, "orchestrator-dagster")


def test_what_a_url_asks_for_is_kept(database_url: str) -> None:
    url = f"{database_url}?application_name=mine&options=-c%20work_mem%3D7MB"
    with engine_for(url).connect() as connection:
        found = [connection.scalar(text(f"SHOW {name}")) for name in ("application_name", "work_mem", "TimeZone")]
    dispose_engine(url)
    assert found == ["mine", "7MB", "UTC"]


@pytest.mark.parametrize(
    ("asked_for", "found"), [("", "1s"), ("?options=-c%20client_connection_check_interval%3D7s", "7s")]
)
def test_the_server_looks_for_dead_clients_while_it_executes(database_url: str, asked_for: str, found: str) -> None:
    """It still does after a rollback."""
    url = f"{database_url}{asked_for}"
    with engine_for(url).connect() as connection:
        connection.rollback()
        assert connection.scalar(text("SHOW client_connection_check_interval")) == found
    dispose_engine(url)


@pytest.mark.parametrize(
    "statement", ["SELECT set_config('client_connection_check_interval', '-1', false)", "SELECT 1"]
)
def test_a_server_that_cannot_look_for_dead_clients_can_be_used(
    database_url: str, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Its platform refuses the setting, or it is too old to have it."""
    monkeypatch.setattr(engine_module, "_LOOK_FOR_DEAD_CLIENTS", statement)
    url = f"{database_url}?application_name=other"
    with engine_for(url).connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    dispose_engine(url)


def test_a_connection_that_the_server_closed_is_replaced(engine: Engine) -> None:
    with engine.connect() as connection:
        lost = connection.scalar(text("SELECT pg_backend_pid()"))
    with create_engine(engine.url, poolclass=NullPool).begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:lost, 5000)"), {"lost": lost})
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != lost


def test_an_idle_process_keeps_one_connection(engine: Engine) -> None:
    with engine.connect(), engine.connect(), engine.connect():
        assert engine.pool.checkedout() == 3  # type: ignore[attr-defined]
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_uses_connections_of_its_own(engine: Engine) -> None:
    """And ends without closing the parent's."""
    url = engine.url.render_as_string(hide_password=False)
    mine = engine_for(url)
    with mine.connect() as connection:
        before = connection.scalar(text("SELECT pg_backend_pid()"))
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with engine_for(url).connect() as own:
                    os.write(write, str(own.scalar(text("SELECT pg_backend_pid()"))).encode())
            finally:
                sys.stdout.flush()
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read) as answer:
            assert int(answer.read()) != before
        assert connection.scalar(text("SELECT pg_backend_pid()")) == before


@pytest.mark.parametrize(
    "value",
    [
        1e16,
        -1.5e300,
        1e-300,
        10**40,
        True,
        1,
        1.0,
        "1e+22",
        ["\\", '"1e+22', 1e22],
        {"a\\": 1e22},
        "\\u0000",
        None,
        "é",
    ],
)
def test_json_comes_back_from_a_column_as_it_went_in(engine: Engine, value: object) -> None:
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT CAST(:value AS jsonb)"), {"value": to_json(value)})
    assert repr(found) == repr(value)
    assert same_json(found, value)
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "\0", ["\\\0"], "\\\0"])
def test_json_that_a_column_cannot_hold_is_refused_before_it_is_sent(engine: Engine, value: object) -> None:
    with pytest.raises(ValueError, match=r"NUL|[Oo]ut of range"):
        to_json(value)
    with pytest.raises(StatementError, match=r"NUL|[Oo]ut of range"), engine.begin() as connection:
        connection.execute(process_inputs.insert().values(input=value))
