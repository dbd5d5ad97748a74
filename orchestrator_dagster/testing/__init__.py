"""What authors of workflows test them with: see `docs/testing-workflows.md`."""

from orchestrator_dagster.testing.assertions import (
    assert_aborted,
    assert_assignee,
    assert_awaiting_callback,
    assert_complete,
    assert_failed,
    assert_state,
    assert_step_name,
    assert_suspended,
    assert_waiting,
    extract_error,
    extract_state,
)
from orchestrator_dagster.testing.clock import JumpingClock
from orchestrator_dagster.testing.form import run_form_generator
from orchestrator_dagster.testing.server import TemporaryServer
from orchestrator_dagster.testing.workbench import Workbench

__all__ = [
    "JumpingClock",
    "TemporaryServer",
    "Workbench",
    "assert_aborted",
    "assert_assignee",
    "assert_awaiting_callback",
    "assert_complete",
    "assert_failed",
    "assert_state",
    "assert_step_name",
    "assert_suspended",
    "assert_waiting",
    "extract_error",
    "extract_state",
    "run_form_generator",
]
