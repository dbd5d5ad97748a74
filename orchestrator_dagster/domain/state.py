"""The types that workflow authors write: what steps hand on, and what forms are."""

from collections.abc import Callable, Generator
from typing import Any

from pydantic import BaseModel

State = dict[str, Any]
"""What a process knows: JSON, by key."""

FormGenerator = Generator[type[BaseModel], Any, State]
"""What a form function returns when it yields its pages."""

InputForm = type[BaseModel] | Callable[..., Any]
"""A form: one page, or a function that yields pages or returns one."""


def copy_of(value: Any) -> Any:
    """Return a copy of JSON. It is for code that may change what it is given, and quicker than `deepcopy`.

    Example:
        >>> state = {"marks": ["a"]}
        >>> copy_of(state)["marks"].append("b")
        >>> state
        {'marks': ['a']}
    """
    if type(value) is dict:
        return {key: copy_of(item) for key, item in value.items()}
    return [copy_of(item) for item in value] if type(value) is list else value
