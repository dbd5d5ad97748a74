"""The life of a node: racked and configured, upgraded, checked, taken out of the network."""

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from examples.controller import Controller, Objects
from examples.products.node import Node, NodeInactive, NodeProvisioning, NodeRole, Site
from examples.subscriptions import active
from orchestrator_dagster import (
    FormGenerator,
    FormPage,
    State,
    StepList,
    SubmitFormPage,
    SubscriptionLifecycle,
    begin,
    conditional,
    create_workflow,
    modify_workflow,
    reconcile_workflow,
    retrystep,
    step,
    terminate_workflow,
    validate_workflow,
)

OWN_CUSTOMER = "nordlys"
LOOPBACKS = IPv4Network("10.255.0.0/16")

Hostname = Annotated[
    str, Field(pattern=r"^[a-z]{3}-(pe|p)\d+$", description="Site, function and number, such as osl-pe1")
]
Software = Annotated[str, Field(pattern=r"^\d+\.\d+R\d+$", description="Release that it runs, such as 23.4R2")]


def intended_configuration(subscription: NodeProvisioning) -> Objects:
    """Return what the controller should have of a node."""
    node = subscription.node
    return {
        f"nodes/{node.hostname}": {
            "vendor": subscription.vendor,
            "site": node.site,
            "role": node.role,
            "software": node.software,
            "loopback": str(node.loopback),
        },
        f"loopbacks/{node.loopback}": {"node": node.hostname},
    }


def description_of(hostname: str, site: Site, role: NodeRole) -> str:
    return f"{role.capitalize()} node {hostname} in {site.name.capitalize()}"


def create_node_form() -> FormGenerator:
    nodes = [subscription.node for subscription in active(Node)]
    hostnames = {node.hostname for node in nodes}
    nodes_by_loopback = {node.loopback: node.hostname for node in nodes}

    def check_hostname(hostname: str) -> str:
        if hostname in hostnames:
            raise ValueError(f"there is a node {hostname} already")
        return hostname

    def check_loopback(loopback: IPv4Address) -> IPv4Address:
        if loopback not in LOOPBACKS:
            raise ValueError(f"loopback addresses are in {LOOPBACKS}")
        if loopback in nodes_by_loopback:
            raise ValueError(f"{loopback} is the loopback address of {nodes_by_loopback[loopback]}")
        return loopback

    class CreateNodeForm(FormPage):
        model_config = ConfigDict(title="New node")

        hostname: Annotated[Hostname, AfterValidator(check_hostname)]
        site: Site
        role: NodeRole = NodeRole.EDGE
        software: Software

    class LoopbackForm(SubmitFormPage):
        model_config = ConfigDict(title="Addresses")

        loopback: Annotated[IPv4Address, AfterValidator(check_loopback)] = Field(
            default=next(address for address in LOOPBACKS.hosts() if address not in nodes_by_loopback),
            description="Default: the first one that is free",
        )

    node_input: CreateNodeForm = yield CreateNodeForm
    loopback_input: LoopbackForm = yield LoopbackForm
    return node_input.model_dump() | loopback_input.model_dump()


@step("Construct node")
def construct_node(product: UUID, hostname: str, site: Site, role: NodeRole, software: str) -> State:
    """Make the subscription. Nodes are our own, so no customer is asked for."""
    initial = NodeInactive.from_product_id(product, OWN_CUSTOMER)
    initial.description = description_of(hostname, site, role)
    initial.node.hostname = hostname
    initial.node.site = site
    initial.node.role = role
    initial.node.software = software
    return {"subscription": NodeProvisioning.from_other_lifecycle(initial, SubscriptionLifecycle.PROVISIONING)}


@step("Assign loopback address")
def assign_loopback(subscription: NodeProvisioning, loopback: IPv4Address) -> State:
    subscription.node.loopback = loopback
    return {"subscription": subscription}


@retrystep("Configure node")
def configure_node(subscription: NodeProvisioning | Node, controller: Controller, idempotency_key: str) -> State:
    """Hand the intended configuration to the controller, as often as it takes."""
    controller.put(intended_configuration(subscription), owner=subscription.subscription_id, request_id=idempotency_key)
    return {}


@create_workflow("Create node", initial_input_form=create_node_form)
def create_node() -> StepList:
    return begin >> construct_node >> assign_loopback >> configure_node


def modify_node_form(subscription: Node) -> FormGenerator:
    node = subscription.node

    class ModifyNodeForm(SubmitFormPage):
        model_config = ConfigDict(title=f"Change {node.hostname}")

        role: NodeRole = node.role
        software: Software = node.software

    user_input: ModifyNodeForm = yield ModifyNodeForm
    return user_input.model_dump()


@step("Install software")
def install_software(subscription: Node, software: str) -> State:
    """Upgrade the node, or downgrade it. With the real controller this takes minutes."""
    previous, subscription.node.software = subscription.node.software, software
    return {"subscription": subscription, "previous_software": previous}


@step("Update role")
def update_role(subscription: Node, role: NodeRole) -> State:
    node = subscription.node
    node.role = role
    subscription.description = description_of(node.hostname, node.site, node.role)
    return {"subscription": subscription}


if_software_changes = conditional(lambda state: state["subscription"]["node"]["software"] != state["software"])


@modify_workflow("Modify node", initial_input_form=modify_node_form)
def modify_node() -> StepList:
    return begin >> if_software_changes(install_software) >> update_role >> configure_node


@step("Compare node with the network")
def compare_node(subscription: Node, controller: Controller) -> State:
    controller.require(intended_configuration(subscription))
    return {"compared": list(intended_configuration(subscription))}


@validate_workflow("Validate node")
def validate_node() -> StepList:
    return begin >> compare_node


@reconcile_workflow("Reconcile node")
def reconcile_node() -> StepList:
    return begin >> configure_node >> compare_node


@step("Remove node from the network")
def remove_node(subscription: Node, controller: Controller) -> State:
    controller.remove(list(intended_configuration(subscription)), owner=subscription.subscription_id)
    return {}


@terminate_workflow("Terminate node")
def terminate_node() -> StepList:
    return begin >> remove_node
