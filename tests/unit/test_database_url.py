from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_dagster.db import url
from orchestrator_dagster.db.url import DatabaseUrlError, database_url, normalise_url
from orchestrator_dagster.errors import OrchestratorError


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATOR_DATABASE_URL", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The folders in which an embedded server was started; none really is."""
    folders: list[Path] = []

    class Server:
        def __init__(self, directory: Path) -> None:
            self.directory = directory

        def start(self) -> str:
            folders.append(self.directory)
            return "postgresql+psycopg2://embedded"

    monkeypatch.setattr(url, "EmbeddedServer", Server)
    url._embedded_server.cache_clear()
    yield folders
    url._embedded_server.cache_clear()


@pytest.mark.parametrize(
    "given",
    [
        "postgres://me:secret@host:5433/db?sslmode=require",
        "postgresql://me:secret@host:5433/db?sslmode=require",
        "postgresql+psycopg2://me:secret@host:5433/db?sslmode=require",
        "  PostgreSQL://me:secret@host:5433/db?sslmode=require\n",
    ],
)
def test_every_way_to_write_a_postgres_url_becomes_the_one_for_psycopg2(given: str) -> None:
    assert normalise_url(given) == "postgresql+psycopg2://me:secret@host:5433/db?sslmode=require"


@pytest.mark.parametrize(
    "given",
    [
        "mysql://me:secret@host/db",
        "sqlite:///secret",
        "postgresql+asyncpg://me:secret@h/db",
        "postgresql+psycopg://secret",
    ],
)
def test_another_database_or_driver_is_refused_by_name(given: str) -> None:
    with pytest.raises(DatabaseUrlError, match="is none of") as refused:
        normalise_url(given)
    assert given.partition("://")[0] in str(refused.value)


@pytest.mark.parametrize("given", ["", "secret", "host:5432/secret", "mysql://me:secret@host"])
def test_a_refusal_does_not_show_what_may_be_a_password(given: str) -> None:
    with pytest.raises(DatabaseUrlError) as refused:
        normalise_url(given)
    assert "secret" not in str(refused.value)


def test_a_url_error_is_a_value_error_and_one_of_ours() -> None:
    assert issubclass(DatabaseUrlError, ValueError)
    assert issubclass(DatabaseUrlError, OrchestratorError)


def test_the_configured_url_wins_and_is_normalised(
    monkeypatch: pytest.MonkeyPatch, started: list[Path], tmp_path: Path
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", "postgres://host/db")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert database_url() == "postgresql+psycopg2://host/db"
    assert not started


def test_an_empty_url_counts_as_none(monkeypatch: pytest.MonkeyPatch, started: list[Path], tmp_path: Path) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", " ")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert database_url() == "postgresql+psycopg2://embedded"


def test_without_a_url_a_server_is_started_in_the_dagster_home(
    monkeypatch: pytest.MonkeyPatch, started: list[Path], tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert database_url() == "postgresql+psycopg2://embedded"
    assert started == [tmp_path / "postgres"]


def test_the_settings_are_read_at_every_call(
    monkeypatch: pytest.MonkeyPatch, started: list[Path], tmp_path: Path
) -> None:
    for home in ("one", "two"):
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / home))
        database_url()
    assert started == [tmp_path / "one" / "postgres", tmp_path / "two" / "postgres"]


def test_without_any_setting_the_error_names_the_two_ways_out() -> None:
    with pytest.raises(DatabaseUrlError, match=r"ORCHESTRATOR_DATABASE_URL.*DAGSTER_HOME"):
        database_url()


def test_a_relative_dagster_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "here")
    with pytest.raises(DatabaseUrlError, match="absolute"):
        database_url()
