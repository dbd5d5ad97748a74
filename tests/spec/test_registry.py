"""Which class the subscriptions to a product have. Every way to fill it is in `tests/unit/domain/test_registry.py`."""

from collections.abc import Callable
from uuid import UUID

import pytest
from network_models import NODE, PORT, PROTECTED_PORT, NodeInactive, Port, PortInactive
from pydantic import BaseModel

from orchestrator_dagster import (
    SUBSCRIPTION_MODEL_REGISTRY,
    DefinitionError,
    ProductBlockModel,
    SubscriptionModel,
)

PRODUCTS = [NODE, PORT, PROTECTED_PORT]


def test_an_orchestrator_registers_the_classes_of_its_products() -> None:
    assert SUBSCRIPTION_MODEL_REGISTRY["Port 10G"] is SUBSCRIPTION_MODEL_REGISTRY["Port 10G protected"] is Port


def test_several_products_may_have_one_class(product_id: Callable[[str], UUID]) -> None:
    for name in ("Port 10G", "Port 10G protected"):
        port = PortInactive.from_product_id(product_id(name), "acme")
        port.save()
        loaded = SubscriptionModel.from_subscription(port.subscription_id)
        assert (type(loaded), loaded.product.name) == (PortInactive, name)


@pytest.mark.parametrize("wrong", [BaseModel, ProductBlockModel, NodeInactive.from_product_id, "Node"])
def test_only_classes_of_subscriptions_go_in(wrong: object) -> None:
    with pytest.raises(TypeError):
        SUBSCRIPTION_MODEL_REGISTRY["Wrong"] = wrong  # type: ignore[assignment]
    assert "Wrong" not in SUBSCRIPTION_MODEL_REGISTRY


def test_a_nested_model_is_a_resource_type_like_any_other() -> None:
    """orchestrator-core cannot store one, and refuses it here."""

    class Place(BaseModel):
        city: str

    class PlacedBlock(ProductBlockModel, product_block_name="Placed"):
        place: Place

    assert set(PlacedBlock.value_fields()) == {"place"}


def test_a_block_inside_of_a_nested_model_is_refused() -> None:
    class Holder(BaseModel):
        block: ProductBlockModel

    with pytest.raises(DefinitionError, match="blocks can be held as"):

        class Wrong(ProductBlockModel, product_block_name="Wrong"):
            holder: Holder
