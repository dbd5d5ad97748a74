"""How much is to be measured at which sizes."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SIZES = (1_000, 10_000, 100_000, 1_000_000)
MEASURES = ("trees", "many", "iterate", "lists", "relations", "change", "orchestrator-core")


@dataclass(frozen=True)
class ScalePlan:
    """How much of everything.

    Attributes:
        only: what is measured.
        sizes: numbers of subscriptions.
        rounds: how often trees and thousands are loaded.
        times: how often each question is asked.
        trees: how many chassis there are of each number of blocks.
        json: where the samples are written, if anywhere.
    """

    only: tuple[str, ...] = MEASURES
    sizes: tuple[int, ...] = SIZES
    rounds: int = 5
    times: int = 50
    trees: int = 30
    json: Path | None = None


def read_scale_plan(arguments: Sequence[str]) -> ScalePlan:
    """Return the plan that the words of the command line ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="Measure at many subscriptions.")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES, help="measures; default: all")
    parser.add_argument("--sizes", nargs="+", type=int, help="subscriptions; default: 1000 10000 100000 1000000")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--json", type=Path, help="file for all samples")
    given = parser.parse_args(arguments)
    if given.quick:
        return ScalePlan(tuple(given.only), tuple(given.sizes or SIZES[:1]), 1, 3, 2, given.json)
    return ScalePlan(tuple(given.only), tuple(given.sizes or SIZES), json=given.json)
