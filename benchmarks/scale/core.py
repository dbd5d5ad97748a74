"""Trees of orchestrator-core's own domain models on the same machine, where it is installed."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.children import run_to_end
from benchmarks.database import DatabaseServer
from benchmarks.progress import say
from benchmarks.scale.measured import Measured
from benchmarks.scale.plan import ScalePlan
from benchmarks.scale.report import Report
from benchmarks.sides.orchestrator_core import BENCHMARKS, PYTHON, OrchestratorCoreSide, installed

SUBSCRIPTIONS = 1_000
PROBE = BENCHMARKS / "probes" / "trees_core.py"


def measure_core(server: DatabaseServer, folder: Path, report: Report, plan: ScalePlan) -> None:
    """Load and save its trees of one and of ten blocks, in a database with a thousand subscriptions."""
    if not installed():
        say("orchestrator-core is not installed; see benchmarks/README.md")
        return
    side = OrchestratorCoreSide(folder / "orchestrator-core", server.create("bench_scale_core"))
    side.prepare()
    size = min(SUBSCRIPTIONS, min(plan.sizes))
    words = [str(PYTHON), str(PROBE), str(size), str(plan.trees), str(plan.rounds)]
    printed = run_to_end(words, side.environment, side.home)
    found: Mapping[str, Mapping[str, list[float]]] = json.loads(printed.strip().splitlines()[-1])
    for title, samples in found.items():
        measured = Measured(list(samples["seconds"]), [int(number) for number in samples["statements"]])
        report.add_times(f"orchestrator-core: {title}", size, measured)
    server.drop("bench_scale_core")
