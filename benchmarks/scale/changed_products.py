"""The network's products after a change: each kind has a renamed field, and one more that is required."""

from ipaddress import IPv4Address
from typing import Annotated

from benchmarks.scale.products import ChannelBlock, Role, Speed, Vendor, orchestrator_of
from orchestrator_dagster import Orchestrator, ProductBlockModel, Stored, SubscriptionLifecycle, SubscriptionModel


class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):
    node_name: str | None = None
    site: str | None = None
    role: Role | None = None
    loopback: IPv4Address | None = None
    cabinet: Annotated[int | None, Stored(renamed_from="rack")] = None
    managed: bool = False
    contacts: list[str] = []
    power: int | None = None


class NodeBlock(NodeBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node_name: str
    site: str
    role: Role
    loopback: IPv4Address
    power: Annotated[int, Stored(fill=250)]


class NodeInactive(SubscriptionModel, is_base=True):
    vendor: Vendor
    node: NodeBlockInactive


class Node(NodeInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node: NodeBlock


class PortBlockInactive(ProductBlockModel, product_block_name="Port"):
    port_name: str | None = None
    frame_size: Annotated[int, Stored(renamed_from="mtu")] = 1500
    enabled: bool = False
    allowed_vlans: list[int] = []
    medium: str | None = None
    node: NodeBlock | None = None
    channel: ChannelBlock | None = None


class PortBlock(PortBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    port_name: str
    medium: Annotated[str, Stored(fill="fibre")]
    node: NodeBlock


class PortInactive(SubscriptionModel, is_base=True):
    speed: Speed
    port: PortBlockInactive


class Port(PortInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    port: PortBlock


class EndBlock(ProductBlockModel, product_block_name="End"):
    end_vlan: int | None = None
    address: IPv4Address | None = None
    port: PortBlock | None = None


class CircuitBlockInactive(ProductBlockModel, product_block_name="Circuit"):
    circuit_name: str | None = None
    capacity: Annotated[int | None, Stored(renamed_from="bandwidth")] = None
    protected: bool = False
    support: str | None = None
    ends: list[EndBlock] = []


class CircuitBlock(CircuitBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    circuit_name: str
    capacity: int
    support: Annotated[str, Stored(fill="office hours")]


class CircuitInactive(SubscriptionModel, is_base=True):
    circuit: CircuitBlockInactive


class Circuit(CircuitInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    circuit: CircuitBlock


def make_changed_orchestrator(url: str) -> Orchestrator:
    """Return an orchestrator with the changed models, under the names that the products have."""
    return orchestrator_of(Node, Port, Circuit, url)
