"""A block can hold blocks of other subscriptions: linked, shown as they are, never written."""

from collections.abc import Callable
from uuid import UUID

import pytest
from network_models import (
    ACTIVE,
    NODE,
    PORT,
    TERMINATED,
    ChannelBlockInactive,
    Node,
    NodeBlock,
    NodeBlockInactive,
    NodeInactive,
    PortInactive,
)

from orchestrator_dagster import ModelError, Session, SubscriptionModel

PRODUCTS = [NODE, PORT]


@pytest.fixture
def node(product_id: Callable[[str], UUID]) -> Node:
    initial = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    initial.node.node_name = "ams-core-1"
    node = Node.from_other_lifecycle(initial, ACTIVE)
    node.save()
    return node


@pytest.fixture
def port(product_id: Callable[[str], UUID], node: Node) -> PortInactive:
    """A port on the node."""
    port = PortInactive.from_product_id(product_id("Port 10G"), "acme")
    port.port.node = node.node
    port.save()
    return port


def loaded(port: PortInactive) -> PortInactive:
    return PortInactive.from_subscription(port.subscription_id)


def test_it_is_loaded_as_it_is_now_and_as_the_class_of_its_owners_status(port: PortInactive, node: Node) -> None:
    node.node.site = "Amsterdam"
    node.save()
    found = loaded(port).port.node
    assert type(found) is NodeBlock
    assert (found.site, found.owner_subscription_id) == ("Amsterdam", node.subscription_id)


def test_what_is_changed_in_it_is_not_saved(port: PortInactive, node: Node) -> None:
    changed = loaded(port)
    assert changed.port.node is not None
    changed.port.node.site = "Delft"
    changed.port.port_name = "xe-0/0/1"
    changed.save()
    assert Node.from_subscription(node.subscription_id) == node
    assert loaded(port).port.port_name == "xe-0/0/1"


def test_letting_go_of_it_leaves_it_where_it_is(port: PortInactive, node: Node) -> None:
    port.port.node = None
    port.save()
    assert loaded(port).port.node is None
    assert Node.from_subscription(node.subscription_id) == node


def test_a_block_is_loaded_by_itself_to_be_linked(product_id: Callable[[str], UUID], node: Node) -> None:
    port = PortInactive.from_product_id(product_id("Port 10G"), "acme")
    port.port.node = NodeBlock.from_db(node.node.subscription_instance_id)
    port.save()
    assert loaded(port).port.node == node.node


def test_both_ends_of_a_relation_know_of_it(port: PortInactive, node: Node) -> None:
    (user,) = node.node.in_use_by
    assert (user.subscription_instance_id, user.subscription_id) == (
        port.port.subscription_instance_id,
        port.subscription_id,
    )
    used = {block.subscription_instance_id for block in port.port.depends_on}
    assert used == {node.node.subscription_instance_id, port.port.main.subscription_instance_id}


def test_a_block_of_another_cannot_be_directly_below_a_subscription(
    product_id: Callable[[str], UUID], node: Node
) -> None:
    other = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    other.node = node.node
    with pytest.raises(ModelError, match="Foreign `Subscription Instance` directly below a subscription"):
        other.save()


def test_a_block_that_its_owner_has_not_saved_cannot_be_linked(
    product_id: Callable[[str], UUID], port: PortInactive
) -> None:
    unsaved = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    port.port.node = unsaved.node
    with pytest.raises(ModelError, match="links blocks that do not exist"):
        port.save()


def test_a_block_that_others_use_cannot_be_removed(node: Node, port: PortInactive) -> None:
    """orchestrator-core removes it, and leaves the others with a tree that does not load."""
    node.node = NodeBlock.new(node.subscription_id, node_name="ams-core-2")
    with pytest.raises(ModelError, match="is in use by subscription"):
        node.save()


def test_a_block_of_a_terminated_subscription_cannot_be_linked(
    product_id: Callable[[str], UUID], port: PortInactive
) -> None:
    old = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    old.save()
    ended = SubscriptionModel.from_other_lifecycle(old, TERMINATED)
    ended.save()
    port.port.node = NodeBlockInactive.from_db(old.node.subscription_instance_id)
    with pytest.raises(ModelError, match="which is terminated"):
        port.save()


def test_subscriptions_that_use_each_other_load(product_id: Callable[[str], UUID], wfo: Session) -> None:
    first, second = (PortInactive.from_product_id(product_id("Port 10G"), "acme") for _ in range(2))
    first.port.spare = ChannelBlockInactive.new(first.subscription_id, vlan=1)
    with wfo.transaction():
        first.save()
        second.port.spare = first.port.spare
        second.save()
        first.port.channels = [second.port.main]
        first.save()
    assert loaded(first).port.channels[0].owner_subscription_id == second.subscription_id
    assert loaded(second).port.spare == first.port.spare
