"""JSON as it goes into and comes out of the database: whatever is written comes back equal and of the same type.

Postgres keeps the numbers of a `jsonb` as decimals. A large float needs care: `1e+16` would come back as an int.
"""

import json
import re
from decimal import Decimal
from typing import Any

_STRING_OR_LARGE_FLOAT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e\+\d+')
_EQUAL_IF_SAME = (str, int, bool, type(None))
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def to_json(value: Any) -> str:
    """Write a value as JSON text that `jsonb` gives back exactly.

    Raises:
        ValueError: the value has a number or a text that Postgres cannot hold (NaN, infinity, a NUL character).
        TypeError: the value is not JSON.

    Example:
        >>> to_json({"speed": 1e16, "site": "Zürich"})
        '{"speed": 10000000000000000.0, "site": "Zürich"}'
    """
    written = _ENCODER.encode(value)
    if "\\u0000" in written and _NUL.search(written):
        raise ValueError("a text with a NUL character cannot be stored")
    if "e+" in written:
        written = _STRING_OR_LARGE_FLOAT.sub(_without_exponent, written)
    return written


def from_json(written: str | bytes) -> Any:
    """Read JSON text."""
    return json.loads(written)


def same_json(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where `1`, `1.0` and `true` are three things.

    Example:
        >>> same_json({"a": 1, "b": None}, {"b": None, "a": 1}), same_json([1], [True])
        (True, False)
    """
    kind = type(one)
    if kind is type(other):
        if kind is dict:
            return one.keys() == other.keys() and all(same_json(item, other[key]) for key, item in one.items())
        if kind is list:
            return len(one) == len(other) and all(map(same_json, one, other))
        if kind in _EQUAL_IF_SAME:
            return bool(one == other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _without_exponent(match: re.Match[str]) -> str:
    token = match.group()
    return token if token.startswith('"') else f"{Decimal(token):f}.0"
