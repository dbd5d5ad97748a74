"""What the value of a resource type has to be: `{"node.node_name": "ams-core-1"}`, taken apart and made JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from orchestrator_dagster.domain.exact import VALUE, encode, is_storable_text
from orchestrator_dagster.domain.values import EXACT
from orchestrator_dagster.errors import QueryError

RANGES = ("<", "<=", ">", ">=")
OPERATORS = ("=", "!=", *RANGES, "in", "contains")

_FORM = "attributes from the subscription down, then a resource type, with dots between, such as node.node_name"


@dataclass(frozen=True)
class ValueTest:
    """One thing that a value has to be.

    Attributes:
        operator: one of `OPERATORS`; `in` has become `=` with several alternatives.
        alternatives: the JSON that the value may be stored as, any of which will do. For `contains`, what a list holds.
        moments: the moments, any of which it may be, where dates are compared.
        or_nothing: whether null, or no value at all, will do.
        number_in_text: whether numbers that are stored as text are compared too, as decimals are.
    """

    operator: str
    alternatives: tuple[Any, ...] = ()
    moments: tuple[datetime, ...] = ()
    or_nothing: bool = False
    number_in_text: bool = False

    @property
    def indexable(self) -> bool:
        """Whether an index of values can find all that passes."""
        return self.operator in ("=", "contains") and not (self.moments or self.or_nothing)


@dataclass(frozen=True)
class ValueFilter:
    """What the value of a resource type has to be. One block has to pass all tests.

    Attributes:
        attributes: the way from the subscription to the block.
        resource_type: the name of the value in the block.
        tests: what the value has to be.
    """

    attributes: tuple[str, ...]
    resource_type: str
    tests: tuple[ValueTest, ...]

    @classmethod
    def of(cls, path: object, wanted: Any) -> "ValueFilter":
        """Make a filter of an item of `where`.

        Raises:
            QueryError: the path or the operator is not possible, or the value cannot be compared that way.
        """
        parts = path.split(".") if isinstance(path, str) else []
        if len(parts) < 2 or not all(parts):
            raise QueryError("where", path, _FORM)
        tests = tuple(_test(str(path), operator, value) for operator, value in _operators(str(path), wanted).items())
        return cls(tuple(parts[:-1]), parts[-1], tests)

    @property
    def indexable(self) -> bool:
        """Whether an index of values can find all that passes; what it finds has to be tested still."""
        return any(test.indexable for test in self.tests)


def _operators(path: str, wanted: Any) -> Mapping[str, Any]:
    if not isinstance(wanted, Mapping):
        return {"=": wanted}
    unknown = [operator for operator in wanted if operator not in OPERATORS]
    if unknown or not wanted:
        allowed = f'the operators {" ".join(OPERATORS)}; for a value that is an object {{"=": {{...}}}}'
        raise QueryError(f"where {path}", unknown[0] if unknown else wanted, allowed)
    return wanted


def _test(path: str, operator: str, value: Any) -> ValueTest:
    name = f"where {path} {operator}"
    if operator in RANGES:
        return _range(name, operator, value)
    if operator == "contains":
        return ValueTest(operator, _in_lists(name, value))
    if operator == "in":
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence | set | frozenset):
            raise QueryError(name, value, "a list of values, any of which will do")
        return _equal("=", name, list(value))
    return _equal(operator, name, [value])


def _equal(operator: str, name: str, values: Sequence[Any]) -> ValueTest:
    moments = [value for value in values if isinstance(value, datetime)]
    others = [value for value in values if value is not None and not isinstance(value, datetime)]
    return ValueTest(
        operator,
        alternatives=tuple(form for value in others for form in _stored_forms(name, value)),
        moments=tuple(map(_in_utc, moments)),
        or_nothing=None in values,
    )


def _range(name: str, operator: str, value: Any) -> ValueTest:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, datetime):
        return ValueTest(operator, moments=(_in_utc(value),))
    if isinstance(value, date):
        return ValueTest(operator, moments=(datetime(value.year, value.month, value.day, tzinfo=UTC),))
    if isinstance(value, Decimal) and value.is_finite():
        return ValueTest(operator, (value,), number_in_text=True)
    if isinstance(value, str) and is_storable_text(value):
        return ValueTest(operator, (str(value),))
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
        return ValueTest(operator, (value,))
    raise QueryError(name, value, "a number, a text, a date or a datetime: nothing else has an order")


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stored_forms(name: str, value: Any) -> list[Any]:
    """Return the JSON under which `ValueCodec` may have stored a value: plain, or with its types beside it."""
    return [*_plain_form(value), *_exact_form(name, value)]


def _in_lists(name: str, value: Any) -> tuple[Any, ...]:
    """Return the JSON that a list with the value contains: the list is plain, or has its types beside it."""
    exact = [form[EXACT] for form in _exact_form(name, value)]
    return (
        *([form] for form in _plain_form(value)),
        *({EXACT: [form]} for form in exact),
        *({EXACT: {VALUE: [form]}} for form in exact),
    )


def _plain_form(value: Any) -> list[Any]:
    try:
        plain = json.loads(to_json(value, bytes_mode="base64", inf_nan_mode="strings", by_alias=True))
    except (PydanticSerializationError, ValueError):
        return []
    return [form for form in (plain, *_as_number(value)) if _is_storable(form)]


def _as_number(value: Any) -> list[int | float]:
    """Return a decimal, which is stored as text, as the number that it may have been stored as before."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return []
    number = int(value) if value == value.to_integral_value() else float(value)
    return [number] if Decimal(str(number)) == value else []


def _is_storable(data: Any) -> bool:
    if isinstance(data, str):
        return is_storable_text(data)
    if isinstance(data, list):
        return all(map(_is_storable, data))
    if isinstance(data, dict):
        return all(_is_storable(part) for item in data.items() for part in item)
    return True


def _exact_form(name: str, value: Any) -> list[dict[str, Any]]:
    try:
        return [{EXACT: encode(value)}]
    except (PydanticSerializationError, TypeError, ValueError, AttributeError) as error:
        raise QueryError(name, value, "a value that a resource type can have") from error
