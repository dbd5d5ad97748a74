"""What a form is made of. Forms are those of the `pydantic-forms` package."""

from typing import ClassVar

from pydantic import AliasChoices, BaseModel
from pydantic_forms.core import FormPage as PydanticFormPage
from pydantic_forms.types import FormMeta


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
    """Return the names that a page's fields can have in the input, each with the field's own name."""
    names: dict[str, str] = {}
    by_name = page.model_config.get("populate_by_name") or page.model_config.get("validate_by_name")
    for name, field in page.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        accepted = [choice if isinstance(choice, str) else str(choice.path[0]) for choice in choices if choice]
        names.update(dict.fromkeys([*accepted, name] if by_name or not accepted else accepted, name))
    return names


def page_title(page: type[BaseModel]) -> str:
    """Return how a page is called: its title, or else the name of its class."""
    title = page.model_config.get("title")
    return page.__name__ if title in (None, "unknown") else str(title)
