"""Loading a tree, and saving it after one change, by how many blocks it has."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from uuid import UUID

from sqlalchemy import Engine, text

from benchmarks.errors import BenchmarkError
from benchmarks.samples import short
from benchmarks.scale.measured import Measured, measure
from benchmarks.scale.report import Report
from benchmarks.workload.chassis import Chassis, change_deepest

LOAD_MILLISECONDS = {10: 3.0}
LOAD_STATEMENTS = 1
SAVE_MILLISECONDS = {10: 5.0}
SAVE_STATEMENTS = 6
TREES = text("""
    SELECT subscription.subscription_id, count(*) AS blocks
    FROM orchestrator.subscriptions AS subscription
    JOIN orchestrator.subscription_instances AS instance USING (subscription_id)
    WHERE subscription.customer_id = 'trees'
    GROUP BY subscription.subscription_id
    ORDER BY blocks, subscription.subscription_id
""")
VERSIONS = text("""
    SELECT DISTINCT version
    FROM orchestrator.subscriptions
    WHERE subscription_id = ANY(CAST(:ids AS uuid[]))
""")


def measure_trees(engine: Engine, report: Report, size: int, rounds: int) -> None:
    """Load and save every chassis, once a round, in the session that is open."""
    trees = _trees_by_blocks(engine)
    loads = {blocks: Measured() for blocks in trees}
    saves = {blocks: Measured() for blocks in trees}
    for ids in trees.values():
        # prepared once, so that neither caches nor imports count
        measure(engine, [*_loads(ids[:1]), *_saves(ids[:1])])
    for _ in range(rounds):
        for blocks, ids in trees.items():
            measure(engine, _loads(ids), loads[blocks])
            measure(engine, _saves(ids), saves[blocks])
    _require_saved(engine, [tree for ids in trees.values() for tree in ids[1:]], rounds)
    for blocks, load in loads.items():
        _add(report, f"load, {blocks} blocks", size, load, LOAD_MILLISECONDS.get(blocks), LOAD_STATEMENTS)
    report.add("   load: a straight line in blocks", size, _line(loads))
    for blocks, save in saves.items():
        _add(report, f"save one change, {blocks} blocks", size, save, SAVE_MILLISECONDS.get(blocks), SAVE_STATEMENTS)
    report.add("   save: a straight line in blocks", size, _line(saves))


def _trees_by_blocks(engine: Engine) -> dict[int, list[UUID]]:
    trees: dict[int, list[UUID]] = {}
    with engine.connect() as connection:
        for row in connection.execute(TREES):
            trees.setdefault(row.blocks, []).append(row.subscription_id)
    return trees


def _loads(ids: Sequence[UUID]) -> Iterator[Callable[[], object]]:
    for subscription_id in ids:
        yield partial(Chassis.from_subscription, subscription_id)


def _saves(ids: Sequence[UUID]) -> Iterator[Callable[[], object]]:
    for subscription_id in ids:
        tree = Chassis.from_subscription(subscription_id)
        change_deepest(tree)
        yield partial(tree.save)


def _require_saved(engine: Engine, ids: list[UUID], saves: int) -> None:
    """Make sure that what was timed did what it says: each save is a version of its tree."""
    with engine.connect() as connection:
        versions = connection.execute(VERSIONS, {"ids": ids}).scalars().all()
    if versions != [1 + saves]:
        raise BenchmarkError(f"After {saves} saves the trees have versions {versions}")


def _add(
    report: Report, title: str, size: int, measured: Measured, milliseconds: float | None, statements: int
) -> None:
    report.add_times(title, size, measured, milliseconds=milliseconds, statements=statements)


def _line(measured: Mapping[int, Measured]) -> str:
    blocks = [float(number) for number in measured]
    times = [each.median * 1000 for each in measured.values()]
    line = statistics.linear_regression(blocks, times)
    off = max(abs(time - line.intercept - line.slope * number) for number, time in zip(blocks, times, strict=True))
    return f"{short(line.intercept)} ms + {short(line.slope * 1000)} us/block, off by {short(off)} ms at most"
