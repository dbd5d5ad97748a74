"""The first version of a small network: nodes with ports, links between nodes, services on links. Tests edit a copy."""

from enum import StrEnum
from typing import Annotated

import dagster as dg
from annotated_types import Len

from orchestrator_dagster import (
    FormGenerator,
    FormPage,
    Orchestrator,
    Product,
    ProductBlockModel,
    ProductLifecycle,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    begin,
    create_workflow,
    modify_workflow,
    step,
    terminate_workflow,
    validate_workflow,
)


class Vendor(StrEnum):
    CISCO = "Cisco"
    NOKIA = "Nokia"


class PortBlock(ProductBlockModel, product_block_name="Port"):
    port_name: str
    vlans: list[int] = []


class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):
    node_name: str | None = None
    cabinet: str | None = None
    height: int | None = None
    serial: str | None = None
    ports: list[PortBlock] = []


class NodeBlockProvisioning(NodeBlockInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    node_name: str


class NodeBlock(NodeBlockProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    cabinet: str


class NodeInactive(SubscriptionModel, is_base=True):
    vendor: Vendor
    node: NodeBlockInactive


class NodeProvisioning(NodeInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    node: NodeBlockProvisioning


class Node(NodeProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node: NodeBlock


class LinkBlock(ProductBlockModel, product_block_name="Link"):
    link_name: str | None = None
    ends: Annotated[list[NodeBlock], Len(max_length=8)] = []


class Link(SubscriptionModel, is_base=True):
    link: LinkBlock


class ServiceBlock(ProductBlockModel, product_block_name="Service"):
    link: LinkBlock | None = None


class Service(SubscriptionModel, is_base=True):
    service: ServiceBlock


def create_node_form(product_name: str) -> FormGenerator:
    class CreateNodeForm(FormPage):
        customer_id: str
        node_name: str
        cabinet: str

    user_input = yield CreateNodeForm
    return user_input.model_dump()


@step("Construct node")
def construct_node(product: str, customer_id: str, node_name: str) -> State:
    initial = NodeInactive.from_product_id(product, customer_id)
    initial.node.node_name = node_name
    subscription = NodeProvisioning.from_other_lifecycle(initial, SubscriptionLifecycle.PROVISIONING)
    subscription.description = f"Node {node_name}"
    return {"subscription": subscription}


@step("Place node")
def place_node(subscription: NodeProvisioning, cabinet: str) -> State:
    subscription.node.cabinet = cabinet
    subscription.node.ports = [PortBlock.new(subscription.subscription_id, port_name="console")]
    return {"subscription": subscription}


@create_workflow("Create node", initial_input_form=create_node_form)
def create_node() -> StepList:
    return begin >> construct_node >> place_node


def modify_node_form(subscription: Node) -> FormGenerator:
    class ModifyNodeForm(FormPage):
        cabinet: str = subscription.node.cabinet

    user_input = yield ModifyNodeForm
    return user_input.model_dump()


@step("Move node")
def move_node(subscription: Node, cabinet: str) -> State:
    subscription.node.cabinet = cabinet
    return {"subscription": subscription}


@modify_workflow("Modify node", initial_input_form=modify_node_form)
def modify_node() -> StepList:
    return begin >> move_node


@step("Look at node")
def look_at_node(subscription: Node) -> State:
    return {"seen": subscription.node.node_name}


@validate_workflow("Validate node")
def validate_node() -> StepList:
    return begin >> look_at_node


@terminate_workflow("Terminate node")
def terminate_node() -> StepList:
    return begin


orchestrator = Orchestrator(
    products=[
        Product(
            "Node Cisco",
            Node,
            tag="NODE",
            fixed_inputs={"vendor": Vendor.CISCO},
            status=ProductLifecycle.ACTIVE,
            workflows=[create_node, modify_node, validate_node, terminate_node],
        ),
        Product("Link", Link, tag="LINK"),
        Product("Service", Service, tag="SERVICE"),
    ],
)

defs: dg.Definitions = orchestrator.definitions()
