"""What a class statement of a block or subscription declares, and what it refuses."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Union

import pytest
from annotated_types import Len
from pydantic import Base64Bytes, BaseModel, Field, Json, ValidationError, computed_field
from typing_extensions import TypeAliasType

from orchestrator_dagster.domain import (
    SI,
    ProductBlockModel,
    SubscriptionLifecycle,
    SubscriptionModel,
    lookup_specialized_type,
)
from orchestrator_dagster.errors import DefinitionError, LifecycleError

ACTIVE = SubscriptionLifecycle.ACTIVE
PROVISIONING = SubscriptionLifecycle.PROVISIONING
OWNER = "6f4f2a5e-8c1b-4a55-9a6e-0c1f3f0d6d10"


class Speed(StrEnum):
    SLOW = "slow"


class ChannelBlockInactive(ProductBlockModel, product_block_name="Channel"):
    vlan: int | None = None


class ChannelBlockProvisioning(ChannelBlockInactive, lifecycle=[PROVISIONING]):
    pass


class ChannelBlock(ChannelBlockProvisioning, lifecycle=[ACTIVE]):
    vlan: int


class OtherBlock(ProductBlockModel, product_block_name="Other"):
    pass


ListOf = Annotated[list[SI], Len(min_length=1, max_length=2)]
Channels = TypeAliasType("Channels", list[ChannelBlockInactive])


class EveryShape(ProductBlockModel, product_block_name="Every shape"):
    one: ChannelBlockInactive
    perhaps: ChannelBlockInactive | None = None
    either: ChannelBlockInactive | OtherBlock | None = None
    old_style: Union[ChannelBlockInactive, None] = None  # noqa: UP007
    many: list[ChannelBlockInactive] = []
    limited: Annotated[list[ChannelBlockInactive], Len(max_length=3)] = []
    by_field: list[ChannelBlockInactive] = Field(default=[], max_length=3)
    mixed: list[ChannelBlockInactive | OtherBlock] = []
    optional_list: list[ChannelBlockInactive] | None = None
    optional_limited: Annotated[list[ChannelBlockInactive], Len(1, 3)] | None = None
    generic: ListOf[ChannelBlockInactive]
    alias: Channels = []
    speed: Speed = Speed.SLOW
    numbers: list[int] = []


def test_fields_that_hold_blocks_are_told_from_values() -> None:
    channel, both = (ChannelBlockInactive,), (ChannelBlockInactive, OtherBlock)
    assert EveryShape.block_types() == {
        "one": channel,
        "perhaps": channel,
        "either": both,
        "old_style": channel,
        "many": channel,
        "limited": channel,
        "by_field": channel,
        "mixed": both,
        "optional_list": channel,
        "optional_limited": channel,
        "generic": channel,
        "alias": channel,
    }
    assert EveryShape.value_fields().keys() == {"speed", "numbers"}


def test_what_every_block_has_is_no_resource_type() -> None:
    assert ChannelBlock.value_fields().keys() == {"vlan"}


def test_a_block_type_may_refer_to_itself() -> None:
    class Tree(ProductBlockModel, product_block_name="Tree"):
        parent: "Tree | None" = None

    assert Tree.block_types() == {"parent": (Tree,)}


def test_fields_of_a_subscription_are_roots_or_fixed_inputs() -> None:
    class Service(SubscriptionModel, is_base=True):
        speed: Speed
        channel: ChannelBlockInactive

    assert Service.root_block_types() == {"channel": (ChannelBlockInactive,)}
    assert Service.fixed_input_fields().keys() == {"speed"}


def test_a_lifecycle_class_inherits_the_fields_that_it_does_not_redeclare() -> None:
    class Inactive(ProductBlockModel, product_block_name="Inherits"):
        vlan: int | None = None
        channel: ChannelBlock | None = None

    class Active(Inactive, lifecycle=[ACTIVE]):
        vlan: int

    assert Active.value_fields().keys() == {"vlan"}
    assert Active.block_types() == {"channel": (ChannelBlock,)}


def test_the_class_for_a_status_is_the_declared_one_or_else_the_base() -> None:
    found = {status: lookup_specialized_type(ChannelBlock, status) for status in SubscriptionLifecycle}
    assert found.pop(ACTIVE) is ChannelBlock
    assert found.pop(PROVISIONING) is ChannelBlockProvisioning
    assert set(found.values()) == {ChannelBlockInactive}


def test_one_class_can_serve_several_statuses() -> None:
    class Inactive(ProductBlockModel, product_block_name="Several"):
        pass

    class Both(Inactive, lifecycle=[ACTIVE, PROVISIONING]):
        pass

    assert {lookup_specialized_type(Inactive, status) for status in (ACTIVE, PROVISIONING)} == {Both}


def test_two_classes_cannot_serve_one_status() -> None:
    class Inactive(ProductBlockModel, product_block_name="Twice"):
        pass

    class First(Inactive, lifecycle=[ACTIVE]):
        pass

    with pytest.raises(DefinitionError, match=r"Second.*is declared for lifecycle active, but.*First"):

        class Second(Inactive, lifecycle=[ACTIVE]):
            pass


def test_a_class_outside_of_any_family_has_no_specialised_class() -> None:
    with pytest.raises(LifecycleError, match="Cannot instantiate a class that has no __base_type__"):
        lookup_specialized_type(SubscriptionModel, ACTIVE)
    with pytest.raises(LifecycleError, match="Cannot register a type that has no __base_type__"):

        class Service(SubscriptionModel, lifecycle=[ACTIVE]):
            pass


@pytest.mark.parametrize(
    "annotation",
    [
        ChannelBlockInactive,
        ChannelBlockInactive | None,
        list[ChannelBlockInactive],
        Annotated[list[ChannelBlockInactive], Len(max_length=3)],
        ChannelBlock | ChannelBlockInactive,
        list[ChannelBlock | OtherBlock | ChannelBlockProvisioning],
    ],
)
def test_block_types_must_be_as_specialised_as_the_status_asks(annotation: Any) -> None:
    class Inactive(SubscriptionModel, is_base=True):
        pass

    with pytest.raises(LifecycleError) as refusal:

        class Active(Inactive, lifecycle=[ACTIVE]):
            field: annotation

    assert str(refusal.value).startswith("The lifecycle status of the type for the field: field, <class ")
    assert str(refusal.value).endswith("is not suitable for the lifecycle status (active) of this model")


def test_inherited_block_fields_are_checked_for_the_status_too() -> None:
    class Inactive(SubscriptionModel, is_base=True):
        channel: ChannelBlockInactive

    with pytest.raises(LifecycleError, match="for the field: channel"):

        class Active(Inactive, lifecycle=[ACTIVE]):
            pass


def test_a_more_specialised_block_type_than_the_status_asks_is_fine() -> None:
    class Inactive(SubscriptionModel, is_base=True):
        channel: ChannelBlock

    class Provisioning(Inactive, lifecycle=[PROVISIONING]):
        pass

    assert Provisioning.root_block_types() == {"channel": (ChannelBlock,)}


def test_a_block_type_that_is_defined_later_is_checked_on_first_use() -> None:
    class Early(ProductBlockModel, product_block_name="Early", lifecycle=[ACTIVE]):
        later: "Later | None" = None

    with pytest.raises(DefinitionError, match=r"Early.model_rebuild"):
        Early.block_types()

    class Later(ProductBlockModel, product_block_name="Later"):
        pass

    class LaterActive(Later, lifecycle=[ACTIVE]):
        pass

    Early.model_rebuild()
    with pytest.raises(LifecycleError, match="for the field: later"):
        Early.block_types()


@pytest.mark.parametrize(
    "annotation",
    [
        dict[str, ChannelBlock],
        tuple[ChannelBlock, ...],
        list[list[ChannelBlock]],
        list[ChannelBlock | None],
        ChannelBlock | int,
        ChannelBlock | list[ChannelBlock],
        SubscriptionModel,
    ],
)
def test_blocks_in_any_other_shape_are_refused(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Shapeless.field: blocks can be held as"):

        class Shapeless(ProductBlockModel, product_block_name="Shapeless"):
            field: annotation


def test_a_block_inside_of_a_nested_model_is_refused() -> None:
    class Settings(BaseModel):
        channel: ChannelBlock

    with pytest.raises(DefinitionError, match="blocks can be held as"):

        class Shapeless(ProductBlockModel, product_block_name="Shapeless"):
            settings: list[Settings]


@pytest.mark.parametrize("annotation", [Json[list[int]], Base64Bytes, Json])
def test_a_type_that_decodes_what_it_is_given_is_refused(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Encoded.field: a type that decodes"):

        class Encoded(ProductBlockModel, product_block_name="Encoded"):
            field: annotation


def test_an_unknown_class_keyword_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Misspelt: unknown class keyword life_cycle; known are product_"):

        class Misspelt(ProductBlockModel, life_cycle=[ACTIVE]):
            pass

    with pytest.raises(DefinitionError, match="unknown class keyword product_block_name; known are is_base, lifecycle"):

        class MisspeltToo(SubscriptionModel, product_block_name="X"):
            pass


@pytest.mark.parametrize("name", ["new", "from_db", "in_use_by", "product_block_name", "value_fields"])
def test_a_field_cannot_take_the_name_of_a_method(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"a field cannot be called {name}"):
        type("Hiding", (ProductBlockModel,), {"__annotations__": {name: int}, "__module__": __name__})


def test_a_blocks_own_name_is_the_name_of_its_product_block() -> None:
    block = ChannelBlock(owner_subscription_id=OWNER, vlan=3)
    assert (block.name, block.product_block_name, ChannelBlock.product_block_name) == ("Channel",) * 3
    assert block.model_dump()["name"] == "Channel"
    with pytest.raises(ValidationError, match="frozen"):
        block.name = "Other"
    with pytest.raises(ValidationError, match="name"):
        ChannelBlock(owner_subscription_id=OWNER, vlan=3, name="Other")


def test_a_resource_type_can_be_called_name() -> None:
    class Inactive(ProductBlockModel, product_block_name="Named"):
        name: str | None = None

    class Active(Inactive, lifecycle=[ACTIVE]):
        name: str

    block = Active(owner_subscription_id=OWNER, name="mine")
    block.name = "yours"
    assert (block.name, block.product_block_name) == ("yours", "Named")
    assert Active.value_fields().keys() == {"name"}


def test_resource_types_can_have_everyday_names() -> None:
    class Everyday(ProductBlockModel, product_block_name="Everyday"):
        id: int = 1
        type: str = "t"
        description: str = "d"
        tag: Literal["a", "b"] = "a"
        status: str = "s"
        values: list[int] = []
        items: dict[str, int] = {}
        keys: int = 0
        product: str = ""
        version: int = 3
        self: str = "self"
        model_name: str = "m"

    block = Everyday.new(OWNER, self="me", type="y")
    assert (block.self, block.type, block.tag) == ("me", "y", "a")


def test_an_abstract_block_cannot_be_made() -> None:
    class Abstract(ProductBlockModel):
        shared: int = 0

    class Concrete(Abstract, product_block_name="Concrete"):
        pass

    message = r"Cannot create instance of abstract class. Use one of \{Concrete\}"
    with pytest.raises(ValueError, match=message):
        Abstract.new(OWNER)
    with pytest.raises(ValueError, match=message):
        Abstract.model_validate({"owner_subscription_id": OWNER})
    assert Abstract.product_block_name is None
    assert Concrete.new(OWNER).shared == 0


def test_a_block_can_inherit_from_two_blocks() -> None:
    class Both(ChannelBlockInactive, OtherBlock, product_block_name="Both"):
        extra: int = 1

    class BothActive(Both, ChannelBlock, lifecycle=[ACTIVE]):
        pass

    assert Both.__names__ == {"Both", "Channel", "Other"}
    assert Both.value_fields().keys() == {"vlan", "extra"}
    assert lookup_specialized_type(Both, ACTIVE) is BothActive
    assert BothActive.product_block_name == "Both"
    assert BothActive(owner_subscription_id=OWNER, vlan=2).name == "Both"


def test_abstract_blocks_have_lifecycle_classes_as_well() -> None:
    class Abstract(ProductBlockModel):
        shared: int | None = None

    class AbstractActive(Abstract, lifecycle=[ACTIVE]):
        shared: int

    class Concrete(Abstract, product_block_name="Concrete"):
        pass

    class ConcreteActive(AbstractActive, Concrete, lifecycle=[ACTIVE]):
        pass

    assert lookup_specialized_type(Abstract, ACTIVE) is AbstractActive
    assert lookup_specialized_type(Concrete, ACTIVE) is ConcreteActive
    assert ConcreteActive.product_block_name == "Concrete"


def test_assignment_is_validated() -> None:
    block = ChannelBlock(owner_subscription_id=OWNER, vlan=3)
    with pytest.raises(ValidationError):
        block.vlan = "many"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="no attribute"):
        block.vlam = 4  # type: ignore[attr-defined]


def test_models_are_equal_when_their_content_is() -> None:
    block = ChannelBlock(owner_subscription_id=OWNER, vlan=3)
    same = ChannelBlock(**block.model_dump())
    assert block == same
    same.vlan = 4
    assert block != same
    assert block != ChannelBlockInactive(**block.model_dump())
    assert block != 3


def test_computed_fields_are_in_dumps_but_are_no_resource_types() -> None:
    class Titled(ProductBlockModel, product_block_name="Titled"):
        vlan: int = 1

        @computed_field
        @property
        def title(self) -> str:
            return f"VLAN {self.vlan}"

    block = Titled.new(OWNER)
    assert block.model_dump()["title"] == "VLAN 1"
    assert Titled.value_fields().keys() == {"vlan"}
    assert Titled.model_validate(block.model_dump(mode="json")) == block
