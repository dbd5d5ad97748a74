"""What a test asserts of a process. What is not so is told with the status, the failure and the step log."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from orchestrator_dagster.domain.process import Assignee, ProcessStatus
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.jobs.process import Process
from orchestrator_dagster.testing.account import account_of, recorded_error

_FAILED = tuple(status for status in ProcessStatus if status.failed)


def assert_complete(process: Process) -> None:
    """Make sure that a process is completed."""
    _require_status(process, ProcessStatus.COMPLETED)


def assert_suspended(process: Process, step: str | None = None) -> None:
    """Make sure that a process asks somebody for input.

    Args:
        process: the process.
        step: key of the step where it does.
    """
    _require_status(process, ProcessStatus.SUSPENDED)
    _require_step(process, step)


def assert_waiting(process: Process, step: str | None = None) -> None:
    """Make sure that a process waits for a time, for another attempt or for another process.

    Args:
        process: the process.
        step: key of the step where it does.
    """
    _require_status(process, ProcessStatus.WAITING)
    _require_step(process, step)


def assert_awaiting_callback(process: Process, step: str | None = None) -> None:
    """Make sure that a process waits for a system outside to call back.

    Args:
        process: the process.
        step: key of the step where it does.
    """
    _require_status(process, ProcessStatus.AWAITING_CALLBACK)
    _require_step(process, step)


def assert_failed(process: Process, reason: str = "", *, step: str | None = None) -> None:
    """Make sure that a process stands as failed, also as `api_unavailable` or `inconsistent_data`.

    Args:
        process: the process.
        reason: words that are in the reason.
        step: key of the step that failed.
    """
    _require_status(process, *_FAILED)
    _require_step(process, step)
    if reason not in (process.failed_reason or ""):
        raise _wrong(process, f"expected {reason!r} in the reason")


def assert_aborted(process: Process) -> None:
    """Make sure that a process is aborted."""
    _require_status(process, ProcessStatus.ABORTED)


def assert_state(process: Process, expected: Mapping[str, Any]) -> None:
    """Make sure that the state has these values, among others.

    Args:
        process: the process.
        expected: values by key; ids, dates and models are compared as JSON, as the state has them.
    """
    state, wanted = extract_state(process), to_jsonable_python(dict(expected))
    wrong = {key: state.get(key, "nothing") for key, value in wanted.items() if key not in state or state[key] != value}
    if wrong:
        raise _wrong(process, f"expected { ({key: wanted[key] for key in wrong}) } in the state, which has {wrong}")


def assert_assignee(process: Process, assignee: Assignee | str) -> None:
    """Make sure who is asked to act."""
    if process.assignee != assignee:
        raise _wrong(process, f"expected {assignee} to be asked to act, and {process.assignee} is")


def assert_step_name(process: Process, name: str) -> None:
    """Make sure under which title the last row of the step log stands."""
    found = process.steps[-1].name if process.steps else None
    if found != name:
        raise _wrong(process, f"expected {name!r} as the last step, which is {found!r}")


def extract_state(process: Process) -> State:
    """Return what the process knows after its last finished step."""
    return process.state


def extract_error(process: Process) -> str | None:
    """Return why the process failed; `None` where it has not."""
    return process.failed_reason


def _require_status(process: Process, *expected: ProcessStatus) -> None:
    if process.status not in expected:
        raise _wrong(process, f"expected {' or '.join(expected)}")


def _require_step(process: Process, step: str | None) -> None:
    if step is not None and process.current_step != step:
        raise _wrong(process, f"expected it at {step}")


def _wrong(process: Process, expectation: str) -> AssertionError:
    error = AssertionError(f"{expectation}\n{account_of(process)}")
    error.__cause__ = recorded_error(process)
    return error
