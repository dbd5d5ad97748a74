"""Run our workflows in this process; print seconds by number of steps as JSON. The argument is how often."""

import json
import sys
import time

from workload.definitions import orchestrator

WORKFLOWS = {
    "9": ("create_circuit", "Circuit"),
    "10": ("create_circuit_10", "Circuit in 10"),
    "30": ("create_circuit_30", "Circuit in 30"),
}


def measure(runs: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {steps: [] for steps in WORKFLOWS}
    with orchestrator.connect() as wfo:
        for number in range(runs + 1):
            for steps, (workflow, product) in WORKFLOWS.items():
                form = {"product": product, "customer_id": "acme", "circuit_name": "circuit", "bandwidth": 1000}
                started = time.perf_counter()
                process = wfo.run(workflow, form)
                # the first time is for warming up
                if number:
                    seconds[steps].append(time.perf_counter() - started)
                assert process.status == "completed", process.status
    return seconds


print(json.dumps(measure(int(sys.argv[1]))))
