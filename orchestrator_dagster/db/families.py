"""Processes that started each other."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from orchestrator_dagster.db.processes import request_abort
from orchestrator_dagster.db.queue import queue_process

_LINEAGE = text("""
    WITH RECURSIVE ancestors AS (
        SELECT process_id, parent_process_id, 0 AS generation
        FROM orchestrator.processes
        WHERE process_id = :process_id
        UNION ALL
        SELECT parent.process_id, parent.parent_process_id, ancestors.generation + 1
        FROM orchestrator.processes AS parent
        JOIN ancestors ON ancestors.parent_process_id = parent.process_id
    )
    SELECT process_id FROM ancestors ORDER BY generation
""")

_UNFINISHED_CHILDREN = text("""
    SELECT process_id FROM orchestrator.processes
    WHERE parent_process_id = :process_id AND last_status NOT IN ('completed', 'aborted')
    ORDER BY process_id
""")

_CHILDREN = text("""
    SELECT process_id FROM orchestrator.processes
    WHERE parent_process_id = :process_id
    ORDER BY started_at, process_id
""")

# Up to the first one, and from there down again.
_QUEUED = text("""
    WITH RECURSIVE ancestors AS (
        SELECT process_id, parent_process_id, 0 AS generation
        FROM orchestrator.processes
        WHERE process_id = :process_id
        UNION ALL
        SELECT parent.process_id, parent.parent_process_id, ancestors.generation + 1
        FROM orchestrator.processes AS parent
        JOIN ancestors ON ancestors.parent_process_id = parent.process_id
    ), family AS (
        (SELECT process_id FROM ancestors ORDER BY generation DESC LIMIT 1)
        UNION ALL
        SELECT child.process_id
        FROM orchestrator.processes AS child
        JOIN family ON child.parent_process_id = family.process_id
    )
    SELECT process_id
    FROM family
    JOIN orchestrator.processes USING (process_id)
    WHERE last_status IN ('created', 'resumed')
    ORDER BY last_modified_at, process_id
""")


def children_of(connection: Connection, process_id: UUID) -> list[UUID]:
    """Return the processes that a process started, oldest first."""
    return list(connection.scalars(_CHILDREN, {"process_id": process_id}))


def queued_in_family(connection: Connection, process_id: UUID) -> list[UUID]:
    """Return the processes of a family that wait for a run to pick them up, in the order in which they came to it.

    A family is a process, all that it started, and what started it.
    """
    return list(connection.scalars(_QUEUED, {"process_id": process_id}))


def lineage(connection: Connection, process_id: UUID) -> tuple[UUID, ...]:
    """Return a process and those of which it is a part, the nearest first."""
    return tuple(connection.scalars(_LINEAGE, {"process_id": process_id}))


def unfinished_children(connection: Connection, process_id: UUID) -> list[UUID]:
    """Return the processes that a process started and that have not ended."""
    return list(connection.scalars(_UNFINISHED_CHILDREN, {"process_id": process_id}))


def abort_children(connection: Connection, process_id: UUID, *, user: str, reason: str, now: datetime) -> list[UUID]:
    """Ask the unfinished processes that a process has started to abort, and have runs pick them up; return their ids.

    A child that ends writes its own row first and then wakes its parent. So the transaction must not have locked the
    parent's row, or the two might wait for each other.

    Args:
        connection: the transaction.
        process_id: the process that is aborted.
        user: who aborts it.
        reason: why.
        now: the engine's time.
    """
    children = unfinished_children(connection, process_id)
    why = f"Process {process_id}, which started this one, is aborted: {reason}"
    for child in children:
        request_abort(connection, child, user, why, now)
        queue_process(connection, child, now)
    return children
