"""The processes that wait for nothing but a run that picks them up."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text, update

from orchestrator_dagster.db.tables import process_inputs, processes, resume_tokens, workflows
from orchestrator_dagster.domain.process import Assignee, ProcessStatus

_HALTED = [status for status in ProcessStatus if status.halted]
_QUEUED = [status for status in ProcessStatus if status.queued]

_SECONDS_TO_SUBMIT = 30
"""For so long nobody else submits a run for a process that somebody has set out to submit one for."""

# Those who ask at once get the same token; the one that comes second changes nothing, but sees it.
_OPEN_TOKEN = text("""
    INSERT INTO orchestrator.resume_tokens AS token (process_id, created_by, submitted_at)
    VALUES (:process_id, :created_by, CASE WHEN :submits THEN clock_timestamp() END)
    ON CONFLICT (process_id) WHERE used_by_run IS NULL
    DO UPDATE SET submitted_at = coalesce(excluded.submitted_at, token.submitted_at)
    RETURNING token
""")

# What was submitted before the engine was resumed was refused, if it came to anything.
_CLAIM_TOKEN = text("""
    INSERT INTO orchestrator.resume_tokens AS token (process_id, created_by, submitted_at)
    VALUES (:process_id, :created_by, clock_timestamp())
    ON CONFLICT (process_id) WHERE used_by_run IS NULL
    DO UPDATE SET submitted_at = excluded.submitted_at
    WHERE token.submitted_at IS NULL
       OR token.submitted_at < clock_timestamp() - make_interval(secs => :seconds)
       OR token.submitted_at < (SELECT changed_at FROM orchestrator.engine_settings)
    RETURNING token, created_by
""")


@dataclass(frozen=True)
class QueuedProcess:
    """A process that waits for a run.

    Attributes:
        process_id: id of the process.
        workflow: name of its workflow.
        token: what lets a run go on with it, if somebody asked for that already.
        submitted_at: when somebody last set out to submit a run for it.
        user: who asked for it.
        given: the input that it was started with.
    """

    process_id: UUID
    workflow: str
    token: UUID | None
    submitted_at: datetime | None
    user: str | None
    given: Mapping[str, Any]


@dataclass(frozen=True)
class ResumeToken:
    """What lets one run go on with a process, once.

    Attributes:
        token: the token.
        user: who wanted the process to go on.
    """

    token: UUID
    user: str


def queue_process(connection: Connection, process_id: UUID, now: datetime) -> bool:
    """Put a process in the queue, unless a run works on it, it is there already, or it has ended.

    Returns:
        Whether it was put there.
    """
    queued = connection.execute(
        update(processes)
        .where(processes.c.process_id == process_id, processes.c.last_status.in_(_HALTED))
        .values(
            last_status=ProcessStatus.RESUMED,
            last_modified_at=now,
            assignee=Assignee.SYSTEM,
            failed_reason=None,
            traceback=None,
        )
    )
    return queued.rowcount > 0


def queued_processes(
    connection: Connection, limit: int, *, workflow_names: Collection[str] | None = None
) -> list[QueuedProcess]:
    """Return processes that wait for a run: first those that none was submitted for, then where that was longest ago.

    So those whose runs come to nothing don't keep others from their turn.

    Args:
        connection: where to look.
        limit: how many at most.
        workflow_names: the workflows that the caller can run; without them, all.
    """
    found = (
        select(
            processes.c.process_id,
            workflows.c.name,
            resume_tokens.c.token,
            resume_tokens.c.submitted_at,
            resume_tokens.c.created_by,
            process_inputs.c.input,
        )
        .join(workflows, workflows.c.workflow_id == processes.c.workflow_id)
        .join(
            process_inputs,
            (process_inputs.c.process_id == processes.c.process_id) & (process_inputs.c.input_type == "initial_state"),
        )
        .outerjoin(
            resume_tokens,
            (resume_tokens.c.process_id == processes.c.process_id) & resume_tokens.c.used_by_run.is_(None),
        )
        .where(processes.c.last_status.in_(_QUEUED))
        .order_by(resume_tokens.c.submitted_at.nulls_first(), processes.c.started_at)
        .limit(limit)
    )
    if workflow_names is not None:
        found = found.where(workflows.c.name.in_(workflow_names))
    return [QueuedProcess(*row) for row in connection.execute(found)]


def open_resume_token(connection: Connection, process_id: UUID, user: str, *, submits: bool = False) -> UUID:
    """Return the token that lets one run go on with a process, once; those who ask before it is used get the same.

    Args:
        connection: the transaction.
        process_id: id of the process.
        user: who wants it to go on; counts where nobody wanted it before.
        submits: whether the caller has a run go on with it now, whatever others do.
    """
    values = {"process_id": process_id, "created_by": user, "submits": submits}
    token: UUID = connection.execute(_OPEN_TOKEN, values).scalar_one()
    return token


def claim_resume_token(connection: Connection, process_id: UUID, user: str) -> ResumeToken | None:
    """Return the token with which the caller is to submit a run for a process.

    Args:
        connection: the transaction.
        process_id: id of the process.
        user: who wants it to go on; counts where nobody wanted it before.

    Returns:
        The token; `None` where somebody else has set out to do so a moment ago.
    """
    values = {"process_id": process_id, "created_by": user, "seconds": _SECONDS_TO_SUBMIT}
    claimed = connection.execute(_CLAIM_TOKEN, values).one_or_none()
    return None if claimed is None else ResumeToken(*claimed)
