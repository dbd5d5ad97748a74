"""The life of an L2VPN: ordered between ports, changed, checked, cancelled."""

from collections.abc import Sequence
from typing import Annotated, Any, Self
from uuid import UUID

from annotated_types import Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from examples.choices import ActiveSubscription
from examples.controller import Configuration, Controller, Objects
from examples.products.l2vpn import EndpointBlock, L2vpn, L2vpnInactive, L2vpnProvisioning, Topology
from examples.products.port import Port, Vlan
from examples.subscriptions import active, endpoints_at
from examples.workflows.port import CustomerId
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

ServiceName = Annotated[
    str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40, description="Such as hunt-trd-osl")
]
Bandwidth = Annotated[int, Field(ge=10, le=400_000, description="Mbit/s")]
Mtu = Annotated[int, Field(ge=1500, le=9200, description="Bytes")]

MOST_ENDPOINTS = {Topology.POINT_TO_POINT: 2, Topology.MULTIPOINT: 8}


class Endpoint(BaseModel):
    """An endpoint as people give it."""

    model_config = ConfigDict(extra="forbid")

    port_id: UUID = Field(title="Port")
    vlan: Vlan


def intended_configuration(subscription: L2vpnProvisioning) -> Objects:
    """Return what the controller should have of a VPN and its endpoints."""
    l2vpn = subscription.l2vpn
    service: Configuration = {
        "customer": subscription.customer_id,
        "bandwidth": l2vpn.bandwidth,
        "mtu": l2vpn.mtu,
    }
    endpoints: dict[str, Configuration] = {
        f"vlans/{endpoint.port.node.hostname}/{endpoint.port.port_name}/{endpoint.vlan}": {"l2vpn": l2vpn.service_name}
        for endpoint in l2vpn.endpoints
    }
    return {f"l2vpns/{l2vpn.service_name}": service, **endpoints}


def endpoints_form(
    customer_id: str, topology: Topology, bandwidth: int, present: Sequence[EndpointBlock] = ()
) -> FormGenerator:
    """Ask for the endpoints of a VPN: ports of the customer, each with a VLAN that is free there."""
    own = {endpoint.subscription_instance_id for endpoint in present}

    class EndpointInput(Endpoint):
        port_id: Annotated[UUID, ActiveSubscription("Port", customer_id)] = Field(title="Port")

        @model_validator(mode="after")
        def check_vlan(self) -> Self:
            port = Port.from_subscription(self.port_id)
            if not port.port.carries(self.vlan):
                allowed = ", ".join(map(str, port.port.vlans))
                raise ValueError(f"port {port.port.title} does not take VLAN {self.vlan}, only {allowed}")
            endpoint, vpn = endpoints_at(port.port).get(self.vlan, (None, ""))
            if endpoint and endpoint.subscription_instance_id not in own:
                raise ValueError(f"VLAN {self.vlan} on port {port.port.title} is in use by {vpn}")
            if bandwidth > port.capacity:
                raise ValueError(f"port {port.port.title} has {port.capacity} Mbit/s, which is less than {bandwidth}")
            return self

    class EndpointsForm(SubmitFormPage):
        model_config = ConfigDict(title="Endpoints")

        endpoints: Annotated[list[EndpointInput], Len(min_length=2, max_length=MOST_ENDPOINTS[topology])] = (
            _endpoints_by_default(present)
        )

        @field_validator("endpoints")
        @classmethod
        def check_ports(cls, endpoints: list[EndpointInput]) -> list[EndpointInput]:
            if len({endpoint.port_id for endpoint in endpoints}) < len(endpoints):
                raise ValueError("the endpoints of a VPN must be on different ports")
            return endpoints

    user_input: EndpointsForm = yield EndpointsForm
    return user_input.model_dump()


def _endpoints_by_default(present: Sequence[EndpointBlock]) -> Any:
    if not present:
        return Field()
    return [{"port_id": endpoint.port.owner_subscription_id, "vlan": endpoint.vlan} for endpoint in present]


def create_l2vpn_form(product: UUID) -> FormGenerator:
    names = {subscription.l2vpn.service_name for subscription in active(L2vpn)}

    def check_name(name: str) -> str:
        if name in names:
            raise ValueError(f"there is a VPN {name} already")
        return name

    class CreateL2vpnForm(FormPage):
        model_config = ConfigDict(title="New L2VPN")

        customer_id: CustomerId
        service_name: Annotated[ServiceName, AfterValidator(check_name)]
        bandwidth: Bandwidth
        mtu: Mtu = 9000

    service_input: CreateL2vpnForm = yield CreateL2vpnForm
    topology = L2vpnInactive.from_product_id(product, service_input.customer_id).topology
    endpoints_input = yield from endpoints_form(service_input.customer_id, topology, service_input.bandwidth)
    return service_input.model_dump() | endpoints_input


@step("Construct L2VPN")
def construct_l2vpn(
    product: UUID, customer_id: str, service_name: str, bandwidth: int, mtu: int, endpoints: list[Endpoint]
) -> State:
    initial = L2vpnInactive.from_product_id(product, customer_id)
    l2vpn = initial.l2vpn
    l2vpn.service_name = service_name
    l2vpn.bandwidth = bandwidth
    l2vpn.mtu = mtu
    l2vpn.endpoints = endpoint_blocks(initial.subscription_id, endpoints)
    initial.description = description_of(customer_id, service_name, l2vpn.endpoints)
    return {"subscription": L2vpnProvisioning.from_other_lifecycle(initial, SubscriptionLifecycle.PROVISIONING)}


def endpoint_blocks(
    subscription_id: UUID, wanted: Sequence[Endpoint], present: Sequence[EndpointBlock] = ()
) -> list[EndpointBlock]:
    """Return a block for each endpoint; one at a port where the VPN was already stays the same block."""
    blocks = {block.port.owner_subscription_id: block for block in present}
    for endpoint in wanted:
        if endpoint.port_id in blocks:
            blocks[endpoint.port_id].vlan = endpoint.vlan
        else:
            port = Port.from_subscription(endpoint.port_id).port
            blocks[endpoint.port_id] = EndpointBlock.new(subscription_id, port=port, vlan=endpoint.vlan)
    return [blocks[endpoint.port_id] for endpoint in wanted]


def description_of(customer_id: str, service_name: str, endpoints: Sequence[EndpointBlock]) -> str:
    sites = dict.fromkeys(endpoint.port.node.site.name.capitalize() for endpoint in endpoints)
    return f"L2VPN {service_name} for {customer_id}, {' - '.join(sites)}"


@retrystep("Configure L2VPN")
def configure_l2vpn(subscription: L2vpnProvisioning | L2vpn, controller: Controller, idempotency_key: str) -> State:
    """Hand the intended configuration to the controller, as often as it takes."""
    controller.put(intended_configuration(subscription), owner=subscription.subscription_id, request_id=idempotency_key)
    return {}


@create_workflow("Create L2VPN", initial_input_form=create_l2vpn_form)
def create_l2vpn() -> StepList:
    return begin >> construct_l2vpn >> configure_l2vpn


def modify_l2vpn_form(subscription: L2vpn) -> FormGenerator:
    l2vpn = subscription.l2vpn

    class ModifyL2vpnForm(FormPage):
        model_config = ConfigDict(title=f"Change {l2vpn.service_name}")

        bandwidth: Bandwidth = l2vpn.bandwidth
        mtu: Mtu = l2vpn.mtu

    service_input: ModifyL2vpnForm = yield ModifyL2vpnForm
    endpoints_input = yield from endpoints_form(
        subscription.customer_id, subscription.topology, service_input.bandwidth, l2vpn.endpoints
    )
    return service_input.model_dump() | endpoints_input


@step("Update L2VPN")
def update_l2vpn(subscription: L2vpn, bandwidth: int, mtu: int, endpoints: list[Endpoint]) -> State:
    before = intended_configuration(subscription)
    l2vpn = subscription.l2vpn
    l2vpn.bandwidth = bandwidth
    l2vpn.mtu = mtu
    l2vpn.endpoints = endpoint_blocks(subscription.subscription_id, endpoints, l2vpn.endpoints)
    subscription.description = description_of(subscription.customer_id, l2vpn.service_name, l2vpn.endpoints)
    obsolete = sorted(before.keys() - intended_configuration(subscription).keys())
    return {"subscription": subscription, "obsolete": obsolete}


@step("Remove endpoints")
def remove_endpoints(subscription: L2vpn, obsolete: list[str], controller: Controller) -> State:
    controller.remove(obsolete, owner=subscription.subscription_id)
    return {}


if_endpoints_left = conditional(lambda state: bool(state["obsolete"]))


@modify_workflow("Modify L2VPN", initial_input_form=modify_l2vpn_form)
def modify_l2vpn() -> StepList:
    return begin >> update_l2vpn >> configure_l2vpn >> if_endpoints_left(remove_endpoints)


@step("Compare L2VPN with the network")
def compare_l2vpn(subscription: L2vpn, controller: Controller) -> State:
    controller.require(intended_configuration(subscription))
    return {"compared": list(intended_configuration(subscription))}


@validate_workflow("Validate L2VPN")
def validate_l2vpn() -> StepList:
    return begin >> compare_l2vpn


@reconcile_workflow("Reconcile L2VPN")
def reconcile_l2vpn() -> StepList:
    return begin >> configure_l2vpn >> compare_l2vpn


@step("Remove L2VPN from the network")
def remove_l2vpn(subscription: L2vpn, controller: Controller) -> State:
    controller.remove(list(intended_configuration(subscription)), owner=subscription.subscription_id)
    return {}


@terminate_workflow("Terminate L2VPN")
def terminate_l2vpn() -> StepList:
    return begin >> remove_l2vpn
