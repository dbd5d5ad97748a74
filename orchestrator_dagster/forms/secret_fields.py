"""The fields of a form that take secrets: how one is given, and what was given in clear.

A secret is given as its marker, or as `{"env": "NAME"}` for one that an environment variable has where the form is
answered. From Python it may be given in clear; run config is stored and shown, so there it may not.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from orchestrator_dagster.domain.exact import reachable_types
from orchestrator_dagster.domain.secret import (
    SECRET,
    AnySecret,
    came_hidden,
    hidden_secret,
    is_sealed,
    seal,
    secrets_in,
    unseal,
)
from orchestrator_dagster.errors import ConfigurationError, FieldError
from orchestrator_dagster.forms.page import field_names

ENVIRONMENT = "env"
ENVIRONMENT_MISSING = "secret_environment"
UNREADABLE = "secret_unreadable"
GIVEN_IN_CLEAR = "secret_in_clear"

Path = tuple[str | int, ...]

_REMOVED = {SECRET: "removed"}
_CLEAR = (
    "is a secret and was given in clear, which run config must not have. Give what `orchestrator-dagster secret` "
    "prints, or {env: NAME} for an environment variable"
)


class _UnreadableError(Exception):
    def __init__(self, message: str, kind: str) -> None:
        self.kind = kind
        super().__init__(message)


@dataclass(frozen=True)
class OpenedInput:
    """The input of a page with its secrets unsealed.

    Attributes:
        values: the input for the page's class; without the fields whose secrets cannot be had.
        errors: why they cannot be had.
        secrets: the secrets in it, those that were given in clear too.
    """

    values: Mapping[str, Any]
    errors: Sequence[FieldError] = ()
    secrets: Sequence[AnySecret] = field(default=(), repr=False)


def takes_secrets(annotation: Any) -> bool:
    """Whether values of an annotation may hold secrets."""
    return not {SecretStr, SecretBytes}.isdisjoint(reachable_types(annotation).values())


@cache
def secret_fields(page: type[BaseModel]) -> frozenset[str]:
    """Return the fields of a page that may hold secrets."""
    return frozenset(name for name, field in page.model_fields.items() if takes_secrets(field.annotation))


def open_input(page: type[BaseModel], given: Mapping[str, Any]) -> OpenedInput:
    """Return the input of a page with its secrets unsealed."""
    values, errors, secrets = dict(given), [], list[AnySecret]()
    for key, name in _secret_keys(page, given):
        try:
            values[key] = _opened(given[key], as_bytes=not _has_text_secrets(page, name))
        except _UnreadableError as error:
            errors.append(FieldError((key,), str(error), error.kind))
            del values[key]
        else:
            secrets += [*secrets_in(values[key]), *map(SecretStr, _texts(values[key]))]
    return OpenedInput(values, errors, secrets)


def fields_in_clear(page: type[BaseModel], given: Mapping[str, Any], answer: BaseModel | None) -> list[str]:
    """Return the names in the input of the fields that were given a secret in clear.

    Args:
        page: the page.
        given: its input.
        answer: the page that was made of it; `None` where it was not valid, so that any text may be a secret.
    """
    return [
        key
        for key, name in _secret_keys(page, given)
        if any(_texts(given[key])) and (answer is None or _shows(given[key], getattr(answer, name, None)))
    ]


def clear_error(path: Path) -> FieldError:
    """Return what is said of a secret that was given in clear."""
    return FieldError(path, _CLEAR, GIVEN_IN_CLEAR)


def seal_at(given: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """Return input with what stands at some paths sealed."""
    changed: dict[str, Any] = _changed(given, paths, seal)
    return changed


def remove_at(given: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """Return input without the texts at some paths. Forms refuse what stands there instead."""
    changed: dict[str, Any] = _changed(given, paths, lambda value: _REMOVED if any(_texts(value)) else value)
    return changed


def _secret_keys(page: type[BaseModel], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    secret = secret_fields(page)
    return ((key, name) for key, name in field_names(page).items() if name in secret and key in given)


def _has_text_secrets(page: type[BaseModel], name: str) -> bool:
    return SecretStr in reachable_types(page.model_fields[name].annotation).values()


def _opened(value: Any, *, as_bytes: bool) -> Any:
    if is_sealed(value):
        secret = _unseal(value)
    elif _is_environment(value):
        secret = _from_environment(value[ENVIRONMENT])
    elif type(value) is dict:
        return {key: _opened(item, as_bytes=as_bytes) for key, item in value.items()}
    else:
        return [_opened(item, as_bytes=as_bytes) for item in value] if type(value) is list else value
    return hidden_secret(secret.get_secret_value().encode()) if as_bytes and type(secret) is SecretStr else secret


def _unseal(marker: Mapping[str, str]) -> Any:
    if marker == _REMOVED:
        raise _UnreadableError("was given in clear, and was removed. Give it again", UNREADABLE)
    try:
        return unseal(marker)
    except ConfigurationError as error:
        raise _UnreadableError(str(error), UNREADABLE) from error


def _from_environment(name: str) -> SecretStr | SecretBytes:
    if name not in os.environ:
        raise _UnreadableError(
            f"There is no environment variable {name} where the form is checked", ENVIRONMENT_MISSING
        )
    return hidden_secret(os.environ[name])


def _is_environment(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and type(value.get(ENVIRONMENT)) is str


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts and numbers in JSON that may be secrets in clear."""
    if isinstance(value, Mapping):
        if not is_sealed(value) and not _is_environment(value):
            for item in value.values():
                yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _shows(given: Any, answer: Any) -> bool:
    """Whether the input of a field shows a secret that was made of it."""
    made = [secret for secret in secrets_in(answer) if not came_hidden(secret)]
    if not isinstance(given, Mapping | list):
        return bool(made)
    texts = {text.strip() for text in _texts(given)}
    return any(_text_of(secret).strip() in texts for secret in made)


def _text_of(secret: AnySecret) -> str:
    clear = secret.get_secret_value()
    return clear.decode(errors="replace") if isinstance(clear, bytes) else str(clear)


def _changed(value: Any, paths: Sequence[Path], change: Callable[[Any], Any]) -> Any:
    if () in paths:
        return change(value)
    inner: dict[str | int, list[Path]] = {}
    for first, *rest in paths:
        inner.setdefault(first, []).append(tuple(rest))
    if isinstance(value, Mapping):
        return {key: _changed(item, inner[key], change) if key in inner else item for key, item in value.items()}
    if isinstance(value, list):
        return [_changed(item, inner[i], change) if i in inner else item for i, item in enumerate(value)]
    return value
