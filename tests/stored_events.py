"""Events as Dagster stores them, and what another connection to the database sees of them."""

import time
from collections.abc import Callable

from dagster import DagsterEventType, EventLogEntry
from dagster._core.events import DagsterEvent
from sqlalchemy import NullPool, create_engine, text

from orchestrator_dagster.instance import PostgresStorage
from orchestrator_dagster.instance.event_log import PooledEventLogStorage

NEVER = 3_600_000
PATIENCE = 60.0


def opened(url: str, batch_milliseconds: int = NEVER) -> PooledEventLogStorage:
    """An event log that writes when it must, unless told otherwise."""
    return PostgresStorage(url, batch_milliseconds=batch_milliseconds).event_log_storage


def line(message: str, run_id: str = "run", step_key: str | None = None) -> EventLogEntry:
    """A line that the author logged."""
    return EventLogEntry(
        error_info=None, level=20, user_message=message, run_id=run_id, timestamp=time.time(), step_key=step_key
    )


def status(event_type: DagsterEventType, run_id: str = "run") -> EventLogEntry:
    """An event that can't wait."""
    return EventLogEntry(
        error_info=None,
        level=20,
        user_message=event_type.value,
        run_id=run_id,
        timestamp=time.time(),
        dagster_event=DagsterEvent(event_type.value, "job"),
    )


def written(url: str) -> list[str]:
    """What the events in the database say, seen by another connection, in the order of their ids."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        rows = connection.execute(text("SELECT event::json ->> 'user_message' FROM event_logs ORDER BY id"))
        return list(rows.scalars())


def eventually(url: str, expected: list[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while written(url) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert written(url) == expected


def terminate_backends(url: str) -> int:
    """End all other connections to the database, as a restart would."""
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        ended = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        return len(ended.all())


def wait_until_blocked(url: str, may_end: Callable[[], bool] = lambda: False) -> None:
    """Wait until a connection waits for a lock, or something else is true."""
    deadline = time.monotonic() + PATIENCE
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not connection.execute(blocked).scalar() and not may_end() and time.monotonic() < deadline:
            time.sleep(0.01)
