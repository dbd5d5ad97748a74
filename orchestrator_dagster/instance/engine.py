"""Connections to where Dagster's records are: one pool for each database and operating system process."""

import os
import threading
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url

from orchestrator_dagster.instance.pool import PoolSettings, SharingPool

APPLICATION_NAME = "dagster-storage"

# A server whose machine vanished is noticed within half a minute.
_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}

_engines: dict[str, tuple[Engine, PoolSettings]] = {}
_lock = threading.Lock()


class OnPool:
    """What storages on the pool have in common."""

    postgres_url: str

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Do what Dagster's webserver asks for, on the pool, which stays the only one.

        Args:
            statement_timeout: milliseconds, 0 for none.
            pool_recycle: seconds.
            max_overflow: connections beside the one that is kept. More than the pool has anyway are not given.
        """
        tune_pool(
            self.postgres_url,
            max_connections=min(_pooled(self.postgres_url)[1].max_connections, max_overflow + 1),
            recycle_seconds=pool_recycle,
            statement_timeout_milliseconds=statement_timeout,
        )


def pooled_engine(url: str) -> Engine:
    """Return the engine of a database, the same one for the same URL.

    A statement outside of `begin()` is a transaction of its own, as in Dagster's storages. No connection is made before
    one is needed. A forked process can go on using the engine: the child opens its own connections.

    Args:
        url: as `postgresql+psycopg2://…`.

    Example:
        ```python
        with pooled_engine(url).connect() as connection:
            connection.execute(text("SELECT 1"))
        ```
    """
    return _pooled(url)[0]


def tune_pool(url: str, **changes: int | None) -> None:
    """Change settings of a database's pool, for all that use it in this process.

    Args:
        url: as `postgresql+psycopg2://…`.
        changes: attributes of `PoolSettings`.
    """
    engine, settings = _pooled(url)
    if all(getattr(settings, name) == value for name, value in changes.items()):
        return
    for name, value in changes.items():
        setattr(settings, name, value)
    engine.dispose()  # the next connections have them


def dispose_pooled_engine(url: str) -> None:
    """Close the idle connections to a database and forget its engine."""
    with _lock:
        found = _engines.pop(url, None)
    if found is not None:
        found[0].dispose()


def _pooled(url: str) -> tuple[Engine, PoolSettings]:
    with _lock:
        if url not in _engines:
            settings = PoolSettings()
            _engines[url] = _create(make_url(url), settings), settings
        return _engines[url]


def _create(url: URL, settings: PoolSettings) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=SharingPool,
        settings=settings,
        connect_args=_connect_args(url),
    )

    @event.listens_for(engine, "connect")
    def limit_statements(connection: Any, _record: Any) -> None:
        if settings.statement_timeout_milliseconds is not None:
            with connection, connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = %s", (settings.statement_timeout_milliseconds,))

    return engine


def _connect_args(url: URL) -> dict[str, Any]:
    """What the URL doesn't say itself."""
    preferred = {**_KEEPALIVES, "application_name": APPLICATION_NAME}
    return {name: value for name, value in preferred.items() if name not in url.query}


def _after_fork_in_child() -> None:
    """Leave the parent's connections alone: they are its own, and two processes on one would mix their answers."""
    global _lock
    _lock = threading.Lock()
    for engine, _ in _engines.values():
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork_in_child)
