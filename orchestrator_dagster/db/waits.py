"""The steps of processes that were reached and are not finished, and what they wait for.

Who changes one locks the process's row before it, and before that the callback's where there is one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator_dagster.db.queue import queue_process
from orchestrator_dagster.db.stored_text import short_reason, short_traceback
from orchestrator_dagster.db.tables import process_waits, processes
from orchestrator_dagster.domain.process import Assignee, ProcessStatus
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import Wait, WaitKind, most_pressing, standing

_NOTHING_TO_WAIT_FOR = "The run ended before the process did; go on with it to finish"

# When a step failed, the other branches go on. Not so when the process was interrupted (it failed although no step did:
# what was under way may be half done), or when it could not be undone: then somebody has to look first.
_NEEDS_SOMEBODY = text("""
    SELECT last_status IN ('failed', 'api_unavailable', 'inconsistent_data')
           AND (abort_requested_at IS NOT NULL
                OR NOT EXISTS (SELECT
                               FROM orchestrator.process_waits
                               WHERE process_id = :process_id AND kind = 'failure' AND ready_at IS NULL))
    FROM orchestrator.processes
    WHERE process_id = :process_id
""")

# Somebody else may be letting some of these processes go on: those are looked at the next time. Those at which somebody
# has to look stay where they are.
_QUEUE_DUE = text("""
    WITH due AS (
        SELECT process_id
        FROM orchestrator.processes
        WHERE process_id IN (SELECT process_id
                             FROM orchestrator.process_waits
                             WHERE ready_at IS NULL AND due_at <= :now
                             ORDER BY due_at
                             LIMIT :limit)
        FOR NO KEY UPDATE SKIP LOCKED
    ), ready AS (
        UPDATE orchestrator.process_waits AS wait
        SET ready_at = :now
        FROM due
        WHERE wait.process_id = due.process_id AND wait.ready_at IS NULL AND wait.due_at <= :now
        RETURNING wait.process_id
    ), queued AS (
        UPDATE orchestrator.processes AS process
        SET last_status = 'resumed',
            last_modified_at = :now,
            assignee = 'SYSTEM',
            failed_reason = NULL,
            traceback = NULL
        FROM due
        WHERE process.process_id = due.process_id
          AND process.last_status NOT IN ('created', 'running', 'resumed', 'completed', 'aborted')
          AND (process.last_status NOT IN ('failed', 'api_unavailable', 'inconsistent_data')
               OR process.abort_requested_at IS NULL
                  AND EXISTS (SELECT
                              FROM orchestrator.process_waits AS failure
                              WHERE failure.process_id = process.process_id
                                AND failure.kind = 'failure' AND failure.ready_at IS NULL))
    )
    SELECT DISTINCT process_id FROM ready
""")


def open_wait(connection: Connection, process_id: UUID, wait: Wait) -> None:
    """Record what a step waits for, in place of what it waited for before."""
    values = {
        "name": wait.name,
        "kind": wait.kind,
        "branch": wait.branch,
        "status": wait.status,
        "assignee": wait.assignee,
        "since": wait.since,
        "due_at": wait.due_at,
        "waits_for": wait.waits_for,
        "form": wait.form,
        "reason": short_reason(wait.reason),
        "traceback": short_traceback(wait.traceback),
        "ready_at": wait.ready_at,
        "answer": wait.answer,
        "given": wait.given,
        "answered_by": wait.answered_by,
    }
    connection.execute(
        upsert(process_waits)
        .values(process_id=process_id, step=wait.step, **values)
        .on_conflict_do_update(index_elements=["process_id", "step"], set_=values)
    )


def close_wait(connection: Connection, process_id: UUID, step: str) -> None:
    """Forget what a step waited for."""
    connection.execute(
        delete(process_waits).where(process_waits.c.process_id == process_id, process_waits.c.step == step)
    )


def waits_of(connection: Connection, process_id: UUID, *, lock: bool = False) -> dict[str, Wait]:
    """Return what a process waits for, by step, the longest wait first.

    Args:
        connection: where to look.
        process_id: id of the process.
        lock: whether to keep others from changing it until the transaction ends.
    """
    found = (
        select(process_waits)
        .where(process_waits.c.process_id == process_id)
        .order_by(process_waits.c.since, process_waits.c.step)
    )
    if lock:
        _lock_process(connection, process_id)
        found = found.with_for_update()
    return {row.step: _wait(row) for row in connection.execute(found)}


def make_ready(
    connection: Connection,
    process_id: UUID,
    step: str,
    *,
    answer: State | None = None,
    given: Mapping[str, Any] | None = None,
    user: str,
    now: datetime,
) -> bool:
    """Let a step go on, and put its process in the queue unless a run works on it or somebody has to look at it.

    Args:
        connection: the transaction.
        process_id: id of the process.
        step: key of the step.
        answer: what the answer adds to the state.
        given: the answer as it was given.
        user: who lets it go on.
        now: the time.

    Returns:
        Whether it was that; `False` where the step does not wait, or was ready already.
    """
    _lock_process(connection, process_id)
    needs_somebody = connection.execute(_NEEDS_SOMEBODY, {"process_id": process_id}).scalar()
    made = connection.execute(
        update(process_waits)
        .where(
            process_waits.c.process_id == process_id,
            process_waits.c.step == step,
            process_waits.c.ready_at.is_(None),
        )
        .values(ready_at=now, answer=answer, given=given, answered_by=user)
    )
    if made.rowcount and not needs_somebody:
        queue_process(connection, process_id, now)
    return made.rowcount > 0


def queue_due(connection: Connection, now: datetime, limit: int) -> list[UUID]:
    """Let the steps go on whose time has come, and put their processes in the queue unless a run works on them.

    Args:
        connection: the transaction.
        now: the time.
        limit: how many processes at most.

    Returns:
        The processes of those steps.
    """
    return list(connection.scalars(_QUEUE_DUE, {"now": now, "limit": limit}))


def wake_parent(connection: Connection, process_id: UUID, now: datetime) -> list[UUID]:
    """Let the steps go on that waited for a process to end.

    Returns:
        The processes of those steps.
    """
    waiting = select(process_waits.c.process_id, process_waits.c.step).where(
        process_waits.c.waits_for == process_id, process_waits.c.ready_at.is_(None)
    )
    return [
        parent
        for parent, step in connection.execute(waiting).all()
        if make_ready(connection, parent, step, user=Assignee.SYSTEM, now=now)
    ]


def settle(
    connection: Connection,
    process_id: UUID,
    lease: int,
    *,
    interrupted: str | None = None,
    stopped: bool = False,
    now: datetime,
) -> ProcessStatus:
    """Say where a process stands that no run works on any more, if it still stands as running under a lease.

    The caller makes sure that no living run works on it.

    Args:
        connection: the transaction.
        process_id: id of the process.
        lease: number of the lease of the run that worked on it.
        interrupted: what to say where the run was interrupted, maybe in the middle of a step: the process stands as
            failed then, whatever else it waits for.
        stopped: whether the run stopped before it was through, as the engine is paused: another is to go on then.
        now: the time.

    Returns:
        Where the process stands now.
    """
    process = connection.execute(
        select(processes.c.last_status, processes.c.lease, processes.c.abort_requested_at)
        .where(processes.c.process_id == process_id)
        .with_for_update(key_share=True)
    ).one()
    if process.lease != lease or process.last_status != ProcessStatus.RUNNING:
        return ProcessStatus(process.last_status)
    aborting = process.abort_requested_at is not None
    values = _standing(connection, process_id, interrupted, stopped=stopped, aborting=aborting)
    connection.execute(
        update(processes).where(processes.c.process_id == process_id).values(last_modified_at=now, **values)
    )
    return ProcessStatus(values["last_status"])


def _standing(
    connection: Connection, process_id: UUID, interrupted: str | None, *, stopped: bool, aborting: bool
) -> dict[str, Any]:
    """Return where a process stands that a run left, why, and who is asked to act, as columns."""
    if interrupted is not None:
        return _columns(ProcessStatus.FAILED, reason=interrupted)
    waits = list(waits_of(connection, process_id).values())
    # what waits in a process that is aborted is a part of the abort
    goes_on = stopped or (aborting and not waits)
    status = ProcessStatus.RESUMED if goes_on else standing(waits)
    if status is None:
        return _columns(ProcessStatus.FAILED, reason=_NOTHING_TO_WAIT_FOR)
    pressing = most_pressing(waits)
    if status is ProcessStatus.RESUMED or pressing is None:
        return _columns(status)
    return _columns(status, pressing.assignee, pressing.reason, pressing.traceback)


def _columns(
    status: ProcessStatus,
    assignee: Assignee = Assignee.SYSTEM,
    reason: str | None = None,
    traceback: str | None = None,
) -> dict[str, Any]:
    # a process that failed says why, even where an error has no text
    why = reason or status.value if status.failed else reason
    return {"last_status": status, "assignee": assignee, "failed_reason": why, "traceback": traceback}


def _lock_process(connection: Connection, process_id: UUID) -> None:
    connection.execute(
        select(processes.c.process_id).where(processes.c.process_id == process_id).with_for_update(key_share=True)
    )


def _wait(row: Row[Any]) -> Wait:
    return Wait(
        step=row.step,
        name=row.name,
        kind=WaitKind(row.kind),
        since=row.since,
        branch=row.branch,
        due_at=row.due_at,
        assignee=Assignee(row.assignee),
        waits_for=row.waits_for,
        form=row.form,
        reason=row.reason,
        traceback=row.traceback,
        status=ProcessStatus(row.status) if row.status else None,
        ready_at=row.ready_at,
        answer=row.answer,
        given=row.given,
        answered_by=row.answered_by,
    )
