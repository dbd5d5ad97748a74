"""Dagster's tables."""

from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import create_pg_connection
from sqlalchemy import Connection, text

from orchestrator_dagster.instance.engine import pooled_engine

MAIN_TABLES = frozenset({"event_logs", "instance_info", "jobs", "runs"})

_FIND = text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY(:names)")
_ONE_AT_A_TIME = text("SELECT pg_advisory_lock(hashtext('dagster tables'))")
_NEXT = text("SELECT pg_advisory_unlock(hashtext('dagster tables'))")


def ensure_tables(url: str) -> None:
    """Let Dagster make its tables where they are missing. Processes that start together make them once.

    Args:
        url: as `postgresql+psycopg2://…`.
    """
    with create_pg_connection(pooled_engine(url)) as connection:
        if _are_there(connection):
            return
        connection.execute(_ONE_AT_A_TIME)
        try:
            if not _are_there(connection):
                _make(url)
        finally:
            connection.execute(_NEXT)


def _are_there(connection: Connection) -> bool:
    """Answer with one statement; each of Dagster's storages opens a connection and lists all tables for that."""
    found = connection.execute(_FIND, {"names": list(MAIN_TABLES)}).scalars()
    return MAIN_TABLES.issubset(found)


def _make(url: str) -> None:
    for storage in (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
        storage(url, should_autocreate_tables=True)
