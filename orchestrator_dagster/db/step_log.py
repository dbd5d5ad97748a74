"""The step log: what happened to each step of a process, and the state that follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSON, JSONB

from orchestrator_dagster.db.tables import process_inputs, process_steps, processes
from orchestrator_dagster.domain.process import ProcessStatus, StepStatus
from orchestrator_dagster.errors import ProcessTakenOverError

_MOST_REASON = 10_000
_MOST_TRACEBACK = 50_000


@dataclass(frozen=True)
class StepRow:
    """A row of the step log: what happened to a step in one attempt.

    Attributes:
        step: the step's key, which is its op's name in the job.
        name: the step's title.
        changes: the difference that it made to the state.
        conditions: what conditionals decided when it was reached.
        error: what went wrong, where it failed.
    """

    step: str
    name: str
    status: StepStatus
    run_id: str
    created_by: str
    started_at: datetime
    completed_at: datetime
    attempt: int = 1
    changes: Mapping[str, Any] | None = None
    conditions: Mapping[str, bool] | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Memory:
    """What the step log knows of a process.

    Attributes:
        state: the initial state with the changes of all finished steps.
        finished: the keys of the steps that need not run again.
        conditions: what conditionals decided.
    """

    state: dict[str, Any]
    finished: frozenset[str] = frozenset()
    conditions: Mapping[str, bool] | None = None

    def after(self, row: StepRow) -> "Memory":
        """Return the memory with one more row in the log."""
        conditions = {**(self.conditions or {}), **(row.conditions or {})}
        if not row.status.finished:
            return replace(self, conditions=conditions)
        return Memory({**self.state, **(row.changes or {})}, self.finished | {row.step}, conditions)


def recall(connection: Connection, process_id: UUID) -> Memory:
    """Return what the step log knows of a process."""
    initial: dict[str, Any] = connection.execute(
        select(process_inputs.c.state).where(
            process_inputs.c.process_id == process_id, process_inputs.c.input_type == "initial_state"
        )
    ).scalar_one()
    memory = Memory(initial)
    for row in step_rows(connection, process_id):
        memory = memory.after(row)
    return memory


def step_rows(connection: Connection, process_id: UUID) -> list[StepRow]:
    """Return the step log of a process, oldest row first."""
    rows = connection.execute(
        select(process_steps).where(process_steps.c.process_id == process_id).order_by(process_steps.c.step_id)
    )
    return [
        StepRow(
            step=row.step,
            name=row.name,
            status=StepStatus(row.status),
            run_id=row.run_id,
            created_by=row.created_by,
            started_at=row.started_at,
            completed_at=row.completed_at,
            attempt=row.attempt,
            changes=row.changes,
            conditions=row.conditions,
            error=row.error,
        )
        for row in rows
    ]


def log_step(
    connection: Connection,
    process_id: UUID,
    row: StepRow,
    *,
    lease: int,
    status: ProcessStatus,
    reason: str | None = None,
    traceback: str | None = None,
) -> None:
    """Add a row to the step log and say where the process stands, if the writer's lease is the newest one.

    Both are one statement, so that a run that lost its process can neither log nor, as the statement fails, commit.

    Raises:
        ProcessTakenOverError: another run goes on with the process.
    """
    fenced = (
        update(processes)
        .where(
            processes.c.process_id == process_id,
            processes.c.lease == lease,
            processes.c.last_status.not_in([ProcessStatus.COMPLETED, ProcessStatus.ABORTED]),
        )
        .values(
            last_status=status,
            last_step=row.step,
            last_modified_at=func.clock_timestamp(),
            failed_reason=reason and storable(reason)[:_MOST_REASON],
            traceback=traceback and storable(traceback)[-_MOST_TRACEBACK:],
        )
        .returning(processes.c.process_id)
        .cte("fenced")
    )
    attempt = (
        select(func.coalesce(func.max(process_steps.c.attempt), 0) + 1)
        .where(process_steps.c.process_id == process_id, process_steps.c.step == row.step)
        .scalar_subquery()
    )
    values = {
        "process_id": fenced.c.process_id,
        "step": literal(row.step),
        "attempt": attempt,
        "name": literal(row.name),
        "status": literal(row.status.value),
        "run_id": literal(row.run_id),
        "created_by": literal(row.created_by),
        "changes": bindparam("changes", dict(row.changes or {}), type_=JSON),
        "conditions": bindparam("conditions", row.conditions or None, type_=JSONB(none_as_null=True)),
        "error": bindparam("error", row.error, type_=JSONB(none_as_null=True)),
        "started_at": literal(row.started_at),
        "completed_at": literal(row.completed_at),
    }
    logged = connection.execute(insert(process_steps).from_select(list(values), select(*values.values())))
    if not logged.rowcount:
        raise ProcessTakenOverError(process_id=process_id, run_id=row.run_id)


def storable(text: str) -> str:
    """Return a text with what Postgres cannot store written out."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def storable_json(value: Any) -> Any:
    """Return JSON with what Postgres cannot store in its texts written out."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): storable_json(item) for key, item in value.items()}
    return [storable_json(item) for item in value] if isinstance(value, list) else value
