"""Postgres for tests: a server in a temporary folder, and databases that live as long as a test."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from sqlalchemy import URL, NullPool, create_engine, make_url, text

from orchestrator_dagster.db.engine import dispose_engine, engine_for
from orchestrator_dagster.db.migrate import upgrade
from orchestrator_dagster.db.server import EmbeddedServer
from orchestrator_dagster.db.url import normalise_url
from orchestrator_dagster.resources.database import Database


class TemporaryServer:
    """A Postgres server whose databases are made for a test and dropped after it.

    The first database takes a second or two, since the schema is made then; the others are copies.

    Args:
        url: a server on which databases may be made. Default: an embedded one in a temporary folder, which is gone in
            the end.

    Example:
        >>> with TemporaryServer() as server, server.database() as database:  # doctest: +SKIP
        ...     Workbench(orchestrator, database=database)
    """

    def __init__(self, url: str | None = None) -> None:
        self._given = url
        self._stack = ExitStack()
        self._template: str | None = None

    def __enter__(self) -> Self:
        self._url = make_url(normalise_url(self._given or self._stack.enter_context(_embedded())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._template = None
        self._stack.close()

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Make an empty database with the orchestrator's tables, for as long as the block lasts."""
        if self._template is None:
            self._template = self._stack.enter_context(self._migrated())
        with self._made(copy_of=self._template) as url:
            yield Database(url=_text(url))

    @contextmanager
    def _migrated(self) -> Iterator[str]:
        with self._made(copy_of="template0") as url:
            upgrade(engine_for(_text(url)))
            # a database can be copied while nobody is connected to it
            dispose_engine(_text(url))
            yield str(url.database)

    @contextmanager
    def _made(self, *, copy_of: str) -> Iterator[URL]:
        name = f"test_{uuid4().hex}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{copy_of}"')
        url = self._url.set(database=name)
        try:
            yield url
        finally:
            dispose_engine(_text(url))
            self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _administer(self, command: str) -> None:
        engine = create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(command))


@contextmanager
def _embedded() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="orchestrator-test-") as folder:
        server = EmbeddedServer(Path(folder) / "postgres")
        try:
            yield server.start()
        finally:
            server.destroy()


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
