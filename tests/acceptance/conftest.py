"""What acceptance tests share."""

from pathlib import Path

import pytest
from user_project import UserProject


@pytest.fixture
def project(orchestrator_database: str, tmp_path: Path) -> UserProject:
    """A project of a user, with a fresh database whose catalogue is empty."""
    return UserProject.begin(tmp_path, orchestrator_database)
