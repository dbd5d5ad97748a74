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
