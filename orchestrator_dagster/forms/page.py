"""What a form is made of. Forms are those of the `pydantic-forms` package."""

from collections.abc import Callable, Generator
from typing import Any, ClassVar

from pydantic import BaseModel
from pydantic_forms.core import FormPage as PydanticFormPage
from pydantic_forms.types import FormMeta

State = dict[str, Any]
"""What a process knows: JSON, by key."""

FormGenerator = Generator[type[BaseModel], Any, State]
"""What a form function returns when it yields its pages."""

InputForm = type[BaseModel] | Callable[..., Any]
"""A form: one page, or a function that yields pages or returns one."""


class FormPage(PydanticFormPage):
    """One page of a form; more pages follow.

    Example:
        >>> class SitePage(FormPage):
        ...     site: str
        >>> SitePage(site="Amsterdam").model_dump()
        {'site': 'Amsterdam'}
    """

    meta__: ClassVar[FormMeta | None] = {"hasNext": True}


class SubmitFormPage(FormPage):
    """The last page of a form: its button says Submit."""

    meta__: ClassVar[FormMeta | None] = {"hasNext": False}


def field_names(page: type[BaseModel]) -> dict[str, str]:
    """Return the names that a page's fields have in the input, each with the field's own name."""
    return {
        field.validation_alias if isinstance(field.validation_alias, str) else name: name
        for name, field in page.model_fields.items()
    }


def page_title(page: type[BaseModel]) -> str:
    """Return how a page is called: its title, or else the name of its class."""
    title = page.model_config.get("title")
    return page.__name__ if title in (None, "unknown") else str(title)
