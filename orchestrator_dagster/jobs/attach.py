"""Which process a Dagster run belongs to.

A run's tags are inherited from the run it re-executes and prove nothing. What counts is in our own tables: a run that
was seen before, a token that lets one run go on with a process, the process of the run that is re-executed in part.
Everything else starts a new process.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from dagster import DagsterInstance, DagsterRun
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.leases import Lease
from orchestrator_dagster.db.processes import (
    ProcessRow,
    hand_over,
    lock_process,
    process_of_run,
    process_of_token,
    use_resume_token,
)
from orchestrator_dagster.db.step_log import Memory, StepRow, recall, step_rows
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.errors import ProcessStateError, RefusalError
from orchestrator_dagster.jobs.start import Start, start_process
from orchestrator_dagster.jobs.tags import RESUME_TOKEN, user_of
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.process import ProcessRun, require_earlier_steps

_FROM_FAILURE = "dagster/is_resume_retry"
_FIRST_LEASE = 1
_SECONDS_THAT_OTHERS_LOOK = 1.0
_TOKEN_USED = "The token by which this run was to go on with a process was used already"  # noqa: S105 - a message


def attach(
    engine: Engine, workflow: Workflow, run: DagsterRun, *, first_step: str, instance: DagsterInstance
) -> ProcessRun:
    """Return the run's hold on its process; start the process if there is none yet.

    Args:
        engine: the database.
        workflow: the workflow of the run's job.
        run: the Dagster run.
        first_step: key of the step that the run is about to do first.
        instance: where other runs are looked up.

    Raises:
        RefusalError: the process is not started.
        ProcessStateError: the run may not go on with the process.
    """
    with engine.connect() as connection:
        process_id = _process_to_go_on_with(connection, run, workflow)
    lease = _take_lease(engine, process_id or UUID(run.run_id))
    try:
        if process_id is None:
            _require_whole(run, workflow, first_step)
            process_id, number = UUID(run.run_id), _FIRST_LEASE
            start = Start(workflow, process_id, run.run_id, user_of(run), dict(run.run_config))
            memory, concerned = start_process(lease.connection, start)
        else:
            with lease.connection.begin():
                process, memory, number = _go_on(lease.connection, process_id, workflow, run, first_step, instance)
            concerned = process.concerned
    except BaseException:
        lease.release()
        raise
    return ProcessRun(
        engine,
        process_id=process_id,
        run_id=run.run_id,
        lease=lease,
        lease_number=number,
        created_by=user_of(run),
        plan=workflow.plan,
        memory=memory,
        concerned=concerned,
    )


def _take_lease(engine: Engine, process_id: UUID) -> Lease:
    lease = Lease.take(engine, process_id, patience=_SECONDS_THAT_OTHERS_LOOK)
    if lease is None:
        raise ProcessStateError(f"Process {process_id} is being worked on by another run")
    return lease


def _process_to_go_on_with(connection: Connection, run: DagsterRun, workflow: Workflow) -> UUID | None:
    known = process_of_run(connection, run.run_id)
    if known is not None:
        return known
    if RESUME_TOKEN in run.tags:
        token = _token_of(run)
        process_id = process_of_token(connection, token) if token else None
        if process_id is not None:
            return process_id
        if not run.parent_run_id:
            raise ProcessStateError(_TOKEN_USED)
    if not run.parent_run_id:
        return None
    parents = process_of_run(connection, run.parent_run_id)
    return parents if parents is not None and _goes_on(connection, parents, run, workflow) else None


def _token_of(run: DagsterRun) -> UUID | None:
    try:
        return UUID(run.tags.get(RESUME_TOKEN, ""))
    except ValueError:
        return None


def _goes_on(connection: Connection, parents_process: UUID, run: DagsterRun, workflow: Workflow) -> bool:
    """Whether a re-execution is meant to go on with the process of its parent, rather than to start a new one.

    Re-execution *from failure* selects what is left to do. When that is everything, since Dagster never heard of a step
    that was done, only what the step log has tells it from a re-execution of *all steps*.
    """
    if run.tags.get(_FROM_FAILURE) == "true" or not _selects_all(run, workflow):
        return True
    if run.step_keys_to_execute is None:
        return False
    finished = recall(connection, parents_process).finished
    return finished <= {next(iter(workflow.plan))}


def _selects_all(run: DagsterRun, workflow: Workflow) -> bool:
    selections = (run.step_keys_to_execute, run.resolved_op_selection)
    return all(selected is None or set(selected) >= set(workflow.plan) for selected in selections)


def _go_on(
    connection: Connection,
    process_id: UUID,
    workflow: Workflow,
    run: DagsterRun,
    first_step: str,
    instance: DagsterInstance,
) -> tuple[ProcessRow, Memory, int]:
    """Make the run the process's active one; return it, what the step log knows, and the number of the run's lease.

    Raises:
        ProcessStateError: the process has ended, is of another workflow, or has gone on elsewhere.
    """
    process = lock_process(connection, process_id)
    rows = step_rows(connection, process_id)
    if process.workflow != workflow.name:
        raise ProcessStateError(f"Process {process_id} is of workflow {process.workflow}, not of {workflow.name}")
    if process.status is ProcessStatus.ABORTED:
        raise ProcessStateError(f"Process {process_id} was aborted: {process.failed_reason}")
    _require_newest(process, run, instance)
    memory = recall(connection, process_id)
    if process.status is ProcessStatus.COMPLETED:
        # all was done, but the worker died before Dagster heard of it: the run passes every step by
        return process, replace(memory, finished=memory.finished | frozenset(workflow.plan)), process.lease
    _require_same_steps(process, rows, workflow)
    _require_same_conditions(process, memory, workflow)
    require_earlier_steps(workflow.plan, memory.finished, first_step)
    token = None if run.parent_run_id or process.run_id == run.run_id else _token_of(run)
    if token and not use_resume_token(connection, token, run.run_id):
        raise ProcessStateError(_TOKEN_USED)
    return process, memory, hand_over(connection, process_id, run.run_id)


def _require_newest(process: ProcessRow, run: DagsterRun, instance: DagsterInstance) -> None:
    """Make sure that the run re-executes the newest run of the process, as far as Dagster still has that."""
    if run.parent_run_id is None or process.run_id == run.run_id:
        return
    newest = instance.get_run_by_id(process.run_id)
    if newest is None:
        return
    if run.parent_run_id != newest.run_id:
        raise ProcessStateError(
            f"Process {process.process_id} has gone on in run {newest.run_id}: re-execute that one, not an older one"
        )
    if process.status is ProcessStatus.COMPLETED and newest.is_success:
        raise ProcessStateError(f"Process {process.process_id} is completed; start a new one")


def _require_same_steps(process: ProcessRow, rows: Sequence[StepRow], workflow: Workflow) -> None:
    """Make sure that the log's rows still mean the steps that have their keys.

    A step is known by its function's name. Where that does not say which one it is, since a workflow has several of
    them or the step was made by another function, there must be as many as when the process was started, under the same
    titles.
    """
    before, now = Counter(step["name"] for step in process.plan), Counter(step.key for step in workflow.steps)
    repeated = {name for name in before | now if max(before[name], now[name]) > 1}
    for name in repeated:
        if before[name] != now[name]:
            raise ProcessStateError(
                f"Process {process.process_id} cannot go on: step {name} occurs {now[name]} times in {workflow.name}, "
                f"and occurred {before[name]} times when the process was started; nothing tells which of them are done"
            )
    for row in rows:
        planned = workflow.plan.get(row.step)
        if planned is None or not row.status.finished:
            continue
        ambiguous = planned.step.key in repeated or planned.step.is_made
        if ambiguous and planned.step.name != row.name:
            raise ProcessStateError(
                f"Process {process.process_id} cannot go on: step {row.step} was '{row.name}' when it was done, "
                f"and is now '{planned.step.name}'"
            )


def _require_same_conditions(process: ProcessRow, memory: Memory, workflow: Workflow) -> None:
    """Make sure that what conditionals decided still concerns the steps that it was decided for."""
    decided = set(memory.conditions or ())
    for step in process.plan:
        planned = workflow.plan.get(step["step"])
        if planned is None:
            continue
        before, now = step["conditions"], list(planned.conditions)
        if before != now and decided.intersection(before + now):
            raise ProcessStateError(
                f"Process {process.process_id} cannot go on: the conditionals around step {planned.key} have changed "
                "since they were decided"
            )


def _require_whole(run: DagsterRun, workflow: Workflow, first_step: str) -> None:
    if first_step != next(iter(workflow.plan)) or not _selects_all(run, workflow):
        raise RefusalError(
            f"A process of {workflow.name} is started with all of its steps; this run selects some of them"
        )
