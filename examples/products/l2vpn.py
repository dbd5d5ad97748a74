"""L2VPN: Ethernet between two or more ports of a customer."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Len

from examples.products.port import PortBlock
from orchestrator_dagster import ProductBlockModel, SubscriptionLifecycle, SubscriptionModel


class Topology(StrEnum):
    """Between how many ports it is."""

    POINT_TO_POINT = "point-to-point"
    MULTIPOINT = "multipoint"


class EndpointBlock(ProductBlockModel, product_block_name="L2VPN endpoint"):
    """Where the VPN comes out: a VLAN at a port of another subscription."""

    port: PortBlock
    vlan: int

    @property
    def title(self) -> str:
        """The endpoint as people call it."""
        return f"VLAN {self.vlan} at {self.port.title}"


class L2vpnBlockInactive(ProductBlockModel, product_block_name="L2VPN"):
    service_name: str | None = None
    bandwidth: int | None = None
    mtu: int = 9000
    endpoints: Annotated[list[EndpointBlock], Len(max_length=8)] = []


class L2vpnBlockProvisioning(L2vpnBlockInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    service_name: str
    bandwidth: int
    mtu: int
    endpoints: Annotated[list[EndpointBlock], Len(min_length=2, max_length=8)]


class L2vpnBlock(L2vpnBlockProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    """What is active has all that it has while it is provisioned."""


class L2vpnInactive(SubscriptionModel, is_base=True):
    topology: Topology
    l2vpn: L2vpnBlockInactive


class L2vpnProvisioning(L2vpnInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    l2vpn: L2vpnBlockProvisioning


class L2vpn(L2vpnProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    l2vpn: L2vpnBlock
