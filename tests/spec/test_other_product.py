"""A subscription moves to another product: the same id and data, other fixed inputs, perhaps another class."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from network_models import (
    ACTIVE,
    NODE,
    PORT,
    PROTECTED_PORT,
    Mode,
    Node,
    NodeBlockInactive,
    NodeInactive,
    Port,
    PortInactive,
)

from orchestrator_dagster import ModelError, Product, ProductNotFoundError, Session, SubscriptionModel


class ImportedNodeInactive(SubscriptionModel, is_base=True):
    found: NodeBlockInactive


class RackInactive(SubscriptionModel, is_base=True):
    first: NodeBlockInactive
    second: NodeBlockInactive | None = None


PRODUCTS = [
    NODE,
    PORT,
    PROTECTED_PORT,
    Product("Imported node", ImportedNodeInactive),
    Product("Rack", RackInactive),
]


@pytest.fixture
def port(product_id: Callable[[str], UUID]) -> Port:
    initial = PortInactive.from_product_id(product_id("Port 10G"), "acme", note="Careful")
    initial.port.port_name, initial.port.mode, initial.port.label = "xe-0/0/1", Mode.TAGGED, "Uplink"
    initial.port.main.vlan, initial.port.main.purpose = 1, "internet"
    port = Port.from_other_lifecycle(initial, ACTIVE)
    port.save()
    return port


@pytest.fixture
def imported(product_id: Callable[[str], UUID]) -> ImportedNodeInactive:
    imported = ImportedNodeInactive.from_product_id(product_id("Imported node"), "acme")
    imported.found.node_name = "ams-core-1"
    imported.save()
    return imported


def test_it_keeps_everything_but_the_product_and_its_fixed_inputs(
    product_id: Callable[[str], UUID], port: Port
) -> None:
    moved = Port.from_other_product(port, product_id("Port 10G protected"))
    moved.save()
    loaded = SubscriptionModel.from_subscription(port.subscription_id)
    assert loaded == moved
    assert (moved.product.name, moved.protected) == ("Port 10G protected", True)
    expected = port.model_dump() | {"product": moved.product.model_dump(), "protected": True, "version": 2}
    assert loaded.model_dump() == expected


def test_the_move_is_one_version_of_the_history(product_id: Callable[[str], UUID], port: Port, wfo: Session) -> None:
    Port.from_other_product(port, product_id("Port 10G protected")).save()
    last = wfo.history(port.subscription_id)[-1]
    assert (last.version, last.changed_by) == (2, "ada")
    assert last.changes["product.name"] == {"before": "Port 10G", "after": "Port 10G protected"}
    assert last.changes.keys() == {"product.name", "product.product_id"}
    assert wfo.subscription_as_of(port.subscription_id, version=1)["product"]["name"] == "Port 10G"


def test_nothing_is_stored_before_it_is_saved(product_id: Callable[[str], UUID], port: Port) -> None:
    Port.from_other_product(port, product_id("Port 10G protected"))
    assert SubscriptionModel.from_subscription(port.subscription_id) == port


def test_it_can_become_another_class_and_its_blocks_find_their_fields(
    product_id: Callable[[str], UUID], imported: ImportedNodeInactive
) -> None:
    node = NodeInactive.from_other_product(imported, product_id("Node Cisco"))
    node.save()
    loaded = SubscriptionModel.from_subscription(imported.subscription_id)
    assert (type(loaded), loaded) == (NodeInactive, node)
    assert node.node.subscription_instance_id == imported.found.subscription_instance_id
    Node.from_other_lifecycle(node, ACTIVE).save()


def test_the_base_takes_the_class_of_the_new_product(
    product_id: Callable[[str], UUID], imported: ImportedNodeInactive
) -> None:
    """orchestrator-core takes that of the old one."""
    assert type(SubscriptionModel.from_other_product(imported, product_id("Node Cisco"))) is NodeInactive


def test_a_new_root_takes_the_place_of_all_blocks(
    product_id: Callable[[str], UUID], imported: ImportedNodeInactive
) -> None:
    root = NodeBlockInactive.new(imported.subscription_id, node_name="utr-core-1")
    rack = RackInactive.from_other_product(imported, product_id("Rack"), new_root=("first", root))
    rack.save()
    loaded = SubscriptionModel.from_subscription(imported.subscription_id)
    assert loaded == rack
    assert isinstance(loaded, RackInactive)
    assert (loaded.first.node_name, loaded.second) == ("utr-core-1", None)


def test_blocks_that_the_new_class_has_no_field_for_are_refused(product_id: Callable[[str], UUID], port: Port) -> None:
    """orchestrator-core drops them without a word."""
    with pytest.raises(ModelError, match="has no field for Port"):
        Node.from_other_product(port, product_id("Node Cisco"))


def test_an_unknown_product_is_refused(port: Port) -> None:
    with pytest.raises(ProductNotFoundError):
        Port.from_other_product(port, uuid4())
