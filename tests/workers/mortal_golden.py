"""The golden example with a workflow that leaves a mark at each step, and a worker that a file can kill.

The file that `KILL_AT` names holds a point of the commit and a step, as in `after commit/mark_middle`. The worker that
comes there removes the file and kills itself.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import dagster as dg
from golden.controller import Controller
from golden.definitions import orchestrator as golden_orchestrator
from golden.products import Node

from orchestrator_dagster import Orchestrator, Product, State, StepList, Target, begin, step, workflow
from orchestrator_dagster.ops.commit_path import CommitPoint, listeners


def die(point: CommitPoint, step_key: str) -> None:
    file = Path(os.environ["KILL_AT"])
    if file.exists() and file.read_text() == f"{point.value}/{step_key}":
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


listeners.append(die)


class RecordingController(Controller):
    """A controller that keeps every request that it gets, also those that change nothing."""

    def put(self, key: str, value: dict[str, Any], request_id: str) -> None:
        with (Path(self.directory).parent / "requests").open("a") as requests:
            requests.write(json.dumps([key.split("/")[0], request_id]) + "\n")
        super().put(key, value, request_id)


def mark(subscription: Node, name: str, controller: Controller, idempotency_key: str) -> State:
    controller.put(f"{name}/{subscription.subscription_id}", {}, idempotency_key)
    subscription.node.site += f" {name}"
    return {"subscription": subscription, name: True}


@step("Mark first")
def mark_first(subscription: Node, controller: Controller, idempotency_key: str) -> State:
    return mark(subscription, "first", controller, idempotency_key)


@step("Mark middle")
def mark_middle(subscription: Node, controller: Controller, idempotency_key: str) -> State:
    return mark(subscription, "middle", controller, idempotency_key)


@step("Mark last")
def mark_last(subscription: Node, controller: Controller, idempotency_key: str) -> State:
    return mark(subscription, "last", controller, idempotency_key)


@workflow("Mark node", target=Target.MODIFY)
def mark_node() -> StepList:
    return begin >> mark_first >> mark_middle >> mark_last


def with_mark_node(product: Product) -> Product:
    return Product(
        product.name,
        product.model,
        tag=product.tag,
        fixed_inputs=product.fixed_inputs,
        workflows=[*product.workflows, mark_node] if product.model is Node else product.workflows,
    )


orchestrator = Orchestrator(
    products=[with_mark_node(product) for product in golden_orchestrator.products.values()],
    resources={"controller": RecordingController(directory=dg.EnvVar("CONTROLLER_DIRECTORY"))},
)
defs = orchestrator.definitions()


def mark_node_job() -> dg.JobDefinition:
    return orchestrator.job("mark_node")


def create_node_job() -> dg.JobDefinition:
    return orchestrator.job("create_node")
