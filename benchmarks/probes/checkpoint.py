"""Time what our engine does for each step, apart from Dagster; print seconds as JSON. The argument is how often.

That is everything between Dagster calling a step and getting its outcome: beginning the transaction, filling the
parameters, calling the function, saving what it returned, the row in the step log, the commit.
"""

import json
import sys
import time
from typing import Any

from workload.definitions import orchestrator

from orchestrator_dagster.ops.outcome import StepOutcome
from orchestrator_dagster.ops.process_run import ProcessRun

FORM = {"product": "Circuit in 30", "customer_id": "acme", "circuit_name": "circuit", "bandwidth": 1000}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {"count": ("count_30", {}), "revise_circuit": ("create_circuit_30", FORM)}

run_step = ProcessRun.run
timed: list[tuple[str, float]] = []


def run_timed(self: ProcessRun, key: str, *arguments: Any, **options: Any) -> StepOutcome:
    started = time.perf_counter()
    outcome = run_step(self, key, *arguments, **options)
    timed.append((key, time.perf_counter() - started))
    return outcome


def measure(runs: int) -> dict[str, list[float]]:
    ProcessRun.run = run_timed
    seconds: dict[str, list[float]] = {step: [] for step in RUNS}
    with orchestrator.connect() as wfo:
        for _ in range(runs):
            for step, (workflow, form) in RUNS.items():
                timed.clear()
                assert wfo.run(workflow, form).status == "completed"
                seconds[step] += [taken for key, taken in timed if key.startswith(step)]
    return seconds


print(json.dumps(measure(int(sys.argv[1]))))
