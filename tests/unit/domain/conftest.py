from collections.abc import Iterator

import pytest
from memory_repository import MemoryRepository

from orchestrator_dagster import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator_dagster.domain import use_repository


@pytest.fixture(autouse=True)
def no_other_products() -> Iterator[None]:
    """The products that other tests declare are not known here, nor the other way round."""
    others = dict(SUBSCRIPTION_MODEL_REGISTRY)
    SUBSCRIPTION_MODEL_REGISTRY.clear()
    yield
    SUBSCRIPTION_MODEL_REGISTRY.clear()
    SUBSCRIPTION_MODEL_REGISTRY.update(others)


@pytest.fixture
def repository() -> Iterator[MemoryRepository]:
    """A store in memory, that models load from and save to within the test."""
    with use_repository(MemoryRepository()) as found:
        assert isinstance(found, MemoryRepository)
        yield found
