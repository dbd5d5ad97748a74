"""The step log: what happened to each step of a process, and the state that follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.tables import process_inputs, process_steps
from orchestrator_dagster.domain.difference import Difference, Edit
from orchestrator_dagster.domain.process import ProcessStatus, StepStatus
from orchestrator_dagster.errors import ProcessTakenOverError

_MOST_REASON = 10_000
_MOST_TRACEBACK = 50_000

# It is one statement, so that a run that lost its process can neither log nor, as the statement fails, commit.
_LOG_STEP = text("""
    WITH fenced AS (
        UPDATE orchestrator.processes
        SET last_status = :process_status,
            last_step = :step,
            last_modified_at = clock_timestamp(),
            failed_reason = :failed_reason,
            traceback = :traceback
        WHERE process_id = :process_id AND lease = :lease AND last_status NOT IN ('completed', 'aborted')
        RETURNING process_id
    )
    INSERT INTO orchestrator.process_steps (process_id, step, attempt, name, status, run_id, created_by,
                                            changes, edits, conditions, error, started_at, completed_at)
    SELECT process_id,
           :step,
           (SELECT coalesce(max(attempt), 0) + 1
            FROM orchestrator.process_steps
            WHERE process_id = :process_id AND step = :step),
           :name, :status, :run_id, :created_by,
           CAST(:changes AS json), CAST(:edits AS json), CAST(:conditions AS jsonb), CAST(:error AS jsonb),
           :started_at, :completed_at
    FROM fenced
""")


@dataclass(frozen=True)
class StepRow:
    """A row of the step log: what happened to a step in one attempt.

    Attributes:
        step: the step's key, which is its op's name in the job.
        name: the step's title.
        changes: what it added to the state or wrote anew, by key.
        edits: what it changed inside values that the state had already, by key; see `Difference`.
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
    edits: Mapping[str, Edit] | None = None
    conditions: Mapping[str, bool] | None = None
    error: Mapping[str, Any] | None = None

    @property
    def difference(self) -> Difference:
        """What the step changed in the state."""
        return Difference(self.changes or {}, self.edits or {})

    @property
    def changed(self) -> tuple[str, ...]:
        """The keys of the state that the step added or changed."""
        return self.difference.keys


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
        return Memory(row.difference.applied_to(self.state), self.finished | {row.step}, conditions)


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
            edits=row.edits,
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

    Raises:
        ProcessTakenOverError: another run goes on with the process.
        TypeError: what the step changed in the state cannot be stored.
    """
    logged = connection.execute(
        _LOG_STEP,
        {
            "process_id": process_id,
            "process_status": status.value,
            "lease": lease,
            "failed_reason": reason and storable(reason)[:_MOST_REASON],
            "traceback": traceback and storable(traceback)[-_MOST_TRACEBACK:],
            "step": row.step,
            "name": row.name,
            "status": row.status.value,
            "run_id": row.run_id,
            "created_by": row.created_by,
            "changes": json_of_state(row.changes or {}, of=row.name),
            "edits": json_of_state(row.edits, of=row.name) if row.edits else None,
            "conditions": to_json(row.conditions) if row.conditions else None,
            "error": to_json(row.error) if row.error else None,
            "started_at": row.started_at,
            "completed_at": row.completed_at,
        },
    )
    if not logged.rowcount:
        raise ProcessTakenOverError(process_id=process_id, run_id=row.run_id)


def json_of_state(values: Mapping[str, Any], *, of: str) -> str:
    """Return what is to be stored of the state, by key, as JSON text.

    Args:
        values: JSON by key.
        of: what returned it, for the error.

    Raises:
        TypeError: a value has what Postgres cannot hold; its key is named.
    """
    try:
        return _storable_text(values)
    except (ValueError, RecursionError):
        for key, value in values.items():
            try:
                _storable_text({key: value})
            except (ValueError, RecursionError) as error:
                raise TypeError(f"{of} returned under {key!r} what cannot be stored: {error}") from error
        raise


def _storable_text(values: Mapping[str, Any]) -> str:
    written = to_json(values)
    written.encode()
    return written


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
