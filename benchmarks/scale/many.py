"""A thousand subscriptions at once, and walking through all of them."""

import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID

from sqlalchemy import Engine

from benchmarks.children import run_to_end
from benchmarks.samples import short
from benchmarks.scale.measured import measure
from benchmarks.scale.numbers import subscription_id
from benchmarks.scale.report import Report
from orchestrator_dagster import SubscriptionModel

AT_ONCE = 1_000
SECONDS = 0.3
STATEMENTS = 5
MOST_ITERATED = 100_000
REPOSITORY = Path(__file__).resolve().parents[2]

# the last digit of a number says what kind of subscription it is; see data_statements.py
KINDS: dict[str, Sequence[int]] = {
    "of all kinds": range(10),
    "nodes (1 block)": range(3),
    "ports (1 or 2 blocks, and a node's)": range(3, 8),
    "circuits (3 blocks, and those of 2 ports)": range(8, 10),
}


def measure_many(engine: Engine, report: Report, size: int, rounds: int) -> None:
    """Load a thousand different subscriptions with one call, of all kinds and of each that has so many."""
    for kind, digits in KINDS.items():
        goal = SECONDS if kind == "of all kinds" else None
        ids = [_some_ids(digits, size, number) for number in range(rounds + 1)]
        if len(ids[0]) < AT_ONCE:
            continue
        measure(engine, [partial(SubscriptionModel.from_subscriptions, ids[0])])
        measured = measure(engine, [partial(SubscriptionModel.from_subscriptions, each) for each in ids[1:]])
        title = f"load {AT_ONCE:,} at once, {kind}"
        report.samples.setdefault(title, {})[size] = measured.seconds
        report.add(
            f"{title} (s)",
            size,
            measured.in_seconds(),
            goal="" if goal is None else f"< {goal:g}",
            reached=None if goal is None else measured.median < goal,
        )
        most = measured.most_statements
        report.add(f"   statements of {title}", size, str(most), goal=f"<= {STATEMENTS}", reached=most <= STATEMENTS)


def measure_iteration(url: str, report: Report, size: int) -> None:
    """Walk through the subscriptions in a process of its own, whose memory says what that takes."""
    count = min(size, MOST_ITERATED)
    module = "benchmarks.scale.iterate"
    printed = run_to_end([sys.executable, "-m", module, url, str(count)], os.environ, REPOSITORY)
    points = json.loads(printed)
    report.samples.setdefault("iterate", {})[size] = points
    report.add("iterate at most 100,000 (s)", size, short(points[-1]["seconds"]))
    report.add("   subscriptions/s", size, short(count / points[-1]["seconds"]))
    memory = [point["peak_mib"] for point in points]
    report.add(
        "   peak memory at 10 %, 50 %, 100 % (MiB)",
        size,
        ", ".join(map(short, memory)),
        goal="constant",
        reached=memory[-1] < memory[0] * 1.05,
    )


def _some_ids(digits: Sequence[int], size: int, seed: int) -> list[UUID]:
    """Return ids of a thousand different subscriptions, or of all where there are fewer."""
    numbers = [number for number in range(1, size + 1) if number % 10 in digits]
    random = Random(seed)  # noqa: S311 - the same ones in every run
    return [subscription_id(number) for number in random.sample(numbers, min(AT_ONCE, len(numbers)))]
