"""Which database it is: the URL that was configured, or the embedded server's."""

import os
from functools import cache
from pathlib import Path

from orchestrator_dagster.db.server import EmbeddedServer
from orchestrator_dagster.errors import ConfigurationError

URL_VARIABLE = "ORCHESTRATOR_DATABASE_URL"
HOME_VARIABLE = "DAGSTER_HOME"
SCHEME = "postgresql+psycopg2"
ACCEPTED_SCHEMES = ("postgres", "postgresql", SCHEME)


class DatabaseUrlError(ConfigurationError, ValueError):
    """There is no usable database URL."""


def normalise_url(url: str) -> str:
    """Write a Postgres URL in the one way that SQLAlchemy always reads as psycopg2.

    Args:
        url: A URL that starts with `postgres://`, `postgresql://` or `postgresql+psycopg2://`.

    Raises:
        DatabaseUrlError: It is for another database or driver, or no URL. The message holds no password.

    Example:
        >>> normalise_url("postgres://me@db.example.org/orchestrator")
        'postgresql+psycopg2://me@db.example.org/orchestrator'
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        raise DatabaseUrlError(
            "A database URL looks like postgresql://user:password@host:port/database, and this has no ://"
        )
    if scheme.lower() not in ACCEPTED_SCHEMES:
        accepted = ", ".join(f"{name}://" for name in ACCEPTED_SCHEMES)
        raise DatabaseUrlError(f"The database must be Postgres by psycopg2: {scheme}:// is none of {accepted}")
    return f"{SCHEME}://{rest}"


def database_url() -> str:
    """The URL of the orchestrator's database, with a server behind it.

    It is `ORCHESTRATOR_DATABASE_URL` where that is set. Otherwise it is the embedded server's, in
    `$DAGSTER_HOME/postgres`, which is started when it does not run and stays for as long as this process. Ask again
    rather than keep the answer for long: that costs microseconds, and notices a server that was restarted.

    Raises:
        DatabaseUrlError: Neither variable is set, or one of them holds nonsense.
        EmbeddedServerError: The embedded server does not start.
    """
    configured = os.environ.get(URL_VARIABLE, "").strip()
    if configured:
        return normalise_url(configured)
    home = os.environ.get(HOME_VARIABLE, "").strip()
    if not home:
        raise DatabaseUrlError(
            f"There is no database: set {URL_VARIABLE} to the URL of a Postgres server, "
            f"or {HOME_VARIABLE} to a folder for an embedded one"
        )
    return _embedded_server(home).start()


@cache
def _embedded_server(home: str) -> EmbeddedServer:
    path = Path(home).expanduser()
    if not path.is_absolute():
        raise DatabaseUrlError(f"{HOME_VARIABLE} must be an absolute path: {home!r}")
    return EmbeddedServer(path / "postgres")
