"""The decorators that make a step of a function."""

from collections.abc import Callable

from orchestrator_dagster.domain.authorisation import Authorizer
from orchestrator_dagster.domain.process import Assignee
from orchestrator_dagster.domain.state import FormGenerator, InputForm
from orchestrator_dagster.domain.stored import Names, earlier_names
from orchestrator_dagster.domain.waiting import RetrySchedule
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.ops.duration import Duration, duration
from orchestrator_dagster.ops.step import Step, StepFunction, StepKind

Undo = StepFunction | Step
"""A function, or a plain step."""


def step(
    name: str,
    retry_auth_callback: Authorizer | None = None,
    *,
    timeout: Duration | None = None,
    compensate: Undo | None = None,
    renamed_from: Names = (),
) -> Callable[[StepFunction], Step]:
    """Make a function a step.

    The function's parameters are filled from the state by name; what it returns is merged into the state, and
    subscriptions in it are saved. The step's changes, its row in the step log and the new state are one transaction.

    Args:
        name: the step's title.
        retry_auth_callback: says who may retry it. Default: who may retry the workflow.
        timeout: how long it may take, as a `timedelta` or in seconds; then it fails.
        compensate: what undoes it when the process is aborted: a function like that of a step, or a step.
        renamed_from: the name that the function had before, or several: processes that wait go on with it.

    Example:
        >>> def release_address(address: str) -> dict: return {"address": None}
        >>> @step("Reserve address", compensate=release_address)
        ... def reserve_address(site: str) -> dict:
        ...     return {"address": f"10.0.0.1 at {site}"}
        >>> reserve_address, reserve_address.compensate
        (<Step reserve_address: Reserve address>, <Step release_address: Undo Reserve address>)
    """
    return lambda function: Step(
        name,
        function,
        retry_auth_callback=retry_auth_callback,
        timeout=None if timeout is None else duration(timeout, of=f"The timeout of step {name}"),
        compensate=_undo_step(name, compensate),
        renamed_from=earlier_names(f"Step {name}", renamed_from),
    )


def retrystep(
    name: str,
    retry_auth_callback: Authorizer | None = None,
    *,
    retry_every: Duration | None = None,
    max_attempts: int | None = None,
    backoff: float | None = None,
    timeout: Duration | None = None,
    compensate: Undo | None = None,
    renamed_from: Names = (),
) -> Callable[[StepFunction], Step]:
    """Make a function a step that depends on something outside: after a failure it is tried again by itself.

    Args:
        name: the step's title.
        retry_auth_callback: says who may retry it earlier. Default: who may retry the workflow.
        retry_every: how long after a failure it is tried again, as a `timedelta` or in seconds. Default: an hour.
        max_attempts: how often it is tried, the first time included; then it fails. Default: for ever.
        backoff: how many times as long each wait is as the one before it. Default: 1.
        timeout: how long an attempt may take, as a `timedelta` or in seconds.
        compensate: what undoes it when the process is aborted: a function like that of a step, or a step.
        renamed_from: the name that the function had before, or several: processes that wait go on with it.
    """
    given = {
        "retry_every": None if retry_every is None else duration(retry_every, of=f"retry_every of step {name}"),
        "max_attempts": max_attempts,
        "backoff": backoff,
    }
    schedule = RetrySchedule(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
    return lambda function: Step(
        name,
        function,
        StepKind.RETRYSTEP,
        retry=schedule,
        retry_auth_callback=retry_auth_callback,
        timeout=None if timeout is None else duration(timeout, of=f"The timeout of step {name}"),
        compensate=_undo_step(name, compensate),
        renamed_from=earlier_names(f"Step {name}", renamed_from),
    )


def inputstep(
    name: str,
    assignee: Assignee,
    resume_auth_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    *,
    renamed_from: Names = (),
) -> Callable[[Callable[..., FormGenerator] | InputForm], Step]:
    """Make a form a step: the process asks for input there.

    Args:
        name: the step's title.
        assignee: who is asked.
        resume_auth_callback: says who may answer. Default: who may start the workflow.
        retry_auth_callback: says who may retry it. Default: who may answer.
        renamed_from: the name that the function had before, or several: processes that wait go on with it.
    """
    return lambda form: Step(
        name,
        form,
        StepKind.INPUTSTEP,
        assignee=assignee,
        resume_auth_callback=resume_auth_callback,
        retry_auth_callback=retry_auth_callback,
        renamed_from=earlier_names(f"Step {name}", renamed_from),
    )


def _undo_step(name: str, undo: Undo | None) -> Step | None:
    if undo is None:
        return None
    if not isinstance(undo, Step):
        return Step(f"Undo {name}", undo)
    if undo.kind not in (StepKind.STEP, StepKind.RETRYSTEP):
        raise DefinitionError(f"Step {name}: compensate takes a function or a plain step; {undo.name} waits")
    return undo
