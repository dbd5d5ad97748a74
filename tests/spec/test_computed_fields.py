"""Computed fields: part of every dump, never stored."""

import json
from collections.abc import Callable
from uuid import UUID

from pydantic import Field, computed_field

from orchestrator_dagster import Product, ProductBlockModel, SubscriptionModel, build_domain_model

PRODUCTS: list[Product] = []


class CableBlock(ProductBlockModel, product_block_name="Cable"):
    length: int = 0
    stored_colour: str = Field(default="black", alias="colour")

    @computed_field
    @property
    def title(self) -> str:
        return f"{self.product_block_name} of {self.length} m"

    @computed_field
    @property
    def shade(self) -> str:
        return f"dark {self.stored_colour}"


class Cable(SubscriptionModel, is_base=True):
    cable: CableBlock

    @computed_field
    @property
    def summary(self) -> str:
        return f"{self.customer_id}: {self.cable.title}"


PRODUCTS += [Product("Cable", Cable)]


def test_computed_fields_are_in_every_dump(product_id: Callable[[str], UUID]) -> None:
    cable = Cable.from_product_id(product_id("Cable"), "acme")
    cable.cable.length = 5
    for dump in (cable.model_dump(), json.loads(cable.model_dump_json()), build_domain_model(cable)):
        assert (dump["summary"], dump["cable"]["title"]) == ("acme: Cable of 5 m", "Cable of 5 m")


def test_computed_fields_follow_what_they_are_made_of(product_id: Callable[[str], UUID]) -> None:
    cable = Cable.from_product_id(product_id("Cable"), "acme")
    cable.save()
    loaded = Cable.from_subscription(cable.subscription_id)
    loaded.cable.length = 7
    assert (loaded.cable.title, loaded.summary) == ("Cable of 7 m", "acme: Cable of 7 m")


def test_computed_fields_are_no_resource_types(product_id: Callable[[str], UUID]) -> None:
    assert set(CableBlock.value_fields()) == {"length", "colour"}
    assert Cable.fixed_input_fields() == {}
    assert Cable.diff_product_in_database(product_id("Cable")) == {}


def test_a_field_with_an_alias_is_stored_under_its_alias(product_id: Callable[[str], UUID]) -> None:
    cable = Cable.from_product_id(product_id("Cable"), "acme")
    cable.cable.stored_colour = "blue"
    cable.save()
    loaded = Cable.from_subscription(cable.subscription_id)
    assert (loaded.cable.stored_colour, loaded.cable.shade) == ("blue", "dark blue")
