"""The products of a national network, of which there may be a million subscriptions.

A node is one block, a port one or two and a circuit three, beside the blocks of others that they use: a port uses that
of a node, the ends of a circuit those of ports. A chassis is a tree of any size.
"""

from enum import IntEnum, StrEnum
from ipaddress import IPv4Address

from benchmarks.workload.chassis import Chassis
from orchestrator_dagster import (
    Database,
    Orchestrator,
    Product,
    ProductBlockModel,
    SubscriptionLifecycle,
    SubscriptionModel,
)


class Vendor(StrEnum):
    CISCO = "Cisco"
    JUNIPER = "Juniper"
    NOKIA = "Nokia"


class Role(StrEnum):
    CORE = "core"
    METRO = "metro"
    EDGE = "edge"


class Speed(IntEnum):
    ONE_GIG = 1_000
    TEN_GIG = 10_000
    HUNDRED_GIG = 100_000


class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):
    node_name: str | None = None
    site: str | None = None
    role: Role | None = None
    loopback: IPv4Address | None = None
    rack: int | None = None
    managed: bool = False
    contacts: list[str] = []


class NodeBlock(NodeBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node_name: str
    site: str
    role: Role
    loopback: IPv4Address


class NodeInactive(SubscriptionModel, is_base=True):
    vendor: Vendor
    node: NodeBlockInactive


class Node(NodeInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node: NodeBlock


class ChannelBlock(ProductBlockModel, product_block_name="Channel"):
    channel_vlan: int | None = None


class PortBlockInactive(ProductBlockModel, product_block_name="Port"):
    port_name: str | None = None
    mtu: int = 1500
    enabled: bool = False
    allowed_vlans: list[int] = []
    node: NodeBlock | None = None
    channel: ChannelBlock | None = None


class PortBlock(PortBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    port_name: str
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
    bandwidth: int | None = None
    protected: bool = False
    ends: list[EndBlock] = []


class CircuitBlock(CircuitBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    circuit_name: str
    bandwidth: int


class CircuitInactive(SubscriptionModel, is_base=True):
    circuit: CircuitBlockInactive


class Circuit(CircuitInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    circuit: CircuitBlock


def make_orchestrator(url: str | None = None) -> Orchestrator:
    """Return an orchestrator with these products, and no workflows."""
    return orchestrator_of(Node, Port, Circuit, url)


def orchestrator_of(
    node: type[SubscriptionModel], port: type[SubscriptionModel], circuit: type[SubscriptionModel], url: str | None
) -> Orchestrator:
    """Return an orchestrator with the network's products, whichever their models are."""
    return Orchestrator(
        database=Database(url=url),
        products=[
            *(Product(f"Node {each}", node, tag="NODE", fixed_inputs={"vendor": each}) for each in Vendor),
            *(Product(f"Port {each // 1000}G", port, tag="PORT", fixed_inputs={"speed": each}) for each in Speed),
            Product("Circuit", circuit, tag="CIRCUIT", product_type="Connection"),
            Product("Circuit protected", circuit, tag="CIRCUIT", product_type="Connection"),
            Product("Chassis", Chassis, tag="CHASSIS"),
        ],
    )
