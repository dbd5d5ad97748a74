"""What people answered to the steps of a process that asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from orchestrator_dagster.db.exact_json import to_json

_LOG_ANSWER = text("""
    INSERT INTO orchestrator.process_inputs (process_id, input_type, step, input, state, created_by)
    VALUES (:process_id, 'user_input', :step, CAST(:given AS json), CAST(:state AS json), :user)
""")

_LAST_ANSWER = text("""
    SELECT step, input, created_by
    FROM orchestrator.process_inputs
    WHERE process_id = :process_id AND input_type = 'user_input' AND step = coalesce(:step, step)
    ORDER BY input_time DESC, input_id DESC
    LIMIT 1
""")


@dataclass(frozen=True)
class LoggedAnswer:
    """An answer that was taken.

    Attributes:
        step: key of the step that asked.
        given: the answer as it was given.
        answered_by: who gave it.
    """

    step: str
    given: Mapping[str, Any]
    answered_by: str


def log_answer(
    connection: Connection,
    process_id: UUID,
    step: str,
    *,
    given: Mapping[str, Any],
    state: Mapping[str, Any],
    user: str,
) -> None:
    """Keep what was answered to a step, and what that adds to the state."""
    connection.execute(
        _LOG_ANSWER,
        {"process_id": process_id, "step": step, "given": to_json(given), "state": to_json(state), "user": user},
    )


def last_answer(connection: Connection, process_id: UUID, step: str | None = None) -> LoggedAnswer | None:
    """Return the newest answer to a step of a process, or to any of its steps; `None` where there is none."""
    row = connection.execute(_LAST_ANSWER, {"process_id": process_id, "step": step}).one_or_none()
    return None if row is None else LoggedAnswer(row.step, row.input, row.created_by)
