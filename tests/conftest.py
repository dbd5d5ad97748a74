"""A Postgres for the tests: one server for the session, a fresh migrated database for each test that asks for one."""

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from dagster_home import DagsterHome
from golden_example import golden_folder
from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url, text

from orchestrator_dagster.db.engine import dispose_engine, engine_for
from orchestrator_dagster.db.migrate import upgrade
from orchestrator_dagster.db.server import EmbeddedServer
from orchestrator_dagster.db.url import normalise_url
from orchestrator_dagster.instance.engine import dispose_pooled_engine

SERVER_VARIABLE = "ORCHESTRATOR_TEST_DATABASE_URL"

NewDatabase = Callable[..., str]
CountStatements = Callable[[Engine], AbstractContextManager[list[str]]]


@pytest.fixture(scope="session")
def database_server() -> Iterator[URL]:
    """A server on which databases can be made: the configured one, else an embedded one of this session alone."""
    configured = os.environ.get(SERVER_VARIABLE)
    if configured:
        yield make_url(normalise_url(configured))
        return
    with tempfile.TemporaryDirectory(prefix="orchestrator-test-") as folder:
        server = EmbeddedServer(Path(folder) / "postgres")
        try:
            yield make_url(server.start())
        finally:
            server.destroy()


@pytest.fixture(scope="session")
def template_database(database_server: URL) -> Iterator[str]:
    """The name of a migrated database that others are copied from."""
    with _database(database_server) as url:
        upgrade(engine_for(url))
        dispose_engine(url)  # a database can be copied while nobody is connected to it
        yield str(make_url(url).database)


@pytest.fixture
def new_database(database_server: URL) -> Iterator[NewDatabase]:
    """Make databases, empty or from a template, that are dropped after the test."""
    made: list[AbstractContextManager[str]] = []

    def make(template: str | None = None) -> str:
        database = _database(database_server, template)
        url = database.__enter__()
        made.append(database)
        return url

    yield make
    for database in made:
        database.__exit__(None, None, None)


@pytest.fixture
def database_url(new_database: NewDatabase, template_database: str) -> str:
    """The URL of a fresh migrated database."""
    return new_database(template_database)


@pytest.fixture(scope="module")
def module_database_url(database_server: URL, template_database: str) -> Iterator[str]:
    """The URL of a migrated database that the tests of a module share: each must look at its own rows only."""
    with _database(database_server, template_database) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Engine:
    """An engine on a fresh migrated database."""
    return engine_for(database_url)


@pytest.fixture
def orchestrator_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh migrated database that this process takes for the orchestrator's; no Dagster home."""
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return database_url


@pytest.fixture
def golden(orchestrator_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The golden example's definitions, with a fresh database and a controller of its own."""
    monkeypatch.setenv("CONTROLLER_DIRECTORY", str(tmp_path / "controller"))
    monkeypatch.syspath_prepend(str(golden_folder()))
    return importlib.import_module("golden.definitions")


@pytest.fixture
def dagster_home(orchestrator_database: str, tmp_path: Path) -> DagsterHome:
    """A Dagster instance for commands and workers, with the golden example, a fresh database and a controller."""
    return DagsterHome.make(
        tmp_path / "home",
        python_path=[golden_folder()],
        ORCHESTRATOR_DATABASE_URL=orchestrator_database,
        CONTROLLER_DIRECTORY=str(tmp_path / "controller"),
    )


@pytest.fixture
def count_statements() -> CountStatements:
    """Collect the SQL that an engine runs: `with count_statements(engine) as statements: …; len(statements)`."""

    @contextmanager
    def count(engine: Engine) -> Iterator[list[str]]:
        statements: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        try:
            yield statements
        finally:
            event.remove(engine, "before_cursor_execute", note)

    return count


@contextmanager
def _database(server: URL, template: str | None = None) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    source = f'TEMPLATE "{template}"' if template else "TEMPLATE template0"
    _administer(server, f'CREATE DATABASE "{name}" {source}')
    url = server.set(database=name).render_as_string(hide_password=False)
    try:
        yield url
    finally:
        dispose_engine(url)
        dispose_pooled_engine(url)
        _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _administer(server: URL, command: str) -> None:
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(command))
