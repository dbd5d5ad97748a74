"""The form of a step that asks: what it asks for, and whether an answer will do."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from orchestrator_dagster.domain.state import State
from orchestrator_dagster.forms.walk import FormWalk, pages_of, walk
from orchestrator_dagster.ops.injection import Ambient
from orchestrator_dagster.ops.step import Step
from orchestrator_dagster.ops.work import seen_by


def walk_step_form(step: Step, state: State, given: Mapping[str, Any], process_id: UUID) -> FormWalk:
    """Answer the form of a step.

    Args:
        step: the step that asks.
        state: the state of the branch that it is in.
        given: the fields of all pages side by side; or `{"pages": [{...}, {...}]}`, page by page.
        process_id: the process that it is part of.

    Raises:
        RefusalError: the form itself failed on input that was valid so far.
    """
    form = step.function
    return walk(form if isinstance(form, type) else _filled(step, state, process_id), given)


def first_page_of(step: Step, state: State, process_id: UUID) -> type[BaseModel] | None:
    """Return the first page that a step asks for; `None` where it asks for nothing.

    Args:
        step: the step that asks.
        state: the state of the branch that it is in.
        process_id: the process that it is part of.
    """
    form = step.function
    pages = pages_of(form if isinstance(form, type) else _filled(step, state, process_id)())
    page = next(pages, None)
    pages.close()
    return page


def _filled(step: Step, state: State, process_id: UUID) -> Callable[[], Any]:
    arguments = step.signature.arguments(seen_by(step, state), Ambient(process_id=process_id))
    return partial(step.function, **arguments)
