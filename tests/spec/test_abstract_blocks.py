"""Blocks without a name in the catalogue, that others inherit from; and blocks that inherit from several."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from orchestrator_dagster import (
    ModelError,
    Product,
    ProductBlockModel,
    SubscriptionLifecycle,
    SubscriptionModel,
)

ACTIVE = SubscriptionLifecycle.ACTIVE


class DeviceBlockInactive(ProductBlockModel):
    """Abstract: what all devices have."""

    serial: str | None = None
    slots: list[int] = []


class DeviceBlock(DeviceBlockInactive, lifecycle=[ACTIVE]):
    serial: str


class RouterBlockInactive(DeviceBlockInactive, product_block_name="Router"):
    loopback: str | None = None


class RouterBlock(RouterBlockInactive, DeviceBlock, lifecycle=[ACTIVE]):
    loopback: str


class SwitchBlockInactive(DeviceBlockInactive, product_block_name="Switch"):
    vlans: int | None = None


class SwitchBlock(SwitchBlockInactive, DeviceBlock, lifecycle=[ACTIVE]):
    pass


class BillableBlockInactive(ProductBlockModel):
    """Abstract: what one pays for."""

    price: int | None = None


class BillableBlock(BillableBlockInactive, lifecycle=[ACTIVE]):
    price: int


class LeasedRouterBlockInactive(RouterBlockInactive, BillableBlockInactive, product_block_name="LeasedRouter"):
    months: int = 12


class LeasedRouterBlock(LeasedRouterBlockInactive, RouterBlock, BillableBlock, lifecycle=[ACTIVE]):
    pass


class DeviceInactive(SubscriptionModel):
    """Abstract: subscriptions to all products with a device."""

    device: DeviceBlockInactive


class RouterInactive(DeviceInactive, is_base=True):
    device: RouterBlockInactive


class Router(RouterInactive, lifecycle=[ACTIVE]):
    device: RouterBlock


class LeasedRouterInactive(DeviceInactive, is_base=True):
    device: LeasedRouterBlockInactive


class LeasedRouter(LeasedRouterInactive, lifecycle=[ACTIVE]):
    device: LeasedRouterBlock


class StackBlockInactive(ProductBlockModel, product_block_name="Stack"):
    devices: list[DeviceBlockInactive] = []


class StackInactive(SubscriptionModel, is_base=True):
    stack: StackBlockInactive


PRODUCTS = [
    Product("Router", Router),
    Product("Leased router", LeasedRouter),
    Product("Stack", StackInactive),
]


@pytest.fixture
def router(product_id: Callable[[str], UUID]) -> RouterInactive:
    router = RouterInactive.from_product_id(product_id("Router"), "acme")
    router.device.serial, router.device.slots, router.device.loopback = "S1", [2, 1], "10.0.0.1"
    router.save()
    return router


def test_an_abstract_block_has_no_name_and_cannot_be_made() -> None:
    assert DeviceBlockInactive.product_block_name is None
    with pytest.raises(ModelError, match=r"abstract class\. Use one of \{.*RouterBlock.*SwitchBlock"):
        DeviceBlockInactive.new(uuid4())


def test_what_a_block_inherits_is_stored(router: RouterInactive) -> None:
    loaded = RouterInactive.from_subscription(router.subscription_id)
    assert loaded == router
    assert (loaded.device.serial, loaded.device.slots) == ("S1", [2, 1])


def test_an_abstract_subscription_loads_as_the_class_of_its_product(router: RouterInactive) -> None:
    assert type(DeviceInactive.from_subscription(router.subscription_id)) is RouterInactive
    SubscriptionModel.from_other_lifecycle(router, ACTIVE).save()
    loaded = DeviceInactive.from_subscription(router.subscription_id)
    assert (type(loaded), type(loaded.device)) == (Router, RouterBlock)


def test_a_block_is_loaded_by_way_of_its_abstract_class(router: RouterInactive) -> None:
    active = SubscriptionModel.from_other_lifecycle(router, ACTIVE)
    active.save()
    for asked in (DeviceBlock, RouterBlock):
        found = asked.from_db(router.device.subscription_instance_id)
        assert type(found) is RouterBlock
        assert found == active.device  # type: ignore[attr-defined]


def test_a_field_of_an_abstract_type_holds_any_block_that_inherits_from_it(
    product_id: Callable[[str], UUID], router: RouterInactive
) -> None:
    stack = StackInactive.from_product_id(product_id("Stack"), "acme")
    switch = SwitchBlockInactive.new(stack.subscription_id, serial="S2", vlans=4094)
    stack.stack.devices = [switch, router.device]
    stack.save()
    loaded = StackInactive.from_subscription(stack.subscription_id).stack.devices
    assert [type(device) for device in loaded] == [SwitchBlockInactive, RouterBlockInactive]
    assert loaded == [switch, router.device]


def test_a_block_that_inherits_from_two_has_and_keeps_the_fields_of_both(product_id: Callable[[str], UUID]) -> None:
    leased = LeasedRouterInactive.from_product_id(product_id("Leased router"), "acme")
    leased.device.serial, leased.device.loopback, leased.device.price = "S3", "10.0.0.3", 100
    active = LeasedRouter.from_other_lifecycle(leased, ACTIVE)
    active.save()
    loaded = LeasedRouter.from_subscription(leased.subscription_id)
    assert loaded == active
    assert (loaded.device.serial, loaded.device.price, loaded.device.months) == ("S3", 100, 12)


def test_a_block_that_inherits_from_a_named_one_is_a_block_of_its_own() -> None:
    assert LeasedRouterBlock.product_block_name == "LeasedRouter"
    assert issubclass(LeasedRouterBlock, RouterBlock)
    assert LeasedRouterBlock.__names__ == {"LeasedRouter", "Router"}


@pytest.mark.parametrize("model", [Router, LeasedRouter, StackInactive])
def test_the_catalogue_follows_what_is_inherited(
    product_id: Callable[[str], UUID], model: type[SubscriptionModel]
) -> None:
    name = {Router: "Router", LeasedRouter: "Leased router", StackInactive: "Stack"}[model]
    assert model.diff_product_in_database(product_id(name)) == {}
