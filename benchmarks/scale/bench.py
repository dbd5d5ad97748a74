"""One run of the benchmark: at each size a database is made, measured and dropped."""

from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from benchmarks.database import DatabaseServer
from benchmarks.progress import say
from benchmarks.scale.change import measure_change
from benchmarks.scale.core import measure_core
from benchmarks.scale.data import make_database
from benchmarks.scale.lists import measure_lists, measure_relations
from benchmarks.scale.many import measure_iteration, measure_many
from benchmarks.scale.plan import ScalePlan
from benchmarks.scale.products import make_orchestrator
from benchmarks.scale.report import Report
from benchmarks.scale.trees import measure_trees
from benchmarks.sides.instances import CORE
from orchestrator_dagster.db.engine import dispose_engine

MOST_CHANGED = 100_000
IN_A_SESSION = {"trees", "many", "lists", "relations"}


@dataclass
class ScaleBench:
    """The plan, where the databases are made, and what was measured so far.

    Args:
        plan: what to measure.
        server: the database server.
        folder: for files of orchestrator-core's.
    """

    plan: ScalePlan
    server: DatabaseServer
    folder: Path
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(self.plan.sizes)

    def run(self) -> None:
        """Measure everything that is planned."""
        for size in self.plan.sizes if set(self.plan.only) != {CORE} else ():
            self._measure_size(size, f"bench_scale_{size}")
        if CORE in self.plan.only:
            measure_core(self.server, self.folder, self.report, self.plan)

    def _measure_size(self, size: int, name: str) -> None:
        say(f"{size:,} subscriptions")
        url = self.server.create(name)
        make_database(url, size, self.plan.trees)
        # first, since what follows changes the trees; those who are connected would be in the way of a copy
        dispose_engine(url)
        if "change" in self.plan.only and size <= MOST_CHANGED:
            measure_change(self.server, self.report, size, name)
        if IN_A_SESSION.intersection(self.plan.only):
            self._measure_session(url, size)
        if "iterate" in self.plan.only:
            measure_iteration(url, self.report, size)
        dispose_engine(url)
        self.server.drop(name)

    def _measure_session(self, url: str, size: int) -> None:
        orchestrator = make_orchestrator(url)
        with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as wfo:
            engine = orchestrator.database.engine
            if "trees" in self.plan.only:
                measure_trees(engine, self.report, size, self.plan.rounds)
            if "many" in self.plan.only:
                measure_many(engine, self.report, size, self.plan.rounds)
            if "lists" in self.plan.only:
                measure_lists(wfo, engine, self.report, size, self.plan.times)
            if "relations" in self.plan.only:
                measure_relations(wfo, engine, self.report, size, self.plan.times)
