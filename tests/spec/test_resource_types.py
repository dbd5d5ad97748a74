"""Values: whatever a resource type holds, it is loaded as it was saved.

orchestrator-core stores each value as text: it sorts lists by that text, and cannot read a plain enum again. More
types, one by one, are in `tests/unit/domain/test_values.py` and `tests/integration/test_round_trip_postgres.py`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from annotated_types import Ge, Len
from pydantic import BaseModel, ValidationError

from orchestrator_dagster import ModelError, Product, ProductBlockModel, SubscriptionModel

AN_ID = UUID(int=1)
A_MOMENT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


class Plain(Enum):
    RED = "red"


class Mixed(str, Enum):  # noqa: UP042 - what people wrote before there was StrEnum
    RED = "red"


class Text(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Place(BaseModel):
    city: str
    rack: int | None = None


class EverythingBlock(ProductBlockModel, product_block_name="Everything"):
    text: str | None = None
    number: int | None = None
    ratio: float | None = None
    price: Decimal | None = None
    flag: bool | None = None
    plain: Plain | None = None
    mixed: Mixed | None = None
    text_enum: Text | None = None
    number_enum: Number | None = None
    address: IPv4Address | None = None
    either: str | IPv4Address | None = None
    id: UUID | None = None
    moment: datetime | None = None
    one_of: Literal["a", "b"] | None = None
    at_least_one: Annotated[int, Ge(1)] | None = None
    place: Place | None = None
    numbers: list[int] = []
    flags: list[bool] = []
    texts: list[str | None] = []
    places: list[Place] = []
    two_or_three: Annotated[list[int], Len(2, 3)] | None = None
    by_name: dict[str, list[int]] | None = None


class Everything(SubscriptionModel, is_base=True):
    block: EverythingBlock


PRODUCTS = [Product("Everything", Everything, tag="ALL")]


@pytest.fixture
def everything(product_id: Callable[[str], UUID]) -> Everything:
    return Everything.from_product_id(product_id("Everything"), "acme")


def reloaded(subscription: Everything) -> EverythingBlock:
    subscription.save()
    return Everything.from_subscription(subscription.subscription_id).block


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", ""),
        ("text", "naïve ' \" \\ text"),
        ("number", 0),
        ("ratio", 1e16),
        ("price", Decimal("1.50")),
        ("flag", False),
        ("plain", Plain.RED),
        ("mixed", Mixed.RED),
        ("text_enum", Text.RED),
        ("number_enum", Number.ONE),
        ("address", IPv4Address("10.0.0.1")),
        ("either", IPv4Address("10.0.0.1")),
        ("either", "10.0.0.1"),
        ("id", AN_ID),
        ("moment", A_MOMENT),
        ("one_of", "b"),
        ("at_least_one", 1),
        ("place", Place(city="Delft")),
        ("numbers", [10, 0, 20, 30, 40, 0, 0]),
        ("flags", [True, False, True, False]),
        ("texts", ["b", None, "", "a"]),
        ("places", [Place(city="Delft", rack=2), Place(city="Breda")]),
        ("two_or_three", [9, 1]),
        ("by_name", {"b": [2, 1], "a": []}),
    ],
)
def test_a_value_is_loaded_as_it_was_saved(everything: Everything, field: str, value: Any) -> None:
    setattr(everything.block, field, value)
    loaded = getattr(reloaded(everything), field)
    assert loaded == value
    assert type(loaded) is type(value)


def test_none_is_stored_as_none(everything: Everything) -> None:
    everything.block.text = "here"
    everything.save()
    everything.block.text = None
    assert reloaded(everything).text is None


def test_items_of_a_list_can_come_go_and_move(everything: Everything) -> None:
    for numbers in ([1, 2, 3], [3, 1], [], [5, 5]):
        everything.block.numbers = numbers
        assert reloaded(everything).numbers == numbers


@pytest.mark.parametrize(("field", "value"), [("two_or_three", [1]), ("at_least_one", 0), ("one_of", "c")])
def test_a_constraint_of_a_type_is_kept_on_assignment(everything: Everything, field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        setattr(everything.block, field, value)


def test_a_constraint_that_was_broken_in_place_is_found_when_it_is_saved(everything: Everything) -> None:
    everything.block.two_or_three = [1, 2]
    everything.block.two_or_three.append(3)
    everything.block.two_or_three.append(4)
    with pytest.raises(ModelError, match=r"block\.two_or_three"):
        everything.save()
