"""From a workflow to Dagster's job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import dagster as dg
from pydantic_core import to_jsonable_python

from orchestrator_dagster.db.processes import get_process
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.errors import DefinitionError, InputError, OrchestratorError, ProcessStateError, RefusalError
from orchestrator_dagster.forms.launchpad import launchpad_config
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.attach import attach
from orchestrator_dagster.jobs.catalogue import fill_if_empty
from orchestrator_dagster.jobs.start_form import first_page
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.op import AFTER, op_for
from orchestrator_dagster.ops.process import ProcessRun, StepFailedError, StepOutcome, text_of
from orchestrator_dagster.resources import Database

DATABASE = "orchestrator_database"


def job_for(
    workflow: Workflow,
    *,
    products: Sequence[str] = (),
    resources: Mapping[str, Any] | None = None,
    log_level: str = "DEBUG",
) -> dg.JobDefinition:
    """Return the job of a workflow: its steps as ops in a row, its form as run config.

    Args:
        workflow: the workflow.
        products: the products that it is valid for, for the Launchpad to show.
        resources: all that the steps need. Without them whoever loads the job gives it the resource `orchestrator`
            and those of the steps.
        log_level: from which level on the console shows what Dagster logs.
    """
    keys = list(workflow.plan)
    pages = (first_page(workflow.target, products), workflow.launchpad)
    graph = dg.GraphDefinition(
        name=workflow.name,
        description=workflow.description,
        node_defs=list({id(op): op for op in (op_for(planned.step) for planned in workflow.plan.values())}.values()),
        dependencies={
            dg.NodeInvocation(op_for(planned.step).name, alias=key, tags={tags.TITLE: planned.step.name}): (
                {AFTER: dg.DependencyDefinition(keys[index - 1])} if index else {}
            )
            for index, (key, planned) in enumerate(workflow.plan.items())
        },
    )
    return graph.to_job(
        description=workflow.description,
        resource_defs=resources,
        config=launchpad_config([page for page in pages if page], log_level=log_level),
        executor_def=dg.in_process_executor.configured({"retries": {"disabled": {}}}),
        tags={
            "dagster/max_retries": "0",
            tags.WORKFLOW: workflow.name,
            tags.TARGET: workflow.target.value,
        },
    )


def workflow_run_resource(
    workflows: Mapping[str, Workflow], declaration: CatalogueDeclaration
) -> dg.ResourceDefinition:
    """Return the resource that runs the steps of a job: a `WorkflowRun` for each Dagster run.

    Args:
        workflows: the workflows by name, which is also their job's.
        declaration: the catalogue, for a database that has none.
    """

    def workflow_run(context: dg.InitResourceContext) -> Iterator[WorkflowRun]:
        run = context.run
        if run is None:
            raise DefinitionError("Steps run in a job only")
        workflow_run = WorkflowRun(workflows[run.job_name], getattr(context.resources, DATABASE), declaration)
        try:
            yield workflow_run
        finally:
            status = workflow_run.close()
            if status is not None and context.instance is not None:
                with suppress(Exception):  # tags help people; that they cannot be written harms no process
                    context.instance.add_run_tags(run.run_id, {tags.STATUS: status.value})

    return dg.ResourceDefinition(workflow_run, required_resource_keys={DATABASE})


class WorkflowRun:
    """One Dagster run of a workflow's job: it finds its process at the first step, and runs the steps of that."""

    def __init__(self, workflow: Workflow, database: Database, declaration: CatalogueDeclaration) -> None:
        self._workflow = workflow
        self._database = database
        self._declaration = declaration
        self._process: ProcessRun | None = None
        self._subscription_ids: set[str] = set()

    def run_step(self, context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        """Run the step of the op, and tell Dagster about it."""
        key = str(context.op_handle)
        try:
            process = self._process or self._attach(context, key)
            outcome = process.run(key, context, context.resources.original_resource_dict)
        except StepFailedError as error:
            self._tag(context, lambda: {tags.STATUS: ProcessStatus.FAILED.value})
            cause = error.__cause__ or error
            if not isinstance(cause, Exception):
                # Dagster terminates the run, or something wants Python to exit
                raise cause from None
            raise _failure(cause) from cause
        except Exception as error:
            if self._process is None:
                inherited = context.run.tags
                self._tag(context, lambda: {tags.STATUS: tags.REFUSED, **tags.without_process(inherited)})
            if isinstance(error, (RefusalError, ProcessStateError)):
                raise RefusedRun(error) from error.__cause__
            raise
        self._tag(context, lambda: self._news(process, outcome))
        yield dg.Output(None, metadata=_metadata(outcome))

    def close(self) -> ProcessStatus | None:
        """End the run's work on its process; return where that stands, or `None` where no process was started."""
        return None if self._process is None else self._process.close()

    def _attach(self, context: dg.OpExecutionContext, key: str) -> ProcessRun:
        engine = self._database.engine
        fill_if_empty(engine, self._declaration)
        process = attach(engine, self._workflow, context.run, first_step=key, instance=context.instance)
        self._process = process
        self._tag(context, lambda: {tags.STATUS: ProcessStatus.RUNNING.value, **self._about(process)})
        return process

    def _news(self, process: ProcessRun, outcome: StepOutcome) -> dict[str, str]:
        """Return the tags that a step changed."""
        return {} if self._subscription_ids.issuperset(outcome.subscription_ids) else self._about(process)

    def _about(self, process: ProcessRun) -> dict[str, str]:
        """Return the tags that say which process it is, and whose subscriptions it works on."""
        with self._database.engine.connect() as connection:
            row = get_process(connection, process.process_id)
        self._subscription_ids = set(map(str, row.subscription_ids))
        about = {
            tags.PROCESS_ID: str(process.process_id),
            tags.WORKFLOW: self._workflow.name,
            tags.TARGET: self._workflow.target.value,
            tags.PRODUCT: row.product or str(process.state.get("product_name", "")),
            tags.SUBSCRIPTION_ID: tags.joined(row.subscription_ids),
            tags.CUSTOMER_ID: tags.joined(row.customer_ids) or str(process.state.get("customer_id", "")),
        }
        return {tag: value for tag, value in about.items() if value}

    def _tag(self, context: dg.OpExecutionContext, new: Callable[[], dict[str, str]]) -> None:
        """Add tags to the run. They help people to find it; that they cannot be written must not stop a process."""
        try:
            if added := new():
                context.instance.add_run_tags(context.run_id, added)
        except Exception as error:
            context.log.warning(f"The run's tags could not be written: {error}")


class RefusedRun(dg.Failure):
    """The run may not start, or not go on with, a process.

    Attributes:
        refusal: why.
    """

    def __init__(self, refusal: RefusalError | ProcessStateError) -> None:
        self.refusal = refusal
        metadata = {field.path: field.msg for field in refusal.errors} if isinstance(refusal, InputError) else {}
        super().__init__(description=str(refusal), metadata=metadata, allow_retries=False)


def _failure(error: BaseException) -> dg.Failure:
    """Return what Dagster shows of an error. It does not try again: that is for the process to decide."""
    metadata: dict[str, Any] = {}
    if isinstance(error, dg.Failure):
        metadata |= error.metadata
        description = error.description
    else:
        description = (
            str(error) if isinstance(error, OrchestratorError) else f"{type(error).__name__}: {text_of(error)}"
        )
    if details := getattr(error, "details", None):
        metadata["details"] = dg.MetadataValue.json(to_jsonable_python(details, fallback=str))
    return dg.Failure(description=description, metadata=metadata, allow_retries=False)


def _metadata(outcome: StepOutcome) -> dict[str, dg.MetadataValue[Any]]:
    """Return what Dagit shows of a step."""
    metadata: dict[str, dg.MetadataValue[Any]] = {"status": dg.MetadataValue.text(outcome.status.value)}
    if outcome.replayed:
        metadata["replayed"] = dg.MetadataValue.bool(True)
    if outcome.changed:
        metadata["changed"] = dg.MetadataValue.text(", ".join(outcome.changed))
    if outcome.subscription_ids:
        metadata["subscription_id"] = dg.MetadataValue.text(tags.joined(outcome.subscription_ids))
    return metadata
