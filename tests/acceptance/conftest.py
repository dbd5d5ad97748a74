"""What acceptance tests share."""

from pathlib import Path

import pytest
from flows import Benches, Outside
from user_project import UserProject


@pytest.fixture
def project(orchestrator_database: str, tmp_path: Path) -> UserProject:
    """A project of a user, with a fresh database whose catalogue is empty."""
    return UserProject.begin(tmp_path, orchestrator_database)


@pytest.fixture
def benches(database_url: str) -> Benches:
    """What opens workbenches on a fresh database."""
    return Benches(database_url)


@pytest.fixture
def outside() -> Outside:
    """A world outside of which nothing was asked yet."""
    return Outside()
