"""Nodes that move once a person agrees, and that drain for as long as a test wants."""

import os
import time
from pathlib import Path
from typing import Annotated

import dagster as dg
from pydantic import Field

from orchestrator_dagster import (
    Assignee,
    FormGenerator,
    FormPage,
    Orchestrator,
    Product,
    ProductBlockModel,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    begin,
    create_workflow,
    inputstep,
    modify_workflow,
    step,
)

FOLDER = Path(os.environ["NETWORK_FOLDER"])
CONTROLLER_IS_UP = FOLDER / "controller-is-up"
TRAFFIC_IS_GONE = FOLDER / "traffic-is-gone"
Ticket = Annotated[str, Field(pattern=r"^CHG\d+$")]
Hour = Annotated[int, Field(ge=0, le=23)]


class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):
    node_name: str | None = None
    site: str | None = None
    ticket: str | None = None


class NodeBlock(NodeBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node_name: str
    site: str


class NodeInactive(SubscriptionModel, is_base=True):
    node: NodeBlockInactive


class Node(NodeInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node: NodeBlock


def create_node_form(product_name: str) -> FormGenerator:
    class CreateNodeForm(FormPage):
        customer_id: str
        node_name: str
        site: str

    user_input = yield CreateNodeForm
    return user_input.model_dump()


@step("Construct node")
def construct_node(product: str, customer_id: str, node_name: str, site: str) -> State:
    node = NodeInactive.from_product_id(product, customer_id)
    node.description = f"Node {node_name}"
    node.node.node_name = node_name
    node.node.site = site
    return {"subscription": node}


@create_workflow("Create node", initial_input_form=create_node_form)
def create_node() -> StepList:
    return begin >> construct_node


def move_node_form(subscription: Node) -> FormGenerator:
    class MoveNodeForm(FormPage):
        site: str = subscription.node.site

    user_input = yield MoveNodeForm
    return user_input.model_dump()


@inputstep("Confirm move", assignee=Assignee.NOC)
def confirm_move() -> FormGenerator:
    class ConfirmMove(FormPage):
        ticket: Ticket
        hour: Hour

    user_input = yield ConfirmMove
    return user_input.model_dump()


@step("Change site")
def change_site(subscription: Node, site: str, ticket: str) -> State:
    subscription.node.site = site
    subscription.node.ticket = ticket
    return {"subscription": subscription}


@modify_workflow("Move node", initial_input_form=move_node_form)
def move_node() -> StepList:
    return begin >> confirm_move >> change_site


@step("Tell controller")
def tell_controller() -> None:
    if not CONTROLLER_IS_UP.exists():
        raise ConnectionError("The controller does not answer")


@modify_workflow("Announce node")
def announce_node() -> StepList:
    return begin >> tell_controller


@step("Drain traffic")
def drain_traffic() -> None:
    while not TRAFFIC_IS_GONE.exists():
        time.sleep(0.05)


@step("Power off")
def power_off(subscription: Node) -> State:
    subscription.node.site = "storage"
    return {"subscription": subscription}


@modify_workflow("Drain node")
def drain_node() -> StepList:
    return begin >> drain_traffic >> power_off


orchestrator = Orchestrator(
    products=[Product("Node", Node, tag="NODE", workflows=[create_node, move_node, announce_node, drain_node])]
)

defs: dg.Definitions = orchestrator.definitions()
