"""How values become JSON that Postgres can hold, and come back as the same values."""

import json
import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Interface
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, BeforeValidator, PlainSerializer, PlainValidator, SecretStr, TypeAdapter

from orchestrator_dagster.domain.exact import same
from orchestrator_dagster.domain.values import ValueCodec
from orchestrator_dagster.errors import ModelError


class Colour(Enum):
    RED = "red"


class Mixed(Enum):
    NUMBER = 1
    TEXT = "1"


class Pairs(Enum):
    ORIGIN = (0, 0)


class Speed(IntEnum):
    FAST = 10


class Vendor(StrEnum):
    CISCO = "Cisco"


class Cat(BaseModel):
    sound: str
    born: date | None = None


class Dog(BaseModel):
    sound: str
    born: date | None = None


@dataclass
class Range:
    start: int


def split(given: Any) -> Any:
    return given.split(",") if isinstance(given, str) else given


def through_json(annotation: Any, value: Any) -> tuple[Any, Any]:
    codec = ValueCodec(annotation, {})
    stored = json.loads(json.dumps(codec.dump(value), allow_nan=False))
    return stored, codec.load(stored)


@pytest.mark.parametrize(
    ("annotation", "value", "stored"),
    [
        (str, "a", "a"),
        (str | None, None, None),
        (int, 2**70, 2**70),
        (float, 1.5, 1.5),
        (bool, True, True),
        (list[int], [10, 0, 20], [10, 0, 20]),
        (list[int | None], [1, None], [1, None]),
        (int | str, "1", "1"),
        (int | str, 1, 1),
        (Colour, Colour.RED, "red"),
        (Mixed, Mixed.NUMBER, 1),
        (Mixed, Mixed.TEXT, "1"),
        (Speed, Speed.FAST, 10),
        (Vendor, Vendor.CISCO, "Cisco"),
        (Literal["1", 1], "1", "1"),
        (Literal["1", 1], 1, 1),
        (IPv4Address, IPv4Address("10.0.0.1"), "10.0.0.1"),
        (Decimal, Decimal("1.10"), "1.10"),
        (date, date(2024, 1, 2), "2024-01-02"),
        (datetime, datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),  # noqa: DTZ001
        (datetime, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05Z"),
        (bytes, b"\xff\x00", "_wA="),
        (float, math.nan, "NaN"),
        (float, math.inf, "Infinity"),
        (set[str], {"b", "a", "c"}, ["a", "b", "c"]),
        (tuple[int, str], (1, "a"), [1, "a"]),
        (dict[str, list[date]], {"a": [date(2024, 1, 2)]}, {"a": ["2024-01-02"]}),
        (Cat, Cat(sound="miaow"), {"sound": "miaow", "born": None}),
        (Range, Range(3), {"start": 3}),
    ],
)
def test_what_json_holds_exactly_is_stored_as_pydantic_writes_it(annotation: Any, value: Any, stored: Any) -> None:
    assert through_json(annotation, value)[0] == stored
    assert same(through_json(annotation, value)[1], value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str | IPv4Address, IPv4Address("10.0.0.1")),
        (date | str, date(2024, 1, 2)),
        (str | Decimal, Decimal("1.10")),
        (str | bytes, b"abc"),
        (str | Colour, Colour.RED),
        (Pairs, Pairs.ORIGIN),
        (list[int] | tuple[int, ...], (1, 2)),
        (Cat | Dog, Dog(sound="woof", born=date(2024, 1, 2))),
        (list[Cat | Dog], [Dog(sound="woof"), Cat(sound="miaow")]),
        (int | float, 1e23),
        (float, -0.0),
        (str, "a\0b"),
        (dict[str, int], {"a\0": 1}),
        (dict[int | str, str], {1: "number", "1": "text"}),
        (dict[str, Any], {"$exact": 3}),
        (dict[str, Any], {"when": date(2024, 1, 2), "$type": "odd"}),
        (Any, (1, {2, 3}, Decimal(4))),
        (Any, {"day": timedelta(days=1)}),
        (OrderedDict[str, int], OrderedDict(zz=1, a=2)),
        pytest.param(int, 10**5000, id="an integer of 5000 digits"),
    ],
)
def test_what_json_cannot_tell_apart_is_stored_with_its_types(annotation: Any, value: Any) -> None:
    stored, loaded = through_json(annotation, value)
    assert same(loaded, value)
    assert "\\u0000" not in json.dumps(stored).replace("\\\\", "")


def test_the_types_are_written_beside_the_value() -> None:
    codec = ValueCodec(list[str | IPv4Address], {})
    assert codec.dump([IPv4Address("10.0.0.1"), "10.0.0.1"]) == {
        "$exact": [{"$type": "IPv4Address", "value": "10.0.0.1"}, "10.0.0.1"]
    }
    assert codec.dump(["10.0.0.1"]) == ["10.0.0.1"]


def test_a_zone_is_kept_as_the_offset_at_that_moment() -> None:
    moment = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
    stored, loaded = through_json(datetime, moment)
    assert (stored, loaded) == ("2024-07-01T12:00:00+02:00", moment)


class Unknown:
    pass


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (SecretStr, SecretStr("secret"), "does not read back as the same value"),
        (Any, Unknown(), "cannot be stored"),
    ],
)
def test_what_does_not_read_back_is_refused(annotation: Any, value: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        ValueCodec(annotation, {}).dump(value)


@pytest.mark.parametrize("value", [[1, [2]], {"a": [1]}])
def test_neither_storing_nor_reading_hands_out_what_was_given(value: Any) -> None:
    """So that what a model or a store holds is not changed from outside."""
    codec = ValueCodec(list[int | list[int]] | dict[str, list[int]], {})
    for copy in (codec.dump(value), codec.load(value)):
        assert copy == value
        assert copy is not value


@pytest.mark.parametrize(
    ("annotation", "value", "stored"),
    [
        (Colour, Colour.RED, "red"),
        (Vendor | None, Vendor.CISCO, "Cisco"),
        (Vendor | None, None, None),
        (UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (IPv6Interface | None, IPv6Interface("fe80::1%eth0/64"), "fe80::1%eth0/64"),
        (Annotated[Vendor, PlainSerializer(len), PlainValidator(lambda _: Vendor.CISCO)], Vendor.CISCO, 5),
        (Annotated[list[str], PlainSerializer(",".join), BeforeValidator(split)], ["a", "b"], "a,b"),
    ],
)
def test_what_is_text_in_json_is_stored_as_its_text_and_serializers_are_asked(
    annotation: Any, value: Any, stored: Any
) -> None:
    found, read = through_json(annotation, value)
    assert found == stored
    assert same(TypeAdapter(annotation).validate_python(read), value)


def test_what_does_not_fit_the_type_is_left_for_validation_to_refuse() -> None:
    assert ValueCodec(IPv4Address, {}).load("nonsense") == "nonsense"


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, True, False),
        (1, 1.0, False),
        ({1: "a"}, {True: "a"}, False),
        ({1}, {1.0}, False),
        ([1, [2]], [1, [2]], True),
        ([1, [2]], [1, [2.0]], False),
        (math.nan, math.nan, True),
        (0.0, -0.0, False),
        (Cat(sound="a"), Dog(sound="a"), False),
        (Range(1), Range(1), True),
        (Range(1), Range(True), False),
        (Decimal("1.0"), Decimal("1.00"), False),
    ],
)
def test_sameness_is_equality_with_types(left: Any, right: Any, equal: bool) -> None:
    assert same(left, right) is equal
