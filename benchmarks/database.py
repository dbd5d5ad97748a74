"""The Postgres server that all sides share, each with a database of its own."""

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url, text

from orchestrator_dagster.db.server import EmbeddedServer
from orchestrator_dagster.db.url import normalise_url

SERVER_VARIABLE = "ORCHESTRATOR_BENCH_DATABASE_URL"
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections")
COMMITS = 200
CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = :database AND backend_type = 'client backend'"
)


class DatabaseServer:
    """A server on which databases can be made.

    Args:
        url: a database of it that exists, with an account that may create others.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._made: list[str] = []
        self._engine: Engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def create(self, name: str, template: str = "template0") -> str:
        """Make a database and return its URL.

        Args:
            name: its name; a database of that name is dropped before.
            template: the database that it is a copy of, to which nobody may be connected. Default: an empty one.
        """
        with self._engine.connect() as connection:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        if name not in self._made:
            self._made.append(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        """Drop a database that was made."""
        with self._engine.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        self._made.remove(name)

    def drop_all(self) -> None:
        """Drop the databases that were made."""
        for name in list(self._made):
            self.drop(name)

    def settings(self) -> dict[str, str]:
        """Return what says whether the server is durable, and how large it is."""
        with self._engine.connect() as connection:
            return {name: str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in SETTINGS}

    @contextmanager
    def connection_counter(self, database: str) -> Iterator["ConnectionCounter"]:
        """Open what counts the connections to a database, with a connection to another one."""
        with self._engine.connect() as connection:
            yield ConnectionCounter(connection, database)

    def commit_seconds(self) -> float:
        """Return the median time of a transaction of one row, which says how fast the disk is."""
        durations = []
        with create_engine(self._url, poolclass=NullPool).connect() as connection:
            connection.execute(text("CREATE TABLE bench_commit (number int)"))
            connection.commit()
            for number in range(COMMITS):
                started = time.perf_counter()
                connection.execute(text("INSERT INTO bench_commit VALUES (:number)"), {"number": number})
                connection.commit()
                durations.append(time.perf_counter() - started)
            connection.execute(text("DROP TABLE bench_commit"))
            connection.commit()
        return statistics.median(durations)


class ConnectionCounter:
    """Counts the connections to a database."""

    def __init__(self, connection: Connection, database: str) -> None:
        self._connection = connection
        self._database = database

    def count(self) -> int:
        return int(self._connection.execute(CONNECTIONS, {"database": self._database}).scalar_one())


@contextmanager
def database_server(folder: Path, extended: Path | None) -> Iterator[DatabaseServer]:
    """Start a server of our own, or take the one that an environment variable names.

    Args:
        folder: where its data is.
        extended: a folder with a copy of the package of Postgres programs that has more extensions, if there is one.
    """
    configured = os.environ.get(SERVER_VARIABLE)
    if configured:
        databases = DatabaseServer(make_url(normalise_url(configured)))
        try:
            yield databases
        finally:
            databases.drop_all()
        return
    if extended is not None:
        # the embedded server takes the programs of the package that is found first
        sys.path.insert(0, str(extended))
    server = EmbeddedServer(folder)
    try:
        yield DatabaseServer(make_url(server.start()))
    finally:
        server.destroy()
