# mypy: disable-error-code="unused-ignore"
"""Code of a user, with a mistake on each line that is marked so. Nobody runs it; mypy reads it."""

from ipaddress import IPv4Address
from uuid import UUID

import dagster as dg
from golden.controller import Controller
from golden.products import Node, NodeInactive, NodeProvisioning, PortInactive

from orchestrator_dagster import State, StepList, SubscriptionLifecycle, begin, create_workflow, step


@step("Correct")
def correct(subscription: NodeProvisioning, controller: Controller, context: dg.OpExecutionContext) -> State:
    subscription.node.site = "Utrecht"
    subscription.node.loopback = IPv4Address("10.0.0.1")
    controller.remove(subscription.node.node_name)
    context.log.info(subscription.node.site.upper())
    return {"subscription": subscription}


@step("Read an unknown field")
def read_unknown_field(subscription: Node) -> State:
    return {"sight": subscription.node.sight}  # mistake: attr-defined


@step("Write an unknown field")
def write_unknown_field(subscription: Node) -> None:
    subscription.node.sight = "Utrecht"  # mistake: attr-defined


@step("Write a value of the wrong type")
def write_wrong_type(subscription: Node) -> None:
    subscription.node.loopback = 3  # mistake: assignment


@step("Use what may not be there yet")
def use_what_may_be_missing(subscription: NodeInactive) -> State:
    return {"site": subscription.node.site.upper()}  # mistake: union-attr


@step("Read a field of another product")
def read_of_other_product(subscription: Node) -> State:
    return {"port": subscription.port}  # mistake: attr-defined


@step("Make one")
def make_one(product: UUID) -> State:
    subscription = PortInactive.from_product_id(product, "acme")
    subscription.port.port_name = 5  # mistake: assignment
    return {"subscription": subscription}


@step("Convert to another status")
def convert(subscription: NodeProvisioning) -> State:
    active = Node.from_other_lifecycle(subscription, SubscriptionLifecycle.ACTIVE)
    active.node.loopback = None  # mistake: assignment
    return {"subscription": active.nod}  # mistake: attr-defined


@step("Load one")
def load_one(subscription_id: UUID) -> State:
    return {"site": Node.from_subscription(subscription_id).node.sight}  # mistake: attr-defined


@create_workflow("Put steps in a row")
def put_in_a_row() -> StepList:
    return begin >> correct >> put_in_a_row.name  # mistake: operator


@create_workflow("Give the wrong thing", initial_input_form=3)  # mistake: arg-type
def give_the_wrong_thing() -> StepList:
    return begin >> correct
