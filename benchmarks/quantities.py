"""The quantities that the table has a line for: what they are called, what they should be."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.samples import percentile

OURS = "ours"


@dataclass(frozen=True)
class Quantity:
    """A line of the table.

    Attributes:
        key: the quantity whose samples it shows.
        title: what it is, with its unit.
        goal: what our system should reach, in words.
        reached: whether a value of ours reaches that.
        summary: what makes one value of all samples.
        ratios: how many times better than another side ours should be, by that side's key.
        more_is_better: whether a larger value is the better one.
    """

    key: str
    title: str
    goal: str = ""
    reached: Callable[[float], bool] | None = None
    summary: Callable[[Sequence[float]], float] = statistics.median
    ratios: tuple[tuple[str, float], ...] = ()
    more_is_better: bool = False


QUANTITIES = (
    Quantity("submit", "submit to done, median (s)", "< 0.25", lambda value: value < 0.25, ratios=(("stock", 15),)),
    Quantity("submit", "submit to done, p95 (s)", "< 0.5", lambda value: value < 0.5, partial(percentile, percent=95)),
    Quantity(
        "burst",
        "submitted at once (processes/s)",
        ">= 10",
        lambda value: value >= 10,
        ratios=(("stock", 30), ("orchestrator-core", 3)),
        more_is_better=True,
    ),
    Quantity("step", "in process, run of 9 steps / 9 (ms)", "< 8", lambda value: value < 8),
    Quantity("added_step", "in process, each of 20 more steps (ms)"),
    Quantity("checkpoint", "our checkpoint, step without effect (ms)", "< 2", lambda value: value < 2),
    Quantity("checkpoint_saving", "our checkpoint, step that saves (ms)"),
    Quantity("events_per_step", "events stored per step", "<= 3", lambda value: value <= 3),
    Quantity("events_per_run", "events stored per run of 9 steps"),
    Quantity("connections", "Postgres connections, all busy", "<= 20", lambda value: value <= 20, max),
    Quantity("soak_growth", "soak: memory, last half (MiB per 1,000)"),
    Quantity("soak_first_rate", "soak: first tenth (processes/s)", more_is_better=True),
    Quantity("soak_last_rate", "soak: last tenth (processes/s)", more_is_better=True),
    Quantity("import", "import, beside Dagster's (s)", "< 0.15", lambda value: value < 0.15),
    Quantity("import_all", "import of all public names (s)"),
)
