"""Hypothesis strategies for classes of subscriptions and for subscriptions of them, with values of every kind.

`generated_models()` draws a class; `fill(data, subscription)` gives a subscription of it values and blocks. What a test
does with them (make, save, load, from which store) is its own business.
"""

import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union
from uuid import UUID

from annotated_types import Len
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field, RootModel, create_model
from typing_extensions import TypedDict

from orchestrator_dagster.domain import ProductBlockModel, SubscriptionModel


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Mixed(Enum):
    """Two members with the same JSON text."""

    NUMBER = 1
    TEXT = "1"
    NOTHING = None


class Pairs(Enum):
    """Values that are no JSON."""

    ORIGIN = (0, 0)
    UNIT = (1, 0)
    WHEN = date(2024, 1, 1)


class Level(IntEnum):
    LOW = 1
    HIGH = 10


class Vendor(StrEnum):
    CISCO = "Cisco"
    NOKIA = "Nokia"


class Rights(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: float


class Options(TypedDict, total=False):
    mtu: int
    path: str


@dataclass
class Range:
    start: int
    end: int | str


class Cat(BaseModel):
    sound: str
    data: bytes = b""


class Dog(BaseModel):
    """As JSON, a cat."""

    sound: str
    data: bytes = b""
    aliased: int = Field(1, alias="otherName")


class Words(RootModel[list[str]]):
    pass


@dataclass(frozen=True)
class Kind:
    """A type, and values of it.

    Attributes:
        annotation: the type.
        values: draws values.
        hashable: whether the values can be in sets and be keys.
    """

    annotation: Any
    values: st.SearchStrategy[Any]
    hashable: bool = True


_offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))

SCALARS = [
    Kind(str, st.text(max_size=8)),
    Kind(int, st.integers()),
    Kind(int, st.integers(min_value=2**53, max_value=2**80)),
    Kind(float, st.floats(), hashable=False),
    Kind(bool, st.booleans()),
    Kind(Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    Kind(datetime, st.datetimes(), hashable=False),
    Kind(datetime, st.datetimes(timezones=_offsets), hashable=False),
    Kind(date, st.dates()),
    Kind(time, st.times(), hashable=False),
    Kind(timedelta, st.timedeltas()),
    Kind(UUID, st.uuids()),
    Kind(bytes, st.binary(max_size=8)),
    Kind(IPv4Address, st.ip_addresses(v=4)),
    Kind(IPv6Address, st.ip_addresses(v=6)),
    Kind(IPv4Interface, st.ip_addresses(v=4).map(lambda address: IPv4Interface(f"{address}/24"))),
    Kind(IPv4Network, st.ip_addresses(v=4).map(lambda address: IPv4Network(f"{address}/30", strict=False))),
    Kind(IPv6Network, st.ip_addresses(v=6).map(lambda address: IPv6Network(f"{address}/126", strict=False))),
    Kind(PurePosixPath, st.sampled_from(["/", "a/b", "."]).map(PurePosixPath)),
    Kind(AnyUrl, st.just("https://example.org/x").map(AnyUrl), hashable=False),
    Kind(Colour, st.sampled_from(Colour)),
    Kind(Mixed, st.sampled_from(Mixed)),
    Kind(Pairs, st.sampled_from(Pairs)),
    Kind(Level, st.sampled_from(Level)),
    Kind(Vendor, st.sampled_from(Vendor)),
    Kind(Rights, st.sampled_from([Rights(0), Rights.READ, Rights.READ | Rights.WRITE])),
    Kind(Literal["1", 1, True, None], st.sampled_from(["1", None])),
    Kind(Annotated[int, Field(ge=1, le=4094)], st.integers(1, 4094)),
    Kind(Annotated[str, Len(1, 3)], st.text(min_size=1, max_size=3)),
]

STRUCTURES = [
    Kind(Point, st.builds(Point, st.integers(), st.floats(allow_nan=False)), hashable=False),
    Kind(Options, st.fixed_dictionaries({"mtu": st.integers()}, optional={"path": st.text()}), hashable=False),
    Kind(Range, st.builds(Range, st.integers(), st.one_of(st.integers(), st.text())), hashable=False),
    Kind(Cat, st.builds(Cat, sound=st.text(), data=st.binary()), hashable=False),
    Kind(Dog, st.builds(Dog, sound=st.text(), otherName=st.integers()), hashable=False),
    Kind(Words, st.lists(st.text(max_size=3), max_size=3).map(Words), hashable=False),
    Kind(
        Any,
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.dates()),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=5,
        ),
        hashable=False,
    ),
]

_numbers = itertools.count()


def kinds() -> st.SearchStrategy[Kind]:
    """Draw a type: a scalar, a structure, a collection, a union, something optional, or these in each other."""
    return st.recursive(st.sampled_from(SCALARS + STRUCTURES), _compound, max_leaves=4)


@dataclass(frozen=True)
class GeneratedModel:
    """A class of subscriptions, with the kinds of its blocks' values.

    Attributes:
        model: the class; `model.root_block_types()` has its blocks.
        kinds: the kinds of the values of each class of blocks, by field.
    """

    model: type[SubscriptionModel]
    kinds: dict[type[ProductBlockModel], dict[str, Kind]]

    @property
    def blocks(self) -> list[type[ProductBlockModel]]:
        """All classes of blocks in it."""
        return list(self.kinds)


@st.composite
def generated_models(draw: st.DrawFn) -> GeneratedModel:
    """Draw a class of subscriptions with a root block, which has one block, perhaps another, and a list of blocks."""
    number = next(_numbers)
    leaf, leaf_kinds = draw(_block_classes(f"Leaf {number}", {}))
    middle, middle_kinds = draw(
        _block_classes(f"Middle {number}", {"leaves": Annotated[list[leaf], Len(max_length=3)]})
    )
    root, root_kinds = draw(
        _block_classes(
            f"Root {number}",
            {"one": middle, "perhaps": Optional[leaf], "many": list[Union[leaf, middle]]},  # noqa: UP007, UP045
        )
    )
    model = create_model(
        f"Service{number}",
        __base__=SubscriptionModel,
        __module__=__name__,
        __cls_kwargs__={"is_base": True},
        root=(Optional[root], None),  # noqa: UP045
    )
    return GeneratedModel(model, {leaf: leaf_kinds, middle: middle_kinds, root: root_kinds})


def fill(draw: st.DrawFn, generated: GeneratedModel, subscription: Any) -> None:
    """Give a subscription of a generated class blocks with values.

    Args:
        draw: what draws from a strategy.
        generated: the class.
        subscription: a subscription of it, as it was made.
    """
    leaf, middle, root = generated.blocks

    def block(cls: type[ProductBlockModel], **blocks: Any) -> ProductBlockModel:
        values = {name: draw(kind.values) for name, kind in generated.kinds[cls].items()}
        return cls.new(subscription.subscription_id, label=draw(st.none() | st.just("label")), **values, **blocks)

    def leaves() -> list[ProductBlockModel]:
        return [block(leaf) for _ in range(draw(st.integers(0, 2)))]

    subscription.root = block(
        root,
        one=block(middle, leaves=leaves()),
        perhaps=block(leaf) if draw(st.booleans()) else None,
        many=[*leaves(), block(middle, leaves=leaves())],
    )


@st.composite
def _block_classes(
    draw: st.DrawFn, name: str, blocks: dict[str, Any]
) -> tuple[type[ProductBlockModel], dict[str, Kind]]:
    found = draw(st.lists(kinds(), min_size=1, max_size=3))
    fields = {f"field_{index}": kind for index, kind in enumerate(found)}
    annotations: dict[str, Any] = {field: (kind.annotation, ...) for field, kind in fields.items()}
    annotations |= {field: (annotation, ...) for field, annotation in blocks.items()}
    made = create_model(
        name.replace(" ", ""),
        __base__=ProductBlockModel,
        __module__=__name__,
        __cls_kwargs__={"product_block_name": name},
        **annotations,
    )
    return made, fields


def _compound(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    hashable = st.sampled_from([kind for kind in SCALARS if kind.hashable])
    return st.one_of(
        inner.map(lambda item: Kind(list[item.annotation], _few(item), hashable=False)),
        inner.map(lambda item: Kind(tuple[item.annotation, ...], _some(item).map(tuple), hashable=False)),
        inner.map(lambda item: Kind(deque[item.annotation], _few(item).map(deque), hashable=False)),
        hashable.map(lambda item: Kind(set[item.annotation], st.sets(item.values, max_size=3), hashable=False)),
        hashable.map(lambda item: Kind(frozenset[item.annotation], st.frozensets(item.values, max_size=3))),
        st.tuples(inner, inner).map(_pair),
        st.tuples(hashable, inner).map(_dictionary),
        st.tuples(hashable, inner).map(_ordered_dictionary),
        inner.map(lambda item: Kind(Optional[item.annotation], st.none() | item.values, item.hashable)),  # noqa: UP045
        st.lists(inner, min_size=2, max_size=3).map(_union),
    )


def _few(item: Kind) -> st.SearchStrategy[list[Any]]:
    return st.lists(item.values, max_size=3)


def _some(item: Kind) -> st.SearchStrategy[list[Any]]:
    # an empty tuple makes the classes of ipaddress fail with an IndexError when pydantic tries them in a union
    return st.lists(item.values, min_size=1, max_size=3)


def _pair(items: tuple[Kind, Kind]) -> Kind:
    one, two = items
    return Kind(tuple[one.annotation, two.annotation], st.tuples(one.values, two.values), hashable=False)


def _dictionary(items: tuple[Kind, Kind]) -> Kind:
    key, item = items
    values = st.dictionaries(key.values, item.values, max_size=3)
    return Kind(dict[key.annotation, item.annotation], values, hashable=False)


def _ordered_dictionary(items: tuple[Kind, Kind]) -> Kind:
    key, item = items
    values = st.dictionaries(key.values, item.values, max_size=3).map(OrderedDict)
    return Kind(OrderedDict[key.annotation, item.annotation], values, hashable=False)


def _union(items: list[Kind]) -> Kind:
    annotation = Union[tuple(item.annotation for item in items)]  # noqa: UP007
    return Kind(annotation, st.one_of([item.values for item in items]), all(item.hashable for item in items))
