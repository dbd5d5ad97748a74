"""The database as a Dagster resource."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from orchestrator_dagster.domain.repository import ambient_repository

# Definitions name the database; what talks to it is loaded when something does.
if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

DATABASE = "orchestrator_database"
"""Key of the resource among those of the orchestrator."""


class Database(dg.ConfigurableResource["Database"]):
    """The orchestrator's Postgres database.

    Without a URL it is the one of `ORCHESTRATOR_DATABASE_URL`, or else the embedded server in `DAGSTER_HOME`.

    Args:
        url: `postgresql://user:password@host:port/database`.

    Example:
        >>> Database(url="postgresql://orchestrator@localhost/orchestrator").address
        'postgresql+psycopg2://orchestrator@localhost/orchestrator'
    """

    url: str | None = Field(default=None, description="Default: ORCHESTRATOR_DATABASE_URL, or an embedded server")

    @property
    def address(self) -> str:
        """The URL as SQLAlchemy takes it; starts the embedded server where that is the database."""
        from orchestrator_dagster.db.url import database_url, normalise_url

        url = self.url.get_value() if isinstance(self.url, dg.EnvVar) else self.url
        return normalise_url(url) if url else database_url()

    @property
    def engine(self) -> "Engine":
        """The engine, with the schema that the code needs.

        A database without any orchestrator tables gets them; one that is behind or ahead is refused.

        Raises:
            ConfigurationError: the schema is not the one that the code needs; the message says what to do.
        """
        from orchestrator_dagster.db.engine import engine_for

        address = self.address
        _require_schema(address)
        return engine_for(address)

    @contextmanager
    def reading(self) -> Iterator["Connection"]:
        """Yield a connection to read from: inside a step the step's own, so that it sees what the step changed."""
        from orchestrator_dagster.db.subscriptions.repository import PostgresRepository

        repository = ambient_repository()
        if isinstance(repository, PostgresRepository):
            yield repository.connection
        else:
            with self.engine.connect() as connection:
                yield connection


@cache
def _require_schema(address: str) -> None:
    from orchestrator_dagster.db.engine import engine_for
    from orchestrator_dagster.db.migrate import current_revision, require_current, upgrade

    engine = engine_for(address)
    if current_revision(engine) is None:
        upgrade(engine)
    require_current(engine)
