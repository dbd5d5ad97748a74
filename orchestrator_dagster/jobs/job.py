"""From a workflow to Dagster's job."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.forms.launchpad import launchpad_config
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.catalogue import DatabaseCatalogue
from orchestrator_dagster.jobs.run import Jobs, WorkflowRun
from orchestrator_dagster.jobs.start_form import first_page
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.graph import graph_of
from orchestrator_dagster.resources.database import DATABASE


def job_for(
    workflow: Workflow,
    *,
    products: Mapping[str, ProductLifecycle] | None = None,
    resources: Mapping[str, Any] | None = None,
    log_level: str = "DEBUG",
) -> dg.JobDefinition:
    """Return the job of a workflow: its steps as ops, its form as run config.

    Args:
        workflow: the workflow.
        products: the products that it is valid for with their status, for the Launchpad to show.
        resources: all that the steps need. Without them whoever loads the job gives it the resource `orchestrator`
            and those of the steps.
        log_level: from which level on the console shows what Dagster logs.
    """
    pages = (first_page(workflow.target, products), workflow.launchpad)
    graph = graph_of(workflow.plan, name=workflow.name, description=workflow.description, title_tag=tags.TITLE)
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


def workflow_run_resource(jobs: Jobs, catalogue: DatabaseCatalogue) -> dg.ResourceDefinition:
    """Return the resource that runs the steps of a job: a `WorkflowRun` for each Dagster run.

    Args:
        jobs: the workflows by name, which is also their job's, and those jobs.
        catalogue: makes sure that the database goes together with the code.
    """

    def workflow_run(context: dg.InitResourceContext) -> Iterator[WorkflowRun]:
        run = context.run
        if run is None or context.instance is None or context.log is None:
            raise DefinitionError("Steps run in a job only")
        database = getattr(context.resources, DATABASE)
        workflow_run = WorkflowRun(run, context.instance, jobs, database, catalogue, context.log)
        try:
            yield workflow_run
        finally:
            workflow_run.close()

    return dg.ResourceDefinition(workflow_run, required_resource_keys={DATABASE})
