"""JSON that names the types of its parts, for values whose plain JSON is ambiguous."""

import base64
import json
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath
from typing import Any, cast, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel, RootModel, TypeAdapter
from typing_extensions import TypeAliasType

TYPE = "$type"
VALUE = "value"

_LARGEST_JSON_INTEGER = 10**4000  # Python refuses to read or write longer ones as decimal text
_SEQUENCES = (list, tuple, set, frozenset, deque)


def encode(value: Any) -> Any:
    """Return JSON from which `decode` makes the same value, of the same types.

    Args:
        value: a value of standard types, enums, models, dataclasses and collections of them.

    Raises:
        ValueError: a part of it is of a type that has no JSON.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind](value)
    if kind is list:
        return [encode(item) for item in value]
    if kind is dict and all(type(key) is str and is_storable_text(key) for key in value) and TYPE not in value:
        return {key: encode(item) for key, item in value.items()}
    return {TYPE: kind.__qualname__, VALUE: _encode_parts(kind, value)}


def decode(data: Any, types: Mapping[str, type]) -> Any:
    """Return the value that `encode` was given.

    Args:
        data: the JSON.
        types: the types that may occur, by name; see `reachable_types`.

    Raises:
        KeyError: a type is not among them.
        ValueError: a part is not what its type asks for.
    """
    if isinstance(data, list):
        return [decode(item, types) for item in data]
    if not isinstance(data, dict):
        return data
    if TYPE not in data:
        return {key: decode(item, types) for key, item in data.items()}
    return _decode_parts(types[data[TYPE]], data[VALUE], types)


def reachable_types(annotation: Any) -> Mapping[str, type]:
    """Return the types that values of an annotation may consist of, by name, the standard ones included."""
    found: dict[str, type] = {}
    _collect_types(annotation, found, set())
    return {**_STANDARD_TYPES, **found}


def is_storable_text(text: str) -> bool:
    """Whether Postgres can hold a text: no NUL in it, no half of a surrogate pair."""
    return "\0" not in text and (text.isascii() or _is_encodable(text))


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode_integer(value: int) -> Any:
    return value if abs(value) < _LARGEST_JSON_INTEGER else {TYPE: "int", VALUE: hex(value)}


def _encode_float(value: float) -> Any:
    text = repr(value)
    if math.isfinite(value) and "e" not in text and text != "-0.0":
        return value
    return {TYPE: "float", VALUE: text}


def _encode_text(value: str) -> Any:
    return value if is_storable_text(value) else {TYPE: "str", VALUE: json.dumps(value)}


_MICROSECOND = timedelta(microseconds=1)

_PRIMITIVES: Mapping[type, Callable[[Any], Any]] = {int: _encode_integer, float: _encode_float, str: _encode_text}

_SCALARS: Mapping[type, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    int: (hex, lambda text: int(text, 16)),
    float: (repr, float),
    str: (json.dumps, json.loads),
    bytes: (lambda value: base64.b64encode(value).decode(), base64.b64decode),
    bytearray: (lambda value: base64.b64encode(value).decode(), lambda text: bytearray(base64.b64decode(text))),
    complex: (repr, complex),
    Decimal: (str, Decimal),
    Fraction: (str, Fraction),
    date: (date.isoformat, date.fromisoformat),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    timedelta: (lambda value: str(value // _MICROSECOND), lambda text: int(text) * _MICROSECOND),
    UUID: (str, UUID),
}

_STANDARD_TYPES: Mapping[str, type] = {
    kind.__qualname__: kind
    for kind in (
        *_SCALARS,
        *_SEQUENCES,
        dict,
        OrderedDict,
        IPv4Address,
        IPv4Interface,
        IPv4Network,
        IPv6Address,
        IPv6Interface,
        IPv6Network,
    )
}


def _encode_parts(kind: Any, value: Any) -> Any:
    if kind in _SCALARS:
        return _SCALARS[kind][0](value)
    if isinstance(value, Flag):
        return value.value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, BaseModel) or is_dataclass(value):
        return {name: encode(part) for name, part in parts_of(value).items()}
    if isinstance(value, set | frozenset):
        return sorted((encode(item) for item in value), key=json.dumps)
    if isinstance(value, _SEQUENCES):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return [[encode(key), encode(item)] for key, item in value.items()]
    if isinstance(value, PurePath):
        return encode(str(value))
    return _adapter(kind).dump_python(value, mode="json")


def _decode_parts(kind: Any, data: Any, types: Mapping[str, type]) -> Any:
    if kind in _SCALARS:
        return _SCALARS[kind][1](data)
    if issubclass(kind, Flag):
        return kind(data)
    if issubclass(kind, Enum):
        return kind[data]
    if issubclass(kind, RootModel):
        return kind.model_construct(decode(data["root"], types))
    if issubclass(kind, BaseModel):
        return kind.model_construct(set(data), **{name: decode(part, types) for name, part in data.items()})
    if is_dataclass(kind):
        return _make_dataclass(kind, {name: decode(part, types) for name, part in data.items()})
    if issubclass(kind, tuple) and hasattr(kind, "_make"):
        return kind._make(decode(item, types) for item in data)
    if issubclass(kind, _SEQUENCES):
        return cast("Callable[[Any], Any]", kind)(decode(item, types) for item in data)
    if issubclass(kind, dict):
        return kind((decode(key, types), decode(item, types)) for key, item in data)
    if issubclass(kind, PurePath):
        return kind(decode(data, types))
    return _adapter(kind).validate_json(json.dumps(data))


def _make_dataclass(kind: Any, parts: Mapping[str, Any]) -> Any:
    made: Any = object.__new__(kind)
    for name, part in parts.items():
        object.__setattr__(made, name, part)
    return made


def parts_of(value: Any) -> dict[str, Any]:
    """Return the fields of a model or a dataclass with their values."""
    if isinstance(value, BaseModel):
        parts = {name: value.__dict__[name] for name in type(value).model_fields if name in value.__dict__}
        return parts | (value.__pydantic_extra__ or {})
    return {item.name: getattr(value, item.name) for item in dataclass_fields(value) if hasattr(value, item.name)}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _collect_types(annotation: Any, found: dict[str, type], seen: set[int]) -> None:
    if id(annotation) in seen:
        return
    seen.add(id(annotation))
    if isinstance(annotation, TypeAliasType):
        _collect_types(annotation.__value__, found, seen)
    for part in (get_origin(annotation), *get_args(annotation)):
        _collect_types(part, found, seen)
    if not isinstance(annotation, type) or get_origin(annotation) is not None:
        if isinstance(annotation, Enum):
            _collect_types(type(annotation), found, seen)
        return
    found.setdefault(annotation.__qualname__, annotation)
    for part in _parts_annotations(annotation):
        _collect_types(part, found, seen)


def _parts_annotations(kind: type) -> list[Any]:
    if issubclass(kind, BaseModel):
        return [info.annotation for info in kind.model_fields.values()]
    if is_dataclass(kind) or hasattr(kind, "__total__") or hasattr(kind, "_fields"):
        return list(get_type_hints(kind, include_extras=True).values())
    return []


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal, of the same types all the way down."""
    if left is right:
        return True
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is float:
        return repr(left) == repr(right)
    if isinstance(left, Decimal):
        return bool(left.as_tuple() == right.as_tuple())
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, set | frozenset):
        return bool(left == right) and _same_keys(left, right)
    if isinstance(left, dict):
        return bool(left == right or len(left) == len(right)) and _same_items(left, right)
    if isinstance(left, BaseModel):
        return _same_items(parts_of(left), parts_of(right))
    if is_dataclass(left):
        return _same_items(parts_of(left), parts_of(right))
    return bool(left == right)


def _same_keys(left: Any, right: Any) -> bool:
    kinds = {item: type(item) for item in right}
    return all(kinds.get(item) is type(item) for item in left)


def _same_items(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
    return (
        left.keys() == right.keys()
        and _same_keys(left, right)
        and all(same(value, right[key]) for key, value in left.items())
    )
