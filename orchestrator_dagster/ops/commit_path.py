"""Named points on the way of a step into the database, where a test can stop or kill the worker."""

from collections.abc import Callable
from enum import Enum


class CommitPoint(Enum):
    """A point on the way of a step into the database."""

    BEFORE_EFFECT = "before effect"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"
    AFTER_COMMIT_BEFORE_DAGSTER = "after commit and before Dagster"


listeners: list[Callable[[CommitPoint, str], None]] = []
"""Called with the point and the step's key, inside a foreach with the item's index. Empty but in tests."""


def reached(point: CommitPoint, step_key: str) -> None:
    """Say that a step has come to a point."""
    for listener in listeners:
        listener(point, step_key)
