"""What a test that fails tells about a process."""

from orchestrator_dagster.db.step_log import StepRow
from orchestrator_dagster.jobs.process import Process


class RecordedError(Exception):
    """What a step raised, as the process keeps it: its text is the traceback."""


def account_of(process: Process) -> str:
    """Return where a process stands, why, and its step log, for a person to read."""
    lines = [f"Process {process.process_id} of {process.workflow} is {process.status}"]
    if not process.status.ended and process.current_step:
        lines[0] += f" at {process.current_step}"
    if process.failed_reason:
        lines.append(f"  because: {process.failed_reason}")
    lines.append("  step log:" if process.steps else "  its step log is empty")
    return "\n".join([*lines, *map(_line, process.steps)])


def recorded_error(process: Process) -> RecordedError | None:
    """Return what a step of the process raised last, to chain another error to; `None` where nothing did."""
    return RecordedError(f"\n\n{process.traceback}") if process.traceback else None


def _line(row: StepRow) -> str:
    line = f"    {row.step:<30} {row.status:<17} {row.name}"
    if row.attempt > 1:
        line += f" (attempt {row.attempt})"
    if row.error:
        line += f": {row.error.get('class')}: {row.error.get('error')}"
    return line
