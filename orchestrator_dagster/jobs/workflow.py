"""A workflow, and the decorators that make one of a function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import dagster as dg
from pydantic import BaseModel

from orchestrator_dagster.domain import SubscriptionLifecycle
from orchestrator_dagster.domain.catalogue import WorkflowDeclaration
from orchestrator_dagster.domain.state import InputForm
from orchestrator_dagster.domain.stored import Names, earlier_names
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.ops.builtin_steps import done, init, resync, set_status, unsync, unsync_unchecked
from orchestrator_dagster.ops.plan import PlannedStep, plan
from orchestrator_dagster.ops.step import Step, StepList, begin

StepsFunction = Callable[[], Step | StepList]
_Decorator = Callable[[StepsFunction], "Workflow"]


@dataclass(frozen=True, eq=False)
class Workflow:
    """What can happen to the subscriptions of a product, step by step.

    Made by a decorator such as `create_workflow`.

    Attributes:
        name: the function's name; also the job's.
        description: one line for people.
        target: what it does to a subscription.
        steps: all of its steps, those of the decorator included.
        form: what it asks for when it is started, after the product or the subscription.
        launchpad: a page that Dagit's Launchpad shows for it, where `form` is a function.
        is_task: whether it is a task: shown apart, and startable while the subscription is out of sync.
        renamed_from: the names that it had before: its processes stay.
    """

    name: str
    description: str
    target: Target
    steps: StepList
    form: InputForm | None = None
    launchpad: type[BaseModel] | None = None
    is_task: bool = False
    renamed_from: tuple[str, ...] = ()

    @cached_property
    def plan(self) -> dict[str, PlannedStep]:
        """The steps by their key in the step log, in order."""
        return {planned.key: planned for planned in plan(self.steps)}

    @cached_property
    def job(self) -> dg.JobDefinition:
        """The workflow as a Dagster job."""
        from orchestrator_dagster.jobs.job import job_for

        return job_for(self)

    @property
    def declaration(self) -> WorkflowDeclaration:
        """The workflow as the catalogue knows it."""
        return WorkflowDeclaration(self.name, self.target, self.description, self.is_task, self.renamed_from)


def workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    target: Target = Target.SYSTEM,
    *,
    launchpad: type[BaseModel] | None = None,
    is_task: bool = False,
    renamed_from: Names = (),
) -> _Decorator:
    """Make a workflow of exactly the steps that the function returns.

    Args:
        description: one line for people. Default: the function's name in words.
        initial_input_form: a page, or a function that yields pages; its parameters are filled like those of a step.
        target: what the workflow does to a subscription.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        is_task: whether it is a task.
        renamed_from: the name that it had before, or several.

    Example:
        >>> from orchestrator_dagster.ops.step import step
        >>> @step("Say hello")
        ... def hello() -> dict: return {"said": "hello"}
        >>> @workflow("Greet")
        ... def greet(): return init >> hello >> done
        >>> list(greet.plan)
        ['init', 'hello', 'done']
    """

    def decorate(function: StepsFunction) -> Workflow:
        name: str = getattr(function, "__name__", "")
        steps = begin >> function()
        if not steps:
            raise DefinitionError(f"Workflow {name} has no steps")
        page = initial_input_form if launchpad is None and isinstance(initial_input_form, type) else launchpad
        return Workflow(
            name=name,
            description=description or name.replace("_", " ").capitalize(),
            target=target,
            steps=steps,
            form=initial_input_form,
            launchpad=page,
            is_task=is_task,
            renamed_from=earlier_names(f"Workflow {name}", renamed_from),
        )

    return decorate


def _lifecycle_workflow(
    target: Target,
    description: str | None,
    form: InputForm | None,
    launchpad: type[BaseModel] | None,
    *,
    before: Sequence[Step] = (),
    additional: Step | StepList | None = None,
    after: Sequence[Step] = (),
    is_task: bool = False,
    renamed_from: Names = (),
) -> _Decorator:
    """Put a function's steps between those that every workflow with a target has."""

    def decorate(function: StepsFunction) -> Workflow:
        steps = StepList([init, *before]) >> (begin >> function()) >> (begin >> (additional or begin))
        complete = steps >> StepList([*after, done])
        named = workflow(description, form, target, launchpad=launchpad, is_task=is_task, renamed_from=renamed_from)
        all_steps: StepsFunction = lambda: complete  # noqa: E731
        all_steps.__name__ = function.__name__
        return named(all_steps)

    return decorate


def create_workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    status: SubscriptionLifecycle = SubscriptionLifecycle.ACTIVE,
    additional_steps: Step | StepList | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    renamed_from: Names = (),
) -> _Decorator:
    """Make a workflow that creates a subscription.

    The steps must return the new subscription under the key `subscription`. After them it is moved to `status` and put
    in sync.

    Args:
        description: one line for people.
        initial_input_form: what it asks for besides the product.
        status: the status that the subscription ends in.
        additional_steps: steps after those of the function.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        renamed_from: the name that it had before, or several.
    """
    return _lifecycle_workflow(
        Target.CREATE,
        description,
        initial_input_form,
        launchpad,
        additional=additional_steps,
        after=[set_status(status), resync],
        renamed_from=renamed_from,
    )


def modify_workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    additional_steps: Step | StepList | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    renamed_from: Names = (),
) -> _Decorator:
    """Make a workflow that changes a subscription. It is out of sync while the steps run.

    Args:
        description: one line for people.
        initial_input_form: what it asks for besides the subscription.
        additional_steps: steps after those of the function.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        renamed_from: the name that it had before, or several.
    """
    return _lifecycle_workflow(
        Target.MODIFY,
        description,
        initial_input_form,
        launchpad,
        before=[unsync],
        additional=additional_steps,
        after=[resync],
        renamed_from=renamed_from,
    )


def terminate_workflow(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    additional_steps: Step | StepList | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    renamed_from: Names = (),
) -> _Decorator:
    """Make a workflow that ends a subscription. It is refused while other subscriptions use it.

    Args:
        description: one line for people.
        initial_input_form: what it asks for besides the subscription.
        additional_steps: steps after those of the function.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        renamed_from: the name that it had before, or several.
    """
    return _lifecycle_workflow(
        Target.TERMINATE,
        description,
        initial_input_form,
        launchpad,
        before=[unsync],
        additional=additional_steps,
        after=[set_status(SubscriptionLifecycle.TERMINATED), resync],
        renamed_from=renamed_from,
    )


def validate_workflow(description: str | None = None, *, renamed_from: Names = ()) -> _Decorator:
    """Make a workflow that compares a subscription with the outside.

    A step that finds a difference fails; the subscription then stays out of sync, until a validation succeeds.

    Args:
        description: one line for people.
        renamed_from: the name that it had before, or several.
    """
    return _lifecycle_workflow(
        Target.VALIDATE,
        description,
        None,
        None,
        before=[unsync_unchecked],
        after=[resync],
        is_task=True,
        renamed_from=renamed_from,
    )


def reconcile_workflow(
    description: str | None = None,
    additional_steps: Step | StepList | None = None,
    *,
    renamed_from: Names = (),
) -> _Decorator:
    """Make a workflow that brings the outside back to what the subscription says. It may start out of sync.

    Args:
        description: one line for people.
        additional_steps: steps after those of the function.
        renamed_from: the name that it had before, or several.
    """
    return _lifecycle_workflow(
        Target.RECONCILE,
        description,
        None,
        None,
        before=[unsync_unchecked],
        additional=additional_steps,
        after=[resync],
        renamed_from=renamed_from,
    )


def task(
    description: str | None = None,
    initial_input_form: InputForm | None = None,
    additional_steps: Step | StepList | None = None,
    *,
    launchpad: type[BaseModel] | None = None,
    renamed_from: Names = (),
) -> _Decorator:
    """Make a task: a workflow that is not about one subscription.

    Args:
        description: one line for people.
        initial_input_form: what it asks for.
        additional_steps: steps after those of the function.
        launchpad: a page that Dagit's Launchpad shows, where the form is a function.
        renamed_from: the name that it had before, or several.
    """
    return _lifecycle_workflow(
        Target.SYSTEM,
        description,
        initial_input_form,
        launchpad,
        additional=additional_steps,
        is_task=True,
        renamed_from=renamed_from,
    )
