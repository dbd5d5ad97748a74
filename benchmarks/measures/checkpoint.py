"""What our engine does for a step: its effect, its row in the step log, the state."""

import json

from benchmarks.samples import Samples
from benchmarks.sides.dagster import DagsterSide

QUANTITIES = {"count": "checkpoint", "revise_circuit": "checkpoint_saving"}


def checkpoint(side: DagsterSide, samples: Samples, runs: int) -> None:
    """Add what the engine takes for a step that does nothing, and for one that changes and saves a subscription.

    Args:
        side: our system.
        samples: where it is added, in milliseconds.
        runs: how many runs of each workflow.
    """
    side.prepare()
    for step, seconds in json.loads(side.probe("checkpoint", runs)).items():
        samples.add(QUANTITIES[step], side.key, [taken * 1000 for taken in seconds])
