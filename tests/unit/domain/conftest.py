from collections.abc import Iterator

import pytest
from memory_repository import MemoryRepository

from orchestrator_dagster.domain import use_repository


@pytest.fixture
def repository() -> Iterator[MemoryRepository]:
    """A store in memory, that models load from and save to within the test."""
    with use_repository(MemoryRepository()) as found:
        assert isinstance(found, MemoryRepository)
        yield found
