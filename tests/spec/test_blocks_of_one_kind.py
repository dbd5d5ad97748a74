"""Several fields of one block that take the same kind of block, from this subscription and from others."""

from collections.abc import Callable
from uuid import UUID

import pytest
from network_models import ACTIVE, PORT, ChannelBlockInactive, Mode, Port, PortInactive

from orchestrator_dagster import ModelError, SubscriptionModel

PRODUCTS = [PORT]

Make = Callable[..., Port]


@pytest.fixture
def make(product_id: Callable[[str], UUID]) -> Make:
    """Save an active port; its channels are numbers, which become blocks of its own, or blocks of others."""

    def make_port(
        main: int | ChannelBlockInactive,
        spare: int | ChannelBlockInactive | None = None,
        channels: list[ChannelBlockInactive] | None = None,
    ) -> Port:
        port = PortInactive.from_product_id(product_id("Port 10G"), "acme")

        def channel(given: int | ChannelBlockInactive) -> ChannelBlockInactive:
            if isinstance(given, int):
                return ChannelBlockInactive.new(port.subscription_id, vlan=given, purpose="internet")
            return given

        port.port.port_name, port.port.mode, port.port.main = "xe-0/0/1", Mode.TAGGED, channel(main)
        port.port.spare = None if spare is None else channel(spare)
        port.port.channels = channels or []
        active = SubscriptionModel.from_other_lifecycle(port, ACTIVE)
        active.save()
        loaded = Port.from_subscription(active.subscription_id)
        assert loaded == active
        return loaded

    return make_port


def vlans(port: Port) -> list[int]:
    spare = [port.port.spare] if port.port.spare else []
    return [channel.vlan for channel in [port.port.main, *spare, *port.port.channels]]


def test_two_fields_with_own_blocks(make: Make) -> None:
    assert vlans(make(100, 101)) == [100, 101]


def test_two_fields_with_an_own_block_and_one_of_another_subscription(make: Make) -> None:
    other = make(200, 201)
    assert vlans(make(100, other.port.main)) == [100, 200]


def test_two_fields_with_two_blocks_of_one_other_subscription(make: Make) -> None:
    other = make(200, 201)
    assert vlans(make(other.port.main, other.port.spare)) == [200, 201]


def test_two_fields_with_blocks_of_two_other_subscriptions(make: Make) -> None:
    assert vlans(make(make(200).port.main, make(210).port.main)) == [200, 210]


def test_own_fields_and_a_list_with_a_block_of_another_subscription(make: Make) -> None:
    other = make(200)
    assert vlans(make(100, 101, [other.port.main])) == [100, 101, 200]


def test_own_fields_and_a_list_with_two_blocks_of_one_other_subscription(make: Make) -> None:
    other = make(200, 201)
    assert vlans(make(100, 101, [other.port.spare, other.port.main])) == [100, 101, 201, 200]


def test_own_fields_and_a_list_with_blocks_of_two_other_subscriptions(make: Make) -> None:
    assert vlans(make(100, 101, [make(200).port.main, make(210).port.main])) == [100, 101, 200, 210]


def test_one_block_cannot_be_in_two_fields_of_a_block(make: Make) -> None:
    other = make(200)
    with pytest.raises(ModelError, match="Cannot link the same subscription instance multiple times"):
        make(other.port.main, other.port.main)


def test_one_block_cannot_be_twice_in_a_list(make: Make) -> None:
    other = make(200)
    with pytest.raises(ModelError, match="Cannot link the same subscription instance multiple times"):
        make(100, 101, [other.port.main, other.port.main])


def test_one_block_can_be_in_fields_of_two_blocks(make: Make) -> None:
    other = make(200)
    assert [vlans(make(100, other.port.main)), vlans(make(110, other.port.main))] == [[100, 200], [110, 200]]
