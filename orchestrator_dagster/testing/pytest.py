"""Fixtures for whoever names this module in `pytest_plugins` and has a fixture `orchestrator`.

See `docs/testing-workflows.md`.
"""

import os
from collections.abc import Iterator

import pytest

from orchestrator_dagster.orchestrator import Orchestrator
from orchestrator_dagster.resources.database import Database
from orchestrator_dagster.testing.server import TemporaryServer
from orchestrator_dagster.testing.workbench import Workbench

SERVER_VARIABLE = "ORCHESTRATOR_TEST_DATABASE_URL"


@pytest.fixture(scope="session")
def orchestrator_server() -> Iterator[TemporaryServer]:
    """A Postgres server for all tests: that of `ORCHESTRATOR_TEST_DATABASE_URL`, or else one of its own."""
    with TemporaryServer(os.environ.get(SERVER_VARIABLE)) as server:
        yield server


@pytest.fixture
def orchestrator_test_database(orchestrator_server: TemporaryServer) -> Iterator[Database]:
    """A fresh database for a test."""
    with orchestrator_server.database() as database:
        yield database


@pytest.fixture
def orchestrator() -> Orchestrator:
    """The orchestrator that is tested: to be defined by whoever has one."""
    raise pytest.UsageError("Define a fixture `orchestrator` that returns the orchestrator under test")


@pytest.fixture
def workbench(orchestrator: Orchestrator, orchestrator_test_database: Database) -> Iterator[Workbench]:
    """A workbench with the orchestrator under test and a fresh database."""
    with Workbench(orchestrator, database=orchestrator_test_database) as bench:
        yield bench
