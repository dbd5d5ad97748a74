"""One run of the benchmarks: every system has its turn in every round, while the others are stopped."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.database import DatabaseServer
from benchmarks.measures.burst import burst
from benchmarks.measures.checkpoint import checkpoint
from benchmarks.measures.connections import connections
from benchmarks.measures.events import events
from benchmarks.measures.imports import imports
from benchmarks.measures.in_process import in_process
from benchmarks.measures.soak import Point, soak
from benchmarks.measures.submit import finish_one, submit_to_done
from benchmarks.plan import Plan
from benchmarks.progress import say
from benchmarks.quantities import OURS
from benchmarks.samples import Samples, short
from benchmarks.sides import Service, Side
from benchmarks.sides.dagster import DagsterSide
from benchmarks.sides.instances import with_workers

WARM_UP = 10
IMPORTS = 7
SERVED = {"submit", "burst", "events"}
TAKEN_IN_TURNS = SERVED | {"in-process"}


@dataclass
class Bench:
    """The systems, the plan, and what was measured so far.

    Args:
        plan: what to measure.
        server: the database server of all sides.
        sides: the systems.
    """

    plan: Plan
    server: DatabaseServer
    sides: Sequence[Side]
    samples: Samples = field(default_factory=Samples)
    soaked: list[Point] = field(default_factory=list)

    def run(self) -> None:
        """Measure everything that is planned."""
        for number in range(1, self.plan.rounds + 1 if TAKEN_IN_TURNS.intersection(self.plan.only) else 1):
            for side in self.sides:
                say(f"round {number} of {self.plan.rounds}: {side.title}")
                self._take_turn(side)
        for side in self.sides:
            if isinstance(side, DagsterSide) and side.key == OURS:
                self._measure_ours(side)

    def _take_turn(self, side: Side) -> None:
        if "in-process" in self.plan.only:
            in_process(side, self.samples, self.plan.runs)
        if SERVED.intersection(self.plan.only):
            with side.running() as service:
                self._measure_service(side, service)

    def _measure_service(self, side: Side, service: Service) -> None:
        # more than one, since there may be several workers to warm up
        first = submit_to_done(service, self.plan.part_of(min(WARM_UP, side.submits)))[0]
        say(f"   warm; the first process took {first:.2f} s")
        if "events" in self.plan.only and isinstance(side, DagsterSide):
            events(side, self.samples, finish_one(service))
        if "submit" in self.plan.only:
            self._add("submit", side, submit_to_done(service, self.plan.part_of(side.submits)))
        if "burst" in self.plan.only:
            self._add("burst", side, [burst(service, self.plan.part_of(side.burst))])

    def _measure_ours(self, side: DagsterSide) -> None:
        """Measure what says nothing about the others."""
        if "checkpoint" in self.plan.only:
            checkpoint(side, self.samples, self.plan.runs)
        if "import" in self.plan.only:
            imports(side, self.samples, IMPORTS)
        if "connections" in self.plan.only:
            busy = with_workers(side, self.plan.workers)
            self._add("connections", side, [connections(busy, self.server, self.plan.part_of(side.burst))])
        if "soak" in self.plan.only:
            self.soaked = soak(side, self.samples, self.plan.soak)

    def _add(self, quantity: str, side: Side, samples: Sequence[float]) -> None:
        say(f"   {quantity}: {', '.join(map(short, samples))}")
        self.samples.add(quantity, side.key, samples)
