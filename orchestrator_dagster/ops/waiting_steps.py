"""Steps that wait: for a time, for another process, for another system."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.stored import Names, earlier_names
from orchestrator_dagster.errors import DefinitionError, StateKeyError
from orchestrator_dagster.ops.awaited import Awaited, Callback, ChildWorkflow, Timer
from orchestrator_dagster.ops.duration import Duration, duration
from orchestrator_dagster.ops.shapes import Group
from orchestrator_dagster.ops.step import Chainable, Step, StepKind, begin, key_of_title, steps_of
from orchestrator_dagster.ops.transaction import StepTransaction

_CREATE, _AWAIT = "create_endpoint", "await_callback"


def wait_for(duration: Duration | str | Callable[..., Any], name: str | None = None) -> Step:
    """Return a step that waits for some time. The process holds nothing meanwhile.

    Args:
        duration: a `timedelta` or seconds; or the state's key of one; or a function that returns one, with parameters
            like those of a step.
        name: the title; where it is given, the key is made of it.

    Example:
        >>> from datetime import timedelta
        >>> wait_for(timedelta(hours=2))
        <Step wait_for: Wait for 2:00:00>
    """
    title = f"Wait for {_said(duration)}"
    return _waiting(StepKind.TIMER, name, title, "wait_for", _source(duration), Timer(relative=True))


def wait_until(moment: datetime | str | Callable[..., Any], name: str | None = None) -> Step:
    """Return a step that waits until a moment has come. The process holds nothing meanwhile.

    Args:
        moment: an aware `datetime`; or the state's key of one; or a function that returns one, with parameters like
            those of a step.
        name: the title; where it is given, the key is made of it.

    Raises:
        DefinitionError: a `datetime` without its time zone.

    Example:
        >>> wait_until("maintenance_starts_at")
        <Step wait_until: Wait until maintenance_starts_at>
    """
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise DefinitionError(f"wait_until needs to know the time zone of {moment}")
    title = f"Wait until {_said(moment)}"
    return _waiting(StepKind.TIMER, name, title, "wait_until", _source(moment), Timer(relative=False))


def run_workflow(
    name: str,
    input: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None,  # noqa: A002 - what it is called everywhere
    result_key: str | None = None,
) -> Step:
    """Return a step that starts a process of another workflow, and waits until that has ended.

    Args:
        name: the name of the workflow.
        input: what its form asks for, flat or page by page; or a function that returns that, with parameters like those
            of a step.
        result_key: where its state is put in that of this process, if anywhere.

    Example:
        >>> run_workflow("create_port", lambda node_id: {"node_subscription_id": node_id})
        <Step run_create_port: Run create_port>
    """
    given = input if callable(input) else _constant(dict(input or {}))
    child = ChildWorkflow(name, result_key)
    return _waiting(StepKind.PROCESS, None, f"Run {name}", f"run_{key_of_title(name)}", given, child)


def callback_step(
    name: str,
    action_step: Chainable,
    validate_step: Step | None = None,
    result_key: str | None = None,
    callback_route_key: str = "callback_route",
    timeout: Duration | None = None,
    *,
    renamed_from: Names = (),
) -> Group:
    """Return steps that ask another system for something, and wait until that calls back.

    A path that nobody can guess is made first and put in the state. The action hands it on; whoever has it posts JSON
    there, which is put in the state. Where that doesn't come in time or is not valid, a retry does all of the steps
    again, with another path.

    Args:
        name: the title.
        action_step: asks the other system.
        validate_step: fails where what came is not right.
        result_key: where the state gets what came. Default: `callback_result`.
        callback_route_key: where the state has the path.
        timeout: how long the other system may take, as a `timedelta` or in seconds. Default: as long as it takes.
        renamed_from: the title that it had before, or several.

    Example:
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Order the cable")
        ... def order(callback_route: str) -> dict: return {}
        >>> print(callback_step("Cable", order).steps)
        StepList [Cable - Create endpoint, Order the cable, Cable - Await callback]
    """
    waiting = Callback(
        result_key or "callback_result",
        None if timeout is None else duration(timeout, of=f"The timeout of {name}"),
    )
    action, validation = steps_of(action_step), steps_of(validate_step) if validate_step else begin
    for element in (*action, *validation):
        if element.key in (_CREATE, _AWAIT):
            raise DefinitionError(f"{name}: a step of a callback_step cannot be called {element.key}")
    create = Step(f"{name} - Create endpoint", _endpoint(callback_route_key), key=_CREATE)
    awaiting = Step(f"{name} - Await callback", _nothing, StepKind.CALLBACK, key=_AWAIT, waiting=waiting)
    again = (begin >> awaiting >> validation).map(lambda step: replace(step, restarts_group=True))
    renamed = earlier_names(f"Callback step {name}", renamed_from)
    return Group(name, begin >> create >> action >> again, renamed_from=renamed)


def _waiting(
    kind: StepKind, name: str | None, title: str, key: str, function: Callable[..., Any], waiting: Awaited
) -> Step:
    return Step(name or title, function, kind, key=key_of_title(name) if name else key, waiting=waiting)


def _said(given: object) -> str:
    return getattr(given, "__name__", str(given)).replace("<lambda>", "what the state says")


def _source(given: Any) -> Callable[..., Any]:
    """Return a step function that returns a value, reads it from the state, or finds it out."""
    if callable(given):
        found: Callable[..., Any] = given
        return found
    return _from_state(given) if isinstance(given, str) else _constant(given)


def _constant(value: Any) -> Callable[[], Any]:
    def constant() -> Any:
        return value

    return constant


def _from_state(key: str) -> Callable[[State], Any]:
    def from_state(state: State) -> Any:
        if key not in state:
            raise StateKeyError(key, "a step that waits for it")
        return state[key]

    return from_state


def _nothing() -> State:
    return {}


def _endpoint(route_key: str) -> Callable[..., State]:
    def create_endpoint(process_id: UUID, transaction: StepTransaction) -> State:
        token = token_urlsafe()
        transaction.open_callback(transaction.step.replace(_CREATE, _AWAIT), token)
        return {route_key: f"/api/processes/{process_id}/callback/{token}"}

    return create_endpoint
