"""The life of a port: patched and configured, changed, checked, given back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from annotated_types import Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from examples.choices import ActiveSubscription
from examples.controller import Configuration, Controller, Objects
from examples.products.node import Node, Vendor
from examples.products.port import InterfaceBlock, Optic, Port, PortInactive, PortProvisioning, VlanRange
from examples.subscriptions import active, endpoints_at
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

CustomerId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", description="Short name of the customer")]

INTERFACE_NAMES = {Vendor.JUNIPER: r"et-\d+/\d+/\d+", Vendor.NOKIA: r"\d+/\d+/c\d+/\d+"}
PORT_NAMES = {Vendor.JUNIPER: "ae{}", Vendor.NOKIA: "lag-{}"}


class Interface(BaseModel):
    """An interface as people give it."""

    model_config = ConfigDict(extra="forbid")

    interface_name: str
    optic: Optic = Optic.LONG_REACH


Interfaces = Annotated[list[Interface], Len(min_length=1, max_length=8)]
VlanRanges = Annotated[list[VlanRange], Len(min_length=1), Field(description="VLANs that it takes, such as 100-199")]


def intended_configuration(subscription: PortProvisioning) -> Objects:
    """Return what the controller should have of a port and its interfaces."""
    port, hostname = subscription.port, subscription.port.node.hostname
    bundle: Configuration = {
        "customer": subscription.customer_id,
        "interfaces": [interface.interface_name for interface in port.interfaces],
        "vlans": [str(vlans) for vlans in port.vlans],
    }
    members: dict[str, Configuration] = {
        f"interfaces/{hostname}/{interface.interface_name}": {
            "port": port.port_name,
            "optic": interface.optic,
            "speed": subscription.interface_speed,
        }
        for interface in port.interfaces
    }
    return {f"ports/{hostname}/{port.port_name}": bundle, **members}


@dataclass(frozen=True)
class FreeInterfaces:
    """Makes a field take interfaces of a node that no other port has.

    Attributes:
        node: the node.
        own: the port that they are for, if there is one yet.
    """

    node: Node
    own: Port | None = None

    def check(self, interfaces: list[Interface]) -> list[Interface]:
        """Return the interfaces if they can be had."""
        names = [interface.interface_name for interface in interfaces]
        taken = self._taken()
        for name in names:
            if not re.fullmatch(INTERFACE_NAMES[self.node.vendor], name):
                raise ValueError(f"{name} is not the name of an interface of a {self.node.vendor} node")
            if names.count(name) > 1:
                raise ValueError(f"{name} is there more than once")
            if name in taken:
                raise ValueError(f"{name} is part of {taken[name]}")
        return interfaces

    def _taken(self) -> dict[str, str]:
        own_id = self.own.subscription_id if self.own else None
        others = [subscription.port for subscription in ports_on(self.node) if subscription.subscription_id != own_id]
        return {interface.interface_name: port.title for port in others for interface in port.interfaces}


def ports_on(node: Node) -> list[Port]:
    """Return the active ports on a node."""
    node_id = node.node.subscription_instance_id
    return [found for found in active(Port) if found.port.node.subscription_instance_id == node_id]


def create_port_form() -> FormGenerator:
    class CreatePortForm(FormPage):
        model_config = ConfigDict(title="New port")

        customer_id: CustomerId
        node_id: Annotated[UUID, ActiveSubscription("Node")] = Field(title="Node")

    port_input: CreatePortForm = yield CreatePortForm
    node = Node.from_subscription(port_input.node_id)
    names = {subscription.port.port_name for subscription in ports_on(node)}

    def check_number(number: int) -> int:
        name = PORT_NAMES[node.vendor].format(number)
        if name in names:
            raise ValueError(f"{node.node.hostname} has a port {name} already")
        return number

    class InterfacesForm(SubmitFormPage):
        model_config = ConfigDict(title=f"On {node.node.hostname}")

        number: Annotated[
            int, Field(ge=1, le=200, description="Number of the port on the node"), AfterValidator(check_number)
        ]
        interfaces: Annotated[Interfaces, AfterValidator(FreeInterfaces(node).check)]
        vlans: VlanRanges

    interfaces_input: InterfacesForm = yield InterfacesForm
    return port_input.model_dump() | interfaces_input.model_dump()


@step("Construct port")
def construct_port(
    product: UUID,
    customer_id: str,
    node_id: UUID,
    number: int,
    interfaces: list[Interface],
    vlans: list[VlanRange],
) -> State:
    node = Node.from_subscription(node_id)
    initial = PortInactive.from_product_id(product, customer_id)
    port = initial.port
    port.node = node.node
    port.port_name = PORT_NAMES[node.vendor].format(number)
    port.vlans = vlans
    port.interfaces = interface_blocks(initial.subscription_id, interfaces)
    initial.description = f"Port {port.port_name} on {node.node.hostname} for {customer_id}"
    return {"subscription": PortProvisioning.from_other_lifecycle(initial, SubscriptionLifecycle.PROVISIONING)}


def interface_blocks(
    subscription_id: UUID, wanted: Sequence[Interface], present: Sequence[InterfaceBlock] = ()
) -> list[InterfaceBlock]:
    """Return a block for each interface; one that is there already stays the same block."""
    blocks = {block.interface_name: block for block in present}
    for interface in wanted:
        name = interface.interface_name
        if name in blocks:
            blocks[name].optic = interface.optic
        else:
            blocks[name] = InterfaceBlock.new(subscription_id, interface_name=name, optic=interface.optic)
    return [blocks[interface.interface_name] for interface in wanted]


@retrystep("Configure port")
def configure_port(subscription: PortProvisioning | Port, controller: Controller, idempotency_key: str) -> State:
    """Hand the intended configuration to the controller, as often as it takes."""
    controller.put(intended_configuration(subscription), owner=subscription.subscription_id, request_id=idempotency_key)
    return {}


@create_workflow("Create port", initial_input_form=create_port_form)
def create_port() -> StepList:
    return begin >> construct_port >> configure_port


def modify_port_form(subscription: Port) -> FormGenerator:
    port = subscription.port
    used = endpoints_at(port)

    def check_vlans(vlans: list[VlanRange]) -> list[VlanRange]:
        for vlan, (_, vpn) in used.items():
            if not any(vlan in allowed for allowed in vlans):
                raise ValueError(f"VLAN {vlan} must stay: it is in use by {vpn}")
        return vlans

    class ModifyPortForm(SubmitFormPage):
        model_config = ConfigDict(title=f"Change {port.title}")

        interfaces: Annotated[
            Interfaces,
            AfterValidator(FreeInterfaces(Node.from_subscription(port.node.owner_subscription_id), subscription).check),
        ] = [Interface(interface_name=block.interface_name, optic=block.optic) for block in port.interfaces]
        vlans: Annotated[VlanRanges, AfterValidator(check_vlans)] = port.vlans

    user_input: ModifyPortForm = yield ModifyPortForm
    return user_input.model_dump()


@step("Update port")
def update_port(subscription: Port, interfaces: list[Interface], vlans: list[VlanRange]) -> State:
    before = intended_configuration(subscription)
    port = subscription.port
    port.interfaces = interface_blocks(subscription.subscription_id, interfaces, port.interfaces)
    port.vlans = vlans
    obsolete = sorted(before.keys() - intended_configuration(subscription).keys())
    return {"subscription": subscription, "obsolete": obsolete}


@step("Free interfaces")
def free_interfaces(subscription: Port, obsolete: list[str], controller: Controller) -> State:
    controller.remove(obsolete, owner=subscription.subscription_id)
    return {}


if_interfaces_left = conditional(lambda state: bool(state["obsolete"]))


@modify_workflow("Modify port", initial_input_form=modify_port_form)
def modify_port() -> StepList:
    return begin >> update_port >> configure_port >> if_interfaces_left(free_interfaces)


@step("Compare port with the network")
def compare_port(subscription: Port, controller: Controller) -> State:
    controller.require(intended_configuration(subscription))
    return {"compared": list(intended_configuration(subscription))}


@validate_workflow("Validate port")
def validate_port() -> StepList:
    return begin >> compare_port


@reconcile_workflow("Reconcile port")
def reconcile_port() -> StepList:
    return begin >> configure_port >> compare_port


@step("Remove port from the network")
def remove_port(subscription: Port, controller: Controller) -> State:
    controller.remove(list(intended_configuration(subscription)), owner=subscription.subscription_id)
    return {}


@terminate_workflow("Terminate port")
def terminate_port() -> StepList:
    return begin >> remove_port
