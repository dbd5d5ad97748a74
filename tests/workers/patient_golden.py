"""The golden example, whose modifications wait at their middle step for as long as a file is there."""

import os
import time
from pathlib import Path

from golden.definitions import defs, orchestrator

from orchestrator_dagster.ops.commit_path import CommitPoint, listeners

__all__ = ["defs", "orchestrator"]

MOST_SECONDS = 60


def wait(point: CommitPoint, step_key: str) -> None:
    if (point, step_key) != (CommitPoint.BEFORE_EFFECT, "configure_node_again"):
        return
    deadline = time.monotonic() + MOST_SECONDS
    while Path(os.environ["WAIT_WHILE_THERE"]).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("Nobody said to go on")
        time.sleep(0.02)


listeners.append(wait)
