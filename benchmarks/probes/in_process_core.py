"""Run the workflows in this process of orchestrator-core's; print seconds by number of steps as JSON.

What its thread pool does for a process, less the pool and the search index. The argument is how often.
"""

import json
import sys
import time

import main  # noqa: F401 - opens the database and registers the workflows
from orchestrator.core.db import ProductTable, db
from orchestrator.core.services.processes import create_process, safe_logstep
from orchestrator.core.workflow import runwf
from sqlalchemy import select
from workload.circuit import WORKFLOWS

STEPS = {"9": "Circuit", "10": "Circuit in 10", "30": "Circuit in 30"}
FORM = {"customer_id": "acme", "circuit_name": "circuit", "bandwidth": 1000}


def run(product: str) -> float:
    with db.database_scope():
        product_id = db.session.scalars(select(ProductTable.product_id).where(ProductTable.name == product)).one()
        started = time.perf_counter()
        result = runwf(create_process(WORKFLOWS[product].name, [{"product": str(product_id)}, FORM]), safe_logstep)
        db.session.commit()
        seconds = time.perf_counter() - started
        assert result.iscomplete(), result
    return seconds


def measure(runs: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {steps: [] for steps in STEPS}
    for number in range(runs + 1):
        for steps, product in STEPS.items():
            taken = run(product)
            # the first time is for warming up
            if number:
                seconds[steps].append(taken)
    return seconds


print(json.dumps(measure(int(sys.argv[1]))))
