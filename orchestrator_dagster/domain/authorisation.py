"""Whether somebody may do something to a process: what workflows and steps say about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Literal

from orchestrator_dagster.domain.awaitable import result_of
from orchestrator_dagster.errors import NotAuthorizedError

# `domain` knows neither: these are the types that a callback of a workflow's author sees
if TYPE_CHECKING:
    from orchestrator_dagster.jobs.workflow import Workflow
    from orchestrator_dagster.ops.step import Step

Action = Literal["start_workflow", "resume_workflow", "retry_workflow"]


@dataclass(frozen=True)
class AuthContext:
    """Who is about to do what: the argument of an authorisation callback.

    Attributes:
        user: the name of who asks for it.
        action: what is asked for.
        workflow: the workflow of the process.
        step: the step that waits or failed; `None` for a start.
    """

    user: str
    action: Action
    workflow: "Workflow"
    step: "Step | None" = None


Authorizer = Callable[[AuthContext], bool | Awaitable[bool]]
"""Says whether somebody may do something; a plain function or an async one."""


def authorize(context: AuthContext) -> None:
    """Make sure that the workflow and its step allow it.

    Args:
        context: who is about to do what.

    Raises:
        NotAuthorizedError: they don't.
    """
    if not is_allowed(authorizer_of(context), context):
        raise NotAuthorizedError(user=context.user, action=context.action, workflow=context.workflow.name)


def authorizer_of(context: AuthContext) -> Authorizer | None:
    """Return the callback that decides: the step's own comes before the workflow's.

    Who may retry is who may resume, and that is who may start, unless it is said otherwise.

    Args:
        context: who is about to do what.
    """
    workflow, step = context.workflow, context.step
    of_step = (step.retry_auth_callback, step.resume_auth_callback) if step else ()
    candidates: tuple[Authorizer | None, ...]
    if context.action == "retry_workflow":
        candidates = (*of_step, workflow.retry_auth_callback, workflow.authorize_callback)
    elif context.action == "resume_workflow":
        candidates = (*of_step[1:], workflow.authorize_callback)
    else:
        candidates = (workflow.authorize_callback,)
    return next((callback for callback in candidates if callback is not None), None)


def is_allowed(callback: Authorizer | None, context: AuthContext) -> bool:
    """Return what a callback says; without one everybody may.

    An async callback is waited for, also where an event loop runs already, as in a notebook.

    Args:
        callback: a plain function or an async one.
        context: its argument.
    """
    answer = True if callback is None else callback(context)
    return bool(result_of(answer) if isawaitable(answer) else answer)
