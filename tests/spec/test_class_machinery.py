"""What a class of blocks or subscriptions says of itself, and what its fields are.

The finer rules of what may be declared are in `tests/unit/domain/test_definition.py`.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from network_models import (
    ACTIVE,
    NODE,
    PORT,
    ChannelBlock,
    Mode,
    NodeBlockInactive,
    NodeInactive,
    PortBlock,
    PortBlockInactive,
    PortInactive,
)
from pydantic import ValidationError

from orchestrator_dagster import DefinitionError, ProductBlockModel, SubscriptionModel

PRODUCTS = [NODE, PORT]


def test_a_block_knows_its_entry_in_the_catalogue() -> None:
    entry = PortBlockInactive.product_block()
    assert (entry.name, entry.description, entry.tag) == ("Port", "Port", "PORT")


def test_a_block_carries_the_name_of_its_product_block_in_every_status() -> None:
    assert PortBlockInactive.product_block_name == PortBlock.product_block_name == "Port"
    assert NodeBlockInactive.new(uuid4()).name == "Node"


def test_every_assignment_is_validated() -> None:
    node = NodeBlockInactive.new(uuid4())
    with pytest.raises(ValidationError):
        node.node_name = ["not", "a", "name"]  # type: ignore[assignment]


def test_models_are_equal_when_their_content_is(product_id: Callable[[str], UUID]) -> None:
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.save()
    assert NodeInactive.from_subscription(node.subscription_id) == node
    assert NodeInactive.from_product_id(product_id("Node Cisco"), "acme") != node


def test_fields_of_blocks_are_told_from_resource_types_and_fixed_inputs() -> None:
    assert set(PortBlockInactive.block_types()) == {"main", "spare", "channels", "node"}
    assert set(PortBlockInactive.value_fields()) == {"port_name", "mode", "pool"}
    assert set(PortInactive.root_block_types()) == {"port"}
    assert set(PortInactive.fixed_input_fields()) == {"protected"}


def test_a_lifecycle_class_keeps_the_fields_that_it_does_not_declare_again() -> None:
    """In orchestrator-core they are not loaded, saved or converted, and nothing warns."""
    assert PortBlock.value_fields().keys() == PortBlockInactive.value_fields().keys()
    assert set(ChannelBlock.value_fields()) == {"vlan", "purpose"}


def test_inherited_fields_are_saved_and_loaded(product_id: Callable[[str], UUID]) -> None:
    port = PortInactive.from_product_id(product_id("Port 10G"), "acme")
    port.port = PortBlock.new(
        port.subscription_id,
        port_name="xe-0/0/1",
        mode=Mode.TAGGED,
        pool=[3, 1],
        main=ChannelBlock.new(port.subscription_id, vlan=20, purpose="internet"),
    )
    active = SubscriptionModel.from_other_lifecycle(port, ACTIVE)
    active.save()
    loaded = SubscriptionModel.from_subscription(active.subscription_id)
    assert loaded == active
    assert (loaded.port.pool, loaded.port.main.vlan, loaded.protected) == ([3, 1], 20, False)  # type: ignore[attr-defined]


def test_an_unknown_class_keyword_is_refused() -> None:
    """orchestrator-core only logs a warning."""
    with pytest.raises(DefinitionError, match="unknown class keyword lifecyle"):

        class Misspelt(NodeBlockInactive, lifecyle=[ACTIVE]):  # type: ignore[call-arg]
            pass


def test_two_classes_cannot_serve_one_status() -> None:
    """In orchestrator-core the later one silently takes the place of the earlier."""
    with pytest.raises(DefinitionError, match="is declared for lifecycle active"):

        class AnotherNodeBlock(NodeBlockInactive, lifecycle=[ACTIVE]):
            pass


def test_a_class_of_blocks_in_any_other_shape_than_a_field_is_refused() -> None:
    with pytest.raises(DefinitionError, match="blocks can be held as"):

        class Rack(ProductBlockModel, product_block_name="Rack"):
            nodes: dict[str, NodeBlockInactive]
