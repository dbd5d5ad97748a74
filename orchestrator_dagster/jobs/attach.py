"""Which process a Dagster run belongs to.

A run's tags are inherited from the run it re-executes and prove nothing. What counts is in our own tables: a run that
was seen before, a token that lets one run go on with a process, the process of the run that is re-executed in part.
Everything else starts a new process.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from dagster import DagsterInstance, DagsterRun
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.engine_settings import flags_of, require_going_engine
from orchestrator_dagster.db.leases import Lease
from orchestrator_dagster.db.processes import (
    ProcessRow,
    hand_over,
    lock_process,
    process_of_run,
    process_of_token,
    use_resume_token,
)
from orchestrator_dagster.db.step_log import StepRow, initial_state, log_step, recall, step_rows
from orchestrator_dagster.db.waits import close_wait, make_ready, settle, waits_of
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import ProcessStatus, StepStatus
from orchestrator_dagster.domain.waiting import Flags, Wait, WaitKind
from orchestrator_dagster.errors import ProcessBusyError, ProcessStateError, RefusalError, WorkflowEditedError
from orchestrator_dagster.jobs.edited_workflow import EditedWorkflow, keep_todays_keys
from orchestrator_dagster.jobs.start import Start, start_process
from orchestrator_dagster.jobs.tags import RESUME_TOKEN, user_of
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.aborting import AbortTerms
from orchestrator_dagster.ops.claim import Claim
from orchestrator_dagster.ops.knowledge import Knowledge
from orchestrator_dagster.ops.plan import Place
from orchestrator_dagster.ops.process_run import ProcessRun, Rules
from orchestrator_dagster.ops.work import Environment

_FROM_FAILURE = "dagster/is_resume_retry"
_FIRST_LEASE = 1
_SECONDS_THAT_OTHERS_LOOK = 1.0
_TOKEN_USED = "has gone on already: the token by which this run was to go on was used"  # noqa: S105 - a message


@dataclass(frozen=True)
class Arrival:
    """A Dagster run that is about to do its first step.

    Attributes:
        workflow: the workflow of the run's job.
        run: the run.
        first: the step that it is about to do.
        instance: where other runs are looked up.
        environment: what the engine asks of others.
    """

    workflow: Workflow
    run: DagsterRun
    first: Place
    instance: DagsterInstance
    environment: Environment

    @property
    def user(self) -> str:
        """On whose behalf the run was started."""
        return user_of(self.run)

    @property
    def whole(self) -> bool:
        """Whether the run has all steps of the workflow."""
        return all(map(self.selects, self.workflow.plan))

    def selects(self, key: str) -> bool:
        """Whether a step of the plan is among those of the run."""
        return all(
            selected is None or any(_is_within(key, chosen) for chosen in selected)
            for selected in (self.run.step_keys_to_execute, self.run.resolved_op_selection)
        )

    @property
    def rules(self) -> Rules:
        """What the workflow says about its processes."""
        return Rules(
            self.workflow.plan,
            is_task=self.workflow.is_task,
            undo_on_failure=self.workflow.undo_on_failure,
            abort_terms=AbortTerms(self.workflow.status_on_abort, self.workflow.insync_on_abort),
        )


def attach(engine: Engine, arrival: Arrival) -> ProcessRun:
    """Return the run's hold on its process; start the process if there is none yet.

    Args:
        engine: the database.
        arrival: the run.

    Raises:
        RefusalError: the process is not started, or the engine is paused.
        ProcessStateError: the run may not go on with the process.
    """
    with engine.connect() as connection:
        process_id = _process_to_go_on_with(connection, arrival)
    lease = _take_lease(engine, process_id or UUID(arrival.run.run_id))
    try:
        if process_id is None:
            return _start(engine, lease, arrival)
        return _go_on_or_fail(engine, lease, process_id, arrival)
    except BaseException:
        lease.release()
        raise


def _take_lease(engine: Engine, process_id: UUID) -> Lease:
    lease = Lease.take(engine, process_id, patience=_SECONDS_THAT_OTHERS_LOOK)
    if lease is None:
        raise ProcessBusyError(process_id=process_id, why="is being worked on by another run")
    return lease


def _process_to_go_on_with(connection: Connection, arrival: Arrival) -> UUID | None:
    run = arrival.run
    known = process_of_run(connection, run.run_id)
    if known is not None:
        return known
    if RESUME_TOKEN in run.tags:
        token = _token_of(run)
        # that of a run which is re-executed was meant for this one too, as long as it is good
        process_id = process_of_token(connection, token, used=not run.parent_run_id) if token else None
        if process_id is not None:
            return process_id
        if not run.parent_run_id:
            raise ProcessStateError("There is no process for the token by which this run was to go on with one")
    if not run.parent_run_id:
        return None
    parents = process_of_run(connection, run.parent_run_id)
    return parents if parents is not None and _goes_on(connection, parents, arrival) else None


def _token_of(run: DagsterRun) -> UUID | None:
    try:
        return UUID(run.tags.get(RESUME_TOKEN, ""))
    except ValueError:
        return None


def _goes_on(connection: Connection, parents_process: UUID, arrival: Arrival) -> bool:
    """Whether a re-execution is meant to go on with the process of its parent, rather than to start a new one.

    Re-execution *from failure* selects what is left to do. When that is everything, since Dagster never heard of a step
    that was done, only what the step log has tells it from a re-execution of *all steps*.
    """
    if arrival.run.tags.get(_FROM_FAILURE) == "true" or not arrival.whole:
        return True
    if arrival.run.step_keys_to_execute is None:
        return False
    finished = recall(connection, parents_process).finished
    return finished <= {next(iter(arrival.workflow.plan))}


def _is_within(key: str, chosen: str) -> bool:
    """Whether a step of the plan is what a selection names, or is in the group that it names."""
    name = chosen.partition("[")[0]
    return key == name or key.startswith(f"{name}.")


def _start(engine: Engine, lease: Lease, arrival: Arrival) -> ProcessRun:
    run, workflow = arrival.run, arrival.workflow
    if arrival.first.key != next(iter(workflow.plan)) or not arrival.whole:
        raise RefusalError(
            f"A process of {workflow.name} is started with all of its steps; this run selects some of them"
        )
    process_id = UUID(run.run_id)
    start = Start(workflow, process_id, run.run_id, arrival.user, dict(run.run_config))
    memory, concerned = start_process(lease.connection, start)
    claim = Claim(engine, process_id, run.run_id, arrival.user, lease, _FIRST_LEASE)
    return ProcessRun(claim, arrival.rules, Knowledge(memory, concerned=concerned), arrival.environment)


def _go_on_or_fail(engine: Engine, lease: Lease, process_id: UUID, arrival: Arrival) -> ProcessRun:
    """Make the run the process's active one; a process that cannot go on with its workflow stands as failed."""
    try:
        with lease.connection.begin():
            return _go_on(engine, lease, process_id, arrival)
    except WorkflowEditedError as error:
        with lease.connection.begin():
            process = lock_process(lease.connection, process_id)
            if process.status.queued:
                number = hand_over(lease.connection, process_id, process.run_id)
                settle(lease.connection, process_id, number, interrupted=str(error), now=now())
        raise


def _go_on(engine: Engine, lease: Lease, process_id: UUID, arrival: Arrival) -> ProcessRun:
    """Make the run the process's active one.

    Raises:
        EnginePausedError: the engine is paused.
        ProcessStateError: the process has ended, is of another workflow, has gone on elsewhere, or cannot go on since
            its workflow was edited.
    """
    connection, workflow, run = lease.connection, arrival.workflow, arrival.run
    process = lock_process(connection, process_id)
    _require_of_workflow(process, workflow)
    _require_not_aborted(process)
    _require_newest(process, arrival)
    _use_token(connection, process, run)
    claim = Claim(engine, process_id, run.run_id, arrival.user, lease, process.lease)
    if process.status is ProcessStatus.COMPLETED:
        return _pass_by(claim, process, arrival)
    flags = flags_of(connection, process_id)
    if flags.paused:
        require_going_engine(connection)
    knowledge = _recall(connection, process, workflow, flags)
    if not flags.abort_requested:
        _require_its_turn(knowledge, arrival)
    claim = replace(claim, number=hand_over(connection, process_id, run.run_id))
    _retry(connection, claim, process, knowledge, arrival)
    _restart_groups(connection, claim, knowledge, workflow)
    return ProcessRun(
        claim,
        arrival.rules,
        knowledge,
        arrival.environment,
        is_child=process.parent_process_id is not None,
        whole=arrival.whole,
    )


def _recall(connection: Connection, process: ProcessRow, workflow: Workflow, flags: Flags) -> Knowledge:
    """Return what is known of a process, in the words of the workflow as it is today."""
    rows, waits = step_rows(connection, process.process_id), waits_of(connection, process.process_id)
    edited = EditedWorkflow(workflow, process, rows, waits)
    if not flags.abort_requested:
        # what is to be undone is found by its key, whatever became of the workflow
        edited.require_matching()
    if edited.today.record() != list(process.plan):
        keep_todays_keys(connection, process, edited.today)
        waits = waits_of(connection, process.process_id)
    memory = edited.today.memory(initial_state(connection, process.process_id), rows)
    return Knowledge(memory, waits, flags, process.concerned)


def _pass_by(claim: Claim, process: ProcessRow, arrival: Arrival) -> ProcessRun:
    """Return a hold on a process of which all was done, but the worker died before Dagster heard of it."""
    memory = recall(claim.lease.connection, process.process_id)
    finished = memory.finished | frozenset(arrival.workflow.plan)
    knowledge = Knowledge(replace(memory, finished=finished), concerned=process.concerned)
    return ProcessRun(claim, arrival.rules, knowledge, arrival.environment, ended=process.status)


def _require_of_workflow(process: ProcessRow, workflow: Workflow) -> None:
    if process.workflow != workflow.name:
        raise ProcessStateError(
            f"Process {process.process_id} is of workflow {process.workflow}, not of {workflow.name}"
        )


def _require_not_aborted(process: ProcessRow) -> None:
    if process.status is ProcessStatus.ABORTED:
        raise ProcessStateError(f"Process {process.process_id} was aborted: {process.failed_reason}")


def _require_newest(process: ProcessRow, arrival: Arrival) -> None:
    """Make sure that the run re-executes the newest run of the process, as far as Dagster still has that."""
    run = arrival.run
    if run.parent_run_id is None or process.run_id == run.run_id:
        return
    newest = arrival.instance.get_run_by_id(process.run_id)
    if newest is None:
        return
    is_newest = run.parent_run_id == newest.run_id
    if process.status is ProcessStatus.COMPLETED and (newest.is_success or not is_newest):
        raise ProcessStateError(f"Process {process.process_id} is completed; start a new one")
    if not is_newest:
        raise ProcessStateError(
            f"Process {process.process_id} has gone on in run {newest.run_id}: re-execute that one, not an older one"
        )


def _require_its_turn(knowledge: Knowledge, arrival: Arrival) -> None:
    """Make sure that the run leaves out no step that has to be done before its first one."""
    first = arrival.first
    earlier = knowledge.unfinished_ahead_of(first, arrival.workflow.plan)
    if earlier is not None:
        raise ProcessStateError(f"Step {first.key} cannot run: step {earlier} comes before it and has not been run")


def _use_token(connection: Connection, process: ProcessRow, run: DagsterRun) -> None:
    token = None if run.parent_run_id or process.run_id == run.run_id else _token_of(run)
    if token and not use_resume_token(connection, token, run.run_id):
        raise ProcessBusyError(process_id=process.process_id, why=_TOKEN_USED)


def _retry(connection: Connection, claim: Claim, process: ProcessRow, knowledge: Knowledge, arrival: Arrival) -> None:
    """Let the steps go on that failed, and that the run has: who goes on with a process that failed retries it."""
    if not process.status.failed:
        return
    for wait in _failed(knowledge):
        planned = arrival.workflow.plan.place_of(wait.step)
        if planned is None or arrival.selects(planned.planned.key):
            moment = now()
            make_ready(connection, claim.process_id, wait.step, user=claim.user, now=moment)
            knowledge.waits[wait.step] = replace(wait, ready_at=wait.ready_at or moment)


def _failed(knowledge: Knowledge) -> Iterator[Wait]:
    yield from [wait for wait in knowledge.waits.values() if wait.kind is WaitKind.FAILURE]


def _restart_groups(connection: Connection, claim: Claim, knowledge: Knowledge, workflow: Workflow) -> None:
    """Let groups start again of which a step is retried that makes no sense alone: it awaits what will never come."""
    for wait in _failed(knowledge):
        place = workflow.plan.place_of(wait.step)
        if place is None or not wait.ready or place.restarts is None:
            continue
        group = place.restarts
        moment = now()
        row = StepRow(
            step=f"{group}:restart",
            name=f"Restart {place.title}",
            status=StepStatus.SUCCESS,
            run_id=claim.run_id,
            created_by=claim.user,
            started_at=moment,
            completed_at=moment,
            branch=place.branch,
            round=knowledge.memory.round_of(group),
            detail={"restart": group},
        )
        log_step(connection, claim.process_id, row, lease=claim.number, status=ProcessStatus.RUNNING)
        close_wait(connection, claim.process_id, wait.step)
        knowledge.keep(row, None)
        knowledge.waits.pop(wait.step)
