"""Port: where a customer is connected to a node, over one interface or a bundle of them."""

from enum import IntEnum, StrEnum
from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, model_validator

from examples.products.node import NodeBlock
from orchestrator_dagster import ProductBlockModel, SubscriptionLifecycle, SubscriptionModel

Vlan = Annotated[int, Field(ge=1, le=4094, description="VLAN id")]


class InterfaceSpeed(IntEnum):
    """Speed of each interface of a port, in Mbit/s."""

    TEN_GIGABIT = 10_000
    HUNDRED_GIGABIT = 100_000


class Optic(StrEnum):
    """The transceiver in an interface."""

    SHORT_REACH = "SR"
    LONG_REACH = "LR"
    EXTENDED_REACH = "ER"


class VlanRange(BaseModel):
    """VLANs from a first to a last one; written as `100-199`, or `100` for a single one."""

    model_config = ConfigDict(frozen=True)

    first: Vlan
    last: Vlan

    @model_validator(mode="before")
    @classmethod
    def read(cls, value: Any) -> Any:
        """Take text or a number for a range."""
        if not isinstance(value, str | int):
            return value
        first, _, last = str(value).partition("-")
        return {"first": first.strip(), "last": (last or first).strip()}

    @model_validator(mode="after")
    def check_order(self) -> "VlanRange":
        """Refuse a range that ends before it begins."""
        if self.last < self.first:
            raise ValueError(f"a range of VLANs begins with its lowest: {self.last}-{self.first}")
        return self

    def __contains__(self, vlan: int) -> bool:
        return self.first <= vlan <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class InterfaceBlock(ProductBlockModel, product_block_name="Interface"):
    """An interface of the node. All of it is known from the start, so that one class serves every status."""

    interface_name: str
    optic: Optic


class PortBlockInactive(ProductBlockModel, product_block_name="Port"):
    port_name: str | None = None
    node: NodeBlock | None = None  # a block of the node's subscription: the port uses it, and never changes it
    vlans: list[VlanRange] = []
    interfaces: Annotated[list[InterfaceBlock], Len(max_length=8)] = []


class PortBlockProvisioning(PortBlockInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    port_name: str
    node: NodeBlock
    vlans: list[VlanRange]
    interfaces: Annotated[list[InterfaceBlock], Len(min_length=1, max_length=8)]


class PortBlock(PortBlockProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    @property
    def title(self) -> str:
        """The port as people call it."""
        return f"{self.port_name} on {self.node.hostname}"

    def carries(self, vlan: int) -> bool:
        """Whether the port lets a VLAN through."""
        return any(vlan in allowed for allowed in self.vlans)


class PortInactive(SubscriptionModel, is_base=True):
    interface_speed: InterfaceSpeed
    port: PortBlockInactive


class PortProvisioning(PortInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    port: PortBlockProvisioning


class Port(PortProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    port: PortBlock

    @property
    def capacity(self) -> int:
        """What all interfaces of the port carry together, in Mbit/s."""
        return self.interface_speed * len(self.port.interfaces)
