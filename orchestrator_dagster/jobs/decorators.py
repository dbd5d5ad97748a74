"""The decorators that make a workflow of a function that returns its steps."""

from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

from pydantic import BaseModel

from orchestrator_dagster.domain import SubscriptionLifecycle
from orchestrator_dagster.domain.authorisation import Authorizer
from orchestrator_dagster.domain.run_predicate import RunPredicate
from orchestrator_dagster.domain.state import InputForm
from orchestrator_dagster.domain.stored import Names, earlier_names
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.builtin_steps import done, init, resync, set_status, unsync, unsync_unchecked
from orchestrator_dagster.ops.planning import require_end
from orchestrator_dagster.ops.step import Chainable, Step, StepList, begin, steps_of

StepsFunction = Callable[[], Chainable]
Decorator = Callable[[StepsFunction], Workflow]


class Ending(TypedDict, total=False):
    """What every decorator takes besides, by name.

    Attributes:
        renamed_from: the name that the workflow had before, or several: its processes stay.
        status_on_abort: the lifecycle status that the subscriptions of an aborted process get. Default: the one that
            they have then.
        insync_on_abort: whether they are in sync after that. Default: whether they were.
        undo_on_failure: whether a step that fails aborts the process, so that what was done is undone. Default: no, the
            process waits for somebody to retry it.
    """

    renamed_from: Names
    status_on_abort: SubscriptionLifecycle | None
    insync_on_abort: bool | None
    undo_on_failure: bool


class _Rules(Ending, total=False):
    """What the decorators hand on to `workflow`."""

    launchpad: type[BaseModel] | None
    is_task: bool
    authorize_callback: Authorizer | None
    retry_auth_callback: Authorizer | None
    run_predicate: RunPredicate | None


def workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    target: Target = Target.SYSTEM,
    authorize_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    run_predicate: RunPredicate | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    is_task: bool = False,
    **ending: Unpack[Ending],
) -> Decorator:
    """Make a workflow of exactly the steps that the function returns.

    Args:
        description: one line for people. Default: the function's name in words.
        initial_input_form: a page, or a function that yields pages; its parameters are filled like those of a step.
        target: what the workflow does to a subscription.
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        run_predicate: says whether another process may start now.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        is_task: whether it is a task.
        **ending: see `Ending`.

    Example:
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Say hello")
        ... def hello() -> dict: return {"said": "hello"}
        >>> @workflow("Greet")
        ... def greet(): return init >> hello >> done
        >>> list(greet.plan)
        ['init', 'hello', 'done']
    """

    def decorate(function: StepsFunction) -> Workflow:
        name: str = getattr(function, "__name__", "")
        page = initial_input_form if launchpad is None and isinstance(initial_input_form, type) else launchpad
        return Workflow(
            name=name,
            description=description or name.replace("_", " ").capitalize(),
            target=target,
            steps=steps_of(function()),
            form=initial_input_form,
            launchpad=page,
            is_task=is_task,
            renamed_from=earlier_names(f"Workflow {name}", ending.get("renamed_from", ())),
            authorize_callback=authorize_callback,
            retry_auth_callback=retry_auth_callback,
            run_predicate=run_predicate,
            status_on_abort=ending.get("status_on_abort"),
            insync_on_abort=ending.get("insync_on_abort"),
            undo_on_failure=ending.get("undo_on_failure", False),
        )

    return decorate


def _lifecycle_workflow(
    target: Target,
    description: str | None,
    form: InputForm | None = None,
    *,
    before: Sequence[Step] = (),
    additional: Chainable | None = None,
    after: Sequence[Step] = (),
    **rules: Unpack[_Rules],
) -> Decorator:
    """Put a function's steps between those that every workflow with a target has.

    The steps of the end come after these too: they run while the process still holds the subscription.
    """

    def decorate(function: StepsFunction) -> Workflow:
        own, more = steps_of(function()), steps_of(additional or begin)
        require_end(own)
        require_end(more)
        chain = [element for element in (*own, *more) if not element.finally_]
        at_the_end = [element for element in (*own, *more) if element.finally_]
        complete = StepList([init, *before]) >> StepList(chain) >> StepList([*after, *at_the_end, done])
        all_steps: StepsFunction = lambda: complete  # noqa: E731
        all_steps.__name__ = getattr(function, "__name__", "")
        return workflow(description, form, target, **rules)(all_steps)

    return decorate


def create_workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    status: SubscriptionLifecycle = SubscriptionLifecycle.ACTIVE,
    additional_steps: Chainable | None = None,
    authorize_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    run_predicate: RunPredicate | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    **ending: Unpack[Ending],
) -> Decorator:
    """Make a workflow that creates a subscription.

    The steps must return the new subscription under the key `subscription`. After them it is moved to `status` and put
    in sync.

    Args:
        description: one line for people.
        initial_input_form: what it asks for besides the product.
        status: the status that the subscription ends in.
        additional_steps: steps after those of the function.
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        run_predicate: says whether another process may start now.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        **ending: see `Ending`.
    """
    return _lifecycle_workflow(
        Target.CREATE,
        description,
        initial_input_form,
        additional=additional_steps,
        after=[set_status(status), resync],
        authorize_callback=authorize_callback,
        retry_auth_callback=retry_auth_callback,
        run_predicate=run_predicate,
        launchpad=launchpad,
        **ending,
    )


def modify_workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    additional_steps: Chainable | None = None,
    authorize_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    run_predicate: RunPredicate | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    **ending: Unpack[Ending],
) -> Decorator:
    """Make a workflow that changes a subscription. It is out of sync while the steps run.

    Args:
        description: one line for people.
        initial_input_form: what it asks for besides the subscription.
        additional_steps: steps after those of the function.
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        run_predicate: says whether another process may start now.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        **ending: see `Ending`.
    """
    return _lifecycle_workflow(
        Target.MODIFY,
        description,
        initial_input_form,
        before=[unsync],
        additional=additional_steps,
        after=[resync],
        authorize_callback=authorize_callback,
        retry_auth_callback=retry_auth_callback,
        run_predicate=run_predicate,
        launchpad=launchpad,
        **ending,
    )


def terminate_workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    additional_steps: Chainable | None = None,
    authorize_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    run_predicate: RunPredicate | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    **ending: Unpack[Ending],
) -> Decorator:
    """Make a workflow that ends a subscription. It is refused while other subscriptions use it.

    Args:
        description: one line for people.
        initial_input_form: what it asks for besides the subscription.
        additional_steps: steps after those of the function.
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        run_predicate: says whether another process may start now.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        **ending: see `Ending`.
    """
    return _lifecycle_workflow(
        Target.TERMINATE,
        description,
        initial_input_form,
        before=[unsync],
        additional=additional_steps,
        after=[set_status(SubscriptionLifecycle.TERMINATED), resync],
        authorize_callback=authorize_callback,
        retry_auth_callback=retry_auth_callback,
        run_predicate=run_predicate,
        launchpad=launchpad,
        **ending,
    )


def validate_workflow(
    description: str | None = None,
    run_predicate: RunPredicate | None = None,
    authorize_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    **ending: Unpack[Ending],
) -> Decorator:
    """Make a workflow that compares a subscription with the outside.

    A step that finds a difference fails; the subscription then stays out of sync, until a validation succeeds.

    Args:
        description: one line for people.
        run_predicate: says whether another process may start now.
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        **ending: see `Ending`.
    """
    return _lifecycle_workflow(
        Target.VALIDATE,
        description,
        before=[unsync_unchecked],
        after=[resync],
        is_task=True,
        authorize_callback=authorize_callback,
        retry_auth_callback=retry_auth_callback,
        run_predicate=run_predicate,
        **ending,
    )


def reconcile_workflow(
    description: str | None = None,
    additional_steps: Chainable | None = None,
    authorize_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    run_predicate: RunPredicate | None = None,
    **ending: Unpack[Ending],
) -> Decorator:
    """Make a workflow that brings the outside back to what the subscription says. It may start out of sync.

    Args:
        description: one line for people.
        additional_steps: steps after those of the function.
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        run_predicate: says whether another process may start now.
        **ending: see `Ending`.
    """
    return _lifecycle_workflow(
        Target.RECONCILE,
        description,
        before=[unsync_unchecked],
        additional=additional_steps,
        after=[resync],
        authorize_callback=authorize_callback,
        retry_auth_callback=retry_auth_callback,
        run_predicate=run_predicate,
        **ending,
    )


def task(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    additional_steps: Chainable | None = None,
    authorize_callback: Authorizer | None = None,
    retry_auth_callback: Authorizer | None = None,
    run_predicate: RunPredicate | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    **ending: Unpack[Ending],
) -> Decorator:
    """Make a task: a workflow that is not about one subscription.

    Args:
        description: one line for people.
        initial_input_form: what it asks for.
        additional_steps: steps after those of the function.
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        run_predicate: says whether another process may start now.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        **ending: see `Ending`.
    """
    return _lifecycle_workflow(
        Target.SYSTEM,
        description,
        initial_input_form,
        additional=additional_steps,
        is_task=True,
        authorize_callback=authorize_callback,
        retry_auth_callback=retry_auth_callback,
        run_predicate=run_predicate,
        launchpad=launchpad,
        **ending,
    )
