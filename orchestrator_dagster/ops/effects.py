"""What a step does when its turn has come, by its kind."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator_dagster.db.processes import request_abort
from orchestrator_dagster.domain.process import StepStatus
from orchestrator_dagster.ops.commit_path import CommitPoint, reached
from orchestrator_dagster.ops.forking import fan_out, join
from orchestrator_dagster.ops.halting import ask_for_input, await_callback, run_child, wait_for_time
from orchestrator_dagster.ops.step import StepKind
from orchestrator_dagster.ops.step_timeout import in_time, statement_limit
from orchestrator_dagster.ops.transaction import as_state, save_models
from orchestrator_dagster.ops.work import Circumstances, Effect, Work, put_back, seen_by


def effect_of(work: Work, given: Circumstances) -> Effect:
    """Do what a step does.

    Args:
        work: the step in its place, or the undoing of one.
        given: what it depends on.
    """
    return _EFFECTS[work.step.kind](work, given)


def _run_function(work: Work, given: Circumstances) -> Effect:
    step = work.step
    part = seen_by(step, given.state)

    def call() -> Any:
        arguments = step.signature.arguments(part, given.ambient)
        reached(CommitPoint.BEFORE_EFFECT, work.key)
        return step.function(**arguments)

    with statement_limit(step, given.transaction.connection):
        returned = in_time(step, call)
        save_models(returned)
    changed = as_state(returned, of=step.signature.function_name)
    status = StepStatus.COMPLETE if step.kind is StepKind.DONE else StepStatus.SUCCESS
    return Effect(put_back(step, given.state, {**part, **changed} if step.lenses else changed), status)


def _request_abort(work: Work, given: Circumstances) -> Effect:
    process_id, user = given.transaction.process_id, given.user
    reached(CommitPoint.BEFORE_EFFECT, work.key)
    request_abort(given.transaction.connection, process_id, user, f"Step {work.title} aborts the process", given.now)
    return Effect()


_EFFECTS: Mapping[StepKind, Callable[[Work, Circumstances], Effect]] = {
    **dict.fromkeys((StepKind.STEP, StepKind.RETRYSTEP, StepKind.INIT, StepKind.DONE), _run_function),
    StepKind.ABORT: _request_abort,
    StepKind.INPUTSTEP: ask_for_input,
    StepKind.CALLBACK: await_callback,
    StepKind.TIMER: wait_for_time,
    StepKind.PROCESS: run_child,
    StepKind.FAN_OUT: fan_out,
    StepKind.JOIN: join,
}
