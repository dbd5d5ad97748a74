"""Plain Dagster jobs of nine, ten and thirty ops that hand on a dict, and have no database to write to.

That is less work than a workflow does, in favour of stock Dagster; so is the in-process executor, since by default it
would start another Python process for each op.
"""

from typing import Any

import dagster as dg


@dg.op
def begin_circuit() -> dict[str, Any]:
    return {"customer_id": "acme", "circuit_name": "circuit", "bandwidth": 1000, "revision": 0}


@dg.op
def revise(circuit: dict[str, Any]) -> dict[str, Any]:
    return {**circuit, "revision": circuit["revision"] + 1}


def plain_job(ops: int) -> dg.JobDefinition:
    def chain() -> None:
        circuit = begin_circuit()
        for _ in range(ops - 1):
            circuit = revise(circuit)

    return dg.GraphDefinition.to_job(dg.graph(name=f"plain_{ops}")(chain), executor_def=dg.in_process_executor)


defs = dg.Definitions(jobs=[plain_job(ops) for ops in (9, 10, 30)])
"""What Dagster loads."""
