"""Node: a router of ours, at one of our sites."""

from enum import StrEnum
from ipaddress import IPv4Address

from orchestrator_dagster import ProductBlockModel, SubscriptionLifecycle, SubscriptionModel


class Vendor(StrEnum):
    """Whose hardware it is."""

    JUNIPER = "Juniper"
    NOKIA = "Nokia"


class Site(StrEnum):
    """Our points of presence."""

    BERGEN = "bgo"
    OSLO = "osl"
    STAVANGER = "svg"
    TRONDHEIM = "trd"
    TROMSO = "tos"


class NodeRole(StrEnum):
    """What a node does in the network."""

    CORE = "core"
    EDGE = "edge"


class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):
    hostname: str | None = None
    site: Site | None = None
    role: NodeRole | None = None
    software: str | None = None
    loopback: IPv4Address | None = None


class NodeBlockProvisioning(NodeBlockInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    hostname: str
    site: Site
    role: NodeRole
    software: str


class NodeBlock(NodeBlockProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    loopback: IPv4Address

    @property
    def title(self) -> str:
        """The node as people call it."""
        return f"{self.hostname} ({self.role} node, {self.software})"


class NodeInactive(SubscriptionModel, is_base=True):
    vendor: Vendor
    node: NodeBlockInactive


class NodeProvisioning(NodeInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    node: NodeBlockProvisioning


class Node(NodeProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    node: NodeBlock
