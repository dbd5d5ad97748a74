"""One model, several classes: which class a lifecycle status asks for, and which it takes."""

from typing import Any
from uuid import uuid4

import pytest
from network_models import (
    ACTIVE,
    DISABLED,
    INITIAL,
    MIGRATING,
    NODE,
    PORT,
    PROVISIONING,
    TERMINATED,
    ChannelBlock,
    ChannelBlockInactive,
    ChannelBlockProvisioning,
    Mode,
    Port,
    PortBlock,
    PortBlockInactive,
    PortBlockProvisioning,
    PortInactive,
    PortProvisioning,
)
from pydantic import ValidationError

from orchestrator_dagster import (
    LifecycleError,
    ProductBlockModel,
    ProductLifecycle,
    ProductModel,
    SubscriptionLifecycle,
    SubscriptionModel,
)
from orchestrator_dagster.domain import lookup_specialized_type

PRODUCTS = [NODE, PORT]
A_PRODUCT = ProductModel(
    product_id=uuid4(),
    name="Port 10G",
    description="Port 10G",
    product_type="Port",
    tag="PORT",
    status=ProductLifecycle.ACTIVE,
)
SUBSCRIPTION_ID = uuid4()


def block_of(kind: type[PortBlockInactive]) -> PortBlockInactive:
    if kind is PortBlockInactive:
        return PortBlockInactive.new(SUBSCRIPTION_ID)
    channel = ChannelBlock.new(SUBSCRIPTION_ID, vlan=20, purpose="internet")
    return kind.new(SUBSCRIPTION_ID, port_name="xe-0/0/1", mode=Mode.TAGGED, main=channel)


def made(model: type[PortInactive], status: SubscriptionLifecycle, **given: Any) -> PortInactive:
    return model(
        product=A_PRODUCT,
        customer_id="acme",
        subscription_id=SUBSCRIPTION_ID,
        status=status,
        protected=False,
        **given,
    )


@pytest.mark.parametrize(
    ("status", "block", "subscription"),
    [
        (INITIAL, PortBlockInactive, PortInactive),
        (PROVISIONING, PortBlockProvisioning, PortProvisioning),
        (ACTIVE, PortBlock, Port),
        (MIGRATING, PortBlockInactive, PortInactive),
        (DISABLED, PortBlockInactive, PortInactive),
        (TERMINATED, PortBlockInactive, PortInactive),
    ],
)
def test_a_status_has_the_class_that_is_declared_for_it_or_else_the_base(
    status: SubscriptionLifecycle, block: type[PortBlockInactive], subscription: type[PortInactive]
) -> None:
    assert lookup_specialized_type(PortBlock, status) is block
    assert lookup_specialized_type(PortInactive, status) is subscription


def test_one_class_can_serve_several_statuses() -> None:
    class LinkBlockInactive(ProductBlockModel, product_block_name="Link"):
        speed: int | None = None

    class LinkBlock(LinkBlockInactive, lifecycle=[PROVISIONING, ACTIVE]):
        speed: int

    assert {lookup_specialized_type(LinkBlockInactive, status) for status in (PROVISIONING, ACTIVE)} == {LinkBlock}


@pytest.mark.parametrize(
    ("model", "status"), [(PortInactive, PROVISIONING), (PortInactive, ACTIVE), (PortProvisioning, ACTIVE)]
)
def test_a_class_that_is_too_general_for_a_status_cannot_have_it(
    model: type[PortInactive], status: SubscriptionLifecycle
) -> None:
    with pytest.raises(LifecycleError, match=f"is not valid for status {status}"):
        made(model, status, port=block_of(PortBlock))


@pytest.mark.parametrize("status", [INITIAL, PROVISIONING, ACTIVE])
def test_a_class_may_have_a_status_that_asks_for_less(status: SubscriptionLifecycle) -> None:
    assert made(Port, status, port=block_of(PortBlock)).status == status


@pytest.mark.parametrize(
    ("model", "block"), [(PortInactive, PortBlock), (PortInactive, PortBlockInactive), (PortProvisioning, PortBlock)]
)
def test_a_subscription_takes_blocks_that_are_as_specialised_as_itself_or_more(
    model: type[PortInactive], block: type[PortBlockInactive]
) -> None:
    assert type(made(model, INITIAL, port=block_of(block)).port) is block


def test_a_subscription_takes_no_block_that_is_less_specialised() -> None:
    with pytest.raises(ValidationError, match="instance of PortBlock"):
        made(Port, ACTIVE, port=block_of(PortBlockInactive))


def test_a_subscription_takes_nothing_for_a_block_that_it_needs() -> None:
    with pytest.raises(ValidationError, match="Field required"):
        made(Port, INITIAL)


def test_a_block_cannot_be_made_without_what_its_class_asks_for() -> None:
    with pytest.raises(ValidationError) as error:
        PortBlock.new(SUBSCRIPTION_ID)
    assert {item["loc"] for item in error.value.errors()} == {("vlan",), ("purpose",)}


@pytest.mark.parametrize(
    "annotation",
    [
        ChannelBlockInactive,
        ChannelBlockInactive | None,
        ChannelBlockProvisioning | ChannelBlockInactive,
        list[ChannelBlockInactive],
    ],
)
def test_a_class_for_a_status_cannot_hold_blocks_that_are_too_general_for_it(annotation: Any) -> None:
    class TrunkBlockInactive(ProductBlockModel, product_block_name="Trunk"):
        first: ChannelBlockInactive | None = None

    with pytest.raises(LifecycleError, match=r"field: first.* not suitable for the lifecycle status \(provisioning\)"):
        type(
            "TrunkBlockProvisioning",
            (TrunkBlockInactive,),
            {"__annotations__": {"first": annotation}, "__module__": __name__},
            lifecycle=[PROVISIONING],
        )


def test_the_class_must_fit_when_it_is_saved() -> None:
    port = made(PortInactive, INITIAL, port=block_of(PortBlockInactive))
    port.status = ACTIVE
    with pytest.raises(LifecycleError, match="Lifecycle status active requires specialized type"):
        port.save()


def test_a_class_outside_of_any_family_has_no_class_for_a_status() -> None:
    with pytest.raises(LifecycleError, match="no __base_type__"):
        lookup_specialized_type(SubscriptionModel, ACTIVE)
