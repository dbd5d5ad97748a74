"""What integration tests share: sessions with the workflows that a test makes up."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import dagster as dg
import pytest

from orchestrator_dagster import Orchestrator, Session, Workflow


@pytest.fixture
def session() -> Iterator[Callable[..., Session]]:
    """Open sessions with workflows, all on one instance: an edited workflow comes in a session of its own."""
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())

        def session(*workflows: Workflow, **options: Any) -> Session:
            return stack.enter_context(Orchestrator([], workflows=workflows).connect(instance=instance, **options))

        yield session
