"""A subscription goes to another lifecycle status: as another class, with its data, if those that use it allow it."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

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
    Mode,
    NodeInactive,
    Port,
    PortBlock,
    PortInactive,
    PortProvisioning,
)
from pydantic import ValidationError

from orchestrator_dagster import LifecycleError, Session, SubscriptionLifecycle, SubscriptionModel

PRODUCTS = [NODE, PORT]


@pytest.fixture
def port(product_id: Callable[[str], UUID]) -> PortInactive:
    """A port that has all that it needs."""
    port = PortInactive.from_product_id(product_id("Port 10G"), "acme")
    port.port.port_name, port.port.mode = "xe-0/0/1", Mode.TAGGED
    port.port.main.vlan, port.port.main.purpose = 1, "internet"
    port.port.spare = ChannelBlockInactive.new(port.subscription_id, vlan=2, purpose="spare")
    port.port.channels = [ChannelBlockInactive.new(port.subscription_id, vlan=3, purpose="voice")]
    return port


def test_what_the_status_asks_for_must_be_there_at_every_depth(port: PortInactive) -> None:
    port.port.port_name = port.port.main.purpose = port.port.channels[0].vlan = None
    with pytest.raises(ValidationError, match="vlan"):
        SubscriptionModel.from_other_lifecycle(port, PROVISIONING)
    port.port.channels[0].vlan = 3
    provisioning = SubscriptionModel.from_other_lifecycle(port, PROVISIONING)
    assert (type(provisioning), provisioning.status) == (PortProvisioning, PROVISIONING)
    with pytest.raises(ValidationError):
        SubscriptionModel.from_other_lifecycle(provisioning, ACTIVE)


def test_it_keeps_everything_but_status_and_start(port: PortInactive) -> None:
    port.port.label = "Uplink"
    active = SubscriptionModel.from_other_lifecycle(port, ACTIVE)
    assert isinstance(active.start_date, datetime)
    expected = port.model_dump() | {"status": ACTIVE, "start_date": active.start_date}
    assert active.model_dump() == expected


def test_nested_blocks_become_those_of_the_status(port: PortInactive) -> None:
    active = Port.from_other_lifecycle(port, ACTIVE)
    assert type(active.port) is PortBlock
    assert {type(block) for block in (active.port.main, active.port.spare, *active.port.channels)} == {ChannelBlock}
    assert active.port.spare is not None
    assert port.port.spare is not None
    assert active.port.spare.subscription_instance_id == port.port.spare.subscription_instance_id


def test_a_save_goes_to_the_same_subscription(port: PortInactive, wfo: Session) -> None:
    port.save()
    active = SubscriptionModel.from_other_lifecycle(port, ACTIVE)
    active.save()
    assert active.version == 2
    changes = wfo.history(port.subscription_id)[-1].changes
    assert changes.keys() == {"status", "start_date"}
    assert changes["status"] == {"before": "initial", "after": "active"}


def test_the_class_that_is_asked_for_is_taken_if_it_suits_the_status(port: PortInactive) -> None:
    assert type(Port.from_other_lifecycle(port, PROVISIONING)) is Port
    with pytest.raises(LifecycleError, match="is not valid for lifecycle active"):
        PortProvisioning.from_other_lifecycle(port, ACTIVE)


def test_a_start_and_an_end_are_set_once(port: PortInactive) -> None:
    active = SubscriptionModel.from_other_lifecycle(port, ACTIVE)
    again = SubscriptionModel.from_other_lifecycle(SubscriptionModel.from_other_lifecycle(active, PROVISIONING), ACTIVE)
    assert again.start_date == active.start_date
    ended = SubscriptionModel.from_other_lifecycle(again, TERMINATED)
    assert ended.end_date is not None
    assert (type(ended), ended.end_date.tzinfo) == (PortInactive, UTC)


SAFE = {
    INITIAL: {INITIAL},
    PROVISIONING: {INITIAL, PROVISIONING, ACTIVE, TERMINATED},
    ACTIVE: {INITIAL, PROVISIONING, MIGRATING, ACTIVE, TERMINATED, DISABLED},
    MIGRATING: {INITIAL, MIGRATING, TERMINATED},
    DISABLED: {INITIAL, DISABLED, TERMINATED},
    TERMINATED: {INITIAL, TERMINATED},
}


@pytest.fixture
def used_in_every_status(product_id: Callable[[str], UUID], port: PortInactive) -> dict[SubscriptionLifecycle, UUID]:
    """For each status, a node that is used by a port of that status."""
    used = {}
    for status in SubscriptionLifecycle:
        node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
        node.node.node_name = "ams-core-1"
        node.save()
        user = PortInactive.from_product_id(product_id("Port 10G"), "acme")
        user.port.port_name, user.port.mode, user.port.node = "xe-0/0/1", Mode.TAGGED, node.node
        user.port.main.vlan, user.port.main.purpose = 1, "internet"
        if status is ACTIVE:
            SubscriptionModel.from_other_lifecycle(node, ACTIVE).save()
            user.port.node = SubscriptionModel.from_subscription(node.subscription_id).node  # type: ignore[attr-defined]
        SubscriptionModel.from_other_lifecycle(user, status).save()
        used[status] = node.subscription_id
    return used


def test_the_status_must_go_with_those_of_its_users(used_in_every_status: dict[SubscriptionLifecycle, UUID]) -> None:
    for status, allowed in SAFE.items():
        for user_status, subscription_id in used_in_every_status.items():
            node = SubscriptionModel.from_subscription(subscription_id)
            if user_status in allowed:
                assert SubscriptionModel.from_other_lifecycle(node, status).status is status
            else:
                with pytest.raises(LifecycleError, match="Unsafe status change of Subscription with depending"):
                    SubscriptionModel.from_other_lifecycle(node, status)
            assert SubscriptionModel.from_other_lifecycle(node, status, skip_validation=True).status is status


def test_users_of_nested_blocks_count_as_well(product_id: Callable[[str], UUID], port: PortInactive) -> None:
    """orchestrator-core looks at the blocks directly below the subscription only."""
    active = SubscriptionModel.from_other_lifecycle(port, ACTIVE)
    active.save()
    user = PortInactive.from_product_id(product_id("Port 10G"), "acme")
    user.port.port_name, user.port.mode = "xe-0/0/2", Mode.TAGGED
    user.port.main = active.port.channels[0]  # type: ignore[attr-defined]
    SubscriptionModel.from_other_lifecycle(user, ACTIVE).save()
    with pytest.raises(LifecycleError, match=str(user.subscription_id)):
        SubscriptionModel.from_other_lifecycle(active, TERMINATED)
