"""A subscription is made from a product, saved and loaded."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from network_models import (
    ACTIVE,
    INITIAL,
    NODE,
    PORT,
    PROTECTED_PORT,
    PROVISIONING,
    ChannelBlockInactive,
    Mode,
    NodeBlockInactive,
    NodeInactive,
    Port,
    PortBlock,
    PortBlockInactive,
    PortInactive,
)
from pydantic import ValidationError

from orchestrator_dagster import (
    SUBSCRIPTION_MODEL_REGISTRY,
    LifecycleError,
    ModelError,
    ProductNotFoundError,
    Session,
    SubscriptionModel,
    SubscriptionNotFoundError,
)
from orchestrator_dagster.errors import ProductNotInRegistryError

PRODUCTS = [NODE, PORT, PROTECTED_PORT]


@pytest.fixture
def port(product_id: Callable[[str], UUID]) -> PortInactive:
    return PortInactive.from_product_id(product_id("Port 10G"), "acme")


def test_a_new_subscription_has_product_fixed_inputs_defaults_and_the_blocks_it_needs(
    product_id: Callable[[str], UUID],
) -> None:
    port = PortInactive.from_product_id(product_id("Port 10G protected"), "acme")
    assert (port.product.name, port.protected, port.customer_id) == ("Port 10G protected", True, "acme")
    assert (port.status, port.insync, port.note, port.start_date, port.end_date) == (INITIAL, False, None, None, None)
    assert port.description == "Initial subscription of Port 10G protected"
    assert (port.port.spare, port.port.channels) == (None, [])
    assert port.port.main.owner_subscription_id == port.port.owner_subscription_id == port.subscription_id


def test_everything_of_a_new_subscription_can_be_given_by_position(product_id: Callable[[str], UUID]) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme", INITIAL, "Ours", True, start, end, "Note")
    node.save()
    loaded = NodeInactive.from_subscription(node.subscription_id)
    assert (loaded.description, loaded.insync, loaded.start_date, loaded.end_date, loaded.note) == (
        "Ours",
        True,
        start,
        end,
        "Note",
    )


@pytest.mark.parametrize("wrong", [uuid4(), str(uuid4()), "no id"], ids=["id", "text", "no id"])
def test_an_unknown_product_is_a_key_error(wrong: Any) -> None:
    with pytest.raises(ProductNotFoundError, match="Could not find a product for the given product_id") as error:
        NodeInactive.from_product_id(wrong, "acme")
    assert isinstance(error.value, KeyError)


def test_nothing_is_stored_before_it_is_saved(port: PortInactive) -> None:
    """orchestrator-core stores the subscription at once, whether the step returns it or not."""
    with pytest.raises(SubscriptionNotFoundError):
        PortInactive.from_subscription(port.subscription_id)


def test_what_is_saved_is_loaded(port: PortInactive) -> None:
    port.port.port_name, port.port.mode, port.port.pool = "xe-0/0/1", Mode.UNTAGGED, [20, 10]
    port.port.main.vlan = 0
    port.port.channels = [ChannelBlockInactive.new(port.subscription_id, vlan=vlan) for vlan in (30, 5)]
    port.note = "Careful"
    port.save()
    loaded = PortInactive.from_subscription(port.subscription_id)
    assert loaded == port
    assert loaded.model_dump() == port.model_dump()
    assert PortInactive.from_subscription(str(port.subscription_id)) == port


def test_saving_what_was_loaded_changes_nothing(port: PortInactive, wfo: Session) -> None:
    port.save()
    loaded = PortInactive.from_subscription(port.subscription_id)
    loaded.save()
    assert loaded.version == 1
    assert len(wfo.history(port.subscription_id)) == 1


def test_a_label_is_kept(port: PortInactive) -> None:
    """orchestrator-core loses it with the first save of a loaded model."""
    port.port.label = "Uplink"
    port.port.main.label = "First"
    port.save()
    loaded = PortInactive.from_subscription(port.subscription_id)
    loaded.port.port_name = "xe-0/0/1"
    loaded.save()
    again = PortInactive.from_subscription(port.subscription_id)
    assert (again.port.label, again.port.main.label) == ("Uplink", "First")
    assert PortBlockInactive.from_db(port.port.subscription_instance_id).label == "Uplink"


def test_a_note_is_free_text_that_stands_in_the_history(port: PortInactive, wfo: Session) -> None:
    port.save()
    port.note = "Do not touch on Fridays"
    port.save()
    assert wfo.history(port.subscription_id)[-1].changes == {
        "note": {"before": None, "after": "Do not touch on Fridays"}
    }


def test_the_base_loads_the_class_for_product_and_status(port: PortInactive) -> None:
    port.save()
    assert type(SubscriptionModel.from_subscription(port.subscription_id)) is PortInactive
    port.port.port_name, port.port.mode = "xe-0/0/1", Mode.TAGGED
    port.port.main.vlan, port.port.main.purpose = 1, "internet"
    SubscriptionModel.from_other_lifecycle(port, ACTIVE).save()
    loaded = SubscriptionModel.from_subscription(port.subscription_id)
    assert (type(loaded), type(loaded.port)) == (Port, PortBlock)  # type: ignore[attr-defined]


def test_a_class_that_is_asked_for_is_not_specialised_further(port: PortInactive) -> None:
    port.save()
    assert type(PortInactive.from_subscription(port.subscription_id)) is PortInactive


def test_a_class_that_is_too_general_for_the_status_cannot_be_asked_for(port: PortInactive) -> None:
    port.port.mode, port.port.main.vlan = Mode.TAGGED, 1
    SubscriptionModel.from_other_lifecycle(port, PROVISIONING).save()
    with pytest.raises(LifecycleError, match="is not valid for lifecycle provisioning"):
        PortInactive.from_subscription(port.subscription_id)


def test_what_the_class_asks_for_and_is_not_stored_is_named(port: PortInactive) -> None:
    port.save()
    with pytest.raises(ValidationError) as error:
        Port.from_subscription(port.subscription_id)
    assert str(port.subscription_id) in str(error.value.__notes__)


def test_a_class_of_another_product_is_refused(port: PortInactive) -> None:
    port.save()
    with pytest.raises(ModelError, match="Subscriptions to product 'Port 10G' are of"):
        NodeInactive.from_subscription(port.subscription_id)


def test_a_product_without_a_class_is_told(port: PortInactive, monkeypatch: pytest.MonkeyPatch) -> None:
    port.save()
    monkeypatch.delitem(SUBSCRIPTION_MODEL_REGISTRY, "Port 10G")
    with pytest.raises(ProductNotInRegistryError, match="'Port 10G' is not found within"):
        SubscriptionModel.from_subscription(port.subscription_id)


@pytest.mark.parametrize("wrong", [uuid4(), str(uuid4()), "no id"], ids=["id", "text", "no id"])
def test_an_unknown_subscription_is_a_value_error(wrong: Any) -> None:
    with pytest.raises(SubscriptionNotFoundError, match=f"Subscription with id: {wrong}, does not exist") as error:
        SubscriptionModel.from_subscription(wrong)
    assert isinstance(error.value, ValueError)


def test_an_id_is_a_uuid_or_its_text() -> None:
    with pytest.raises(TypeError, match=r"is of type .* instead of UUID"):
        SubscriptionModel.from_subscription(12)  # type: ignore[arg-type]


def test_a_new_block_takes_its_fields_and_refuses_others() -> None:
    block = NodeBlockInactive.new(uuid4(), node_name="ams-core-1")
    assert block.node_name == "ams-core-1"
    with pytest.raises(ModelError, match="has no field nodename"):
        NodeBlockInactive.new(uuid4(), nodename="ams-core-1")


def test_several_saves_can_be_one_transaction(product_id: Callable[[str], UUID], wfo: Session) -> None:
    nodes = [NodeInactive.from_product_id(product_id("Node Cisco"), "acme") for _ in range(2)]

    def save_both_and_fail() -> None:
        with wfo.transaction():
            for node in nodes:
                node.save()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_both_and_fail()
    for node in nodes:
        with pytest.raises(SubscriptionNotFoundError):
            NodeInactive.from_subscription(node.subscription_id)
