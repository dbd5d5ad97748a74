"""Products of a small network, as the specification needs them: ports with channels, on nodes."""

from enum import Enum

from pydantic import computed_field

from orchestrator_dagster import Product, ProductBlockModel, SubscriptionLifecycle, SubscriptionModel

INITIAL, PROVISIONING, ACTIVE, MIGRATING, DISABLED, TERMINATED = (
    SubscriptionLifecycle.INITIAL,
    SubscriptionLifecycle.PROVISIONING,
    SubscriptionLifecycle.ACTIVE,
    SubscriptionLifecycle.MIGRATING,
    SubscriptionLifecycle.DISABLED,
    SubscriptionLifecycle.TERMINATED,
)


class Mode(Enum):
    """A plain enum, whose members do not print as their values."""

    TAGGED = "tagged"
    UNTAGGED = "untagged"


class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):
    node_name: str | None = None
    site: str | None = None


class NodeBlock(NodeBlockInactive, lifecycle=[ACTIVE]):
    node_name: str


class NodeInactive(SubscriptionModel, is_base=True):
    node: NodeBlockInactive


class Node(NodeInactive, lifecycle=[ACTIVE]):
    node: NodeBlock


class ChannelBlockInactive(ProductBlockModel, product_block_name="Channel"):
    vlan: int | None = None
    purpose: str | None = None


class ChannelBlockProvisioning(ChannelBlockInactive, lifecycle=[PROVISIONING]):
    vlan: int


class ChannelBlock(ChannelBlockProvisioning, lifecycle=[ACTIVE]):
    purpose: str


class PortBlockInactive(ProductBlockModel, product_block_name="Port"):
    port_name: str | None = None
    mode: Mode | None = None
    pool: list[int] = []
    main: ChannelBlockInactive
    spare: ChannelBlockInactive | None = None
    channels: list[ChannelBlockInactive] = []
    node: NodeBlockInactive | None = None

    @computed_field
    @property
    def title(self) -> str:
        return f"Port {self.port_name}"


class PortBlockProvisioning(PortBlockInactive, lifecycle=[PROVISIONING]):
    mode: Mode
    main: ChannelBlockProvisioning
    spare: ChannelBlockProvisioning | None = None
    channels: list[ChannelBlockProvisioning] = []


class PortBlock(PortBlockProvisioning, lifecycle=[ACTIVE]):
    port_name: str
    main: ChannelBlock
    spare: ChannelBlock | None = None
    channels: list[ChannelBlock] = []
    node: NodeBlock | None = None


class PortInactive(SubscriptionModel, is_base=True):
    protected: bool
    port: PortBlockInactive


class PortProvisioning(PortInactive, lifecycle=[PROVISIONING]):
    port: PortBlockProvisioning


class Port(PortProvisioning, lifecycle=[ACTIVE]):
    port: PortBlock


NODE = Product("Node Cisco", Node, tag="NODE")
PORT = Product("Port 10G", Port, tag="PORT", fixed_inputs={"protected": False})
PROTECTED_PORT = Product("Port 10G protected", Port, tag="PORT", fixed_inputs={"protected": True})
