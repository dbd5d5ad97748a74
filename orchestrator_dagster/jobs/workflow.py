"""A workflow: what can happen to the subscriptions of a product."""

from dataclasses import dataclass, field
from functools import cached_property

import dagster as dg
from pydantic import BaseModel

from orchestrator_dagster.domain import SubscriptionLifecycle
from orchestrator_dagster.domain.authorisation import Authorizer
from orchestrator_dagster.domain.catalogue import WorkflowDeclaration
from orchestrator_dagster.domain.run_predicate import RunPredicate
from orchestrator_dagster.domain.state import InputForm
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.ops.plan import Plan
from orchestrator_dagster.ops.planning import plan
from orchestrator_dagster.ops.step import StepList


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
        authorize_callback: says who may start it, and who may answer it where a step doesn't say that itself.
        retry_auth_callback: says who may retry it. Default: who may start it.
        run_predicate: says whether another process may start now.
        status_on_abort: the status that its subscriptions get when a process is aborted. Default: the one that they
            have then.
        insync_on_abort: whether they are in sync after that. Default: whether they were.
        undo_on_failure: whether a step that fails aborts the process.
        plan: the steps by their key in the step log, in order.
    """

    name: str
    description: str
    target: Target
    steps: StepList
    form: InputForm | None = None
    launchpad: type[BaseModel] | None = None
    is_task: bool = False
    renamed_from: tuple[str, ...] = ()
    authorize_callback: Authorizer | None = None
    retry_auth_callback: Authorizer | None = None
    run_predicate: RunPredicate | None = None
    status_on_abort: SubscriptionLifecycle | None = None
    insync_on_abort: bool | None = None
    undo_on_failure: bool = False
    plan: Plan = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.steps:
            raise DefinitionError(f"Workflow {self.name} has no steps")
        try:
            object.__setattr__(self, "plan", plan(self.steps))
        except DefinitionError as error:
            raise DefinitionError(f"Workflow {self.name}: {error}") from error

    @cached_property
    def job(self) -> dg.JobDefinition:
        """The workflow as a Dagster job."""
        from orchestrator_dagster.jobs.job import job_for

        return job_for(self)

    @property
    def declaration(self) -> WorkflowDeclaration:
        """The workflow as the catalogue knows it."""
        return WorkflowDeclaration(self.name, self.target, self.description, self.is_task, self.renamed_from)
