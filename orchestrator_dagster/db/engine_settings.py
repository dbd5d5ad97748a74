"""Whether the engine is paused. There is one row; a database without it counts as not paused."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator_dagster.db.tables import engine_settings, processes
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.waiting import Flags
from orchestrator_dagster.errors import EnginePausedError


@dataclass(frozen=True)
class EngineStatus:
    """Whether the engine is paused.

    Attributes:
        paused: whether processes stop after their current step, and none are started.
        by: who paused or resumed it last.
        at: when that was.
        reason: why it is paused.
        running: how many processes are at work in a step.
    """

    paused: bool
    by: str | None
    at: datetime | None
    reason: str | None
    running: int


def engine_status(connection: Connection) -> EngineStatus:
    """Return whether the engine is paused, and how many processes run."""
    running = (
        select(func.count())
        .select_from(processes)
        .where(processes.c.last_status == ProcessStatus.RUNNING)
        .scalar_subquery()
    )
    settings = select(
        engine_settings.c.global_lock,
        engine_settings.c.changed_by,
        engine_settings.c.changed_at,
        engine_settings.c.reason,
        running,
    )
    row = connection.execute(settings).one_or_none()
    if row is None:
        return EngineStatus(False, None, None, None, connection.execute(select(running)).scalar_one())
    return EngineStatus(*row)


def require_going_engine(connection: Connection) -> None:
    """Make sure that the engine is not paused.

    Raises:
        EnginePausedError: it is.
    """
    paused = select(engine_settings.c.changed_by, engine_settings.c.reason).where(engine_settings.c.global_lock)
    row = connection.execute(paused).one_or_none()
    if row is not None:
        raise EnginePausedError(by=row.changed_by, reason=row.reason)


def pause_engine(connection: Connection, user: str, reason: str) -> None:
    """Let processes stop after their current step, and start none."""
    _set(connection, paused=True, user=user, reason=reason)


def resume_engine(connection: Connection, user: str) -> None:
    """Let processes go on."""
    _set(connection, paused=False, user=user, reason=None)


def flags_of(connection: Connection, process_id: UUID) -> Flags:
    """Return what a run is to heed before the first step that it runs of a process."""
    paused = select(engine_settings.c.global_lock).scalar_subquery()
    row = connection.execute(
        select(processes.c.abort_requested_at.is_not(None), func.coalesce(paused, False)).where(
            processes.c.process_id == process_id
        )
    ).one()
    return Flags(*row)


def _set(connection: Connection, *, paused: bool, user: str, reason: str | None) -> None:
    values = {"global_lock": paused, "changed_by": user, "changed_at": func.clock_timestamp(), "reason": reason}
    connection.execute(
        upsert(engine_settings).values(**values).on_conflict_do_update(index_elements=["only_row"], set_=values)
    )
