"""How a value becomes JSON that Postgres can hold, and comes back as the same value.

The plain JSON of pydantic is used where it reads back exactly, which is nearly always, so that a resource type can be
read and searched in SQL. Where it does not (the address in `str | IPv4Address`, an enum of tuples, bytes that are not
text, a NUL in a string), the value is written as `{"$exact": ...}` with the types of its parts beside them.
"""

import json
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum, Flag
from functools import cache, cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, ConfigDict, PydanticUserError, RootModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from orchestrator_dagster.domain.exact import decode, encode, is_storable_text, parts_of, reachable_types, same
from orchestrator_dagster.domain.state import copy_of
from orchestrator_dagster.errors import ModelError

EXACT = "$exact"

_NOTHING = object()
_LARGEST_PLAIN_INTEGER = 2**63


class ValueCodec:
    """Turns the values of one annotation into JSON and back.

    Args:
        annotation: the annotation, with the constraints in it.
        config: the configuration of the model that declares it.

    Example:
        >>> from ipaddress import IPv4Address
        >>> codec = ValueCodec(IPv4Address | None, {})
        >>> codec.dump(IPv4Address("10.0.0.1"))
        '10.0.0.1'
        >>> codec.load("10.0.0.1")
        IPv4Address('10.0.0.1')
    """

    def __init__(self, annotation: Any, config: ConfigDict) -> None:
        self._annotation = annotation
        self._config = config
        self._plain = _is_plain(annotation)
        self._bare = self._plain and not _has_metadata(annotation)
        self._text_type = _text_type(annotation)

    def dump(self, value: Any) -> Any:
        """Return a valid value as JSON.

        Raises:
            ModelError: a model in it was made invalid in place, or what would be stored does not read back as the
                same value.
        """
        quick = self._quick(value)
        if quick is not _NOTHING:
            return quick
        if not self._plain:
            check_parts(value)
        data = self._natural(value)
        if data is not _NOTHING:
            return data
        try:
            data = {EXACT: encode(value)}
            if same(self._read(data), value):
                return data
        except (AttributeError, LookupError, OverflowError, PydanticUserError, TypeError, ValueError) as error:
            raise ModelError(f"cannot be stored: {error}") from error
        raise ModelError(f"cannot be stored: {value!r} does not read back as the same value")

    def load(self, data: Any) -> Any:
        """Return what validation of the model takes as the value.

        What does not fit the annotation is returned as it is, for validation to refuse with the field's name.
        """
        if isinstance(data, dict) and data.keys() == {EXACT}:
            return decode(data[EXACT], self._types)
        if self._plain:
            return copy_of(data)
        try:
            return self._adapter.validate_json(to_json(data))
        except ValidationError:
            return data

    def _quick(self, value: Any) -> Any:
        """Return the JSON of a value of which nobody need ask whether it reads back."""
        if self._plain and _is_plain_scalar(value):
            return value
        if self._text_type is not None and (value is None or type(value) is self._text_type):
            return None if value is None else str(getattr(value, "value", value))
        if self._bare and _is_plain_data(value):
            return copy_of(value)
        return _NOTHING

    def _natural(self, value: Any) -> Any:
        try:
            text = self._adapter.dump_json(value, by_alias=True, round_trip=True, warnings=False)
            data = _as_stored(_with_ordered_sets(value, json.loads(text)))
            if isinstance(data, dict) and data.keys() == {EXACT}:
                return _NOTHING
            return data if same(self._read(data), value) else _NOTHING
        except Exception:  # anything that a serializer or validator of a user raises
            return _NOTHING

    def _read(self, data: Any) -> Any:
        return self._adapter.validate_python(self.load(data))

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        config: ConfigDict = {
            **self._config,
            "ser_json_inf_nan": "strings",
            "ser_json_bytes": "base64",
            "val_json_bytes": "base64",
        }
        try:
            return TypeAdapter(self._annotation, config=config)
        except PydanticUserError:  # the type has a configuration of its own
            return TypeAdapter(self._annotation)

    @cached_property
    def _types(self) -> Mapping[str, type]:
        return reachable_types(self._annotation)


def _is_plain(annotation: Any) -> bool:
    """Whether JSON holds exactly the values of the annotation, so that reading needs no conversion."""
    if annotation in (str, int, bool, None, NoneType):
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_plain(arguments[0])
    if origin in (Union, UnionType, list):
        return all(map(_is_plain, arguments))
    return origin is dict and arguments[0] is str and _is_plain(arguments[1])


def _is_plain_scalar(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return is_storable_text(value)
    return kind is bool or kind is NoneType or (kind is int and abs(value) < _LARGEST_PLAIN_INTEGER)


def _is_plain_data(value: Any) -> bool:
    if type(value) is list:
        return all(map(_is_plain_data, value))
    if type(value) is dict:
        return value.keys() != {EXACT} and all(
            type(key) is str and is_storable_text(key) and _is_plain_data(item) for key, item in value.items()
        )
    return _is_plain_scalar(value)


def _has_metadata(annotation: Any) -> bool:
    """Whether there may be validators and serializers in an annotation."""
    return get_origin(annotation) is Annotated or any(map(_has_metadata, get_args(annotation)))


_TEXT_TYPES = (UUID, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)


def _text_type(annotation: Any) -> type | None:
    """Return the one type of an annotation, besides `None`, whose values are the text that JSON has for them."""
    if annotation in _TEXT_TYPES:
        return cast("type", annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum) and not issubclass(annotation, Flag):
        if hasattr(annotation, "__get_pydantic_core_schema__"):
            return None
        texts = [type(member.value) is str and is_storable_text(member.value) for member in annotation]
        return annotation if texts and all(texts) else None
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _text_type(members[0]) if len(members) == 1 else None
    return None


def _as_stored(data: Any) -> Any:
    """Return JSON as a `jsonb` column gives it back.

    Raises:
        ValueError: the column cannot hold it.
    """
    if isinstance(data, str):
        if not is_storable_text(data):
            raise ValueError("text that jsonb cannot hold")
    elif isinstance(data, float):
        if not math.isfinite(data):
            raise ValueError("a number that jsonb cannot hold")
        number = Decimal(repr(data))
        if "e" in repr(data) and number == number.to_integral_value():
            return int(number)
        return abs(data) if data == 0 else data
    elif isinstance(data, list):
        return [_as_stored(item) for item in data]
    elif isinstance(data, dict):
        return {_as_stored(key): _as_stored(item) for key, item in data.items()}
    return data


def _with_ordered_sets(value: Any, data: Any) -> Any:
    """Bring the items of sets into an order of their own, so that equal sets are equal as JSON."""
    if isinstance(data, list) and isinstance(value, list | tuple | deque | set | frozenset):
        items = [_with_ordered_sets(*pair) for pair in zip(value, data, strict=False)]
        return sorted(items, key=json.dumps) if isinstance(value, set | frozenset) else items
    if isinstance(data, dict) and isinstance(value, dict):
        pairs = zip(value.values(), data.items(), strict=False)
        return {key: _with_ordered_sets(part, item) for part, (key, item) in pairs}
    if isinstance(data, dict) and isinstance(value, BaseModel):
        parts = parts_of(value)
        return {key: _with_ordered_sets(parts.get(key), item) for key, item in data.items()}
    return data


def check_parts(value: Any, path: tuple[str | int, ...] = ()) -> None:
    """Check the models and dataclasses inside of a value, which validation takes as they are.

    Raises:
        ModelError: a part of one was made invalid in place.
    """
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        parts: dict[Any, Any] = parts_of(value)
        _check_model(value, parts, path)
    elif isinstance(value, dict):
        parts = value
    elif isinstance(value, list | tuple | set | frozenset | deque):
        parts = dict(enumerate(value))
    else:
        return
    for name, part in parts.items():
        check_parts(part, (*path, name))


def _check_model(value: Any, parts: Mapping[str, Any], path: tuple[str | int, ...]) -> None:
    kind: Any = type(value)
    try:
        valid = parts_of(_validator(kind)(_as_input(kind, parts)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ModelError(f"{_text([*path, *first['loc']])}{first['msg']}") from error
    for name, part in parts.items():
        if not same(part, valid.get(name)) and part != valid.get(name):
            raise ModelError(
                f"{_text([*path, name])}{part!r} was set in place; validation makes it {valid.get(name)!r}"
            )


def _as_input(kind: Any, parts: Mapping[str, Any]) -> Any:
    if issubclass(kind, RootModel):
        return parts["root"]
    if issubclass(kind, BaseModel):
        aliases = {name: info.validation_alias for name, info in kind.model_fields.items()}
        return {alias if isinstance(alias := aliases.get(name), str) else name: part for name, part in parts.items()}
    arguments = {item.name for item in fields(kind) if item.init}
    return {name: part for name, part in parts.items() if name in arguments}


@cache
def _validator(kind: Any) -> Callable[[Any], Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return adapter.validate_python


def _text(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path)) + ": " if path else ""
