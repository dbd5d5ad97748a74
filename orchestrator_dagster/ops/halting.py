"""The steps at which a process waits: for a person, another system, a time, another process."""

from collections.abc import Mapping
from typing import Any, TypeVar

from orchestrator_dagster.db.callbacks import callback_of, close_callback
from orchestrator_dagster.db.processes import ProcessRow, get_process
from orchestrator_dagster.db.step_log import recall
from orchestrator_dagster.domain.difference import Difference
from orchestrator_dagster.domain.process import ProcessStatus, StepStatus
from orchestrator_dagster.domain.secret import is_sealed
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import Wait, WaitKind
from orchestrator_dagster.errors import CallbackTimeoutError, ChildProcessAbortedError, ProcessStateError
from orchestrator_dagster.ops.awaited import Callback, ChildWorkflow, Timer
from orchestrator_dagster.ops.commit_path import CommitPoint, reached
from orchestrator_dagster.ops.transaction import as_state
from orchestrator_dagster.ops.work import Circumstances, Effect, Work, put_back, seen_by


def ask_for_input(work: Work, given: Circumstances) -> Effect:
    """Take the answer to the step's form, or ask for it."""
    wait = given.wait
    if wait is not None and wait.kind is WaitKind.INPUT and wait.ready:
        part = deep_merged(seen_by(work.step, given.state), wait.answer or {})
        reached(CommitPoint.BEFORE_EFFECT, work.key)
        return Effect(put_back(work.step, given.state, part), done_by=wait.answered_by)
    process_id = given.transaction.process_id
    form = given.environment.describe_form(work.step, given.state, process_id)
    reached(CommitPoint.BEFORE_EFFECT, work.key)
    asked = _wait(work, given, WaitKind.INPUT, form=form, assignee=work.step.assignee)
    return Effect(status=StepStatus.SUSPEND, wait=asked)


def await_callback(work: Work, given: Circumstances) -> Effect:
    """Take what another system has sent, or wait for it.

    Raises:
        CallbackTimeoutError: it did not come in time.
        ProcessStateError: nothing can come, since the address was withdrawn.
    """
    awaited = _awaited(work, Callback)
    connection, process_id = given.transaction.connection, given.transaction.process_id
    # locked before it is looked at, so that none comes in between
    callback = callback_of(connection, process_id, work.key)
    reached(CommitPoint.BEFORE_EFFECT, work.key)
    if callback is None:
        raise ProcessStateError(f"Step {work.title} cannot wait: the address for its callback is not open any more")
    if callback.received_at is not None:
        close_callback(connection, process_id, work.key, given.now)
        part = {**seen_by(work.step, given.state), awaited.result_key: callback.body}
        return Effect(put_back(work.step, given.state, part))
    due_at = None if awaited.timeout is None else callback.opened_at + awaited.timeout
    if due_at is not None and awaited.timeout is not None and given.now >= due_at:
        raise CallbackTimeoutError(step=work.title, timeout=awaited.timeout)
    return Effect(status=StepStatus.AWAITING_CALLBACK, wait=_wait(work, given, WaitKind.CALLBACK, due_at=due_at))


def wait_for_time(work: Work, given: Circumstances) -> Effect:
    """Go on if the time has come; which time that is, is decided once."""
    awaited, before = _awaited(work, Timer), given.wait
    if before is not None and before.kind is WaitKind.TIME:
        due_at = before.due_at
    else:
        arguments = work.step.signature.arguments(seen_by(work.step, given.state), given.ambient)
        due_at = awaited.due(work.step.function(**arguments), now=given.now)
    reached(CommitPoint.BEFORE_EFFECT, work.key)
    if due_at is None or given.now >= due_at:
        return Effect()
    return Effect(status=StepStatus.WAITING, wait=_wait(work, given, WaitKind.TIME, due_at=due_at))


def run_child(work: Work, given: Circumstances) -> Effect:
    """Take what came of the process that the step started, or start it and wait for it.

    Raises:
        ChildProcessAbortedError: it was aborted; another attempt starts another one.
        RefusalError: it could not be started.
    """
    awaited, before = _awaited(work, ChildWorkflow), given.wait
    connection = given.transaction.connection
    if before is not None and before.waits_for is not None:
        child = get_process(connection, before.waits_for)
        reached(CommitPoint.BEFORE_EFFECT, work.key)
        if child.status is ProcessStatus.ABORTED:
            raise ChildProcessAbortedError(
                process_id=child.process_id, workflow=child.workflow, reason=child.failed_reason
            )
        return Effect(_result(work, given, awaited, child))
    arguments = work.step.signature.arguments(seen_by(work.step, given.state), given.ambient)
    reached(CommitPoint.BEFORE_EFFECT, work.key)
    wanted = as_state(work.step.function(**arguments), of=work.title)
    child_id = given.environment.start_child(connection, awaited.workflow, wanted, given.transaction.process_id)
    return Effect(status=StepStatus.WAITING, wait=_wait(work, given, WaitKind.PROCESS, waits_for=child_id))


def deep_merged(known: State, answer: Mapping[str, Any]) -> State:
    """Return a state with an answer in it: dicts are merged at any depth, everything else is replaced.

    Example:
        >>> deep_merged({"port": {"name": "a", "vlans": [1, 2]}}, {"port": {"vlans": [3]}, "ticket": "CHG1"})
        {'port': {'name': 'a', 'vlans': [3]}, 'ticket': 'CHG1'}
    """
    both = dict(known)
    for key, value in answer.items():
        before = known.get(key)
        both[key] = deep_merged(before or {}, value) if _are_merged(before, value) else value
    return both


def _are_merged(before: Any, value: Any) -> bool:
    return isinstance(before, dict) and isinstance(value, dict) and not (is_sealed(before) or is_sealed(value))


_Kind = TypeVar("_Kind", Callback, Timer, ChildWorkflow)


def _awaited(work: Work, kind: type[_Kind]) -> _Kind:
    if not isinstance(work.step.waiting, kind):
        raise TypeError(f"Step {work.title} does not say what it waits for")
    return work.step.waiting


def _result(work: Work, given: Circumstances, awaited: ChildWorkflow, child: ProcessRow) -> Difference:
    connection = given.transaction.connection
    part = seen_by(work.step, given.state)
    if awaited.result_key is None:
        return put_back(work.step, given.state, part)
    result = recall(connection, child.process_id).state | {"process_id": str(child.process_id)}
    if child.subscription_ids:
        result["subscription_id"] = str(child.subscription_ids[0])
    return put_back(work.step, given.state, {**part, awaited.result_key: result})


def _wait(work: Work, given: Circumstances, kind: WaitKind, **about: Any) -> Wait:
    """Return what the step waits for, since when it began to do so."""
    before = given.wait
    since = before.since if before is not None and before.kind is kind else given.now
    return Wait(step=work.key, name=work.title, kind=kind, branch=work.branch, since=since, **about)
