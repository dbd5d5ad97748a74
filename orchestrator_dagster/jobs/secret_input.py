"""Keeps secrets in clear out of run config: sealed at the door, and removed from runs that were given one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from dagster import DagsterInstance, DagsterRun
from dagster._serdes import deserialize_value, serialize_value
from dagster_shared.record import copy
from sqlalchemy import Engine, select, update

from orchestrator_dagster.db.processes import given_input
from orchestrator_dagster.forms.secret_fields import Path, remove_at
from orchestrator_dagster.forms.secret_mentions import may_ask_for_secrets
from orchestrator_dagster.forms.walk import FormWalk
from orchestrator_dagster.jobs.start import check_start_input, try_start_form
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.plan import PlannedStep
from orchestrator_dagster.ops.step import StepKind


def sealed_input(engine: Engine, workflow: Workflow, given: dict[str, Any], user: str) -> dict[str, Any]:
    """Return the input of a workflow as run config may have it.

    Args:
        engine: the database.
        workflow: the workflow.
        given: the input, as JSON.
        user: on whose behalf.

    Raises:
        RefusalError: the workflow may ask for secrets, and what was given does not start it.
    """
    if workflow.form is None or not may_ask_for_secrets(workflow.form):
        return given
    return check_start_input(engine, workflow, given, user)


def forget_clear_input(
    engine: Engine,
    workflow: Workflow,
    run: DagsterRun,
    instance: DagsterInstance,
    *,
    process_id: UUID | None = None,
) -> bool:
    """Remove what is secret, in clear, from the run config that Dagster keeps of a run.

    Where the form was not walked to its end, that is all that was not checked: nobody knows what it is. What stands
    there instead is refused by every form, so that nobody starts the workflow with it by accident.

    Args:
        engine: the database.
        workflow: the workflow of the run's job.
        run: the run.
        instance: where it is kept.
        process_id: the process that the run goes on with, if it does: with the input of that it may have its config.

    Returns:
        Whether something was removed.
    """
    if workflow.form is None or not may_ask_for_secrets(workflow.form):
        return False
    if process_id is not None and _is_input_of(engine, process_id, run):
        return False
    walked = FormWalk()
    with suppress(Exception):
        try_start_form(engine, workflow, run.run_config, conditions=False, outcome=walked)
    return forget(instance, run, [*walked.in_clear, *walked.unchecked])


def forget_answer(workflow: Workflow | None, run: DagsterRun, instance: DagsterInstance) -> bool:
    """Remove an answer that was not taken from the run config that Dagster keeps of a run.

    Nobody checked it, so all of it goes, unless no step of the workflow may ask for a secret.

    Args:
        workflow: the workflow of the process that it was meant for; `None` where that is not known.
        run: the run of `resume_process`.
        instance: where it is kept.

    Returns:
        Whether something was removed.
    """
    if workflow is not None and not any(map(_may_ask, workflow.plan.values())):
        return False
    return forget(instance, run, [("input",)])


def _may_ask(planned: PlannedStep) -> bool:
    return planned.step.kind is StepKind.INPUTSTEP and may_ask_for_secrets(planned.step.function)


def _is_input_of(engine: Engine, process_id: UUID, run: DagsterRun) -> bool:
    with engine.connect() as connection:
        return dict(given_input(connection, process_id)) == dict(run.run_config)


def forget(instance: DagsterInstance, run: DagsterRun, paths: Sequence[Path]) -> bool:
    """Remove the texts at some paths from the run config that Dagster keeps of a run; return whether there were any.

    Args:
        instance: where the run is kept.
        run: the run.
        paths: where they are in its config.
    """
    kept = remove_at(run.run_config, paths)
    if kept == run.run_config:
        return False
    _replace_config(instance, run.run_id, kept)
    return True


def _replace_config(instance: DagsterInstance, run_id: str, config: Mapping[str, Any]) -> None:
    """Write another run config into a stored run, for which Dagster has no function."""
    # they are slow to import, with migrations and all, and nearly no run needs them
    from dagster._core.storage.legacy_storage import LegacyRunStorage
    from dagster._core.storage.runs import SqlRunStorage
    from dagster._core.storage.runs.schema import RunsTable

    storage: Any = instance.run_storage
    while isinstance(storage, LegacyRunStorage):
        storage = storage._storage.run_storage
    if not isinstance(storage, SqlRunStorage):
        return
    this_run, replaced = RunsTable.c.run_id == run_id, False
    while not replaced:
        with storage.connect() as connection:
            body = connection.execute(select(RunsTable.c.run_body).where(this_run)).scalar_one()
            changed = serialize_value(copy(deserialize_value(body, DagsterRun), run_config=config))
            # whoever writes to the run at the same time writes all of it
            unchanged = this_run & (RunsTable.c.run_body == body)
            replaced = connection.execute(update(RunsTable).where(unchanged).values(run_body=changed)).rowcount > 0
