"""Connections: one engine for each database and operating system process."""

import os
import threading
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

from orchestrator_dagster.db.exact_json import from_json, to_json
from orchestrator_dagster.db.leases import give_back
from orchestrator_dagster.domain.repository import ambient_repository
from orchestrator_dagster.errors import ProcessStateError

APPLICATION_NAME = "orchestrator-dagster"

# jit: the planner overestimates recursive statements by far, and would compile each of them for longer than it runs.
# search_path: for a role that is called like our schema, the default would put what has no schema into ours.
# max_parallel_workers_per_gather: for the same reason it would start workers, for parts of a statement that never run.
_SESSION_SETTINGS = "-c timezone=UTC -c jit=off -c search_path=public -c max_parallel_workers_per_gather=0"

# A worker whose machine vanished is noticed within half a minute, by Postgres too, which then takes back its locks.
_SESSION_SETTINGS += " -c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}

# A worker that dies is noticed while a statement of its is under way, too; servers before 14 and some systems cannot.
# What the server or the URL says already is kept.
_LOOK_FOR_DEAD_CLIENTS = """
    SELECT set_config('client_connection_check_interval', '1s', false)
    WHERE current_setting('client_connection_check_interval', true) = '0'
"""

# A process that is idle keeps one connection, which it replaces when it is old. A busy run needs one.
_MOST_IDLE = 1
_MOST_AT_ONCE = 20
_MOST_SECONDS_OLD = 30 * 60

_engines: dict[str, Engine] = {}
_lock = threading.Lock()


def engine_for(url: str) -> Engine:
    """Return the engine of a database, the same one for the same URL.

    Its connections speak UTC and exact JSON. A forked process can go on using it: the child opens its own connections.

    Args:
        url: as `postgresql+psycopg2://…`.
    """
    with _lock:
        if url not in _engines:
            _engines[url] = _create(make_url(url))
        return _engines[url]


def dispose_engine(url: str) -> None:
    """Close the idle connections to a database and forget its engine."""
    with _lock:
        engine = _engines.pop(url, None)
    if engine is not None:
        engine.dispose()


def _create(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=_MOST_IDLE,
        max_overflow=_MOST_AT_ONCE - _MOST_IDLE,
        pool_recycle=_MOST_SECONDS_OLD,
        pool_pre_ping=True,
        json_serializer=to_json,
        json_deserializer=from_json,
        connect_args=_connect_args(url),
    )
    event.listen(engine, "connect", _have_the_server_look_for_us)
    event.listen(engine, "reset", give_back)
    event.listen(engine, "commit", _require_the_end_of_the_step)
    return engine


def _have_the_server_look_for_us(driver: Any, _record: Any) -> None:
    driver.autocommit = True
    try:
        with driver.cursor() as cursor, suppress(driver.DataError):
            cursor.execute(_LOOK_FOR_DEAD_CLIENTS)
    finally:
        driver.autocommit = False


def _require_the_end_of_the_step(connection: Connection) -> None:
    """Keep a step's code from committing half of the step: the engine commits after the step's store is gone."""
    if getattr(ambient_repository(), "connection", None) is connection:
        raise ProcessStateError(
            "A step cannot commit: the engine commits its changes, its row in the step log and the state at once"
        )


def _connect_args(url: URL) -> dict[str, Any]:
    given = url.query.get("options", os.environ.get("PGOPTIONS", ""))
    options = given if isinstance(given, str) else " ".join(given)
    return {
        **_KEEPALIVES,
        "application_name": url.query.get("application_name", APPLICATION_NAME),
        "options": f"{_SESSION_SETTINGS} {options}".strip(),
    }


def _after_fork_in_child() -> None:
    """Leave the parent's connections alone: they are its own, and two processes on one would mix their answers."""
    global _lock
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork_in_child)
