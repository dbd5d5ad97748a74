"""What Dagster loads for our system: the circuit's workflows, and one whose steps have next to no effect."""

from workload.circuit import WORKFLOWS, Circuit

from orchestrator_dagster import Orchestrator, Product, State, StepList, begin, done, init, step, workflow


@step("Count")
def count(counted: int = 0) -> State:
    return {"counted": counted + 1}


@workflow("Count in 30 steps")
def count_30() -> StepList:
    steps = begin >> init
    for _ in range(28):
        steps = steps >> count
    return steps >> done


orchestrator = Orchestrator(
    products=[Product(name, Circuit, tag="CIRCUIT", workflows=[create]) for name, create in WORKFLOWS.items()],
    workflows=[count_30],
)

defs = orchestrator.definitions()
"""What Dagster loads."""
