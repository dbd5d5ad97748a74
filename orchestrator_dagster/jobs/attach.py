"""Which process a Dagster run belongs to.

A run's tags are inherited from the run it re-executes and prove nothing. What counts is in our own tables: a run that
was seen before, a token that lets a run go on with a process, the process of the run that is re-executed in part.
Everything else starts a new process.
"""

from typing import Any
from uuid import UUID

from dagster import DagsterInstance, DagsterRun
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.processes import (
    ProcessRow,
    hand_over,
    lock_process,
    process_of_run,
    recall,
    redeem_resume_token,
)
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.errors import ProcessStateError, RefusalError
from orchestrator_dagster.jobs.start import Start, start_process
from orchestrator_dagster.jobs.tags import RESUME_TOKEN, user_of
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.process import ProcessRun


def attach(
    engine: Engine, workflow: Workflow, run: DagsterRun, *, first_step: str, instance: DagsterInstance
) -> ProcessRun:
    """Return the run's hold on its process; start the process if there is none yet.

    Args:
        engine: the database.
        workflow: the workflow of the run's job.
        run: the Dagster run.
        first_step: key of the step that the run is about to do first.
        instance: where the state of other runs is looked up.

    Raises:
        RefusalError: the process is not started.
        ProcessStateError: the run may not go on with the process.
    """
    with engine.begin() as connection:
        process_id = _process_to_go_on_with(connection, run)
        if process_id is not None:
            _go_on(connection, process_id, workflow, run, instance)
            memory = recall(connection, process_id)
    if process_id is None:
        process_id = UUID(run.run_id)
        _require_first_step(workflow, first_step)
        given: dict[str, Any] = dict(run.run_config)
        memory = start_process(engine, Start(workflow, process_id, run.run_id, user_of(run), given))
    return ProcessRun(
        engine,
        process_id=process_id,
        run_id=run.run_id,
        created_by=user_of(run),
        plan=workflow.plan,
        memory=memory,
    )


def _process_to_go_on_with(connection: Connection, run: DagsterRun) -> UUID | None:
    known = process_of_run(connection, run.run_id)
    if known is not None:
        return known
    if token := run.tags.get(RESUME_TOKEN):
        redeemed = redeem_resume_token(connection, UUID(token), run.run_id)
        if redeemed is not None:
            return redeemed
    if run.parent_run_id and _is_partial(run):
        return process_of_run(connection, run.parent_run_id)
    return None


def _is_partial(run: DagsterRun) -> bool:
    """Whether a re-execution is meant to go on, rather than to do everything once more."""
    return run.step_keys_to_execute is not None or bool(run.resolved_op_selection)


def _go_on(
    connection: Connection, process_id: UUID, workflow: Workflow, run: DagsterRun, instance: DagsterInstance
) -> None:
    """Make the run the process's active one.

    Raises:
        ProcessStateError: the process has ended, is of another workflow, or another run goes on with it.
    """
    process = lock_process(connection, process_id)
    if process.workflow != workflow.name:
        raise ProcessStateError(f"Process {process_id} is of workflow {process.workflow}, not of {workflow.name}")
    _require_newest(process, run, instance)
    if process.status is ProcessStatus.COMPLETED:
        # All was done, but the worker died before Dagster heard of it: the run passes every step by.
        return
    if process.status is ProcessStatus.ABORTED:
        raise ProcessStateError(f"Process {process_id} was aborted; start a new one")
    hand_over(connection, process_id, run.run_id)


def _require_newest(process: ProcessRow, run: DagsterRun, instance: DagsterInstance) -> None:
    if process.run_id == run.run_id:
        return
    newest = instance.get_run_by_id(process.run_id)
    if newest is None:
        return
    if not newest.is_finished:
        raise ProcessStateError(f"Process {process.process_id} is being worked on by run {newest.run_id}")
    if run.parent_run_id not in (None, newest.run_id):
        raise ProcessStateError(
            f"Process {process.process_id} has gone on in run {newest.run_id}: re-execute that one, not an older one"
        )
    if process.status is ProcessStatus.COMPLETED and newest.is_success:
        raise ProcessStateError(f"Process {process.process_id} is completed; start a new one")


def _require_first_step(workflow: Workflow, first_step: str) -> None:
    first = next(iter(workflow.plan))
    if first_step != first:
        raise RefusalError(
            f"A process of {workflow.name} starts with its first step, {first}; this run begins with {first_step}"
        )
