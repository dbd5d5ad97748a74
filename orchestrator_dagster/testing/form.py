"""Forms by themselves, without a process."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import InputError
from orchestrator_dagster.forms.walk import PAGES, walk


def run_form_generator(
    form: type[BaseModel] | Generator[type[BaseModel], Any, State], answers: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[dict[str, Any]], State]:
    """Answer a form page by page, as it is done at the start of a workflow.

    Args:
        form: a page, or what a form function returned.
        answers: the fields of each page.

    Returns:
        The JSON schemas of the pages, and what the form returned.

    Raises:
        InputError: the answers are not valid; it has the errors of all pages.

    Example:
        >>> class SitePage(BaseModel):
        ...     site: str
        >>> pages, state = run_form_generator(SitePage, [{"site": "Amsterdam"}])
        >>> [list(page["properties"]) for page in pages], state
        ([['site']], {'site': 'Amsterdam'})
    """
    made = form if isinstance(form, type) else lambda: form
    outcome = walk(made, {PAGES: list(answers)})
    if not outcome.valid:
        raise InputError(workflow="the form", errors=outcome.errors, stopped=outcome.stopped)
    return [page.model.model_json_schema() for page in outcome.pages], outcome.result
