"""The workers of one code location."""

import os
import time
from collections.abc import Callable

from orchestrator_dagster.instance.launch_queue import Demand
from orchestrator_dagster.instance.worker_process import WorkerProcess

_MOST_LOADING = max(1, (os.cpu_count() or 1) // 2)
"""More workers that load code at the same time would only slow each other down."""


class Crew:
    """Workers that have loaded the same state of the same code.

    Args:
        code: where the code is: Dagster's repository origin as JSON.
        hire: starts a worker.
        most: most workers at a time.
    """

    def __init__(self, code: str, hire: Callable[[], WorkerProcess], most: int) -> None:
        self.code = code
        self.workers: list[WorkerProcess] = []
        self._hire = hire
        self._most = most
        self._versions: set[str] = set()
        self._loaded_from = time.time()

    def prepare_for(self, demand: Demand) -> None:
        """See to enough workers that have loaded the right code.

        Raises:
            OSError: a worker could not be started.
        """
        if demand.code_version not in self._versions:
            if demand.not_before > self._loaded_from:
                self.renew()
            self._versions.add(demand.code_version)
        current = [worker for worker in self.workers if not worker.retired]
        loading = sum(not worker.ready for worker in current)
        wanted = demand.runs - loading - len(self.free)
        for _ in range(min(wanted, self._most - len(current), _MOST_LOADING - loading)):
            self.workers.append(self._hire())

    def renew(self) -> None:
        """Let no worker that is there now have another run: its code is old."""
        self._versions.clear()
        self._loaded_from = time.time()
        for worker in self.workers:
            worker.retire()

    @property
    def free(self) -> list[WorkerProcess]:
        """The workers that can take a run."""
        return [worker for worker in self.workers if worker.free]
