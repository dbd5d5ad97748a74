"""Secrets in JSON: sealed, so that what is stored and shown never has them in clear.

A sealed secret is `{"__secret__": "<token>"}`; the token is the secret, encrypted. `sealed` makes JSON of values with
secrets in them, `unsealed` gives the secrets back, as pydantic's `SecretStr` and `SecretBytes`.
"""

import json
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import SchemaSerializer, core_schema, to_jsonable_python

from orchestrator_dagster.domain.model import DomainModel
from orchestrator_dagster.errors import ConfigurationError

SECRET = "__secret__"  # noqa: S105 - the key that marks one
MASK = "**********"
SHORTEST_HIDDEN = 4
"""Characters; to hide what is shorter would make texts unreadable and hide little."""

AnySecret = SecretStr | SecretBytes | Secret[Any]

_KINDS = (SecretStr, SecretBytes, Secret)
_SCALARS = frozenset({str, int, float, bool, type(None)})
_TOKEN = "_sealed_as"  # noqa: S105 - the name of an attribute
_met: ContextVar[list[AnySecret] | None] = ContextVar("secrets_met", default=None)
# writes values as to_jsonable_python does, in the same places, but leaves secrets what they are
_AS_PYTHON = SchemaSerializer(core_schema.any_schema())


def is_sealed(value: Any) -> bool:
    """Whether a part of JSON is a sealed secret."""
    return type(value) is dict and len(value) == 1 and type(value.get(SECRET)) is str


def seal(value: Any) -> dict[str, str]:
    """Return a secret as JSON that can be stored and shown.

    A secret that was unsealed keeps its token.

    Args:
        value: a `SecretStr` or `SecretBytes`; or JSON, all of which is to be sealed.

    Raises:
        TypeError: it is a secret of another type.
        ConfigurationError: there is no key.
    """
    from orchestrator_dagster.domain.secret_key import encrypt

    if isinstance(value, SecretStr | SecretBytes):
        return {SECRET: vars(value).get(_TOKEN) or encrypt(_content(value))}
    if isinstance(value, Secret):
        raise TypeError(f"a {type(value).__name__} cannot be kept; SecretStr and SecretBytes can")
    return {SECRET: encrypt(b"s" + value.encode() if isinstance(value, str) else b"j" + json.dumps(value).encode())}


def unseal(marker: Mapping[str, str]) -> Any:
    """Return the secret of a marker; where `seal` was given JSON that is not a text, that JSON.

    Raises:
        ConfigurationError: the key is not here, or the marker is damaged.
    """
    from orchestrator_dagster.domain.secret_key import decrypt

    content = decrypt(marker[SECRET])
    kind, rest = content[:1], content[1:]
    if kind == b"j":
        return json.loads(rest)
    secret: SecretStr | SecretBytes = SecretBytes(rest) if kind == b"b" else SecretStr(rest.decode())
    vars(secret)[_TOKEN] = marker[SECRET]
    met = _met.get()
    if met is not None:
        met.append(secret)
    return secret


@contextmanager
def noting_secrets() -> Iterator[list[AnySecret]]:
    """Collect the secrets that are unsealed within the block, to hide them in what it may say."""
    met: list[AnySecret] = []
    reset = _met.set(met)
    try:
        yield met
    finally:
        _met.reset(reset)


def came_hidden(secret: AnySecret) -> bool:
    """Whether a secret was not in clear where it comes from: it was unsealed, or is one of `hidden_secret`."""
    return _TOKEN in vars(secret)


def hidden_secret(clear: str | bytes) -> SecretStr | SecretBytes:
    """Return a secret that was not in clear where it comes from."""
    secret = SecretBytes(clear) if isinstance(clear, bytes) else SecretStr(clear)
    vars(secret)[_TOKEN] = None
    return secret


def sealed(value: Any) -> Any:
    """Return a value as JSON, as pydantic writes it, with its secrets sealed at whatever depth they are.

    Raises:
        ValueError: it cannot be written as JSON.
        TypeError: it holds a secret that cannot be kept.
        ConfigurationError: it holds a secret, and there is no key.

    Example:
        >>> sealed({"vlan": 7, "tags": ("a", "b")})
        {'vlan': 7, 'tags': ['a', 'b']}
    """
    data = to_jsonable_python(value)
    if next(secrets_in(value), None) is None:
        return data
    return _with_seals(_AS_PYTHON.to_python(value, by_alias=True), data)


def unsealed(value: Any) -> Any:
    """Return a copy of JSON with secrets in place of their markers.

    Raises:
        ConfigurationError: the key of one is not here.

    Example:
        >>> unsealed({"vlan": 7})
        {'vlan': 7}
    """
    if type(value) is dict:
        return unseal(value) if is_sealed(value) else {key: unsealed(item) for key, item in value.items()}
    return [unsealed(item) for item in value] if type(value) is list else value


def same_input(one: Any, other: Any) -> bool:
    """Whether two inputs say the same, be the secrets in them sealed, and sealed twice, or in clear."""
    return bool(one == other or _in_clear(one) == _in_clear(other))


def _in_clear(value: Any) -> Any:
    if is_sealed(value):
        opened = unseal(value)
        return opened.get_secret_value() if isinstance(opened, SecretStr | SecretBytes) else opened
    if type(value) is dict:
        return {key: _in_clear(item) for key, item in value.items()}
    return [_in_clear(item) for item in value] if type(value) is list else value


def secrets_in(*values: Any) -> Iterator[AnySecret]:
    """Yield the secrets in values: in containers, dataclasses and models, at any depth.

    Blocks and subscriptions are passed by: no secret can be stored in one.
    """
    waiting, seen = list(values), set[int]()
    while waiting:
        value = waiting.pop()
        if type(value) in _SCALARS or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _KINDS):
            yield value
        else:
            waiting.extend(_parts(value))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, DomainModel):
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, BaseModel):
        return [*vars(value).values(), *(value.model_extra or {}).values()]
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in fields(value)]
    return []


def _with_seals(value: Any, data: Any) -> Any:
    """Put seals into JSON where the same value, written as Python, has secrets."""
    if isinstance(value, _KINDS):
        return seal(value)
    if isinstance(value, Mapping) and isinstance(data, dict):
        pairs = zip(value.values(), data.items(), strict=True)
        return {key: _with_seals(item, written) for item, (key, written) in pairs}
    if isinstance(value, set | frozenset):
        # what is written of a set may be in another order
        return [sealed(item) for item in value]
    if isinstance(value, list | tuple | deque) and isinstance(data, list):
        return [_with_seals(item, written) for item, written in zip(value, data, strict=True)]
    if next(secrets_in(value), None) is not None:
        raise TypeError(f"a {type(value).__name__} with a secret in it has a JSON form of its own")
    return data


def _content(secret: SecretStr | SecretBytes) -> bytes:
    if isinstance(secret, SecretBytes):
        return b"b" + secret.get_secret_value()
    try:
        return b"s" + secret.get_secret_value().encode()
    except UnicodeEncodeError:
        # the error would hold the text
        raise ConfigurationError("A secret is not text that can be encoded as UTF-8") from None


@dataclass(frozen=True)
class Hiding:
    """Hides secrets in texts, wherever they stand exactly as they are.

    Attributes:
        clear: what is hidden, the longest first.
    """

    clear: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        for clear in self.clear:
            text = text.replace(clear, MASK)
        return text

    def json(self, value: Any) -> Any:
        """Return JSON without the secrets, in keys and values."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.json(item) for key, item in value.items()}
        return [self.json(item) for item in value] if isinstance(value, list) else value

    def cause(self, error: BaseException | None) -> BaseException | None:
        """Return an error that may be shown with all that led to it; `None` for one that would show a secret."""
        if not self.clear or error is None:
            return error
        shown = "".join(traceback.format_exception(error))
        return error if self.text(shown) == shown else None


def hiding(*holders: Any) -> Hiding:
    """Return what hides the secrets in values; those that are shorter than four characters are not hidden.

    Example:
        >>> hide = hiding({"password": SecretStr("opensesame"), "pin": SecretStr("12")})
        >>> hide.text("login with opensesame failed after 12 s")
        'login with ********** failed after 12 s'
    """
    clear = {text for secret in secrets_in(*holders) for text in _texts(secret.get_secret_value())}
    return Hiding(tuple(sorted((text for text in clear if len(text) >= SHORTEST_HIDDEN), key=len, reverse=True)))


def _texts(clear: Any) -> Iterator[str]:
    if isinstance(clear, str):
        yield clear
    elif isinstance(clear, bytes):
        yield clear.decode(errors="replace")
        yield repr(clear)[2:-1]
