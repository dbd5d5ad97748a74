"""What is to be measured, of which systems, how often."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SIDES = ("ours", "stock", "stock-plain", "stock-postgres", "orchestrator-core")
MEASURES = ("in-process", "submit", "burst", "events", "checkpoint", "connections", "import", "soak")


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        only: the measures.
        sides: the systems.
        rounds: how often each of them has its turn.
        runs: how many runs in process in a round.
        share: which part of the processes of a system are submitted: all, or few for a quick look.
        soak: how many processes the soak runs.
        workers: how many workers are busy while connections are counted.
        json: where the samples are written, if anywhere.
    """

    only: tuple[str, ...]
    sides: tuple[str, ...]
    rounds: int
    runs: int
    share: float
    soak: int
    workers: int
    json: Path | None

    def part_of(self, count: int) -> int:
        """Return how many of a system's processes are submitted."""
        return max(2, round(count * self.share))


def read_plan(arguments: Sequence[str]) -> Plan:
    """Return the plan that the words of the command line ask for."""
    given = _parser().parse_args(arguments)
    return Plan(
        only=tuple(given.only),
        sides=tuple(given.sides),
        rounds=given.rounds or (1 if given.quick else 3),
        runs=2 if given.quick else 10,
        share=0.05 if given.quick else 1.0,
        soak=given.count or (40 if given.quick else 10_000),
        workers=given.workers,
        json=given.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare our system with others.")
    everything = MEASURES[:-1]
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, default=everything, help="measures; default: all but soak"
    )
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="systems; default: all")
    parser.add_argument("--rounds", type=int, help="how often each system has its turn; default: 3")
    parser.add_argument("--count", type=int, help="processes of the soak; default: 10000")
    parser.add_argument("--workers", type=int, default=4, help="workers while connections are counted; default: 4")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--json", type=Path, help="file for all samples")
    return parser
