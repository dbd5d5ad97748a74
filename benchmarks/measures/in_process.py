"""A step of a workflow that runs in one Python process, its step log included."""

from benchmarks.samples import Samples
from benchmarks.sides import Side

MORE_STEPS = 30 - 10


def in_process(side: Side, samples: Samples, runs: int) -> None:
    """Add what a step takes: the time of a run by its steps, and what each of twenty more steps adds to it.

    Args:
        side: the system.
        samples: where it is added, in milliseconds.
        runs: how many runs of each workflow.
    """
    seconds = side.in_process(runs)
    samples.add("step", side.key, [taken / 9 * 1000 for taken in seconds["9"]])
    pairs = zip(seconds["10"], seconds["30"], strict=True)
    samples.add("added_step", side.key, [(longer - shorter) / MORE_STEPS * 1000 for shorter, longer in pairs])
