"""Fields that hold several blocks, or perhaps one: their length, their order, and what is stored of a change."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import pytest
from annotated_types import Len
from network_models import PORT, ChannelBlockInactive, NodeBlockInactive, PortInactive
from pydantic import ValidationError

from orchestrator_dagster import Product, SubscriptionModel
from orchestrator_dagster.domain import SI

ListOfEnds = Annotated[list[SI], Len(min_length=2, max_length=3)]


class Lan(SubscriptionModel, is_base=True):
    ends: list[NodeBlockInactive]


class Trunk(SubscriptionModel, is_base=True):
    ends: ListOfEnds[NodeBlockInactive]


class Stub(SubscriptionModel, is_base=True):
    end: NodeBlockInactive | None = None


PRODUCTS = [PORT, Product("Lan", Lan), Product("Trunk", Trunk), Product("Stub", Stub)]


@pytest.fixture
def port(product_id: Callable[[str], UUID]) -> PortInactive:
    return PortInactive.from_product_id(product_id("Port 10G"), "acme")


def nodes(subscription: SubscriptionModel, *names: str) -> list[NodeBlockInactive]:
    return [NodeBlockInactive.new(subscription.subscription_id, node_name=name) for name in names]


def test_a_list_without_a_least_length_starts_empty_and_takes_blocks(product_id: Callable[[str], UUID]) -> None:
    lan = Lan.from_product_id(product_id("Lan"), "acme")
    assert lan.ends == []
    lan.save()
    lan.ends = nodes(lan, "a", "b")
    lan.save()
    assert Lan.from_subscription(lan.subscription_id) == lan


def test_a_list_with_a_least_length_starts_with_that_many_blocks(product_id: Callable[[str], UUID]) -> None:
    trunk = Trunk.from_product_id(product_id("Trunk"), "acme")
    assert [end.node_name for end in trunk.ends] == [None, None]


def test_blocks_that_are_replaced_are_gone(product_id: Callable[[str], UUID]) -> None:
    trunk = Trunk.from_product_id(product_id("Trunk"), "acme")
    trunk.save()
    before = {end.subscription_instance_id for end in trunk.ends}
    trunk.ends = nodes(trunk, "a", "b", "c")
    trunk.save()
    loaded = Trunk.from_subscription(trunk.subscription_id)
    assert loaded == trunk
    assert not before & {end.subscription_instance_id for end in loaded.ends}


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_list_keeps_its_bounds(product_id: Callable[[str], UUID], length: int) -> None:
    trunk = Trunk.from_product_id(product_id("Trunk"), "acme")
    with pytest.raises(ValidationError):
        trunk.ends = nodes(trunk, *"abcd"[:length])


def test_an_optional_block_starts_as_none_can_come_and_can_go(product_id: Callable[[str], UUID]) -> None:
    stub = Stub.from_product_id(product_id("Stub"), "acme")
    assert stub.end is None
    stub.save()
    (stub.end,) = nodes(stub, "a")
    stub.save()
    assert Stub.from_subscription(stub.subscription_id) == stub
    stub.end = None
    stub.save()
    assert Stub.from_subscription(stub.subscription_id).end is None


def test_the_order_of_blocks_is_kept_when_it_changes(port: PortInactive) -> None:
    port.port.channels = [ChannelBlockInactive.new(port.subscription_id, vlan=vlan) for vlan in (30, 10, 20)]
    port.save()
    first, second, third = port.port.channels
    port.port.channels = [second, third, first]
    port.save()
    loaded = PortInactive.from_subscription(port.subscription_id)
    assert [channel.vlan for channel in loaded.port.channels] == [10, 20, 30]
    assert loaded.port.channels[2].subscription_instance_id == first.subscription_instance_id


def test_blocks_stay_in_the_field_that_they_were_put_into(port: PortInactive) -> None:
    """Three fields take the same kind of block; each keeps its own."""
    port.port.main.vlan = 1
    port.port.spare = ChannelBlockInactive.new(port.subscription_id, vlan=2)
    port.port.channels = [ChannelBlockInactive.new(port.subscription_id, vlan=3)]
    port.save()
    loaded = PortInactive.from_subscription(port.subscription_id).port
    assert loaded.spare is not None
    assert (loaded.main.vlan, loaded.spare.vlan, loaded.channels[0].vlan) == (1, 2, 3)


def test_a_block_can_move_to_another_field(port: PortInactive) -> None:
    port.port.spare = ChannelBlockInactive.new(port.subscription_id, vlan=2)
    port.save()
    moved, port.port.spare = port.port.spare, None
    port.port.channels = [moved]
    port.save()
    loaded = PortInactive.from_subscription(port.subscription_id).port
    assert loaded.spare is None
    assert loaded.channels == [moved]
