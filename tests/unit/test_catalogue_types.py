"""The text of a type: the same as long as the values that it allows are the same."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, Optional, TypedDict, TypeVar

import pytest
from annotated_types import Ge, Interval
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from typing_extensions import TypeAliasType

from orchestrator_dagster.db.catalogue.types import allows_none, type_text, without_none
from orchestrator_dagster.domain.stored import Stored


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Speed(IntEnum):
    TEN = 10


class Place(BaseModel):
    room: str
    floor: int = 0
    within: "Place | None" = None


@dataclass
class Point:
    x: int
    y: int


class Wire(TypedDict):
    length: float


def checked(value: str) -> str:
    return value


Item = TypeVar("Item")
Maybe = TypeAliasType("Maybe", Item | None, type_params=(Item,))
Vlan = TypeAliasType("Vlan", Annotated[int, Ge(1)])


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, "str"),
        (Any, "Any"),
        (None, "None"),
        (IPv4Address, "IPv4Address"),
        (Optional[int], "int | None"),  # noqa: UP045 - as users may write it
        (None | int | str, "int | str | None"),
        (list[int | None], "list[int | None]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (Literal[2, "a"], "Literal['a', 2]"),
        (Literal["a", 2], "Literal['a', 2]"),
        (Colour, "Colour['blue', 'red']"),
        (Speed, "Speed[10]"),
        (Vlan, "int (Ge(ge=1))"),
        (Vlan | None, "int (Ge(ge=1)) | None"),
        (Annotated[int | None, Field(ge=1)], "int (Ge(ge=1)) | None"),
        (Maybe[int], "int | None"),
        (Annotated[int, Interval(ge=1, lt=9)], "int (Ge(ge=1), Lt(lt=9))"),
        (Annotated[str, StringConstraints(min_length=1, pattern="x")], "str (MinLen(min_length=1), pattern='x')"),
        (Annotated[str, Field(min_length=1, pattern="x")], "str (MinLen(min_length=1), pattern='x')"),
        (Annotated[int, Field(ge=1)], "int (Ge(ge=1))"),
        (Annotated[str, AfterValidator(checked)], "str (AfterValidator(func=<function checked>))"),
        (Place, "Place{room: str, floor?: int, within?: Place | None}"),
        (Point, "Point{x: int, y: int}"),
        (Wire, "Wire{length: float}"),
    ],
)
def test_a_type_is_told_by_what_its_values_may_be(annotation: Any, text: str) -> None:
    assert type_text(annotation) == text


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[str, Stored(renamed_from="old")] | None,
        Annotated[str | None, Stored(fill="new")],
        Optional[Annotated[str, Stored(fill="new")]],  # noqa: UP045 - as users may write it
    ],
)
def test_what_is_said_of_stored_values_is_no_part_of_the_type(annotation: Any) -> None:
    assert type_text(annotation) == "str | None"


@pytest.mark.parametrize(
    ("annotation", "allowed"), [(int, False), (int | None, True), (Any, True), (None, True), (list[int | None], False)]
)
def test_a_text_says_whether_there_may_be_no_value(annotation: Any, allowed: bool) -> None:
    assert allows_none(type_text(annotation)) is allowed
    assert not allows_none(without_none(type_text(list[int | None] | None)))
