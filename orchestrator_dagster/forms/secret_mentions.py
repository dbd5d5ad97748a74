"""Whether a form may ask for a secret, as far as its code tells.

Only a walk shows what a form asks for. It takes time, and most forms ask for nothing secret; so those whose code
nowhere mentions a secret are not walked for that.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from types import CodeType, FunctionType
from typing import Any, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

from orchestrator_dagster.forms.secret_fields import takes_secrets

_NAMES = {SecretStr.__name__, SecretBytes.__name__}


@cache
def may_ask_for_secrets(form: Callable[..., Any]) -> bool:
    """Whether a page has a field for a secret; or a function mentions one, or another of its package that does.

    Example:
        >>> class LoginPage(BaseModel):
        ...     password: SecretStr
        >>> def login():
        ...     yield LoginPage
        >>> may_ask_for_secrets(LoginPage), may_ask_for_secrets(login), may_ask_for_secrets(BaseModel)
        (True, True, False)
    """
    waiting, seen = [form], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if _is_secret(found):
            return True
        function = _function_of(found)
        if function is not None:
            names = set(_names(function.__code__))
            if names & _NAMES:
                return True
            waiting += [value for value in _values(function, names) if _is_near(value, function)]
    return False


def _is_secret(found: Any) -> bool:
    if isinstance(found, type):
        return issubclass(found, BaseModel | SecretStr | SecretBytes) and takes_secrets(found)
    return get_origin(found) is not None and takes_secrets(found)


def _function_of(found: Any) -> FunctionType | None:
    while isinstance(found, partial):
        found = found.func
    found = getattr(found, "__func__", found)
    if callable(found) and not isinstance(found, FunctionType | type):
        found = type(found).__call__
    return found if isinstance(found, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names in a function's code, with that of the classes and functions that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _values(function: FunctionType, names: set[str]) -> Iterator[Any]:
    yield from (function.__globals__[name] for name in names if name in function.__globals__)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is given its value later
            continue


def _is_near(value: Any, function: FunctionType) -> bool:
    """Whether to look into a value: pages and types, and functions of the same package."""
    if isinstance(value, type) or get_origin(value) is not None:
        return True
    called = _function_of(value)
    return called is not None and _package(called) == _package(function)


def _package(function: FunctionType) -> str:
    return (function.__module__ or "").partition(".")[0]
