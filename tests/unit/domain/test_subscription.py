"""How subscriptions are made, loaded, changed and saved."""

from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from annotated_types import Len
from memory_repository import MemoryRepository
from pydantic import AfterValidator, BaseModel, Field, ValidationError, computed_field, field_validator, model_validator

from orchestrator_dagster.domain import (
    SUBSCRIPTION_MODEL_REGISTRY,
    ProductBlockModel,
    SubscriptionLifecycle,
    SubscriptionModel,
)
from orchestrator_dagster.domain.product import ProductModel
from orchestrator_dagster.errors import (
    ConfigurationError,
    LifecycleError,
    ModelError,
    ProductBlockNotFoundError,
    ProductNotFoundError,
    ProductNotInRegistryError,
    StaleDataError,
    SubscriptionNotFoundError,
)

INITIAL, PROVISIONING, ACTIVE, TERMINATED = (
    SubscriptionLifecycle.INITIAL,
    SubscriptionLifecycle.PROVISIONING,
    SubscriptionLifecycle.ACTIVE,
    SubscriptionLifecycle.TERMINATED,
)


class Vendor(StrEnum):
    CISCO = "Cisco"
    NOKIA = "Nokia"


class Speed(IntEnum):
    SLOW = 10
    FAST = 100


class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):
    node_name: str | None = None
    site: str | None = None


class NodeBlockProvisioning(NodeBlockInactive, lifecycle=[PROVISIONING]):
    node_name: str


class NodeBlock(NodeBlockProvisioning, lifecycle=[ACTIVE]):
    site: str

    @computed_field
    @property
    def title(self) -> str:
        return f"{self.node_name} in {self.site}"


class NodeInactive(SubscriptionModel, is_base=True):
    vendor: Vendor
    node: NodeBlockInactive


class NodeProvisioning(NodeInactive, lifecycle=[PROVISIONING]):
    node: NodeBlockProvisioning


class Node(NodeProvisioning, lifecycle=[ACTIVE]):
    node: NodeBlock


class Settings(BaseModel):
    mtu: int = Field(1500, le=9000)


class ChannelBlockInactive(ProductBlockModel, product_block_name="Channel"):
    vlan: int | None = None
    settings: list[Settings] = []
    parent: "ChannelBlockInactive | None" = None


class ChannelBlock(ChannelBlockInactive, lifecycle=[ACTIVE]):
    vlan: int


class PortBlockInactive(ProductBlockModel, product_block_name="Port"):
    port_name: str | None = None
    allowed_vlans: list[int] = []
    node: NodeBlock | None = None
    backup: NodeBlock | None = None
    channels: Annotated[list[ChannelBlockInactive], Len(max_length=3)] = []


class PortBlock(PortBlockInactive, lifecycle=[ACTIVE]):
    port_name: str
    node: NodeBlock
    channels: Annotated[list[ChannelBlock], Len(max_length=3)]  # type: ignore[assignment]


class PortInactive(SubscriptionModel, is_base=True):
    speed: Speed
    port: PortBlockInactive


class Port(PortInactive, lifecycle=[ACTIVE]):
    port: PortBlock


@pytest.fixture
def node_product(repository: MemoryRepository) -> ProductModel:
    return repository.add_product("Node Cisco", {"vendor": "Cisco"})


@pytest.fixture
def port_product(repository: MemoryRepository) -> ProductModel:
    return repository.add_product("Port 10G", {"speed": 10})


@pytest.fixture
def node(node_product: ProductModel) -> Node:
    """An active node that is saved."""
    initial = NodeInactive.from_product_id(node_product.product_id, "acme")
    initial.node.node_name, initial.node.site = "ams-core-1", "Amsterdam"
    initial.save()
    active = Node.from_other_lifecycle(initial, ACTIVE)
    active.insync = True
    active.save()
    return active


@pytest.fixture
def port(port_product: ProductModel, node: Node) -> PortInactive:
    """A port on the node, with two channels, that is saved."""
    port = PortInactive.from_product_id(port_product.product_id, "acme")
    port.port.port_name = "xe-0/0/1"
    port.port.node = node.node
    port.port.channels = [ChannelBlockInactive.new(port.subscription_id, vlan=vlan) for vlan in (20, 10)]
    port.save()
    return port


class TestMaking:
    def test_a_new_subscription_has_its_product_fixed_inputs_and_required_blocks(
        self, node_product: ProductModel
    ) -> None:
        node = NodeInactive.from_product_id(node_product.product_id, "acme")
        assert (node.product, node.vendor, node.customer_id) == (node_product, Vendor.CISCO, "acme")
        assert (node.status, node.insync, node.version, node.start_date) == (INITIAL, False, 0, None)
        assert node.description == "Initial subscription of Node Cisco of a test"
        assert node.node.owner_subscription_id == node.subscription_id

    def test_everything_can_be_given_by_position(self, node_product: ProductModel) -> None:
        moment = datetime(2024, 1, 1, tzinfo=UTC)
        node = NodeInactive.from_product_id(
            str(node_product.product_id), "acme", INITIAL, "mine", True, moment, moment, "note", 1
        )
        assert (node.description, node.insync, node.start_date, node.end_date, node.note, node.version) == (
            "mine",
            True,
            moment,
            moment,
            "note",
            0,
        )

    def test_nothing_is_stored_before_save(self, repository: MemoryRepository, node_product: ProductModel) -> None:
        NodeInactive.from_product_id(node_product.product_id, "acme")
        assert not repository.subscriptions

    @pytest.mark.parametrize("product_id", [uuid4(), str(uuid4()), "no id"], ids=["id", "text", "no id"])
    def test_an_unknown_product_is_refused(self, repository: MemoryRepository, product_id: Any) -> None:
        with pytest.raises(ProductNotFoundError, match="Could not find a product for the given product_id"):
            NodeInactive.from_product_id(product_id, "acme")

    def test_the_class_must_fit_the_status(self, node_product: ProductModel) -> None:
        with pytest.raises(LifecycleError, match=r"NodeInactive'> is not valid for status active"):
            NodeInactive.from_product_id(node_product.product_id, "acme", ACTIVE)
        with pytest.raises(LifecycleError, match="is not valid for status active"):
            NodeInactive(product=node_product, customer_id="acme", status=ACTIVE, vendor=Vendor.CISCO, node=None)

    def test_a_fixed_input_that_the_product_lacks_is_an_error(self, repository: MemoryRepository) -> None:
        product = repository.add_product("Node Unknown")
        with pytest.raises(ValidationError, match=r"vendor\n  Field required"):
            NodeInactive.from_product_id(product.product_id, "acme")

    def test_models_need_a_store(self) -> None:
        with pytest.raises(ConfigurationError, match=r"orchestrator.connect"):
            NodeInactive.from_product_id(uuid4(), "acme")

    def test_a_new_block_has_the_least_number_of_blocks_in_its_lists(self) -> None:
        class Trunk(ProductBlockModel, product_block_name="Trunk"):
            links: Annotated[list[ChannelBlockInactive], Len(2, 8)]
            mixed: Annotated[list[NodeBlockInactive | ChannelBlockInactive], Len(1)]
            given: list[ChannelBlockInactive]

        owner = uuid4()
        given = ChannelBlockInactive.new(owner, vlan=7)
        trunk = Trunk.new(subscription_id=owner, given=[given])
        assert [type(block) for block in trunk.links] == [ChannelBlockInactive] * 2
        assert [type(block) for block in trunk.mixed] == [ChannelBlockInactive]
        assert trunk.given[0] is given
        assert {block.owner_subscription_id for block in trunk.links} == {owner}

    def test_a_union_of_blocks_cannot_be_made(self) -> None:
        class Either(ProductBlockModel, product_block_name="Either"):
            end: NodeBlockInactive | ChannelBlockInactive

        with pytest.raises(ValueError, match=r"Union Types must always be `Optional` when calling `.new\(\).`"):
            Either.new(uuid4())
        assert Either.new(uuid4(), end=ChannelBlockInactive.new(uuid4())).end.name == "Channel"

    def test_a_new_block_refuses_fields_that_it_does_not_have(self) -> None:
        with pytest.raises(ModelError, match="ChannelBlockInactive has no field vlam"):
            ChannelBlockInactive.new(uuid4(), vlam=3)

    def test_moments_are_in_utc(self, node: Node) -> None:
        node.start_date = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
        node.end_date = datetime(2024, 1, 1, 12)  # noqa: DTZ001
        assert node.start_date.isoformat() == "2024-01-01T10:00:00+00:00"
        assert node.end_date.isoformat() == "2024-01-01T12:00:00+00:00"


class TestLoading:
    def test_what_is_saved_is_loaded(self, port: PortInactive) -> None:
        loaded = PortInactive.from_subscription(port.subscription_id)
        assert loaded == port
        assert loaded.version == 1
        assert [channel.vlan for channel in loaded.port.channels] == [20, 10]
        assert loaded.model_dump(mode="json") == port.model_dump(mode="json")
        assert PortInactive.from_subscription(str(port.subscription_id)) == port

    def test_an_unknown_subscription_is_refused(self, repository: MemoryRepository) -> None:
        with pytest.raises(SubscriptionNotFoundError, match="Subscription with id: no id, does not exist"):
            Node.from_subscription("no id")
        with pytest.raises(SubscriptionNotFoundError, match="does not exist"):
            Node.from_subscription(uuid4())
        with pytest.raises(TypeError, match=r"subscription_id is of type <class 'int'> instead of UUID | UUIDstr"):
            Node.from_subscription(3)  # type: ignore[arg-type]

    def test_a_class_that_is_too_general_for_the_status_is_refused(self, node: Node) -> None:
        with pytest.raises(LifecycleError, match="NodeInactive'> is not valid for lifecycle active"):
            NodeInactive.from_subscription(node.subscription_id)

    def test_a_concrete_class_is_not_specialised_further(self, port: PortInactive) -> None:
        assert type(PortInactive.from_subscription(port.subscription_id)) is PortInactive

    def test_a_more_specialised_class_loads_if_everything_is_there(self, port: PortInactive) -> None:
        loaded = Port.from_subscription(port.subscription_id)
        assert (type(loaded), type(loaded.port), type(loaded.port.channels[0])) == (Port, PortBlock, ChannelBlock)
        assert loaded.status == INITIAL

    def test_what_the_class_asks_for_and_is_not_stored_is_named(
        self, node_product: ProductModel, repository: MemoryRepository
    ) -> None:
        node = NodeInactive.from_product_id(node_product.product_id, "acme")
        node.save()
        with pytest.raises(ValidationError, match=r"NodeBlock\n(.|\n)*site") as refusal:
            Node.from_subscription(node.subscription_id)
        block_id = node.node.subscription_instance_id
        assert refusal.value.__notes__ == [f"in block Node {block_id} of subscription {node.subscription_id}"]

    def test_a_value_that_was_never_stored_is_the_default_or_none(self, repository: MemoryRepository) -> None:
        class Old(ProductBlockModel, product_block_name="Evolving"):
            pass

        class OldService(SubscriptionModel, is_base=True):
            block: Old

        class New(ProductBlockModel, product_block_name="Evolving"):
            with_default: int = 3
            perhaps: int | None
            many: list[ChannelBlockInactive]

        class NewService(SubscriptionModel, is_base=True):
            block: New

        class Newest(ProductBlockModel, product_block_name="Evolving"):
            required: int

        class NewestService(SubscriptionModel, is_base=True):
            block: Newest

        product = repository.add_product("Evolving")
        old = OldService.from_product_id(product.product_id, "acme")
        old.save()
        loaded = NewService.from_subscription(old.subscription_id).block
        assert (loaded.with_default, loaded.perhaps, loaded.many) == (3, None, [])
        with pytest.raises(ValidationError, match=r"Newest\nrequired\n  Field required"):
            NewestService.from_subscription(old.subscription_id)

    def test_the_base_class_asks_the_registry(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ProductNotInRegistryError, match="'Node Cisco' is not found within the SUBSCRIPTION_MODEL"):
            SubscriptionModel.from_subscription(node.subscription_id)
        monkeypatch.setitem(SUBSCRIPTION_MODEL_REGISTRY, "Node Cisco", NodeInactive)
        assert SubscriptionModel.from_subscription(node.subscription_id) == node

    def test_a_subscription_to_another_kind_of_product_is_refused(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(ModelError, match=r"has blocks that .*Port'> lacks: node"):
            Port.from_subscription(node.subscription_id)
        monkeypatch.setitem(SUBSCRIPTION_MODEL_REGISTRY, "Node Cisco", Node)
        with pytest.raises(ModelError, match=r"Subscriptions to product 'Node Cisco' are of .*Node'>, not of .*Port'>"):
            Port.from_subscription(node.subscription_id)

    def test_a_block_is_loaded_by_its_id(self, node: Node, port: PortInactive) -> None:
        block_id = node.node.subscription_instance_id
        assert NodeBlock.from_db(block_id) == node.node
        assert NodeBlock.from_db(str(block_id)) == node.node
        assert PortBlockInactive.from_db(port.port.subscription_instance_id) == port.port

    def test_a_block_must_be_asked_for_as_what_it_is(self, node: Node) -> None:
        block_id = node.node.subscription_instance_id
        with pytest.raises(LifecycleError, match="NodeBlockInactive'> is not valid for lifecycle active"):
            NodeBlockInactive.from_db(block_id)
        with pytest.raises(ModelError, match=f"Block {block_id} is a Node, not a Port"):
            PortBlock.from_db(block_id)
        with pytest.raises(ProductBlockNotFoundError):
            PortBlock.from_db(uuid4())

    def test_labels_are_kept(self, port: PortInactive) -> None:
        port.port.label = "uplink"
        port.save()
        again = PortInactive.from_subscription(port.subscription_id)
        assert again.port.label == "uplink"
        again.save()
        assert PortInactive.from_subscription(port.subscription_id).port.label == "uplink"

    def test_a_block_knows_its_catalogue_entry(self, repository: MemoryRepository) -> None:
        record = repository.add_product_block("Node")
        assert NodeBlock.product_block() == record
        with pytest.raises(ProductBlockNotFoundError):
            ProductBlockModel.product_block()

    def test_blocks_know_who_uses_them_and_what_they_use(self, node: Node, port: PortInactive) -> None:
        (user,) = node.node.in_use_by
        assert (user.subscription_id, user.product_block_name) == (port.subscription_id, "Port")
        assert {used.product_block_name for used in port.port.depends_on} == {"Node", "Channel"}
        assert node.node.depends_on == []


class TestSaving:
    def test_every_save_that_changes_something_makes_a_version(self, node: Node) -> None:
        assert node.version == 2
        node.save()
        assert node.version == 2
        node.node.site = "Utrecht"
        node.save()
        assert node.version == Node.from_subscription(node.subscription_id).version == 3

    def test_a_stale_model_is_refused(self, node: Node) -> None:
        other = Node.from_subscription(node.subscription_id)
        node.node.site = "Utrecht"
        node.save()
        other.node.site = "Delft"
        with pytest.raises(StaleDataError, match=r"given version \(2\) does not match the current version \(3\)"):
            other.save()

    def test_saving_keeps_the_objects(self, port: PortInactive) -> None:
        block, channels = port.port, list(port.port.channels)
        port.save()
        assert port.port is block
        assert all(one is other for one, other in zip(port.port.channels, channels, strict=True))

    def test_the_class_must_fit_the_status(self, node_product: ProductModel) -> None:
        node = NodeInactive.from_product_id(node_product.product_id, "acme")
        node.status = ACTIVE
        message = r"Lifecycle status active requires specialized type <class .*Node'>, was: <class .*NodeInactive'>"
        with pytest.raises(LifecycleError, match=message):
            node.save()

    def test_an_append_past_a_length_limit_is_refused(self, port: PortInactive) -> None:
        port.port.channels += [ChannelBlockInactive.new(port.subscription_id)]
        port.port.channels.append(ChannelBlockInactive.new(port.subscription_id))
        with pytest.raises(ModelError, match=r"port.channels: .*at most 3 items.*not 4"):
            port.save()

    def test_a_wrong_element_is_refused(self, port: PortInactive) -> None:
        port.port.allowed_vlans.append("many")  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=r"port.allowed_vlans.0: Input should be a valid integer"):
            port.save()

    def test_an_element_that_validation_would_change_is_refused(self, port: PortInactive) -> None:
        port.port.allowed_vlans.append("20")  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=r"port.allowed_vlans: validation makes \[20\] of \['20'\]"):
            port.save()

    def test_a_block_of_a_wrong_class_in_a_list_is_refused(self, port: PortInactive) -> None:
        port.port.channels.append(port.port.node)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=r"port.channels.2: Input should be a valid dictionary or instance"):
            port.save()

    def test_a_wrong_value_inside_a_nested_model_is_refused(self, port: PortInactive) -> None:
        port.port.channels[1].settings = [Settings(), Settings()]
        port.port.channels[1].settings[1].mtu = 100_000
        with pytest.raises(ModelError, match=r"port.channels.1.settings: 1.mtu: .*less than or equal to 9000"):
            port.save()

    def test_nothing_is_stored_of_a_refused_save(self, port: PortInactive) -> None:
        port.description = "changed"
        port.port.allowed_vlans.append("many")  # type: ignore[arg-type]
        with pytest.raises(ModelError):
            port.save()
        assert PortInactive.from_subscription(port.subscription_id).description != "changed"

    def test_rules_over_several_fields_are_checked(self, repository: MemoryRepository) -> None:
        class RangeBlock(ProductBlockModel, product_block_name="Range"):
            bounds: list[int] = [1, 2]

            @field_validator("bounds")
            @classmethod
            def must_ascend(cls, bounds: list[int]) -> list[int]:
                if bounds != sorted(bounds):
                    raise ValueError("bounds must ascend")
                return bounds

        class RangeService(SubscriptionModel, is_base=True):
            block: RangeBlock

            @model_validator(mode="after")
            def must_be_described(self) -> "RangeService":
                if self.block.bounds == [0, 0]:
                    raise ValueError("empty range")
                return self

        service = RangeService.from_product_id(repository.add_product("Range").product_id, "acme")
        service.block.bounds.append(0)
        with pytest.raises(ModelError, match=r"block.bounds: Value error, bounds must ascend"):
            service.save()
        service.block.bounds = [0, 0]
        with pytest.raises(ModelError, match="empty range"):
            service.save()

    def test_a_validator_that_makes_something_else_each_time_is_refused(self, repository: MemoryRepository) -> None:
        class LoudBlock(ProductBlockModel, product_block_name="Loud"):
            text: Annotated[str, AfterValidator(lambda text: text + "!")] = "a"

        class Loud(SubscriptionModel, is_base=True):
            loud: LoudBlock

        loud = Loud.from_product_id(repository.add_product("Loud").product_id, "acme")
        with pytest.raises(ModelError, match=r"loud.text: validation makes 'a!!' of 'a!'"):
            loud.save()

    def test_values_that_cannot_be_stored_are_named(self, repository: MemoryRepository) -> None:
        class AnyBlock(ProductBlockModel, product_block_name="Any"):
            anything: Any = None

        class Anything(SubscriptionModel, is_base=True):
            block: AnyBlock

        service = Anything.from_product_id(repository.add_product("Any").product_id, "acme")
        service.block.anything = object()
        with pytest.raises(ModelError, match=r"block.anything: cannot be stored"):
            service.save()
        service.block.anything = ("a\0b", {"c": b"\xff"})
        service.save()
        assert Anything.from_subscription(service.subscription_id).block.anything == ("a\0b", {"c": b"\xff"})

    def test_blocks_of_others_are_linked_and_not_written(self, port: PortInactive, node: Node) -> None:
        assert port.port.node is node.node
        port.port.node.site = "Utrecht"
        port.save()
        assert Node.from_subscription(node.subscription_id).node.site == "Amsterdam"

    def test_blocks_of_others_are_not_validated(self, port: PortInactive) -> None:
        assert port.port.node
        port.port.node.__dict__["site"] = 3
        port.port.port_name = "xe-0/0/2"
        port.save()

    def test_a_block_that_is_let_go_is_removed(self, repository: MemoryRepository, port: PortInactive) -> None:
        gone = port.port.channels.pop(0)
        port.save()
        assert gone.subscription_instance_id not in repository.blocks

    def test_a_foreign_block_directly_below_a_subscription_is_refused(
        self, node: Node, node_product: ProductModel
    ) -> None:
        other = NodeInactive.from_product_id(node_product.product_id, "acme")
        other.node = node.node
        with pytest.raises(ModelError, match="Attempting to save a Foreign `Subscription Instance` directly below a"):
            other.save()

    def test_an_instance_can_be_linked_once_within_a_block(self, port: PortInactive, node: Node) -> None:
        port.port.backup = node.node
        message = (
            f"Cannot link the same subscription instance multiple times: instance "
            f"{node.node.subscription_instance_id} is used in fields"
        )
        with pytest.raises(ModelError, match=message):
            port.save()
        port.port.backup = None
        port.port.channels.append(port.port.channels[0])
        with pytest.raises(ModelError, match=r"is used in fields \['channels', 'channels'\]"):
            port.save()

    def test_an_instance_can_be_used_by_several_blocks(self, port: PortInactive) -> None:
        one, two = port.port.channels
        shared = ChannelBlockInactive.new(port.subscription_id, vlan=1)
        one.parent = two.parent = shared
        port.save()
        loaded = PortInactive.from_subscription(port.subscription_id)
        assert loaded.port.channels[0].parent is loaded.port.channels[1].parent
        assert loaded == port

    def test_two_objects_of_one_block_must_agree(self, port: PortInactive) -> None:
        one, two = port.port.channels
        one.parent = ChannelBlockInactive.new(port.subscription_id, vlan=1)
        two.parent = one.parent.model_copy()
        port.save()
        two.parent.vlan = 2
        with pytest.raises(ModelError, match="is in the tree twice, as two objects that differ"):
            port.save()

    def test_a_block_of_a_type_can_hold_blocks_of_its_own_type(self, port: PortInactive) -> None:
        deep = port.port.channels[0]
        for vlan in range(200):
            deep.parent = ChannelBlockInactive.new(port.subscription_id, vlan=vlan)
            deep = deep.parent
        port.save()
        found: ChannelBlockInactive | None = PortInactive.from_subscription(port.subscription_id).port.channels[0]
        depth = 0
        while found:
            found, depth = found.parent, depth + 1
        assert depth == 201

    def test_blocks_of_one_subscription_cannot_use_each_other_in_a_circle(self, port: PortInactive) -> None:
        one, two = port.port.channels
        one.parent, two.parent = two, one
        with pytest.raises(ModelError, match="uses itself"):
            port.save()

    def test_a_block_that_was_not_saved_by_its_owner_cannot_be_linked(
        self, port: PortInactive, node_product: ProductModel
    ) -> None:
        unsaved = NodeInactive.from_product_id(node_product.product_id, "acme")
        unsaved.node.node_name, unsaved.node.site = "n", "s"
        port.port.node = Node.from_other_lifecycle(unsaved, ACTIVE).node
        with pytest.raises(ModelError, match="do not exist"):
            port.save()


class TestConverting:
    def test_another_lifecycle_keeps_ids_labels_and_version(self, port: PortInactive) -> None:
        port.port.channels[0].label = "first"
        active = Port.from_other_lifecycle(port, ACTIVE)
        assert (active.subscription_id, active.version, active.status) == (port.subscription_id, 1, ACTIVE)
        assert type(active.port) is PortBlock
        assert [type(channel) for channel in active.port.channels] == [ChannelBlock] * 2
        assert [channel.subscription_instance_id for channel in active.port.channels] == [
            channel.subscription_instance_id for channel in port.port.channels
        ]
        assert active.port.channels[0].label == "first"
        assert active.speed is Speed.SLOW
        active.save()
        assert Port.from_subscription(port.subscription_id) == active

    def test_the_old_model_is_left_as_it_is(self, port: PortInactive) -> None:
        before = port.model_dump()
        active = Port.from_other_lifecycle(port, ACTIVE)
        active.port.allowed_vlans.append(3)
        active.port.port_name = "other"
        assert port.model_dump() == before

    def test_blocks_of_others_stay_the_same_objects_where_they_fit(self, port: PortInactive) -> None:
        assert Port.from_other_lifecycle(port, ACTIVE).port.node is port.port.node

    def test_blocks_of_others_are_converted_where_they_do_not_fit(
        self, repository: MemoryRepository, node: Node
    ) -> None:
        class UserBlockInactive(ProductBlockModel, product_block_name="User"):
            node: NodeBlockInactive | None = None

        class UserBlock(UserBlockInactive, lifecycle=[ACTIVE]):
            node: NodeBlock

        class UserInactive(SubscriptionModel, is_base=True):
            user: UserBlockInactive

        class User(UserInactive, lifecycle=[ACTIVE]):
            user: UserBlock

        user = UserInactive.from_product_id(repository.add_product("User").product_id, "acme")
        user.user.node = NodeBlockInactive(**node.node.model_dump())
        active = User.from_other_lifecycle(user, ACTIVE)
        assert active.user.node == node.node

    def test_what_the_new_status_asks_for_must_be_there(self, port: PortInactive) -> None:
        port.port.channels[1].vlan = None
        with pytest.raises(ValidationError, match=r"ChannelBlock\nvlan"):
            Port.from_other_lifecycle(port, ACTIVE)

    def test_the_class_must_fit_the_status(self, port: PortInactive) -> None:
        with pytest.raises(LifecycleError, match="PortInactive'> is not valid for lifecycle active"):
            PortInactive.from_other_lifecycle(port, ACTIVE)

    def test_the_base_class_finds_the_class_for_the_status(self, node: Node) -> None:
        assert type(SubscriptionModel.from_other_lifecycle(node, TERMINATED)) is NodeInactive

    def test_activation_sets_the_start_and_termination_the_end(self, node: Node) -> None:
        assert node.start_date is not None
        assert node.start_date.utcoffset() == timedelta(0)
        assert node.end_date is None
        terminated = NodeInactive.from_other_lifecycle(node, TERMINATED)
        assert terminated.start_date == node.start_date
        assert terminated.end_date is not None
        again = NodeInactive.from_other_lifecycle(terminated, TERMINATED)
        assert again.end_date == terminated.end_date

    def test_own_blocks_go_back_to_the_class_of_an_earlier_status(self, node: Node) -> None:
        terminated = NodeInactive.from_other_lifecycle(node, TERMINATED)
        assert type(terminated.node) is NodeBlockInactive
        assert "title" not in terminated.model_dump()["node"]

    def test_another_product_keeps_the_subscription_and_brings_its_fixed_inputs(
        self, repository: MemoryRepository, node: Node
    ) -> None:
        nokia = repository.add_product("Node Nokia", {"vendor": "Nokia"})
        changed = Node.from_other_product(node, nokia.product_id)
        assert (changed.subscription_id, changed.vendor, changed.product) == (node.subscription_id, Vendor.NOKIA, nokia)
        assert changed.node == node.node
        changed.save()
        assert Node.from_subscription(node.subscription_id) == changed

    def test_roots_find_the_field_that_takes_their_kind(self, repository: MemoryRepository, node: Node) -> None:
        class ImportedNode(SubscriptionModel, is_base=True):
            the_node: NodeBlock
            channels: list[ChannelBlock] = []

        changed = ImportedNode.from_other_product(node, repository.add_product("Imported").product_id)
        assert changed.the_node == node.node

        class Elsewhere(SubscriptionModel, is_base=True):
            channel: ChannelBlock | None = None

        with pytest.raises(ModelError, match=r"Elsewhere'> has no field for Node"):
            Elsewhere.from_other_product(node, repository.add_product("Elsewhere").product_id)

    def test_a_new_root_replaces_all_blocks(self, repository: MemoryRepository, node: Node) -> None:
        root = NodeBlock.new(node.subscription_id, node_name="new", site="here")
        product = repository.add_product("Node Nokia", {"vendor": "Nokia"})
        changed = Node.from_other_product(node, product.product_id, new_root=("node", root))
        assert changed.node is root
        with pytest.raises(ProductNotFoundError):
            Node.from_other_product(node, uuid4())


class TestLifecycleChange:
    def test_a_status_that_does_not_go_with_those_of_its_users_is_refused(self, port: PortInactive, node: Node) -> None:
        Port.from_other_lifecycle(port, ACTIVE).save()
        message = f"Unsafe status change of Subscription with depending subscriptions: .{port.subscription_id}"
        with pytest.raises(LifecycleError, match=message):
            NodeInactive.from_other_lifecycle(node, TERMINATED)
        assert NodeInactive.from_other_lifecycle(node, TERMINATED, skip_validation=True).status == TERMINATED

    def test_the_users_of_nested_blocks_count_as_well(self, repository: MemoryRepository, port: PortInactive) -> None:
        class UserBlock(ProductBlockModel, product_block_name="Channel user", lifecycle=[ACTIVE]):
            channel: ChannelBlock

        class User(SubscriptionModel, is_base=True, lifecycle=[ACTIVE]):
            user: UserBlock

        active = Port.from_other_lifecycle(port, ACTIVE)
        active.save()
        product = repository.add_product("User")
        subscription_id = uuid4()
        User(
            product=product,
            customer_id="acme",
            subscription_id=subscription_id,
            status=ACTIVE,
            user=UserBlock.new(subscription_id, channel=active.port.channels[1]),
        ).save()
        with pytest.raises(LifecycleError, match=str(subscription_id)):
            PortInactive.from_other_lifecycle(active, TERMINATED)

    def test_blocks_of_the_subscription_itself_do_not_count(self, port: PortInactive) -> None:
        one, two = port.port.channels
        one.parent = ChannelBlockInactive.new(port.subscription_id, vlan=1)
        two.parent = one.parent
        active = Port.from_other_lifecycle(port, ACTIVE)
        active.save()
        assert PortInactive.from_other_lifecycle(active, TERMINATED).status == TERMINATED


def test_ids_are_uuids(node: Node) -> None:
    assert isinstance(node.subscription_id, UUID)
    assert isinstance(node.node.subscription_instance_id, UUID)
