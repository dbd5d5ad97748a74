"""What a person, or code on somebody's behalf, does to a process that stands still. Each is one transaction.

They mark what a step waits for as there, and put the process into the queue; a run that picks it up does the rest.
Of several who want the same at once the first one has it, and the others are told nothing else.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from orchestrator_dagster.db.callbacks import callbacks_of, close_callback
from orchestrator_dagster.db.process_inputs import last_answer, log_answer
from orchestrator_dagster.db.processes import hand_over, request_abort
from orchestrator_dagster.db.step_log import StepRow, json_of_state, log_step, recall, step_rows
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.db.waits import make_ready
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import ProcessStatus, StepStatus
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.domain.secret import same_input, sealed
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import Wait, WaitKind, most_pressing
from orchestrator_dagster.errors import FieldError, InputError
from orchestrator_dagster.jobs.door import Door
from orchestrator_dagster.jobs.step_form import walk_step_form
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.aborting import AbortTerms, abort_at_once
from orchestrator_dagster.ops.step import StepKind
from orchestrator_dagster.ops.transaction import as_state, save_models

Workflows = Mapping[str, Workflow]

_RETRIED = (WaitKind.FAILURE, WaitKind.RETRY)
_CANNOT_BE_SKIPPED = (StepKind.INIT, StepKind.DONE, StepKind.ABORT, StepKind.FAN_OUT)
REPLACE_VALUE = "replace_value"


def answer(
    connection: Connection,
    workflows: Workflows,
    process_id: UUID,
    given: Mapping[str, Any],
    *,
    step: str | None = None,
    from_run_config: bool = False,
    user: str,
) -> bool:
    """Answer what a step of a process asks for.

    Args:
        connection: the transaction.
        workflows: the workflows by name.
        process_id: id of the process.
        given: the fields of the step's form, flat or page by page. Secrets in it are sealed before it is stored.
        step: key of the step; needed where several steps ask.
        from_run_config: whether it was run config, in which secrets must not stand in clear.
        user: who answers.

    Returns:
        Whether the process goes on by this; not where the step was answered just so before.

    Raises:
        ProcessNotFoundError: there is no such process.
        ProcessStateError: it does not ask, several steps do, or it was answered otherwise.
        InputError: the input is not valid, with the errors of all fields; nothing is kept.
        EnginePausedError: the engine is paused.
        NotAuthorizedError: the user may not do that.
    """
    given = sealed(given)
    door = Door.open(connection, workflows, process_id, user)
    door.require_going_engine()
    if _was_answered_so(door, step, given):
        return False
    door.require_not_ended()
    wait = door.wait_at(step, [WaitKind.INPUT], "does not wait for input")
    door.require_right("resume_workflow", wait)
    door.require_matching()
    state, given = _take(door, wait, given, from_run_config=from_run_config)
    make_ready(connection, process_id, wait.step, answer=state, given=given, user=user, now=now())
    log_answer(connection, process_id, wait.step, given=given, state=state, user=user)
    door.queue()
    return True


def retry(
    connection: Connection, workflows: Workflows, process_id: UUID, *, step: str | None = None, user: str
) -> bool:
    """Try again what failed, now: a step, or all steps that failed; or go on with a process that was interrupted.

    Args:
        connection: the transaction.
        workflows: the workflows by name.
        process_id: id of the process.
        step: key of the step. Default: every step that failed, or waits to be tried again.
        user: who wants it.

    Returns:
        Whether the process goes on by this; not where that was asked for before.

    Raises:
        ProcessNotFoundError: there is no such process.
        ProcessStateError: nothing failed, or not that step.
        EnginePausedError: the engine is paused.
        NotAuthorizedError: the user may not do that.
    """
    door = Door.open(connection, workflows, process_id, user)
    door.require_going_engine()
    door.require_not_ended()
    failed = [wait for wait in door.waits.values() if wait.kind in _RETRIED and door.is_meant(wait, step)]
    if not failed:
        return _go_on_after_interruption(door, step)
    for wait in failed:
        door.require_right("retry_workflow", wait)
    door.require_matching()
    went_on = [make_ready(connection, process_id, wait.step, user=user, now=now()) for wait in failed]
    return door.queue() or any(went_on)


def skip(
    connection: Connection, workflows: Workflows, process_id: UUID, step: str | None, reason: str, *, user: str
) -> bool:
    """Pass a step by that failed, or waits: it is logged as skipped, with the reason, and the process goes on.

    Args:
        connection: the transaction.
        workflows: the workflows by name.
        process_id: id of the process.
        step: key of the step; needed where the process stands at several.
        reason: why.
        user: who wants it.

    Returns:
        Whether the process goes on by this; not where the step was skipped before.

    Raises:
        ProcessNotFoundError: there is no such process.
        ProcessStateError: it does not stand at that step, a run works on it, or the step cannot be done without.
        EnginePausedError: the engine is paused.
        NotAuthorizedError: the user may not do that.
        InputError: there is no reason.
    """
    _lock_callbacks(connection, process_id)
    door = Door.open(connection, workflows, process_id, user)
    door.require_going_engine()
    _require_reason(door, reason)
    if step is not None and step not in door.waits and _was_skipped(door, step):
        return False
    door.require_not_ended()
    wait = door.wait_at(step, list(WaitKind), "does not stand there, so there is nothing to skip")
    door.require_right("retry_workflow" if wait.kind in _RETRIED else "resume_workflow", wait)
    _require_dispensable(door, wait)
    door.require_matching(without=wait)
    door.require_nobody_at_work()
    _log(door, wait.step, wait.name, StepStatus.SKIPPED, reason, branch=wait.branch, stands=ProcessStatus.RESUMED)
    close_callback(connection, process_id, wait.step, now())
    door.queue()
    return True


def replace_value(
    connection: Connection,
    workflows: Workflows,
    process_id: UUID,
    key: str,
    value: Any,
    reason: str,
    *,
    step: str | None = None,
    user: str,
) -> None:
    """Put another value into the state of a process, on record. The process does not go on by this.

    Args:
        connection: the transaction.
        workflows: the workflows by name.
        process_id: id of the process.
        key: key of the state.
        value: the new value; JSON.
        reason: why.
        step: key of a step that the process stands at, to replace the value in that step's branch.
        user: who wants it.

    Raises:
        ProcessNotFoundError: there is no such process.
        ProcessStateError: it has ended, or a run works on it.
        NotAuthorizedError: the user may not do that.
        InputError: the value cannot be stored, or there is no reason.
    """
    door = Door.open(connection, workflows, process_id, user)
    door.require_not_ended()
    _require_reason(door, reason)
    wait = None if step is None else door.wait_at(step, list(WaitKind), "does not stand there")
    for standing in [wait] if wait else door.waits.values() or [None]:
        door.require_right("retry_workflow", standing)
    door.require_nobody_at_work()
    changes = _storable(door, key, value)
    number = 1 + sum(row.step.startswith(f"{REPLACE_VALUE}[") for row in step_rows(connection, process_id))
    _log(
        door,
        f"{REPLACE_VALUE}[{number}]",
        f"Replace {key}",
        StepStatus.SUCCESS,
        reason,
        branch=wait.branch if wait else "",
        stands=door.process.status,
        changes=changes,
    )


def abort(connection: Connection, workflows: Workflows, process_id: UUID, reason: str, *, user: str) -> bool:
    """Ask for a process to be aborted. One that a run works on stops after its current step.

    Args:
        connection: the transaction.
        workflows: the workflows by name.
        process_id: id of the process.
        reason: why.
        user: who wants it.

    Returns:
        Whether a run has to carry it out; not where the process is aborted at once, or was before.

    Raises:
        ProcessNotFoundError: there is no such process.
        ProcessStateError: it is completed.
        InputError: there is no reason.
    """
    _lock_callbacks(connection, process_id)
    door = Door.open(connection, workflows, process_id, user)
    _require_reason(door, reason)
    if door.process.status is ProcessStatus.ABORTED:
        return False
    door.require_not_ended()
    request_abort(connection, process_id, user, reason, now())
    if door.worked_on or _abort_at_once(door, reason):
        return False
    door.queue()
    return True


def _abort_at_once(door: Door, reason: str) -> bool:
    """End the process, unless something is to be undone by code that is still there; return whether it has ended."""
    workflow = door.workflows.get(door.process.workflow)
    terms = AbortTerms(workflow.status_on_abort, workflow.insync_on_abort) if workflow else AbortTerms()
    return abort_at_once(
        door.connection,
        door.process,
        workflow.plan if workflow else None,
        terms,
        user=door.user,
        reason=reason,
        now=now(),
    )


def _lock_callbacks(connection: Connection, process_id: UUID) -> None:
    """Lock what other systems may answer: whoever locks a callback does so before its process."""
    callbacks_of(connection, process_id, lock=True)


def _was_answered_so(door: Door, step: str | None, given: Mapping[str, Any]) -> bool:
    """Whether the very same answer was given before, and nothing was asked since that it could be meant for.

    Raises:
        ProcessStateError: another answer was given.
    """
    if any(
        wait.kind is WaitKind.INPUT and not wait.ready and step in (None, wait.step) for wait in door.waits.values()
    ):
        return False
    before = last_answer(door.connection, door.process.process_id, step)
    if before is None:
        return False
    if same_input(before.given, given):
        return True
    raise door.refusal(f"step {before.step} was answered already by {before.answered_by}")


def _take(door: Door, wait: Wait, given: Mapping[str, Any], *, from_run_config: bool) -> tuple[State, State]:
    """Check an answer against the step's form, and save the models that it makes.

    Returns:
        What it adds to the state, and the answer as it may be stored.
    """
    connection, process_id = door.connection, door.process.process_id
    place = door.place(wait)
    if place is None:
        raise door.refusal(f"workflow {door.process.workflow} has no step {wait.step} any more: abort the process")
    repository = PostgresRepository(connection, process_id=process_id, step=wait.step, changed_by=door.user)
    with use_repository(repository):
        state = recall(connection, process_id).state_in(wait.branch)
        walked = walk_step_form(place.planned.step, state, given, process_id)
        if from_run_config:
            walked.require_no_clear_secrets(door.process.workflow)
        if not walked.valid:
            raise InputError(workflow=door.process.workflow, errors=walked.errors, stopped=walked.stopped)
        save_models(walked.result)
        return as_state(walked.result, of=f"the form of step {wait.step}"), walked.sealed(given)


def _go_on_after_interruption(door: Door, step: str | None) -> bool:
    """Let a process go on of which no step stands as failed, but which was left in the middle."""
    if step is not None:
        raise door.refusal(f"step {step} did not fail")
    if not (door.process.status.failed or door.process.status.queued):
        raise door.refusal("nothing failed")
    door.require_right("retry_workflow", None)
    door.require_matching()
    return door.queue()


def _was_skipped(door: Door, step: str) -> bool:
    rows = [row for row in step_rows(door.connection, door.process.process_id) if row.step == step]
    return bool(rows) and rows[-1].status is StepStatus.SKIPPED


def _require_dispensable(door: Door, wait: Wait) -> None:
    place = door.place(wait)
    if place is not None and place.planned.step.kind in _CANNOT_BE_SKIPPED:
        raise door.refusal(f"the process cannot do without step {wait.step}; retry or abort it")


def _require_reason(door: Door, reason: str) -> None:
    if not reason.strip():
        error = FieldError(("reason",), "is needed: it stays on record", "missing")
        raise InputError(workflow=door.process.workflow, errors=[error])


def _storable(door: Door, key: str, value: Any) -> State:
    try:
        changes = as_state({key: value}, of=f"The new value of {key}")
        json_of_state(changes, of=f"The new value of {key}")
    except TypeError as error:
        raise InputError(
            workflow=door.process.workflow, errors=[FieldError((key,), str(error), "not_storable")]
        ) from error
    return changes


def _log(
    door: Door,
    key: str,
    name: str,
    status: StepStatus,
    reason: str,
    *,
    branch: str,
    stands: ProcessStatus,
    changes: State | None = None,
) -> None:
    """Put what a person did into the step log, under a new lease: a run that was thought dead does not know of it."""
    process, at = door.process, now()
    row = StepRow(
        step=key,
        name=name,
        status=status,
        run_id=process.run_id,
        created_by=door.user,
        started_at=at,
        completed_at=at,
        changes=changes,
        branch=branch,
        round=recall(door.connection, process.process_id).round_of(key),
        detail={"reason": reason},
    )
    log_step(
        door.connection,
        process.process_id,
        row,
        lease=hand_over(door.connection, process.process_id, process.run_id),
        status=stands,
        reason=process.failed_reason if stands.halted else None,
        traceback=process.traceback if stands.halted else None,
        wait=most_pressing(door.waits.values()) if stands.halted else None,
    )
