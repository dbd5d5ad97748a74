"""Workers that are killed at a point of a commit. One process has imported everything, and forks for each of them.

It reads an order a line, `[shape, mark, place]`, and answers with the exit status of the worker: a process of that
shape is started and driven until it ends, or until the worker comes to the place, as in `after commit/a`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import dagster as dg
from driving import Driver
from places import Places
from shapes import SHAPES, orchestrator

from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.ops.commit_path import CommitPoint, listeners
from orchestrator_dagster.testing import JumpingClock


def die_at(place: str) -> None:
    """Kill this process when it comes there, and leave a note that it did."""

    name = Places()

    def die(point: CommitPoint, step: str) -> None:
        if name(point, step) == place:
            Path(os.environ["DIED_AT"]).write_text(place)
            os.kill(os.getpid(), signal.SIGKILL)

    listeners.append(die)


def work(shape: str, mark: str, place: str) -> None:
    """Be the worker."""
    die_at(place)
    clock = JumpingClock()
    with use_clock(clock), dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as wfo:
        Driver(wfo, clock).drive(SHAPES[shape], wfo.run(shape, {"mark": mark}))


def fork(order: list[str]) -> int:
    """Have a worker do an order, and return its exit status."""
    worker = os.fork()
    if worker == 0:
        with Path(os.environ["WORKERS_OUTPUT"]).open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        try:
            work(*order)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])


if __name__ == "__main__":
    for name in orchestrator.workflows:
        orchestrator.job(name, log_level="CRITICAL")
    for line in sys.stdin:
        sys.stdout.write(f"{fork(json.loads(line))}\n")
        sys.stdout.flush()
