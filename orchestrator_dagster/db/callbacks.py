"""The addresses at which processes wait for other systems, and what came in there.

Who receives and who awaits lock the row of a callback before they look: so none falls between.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from orchestrator_dagster.db.tables import process_callbacks

_IS_OPEN = process_callbacks.c.closed_at.is_(None)


@dataclass(frozen=True)
class Callback:
    """An address at which a process waits for another system.

    Attributes:
        process_id: the process that waits.
        step: key of the step that awaits it.
        token_hash: what the token in the address hashes to.
        opened_at: since when there is the address.
        received_at: when the other system called.
        body: what it sent.
        progress: how far it said that it was.
        progress_at: when it said so.
        closed_at: when it was not waited for any more.
    """

    process_id: UUID
    step: str
    token_hash: str
    opened_at: datetime
    received_at: datetime | None
    body: Any
    progress: Any
    progress_at: datetime | None
    closed_at: datetime | None


def hash_of(token: str) -> str:
    """Return what is kept of a token: whoever reads the database cannot answer in another's place."""
    return hashlib.sha256(token.encode()).hexdigest()


def open_callback(connection: Connection, process_id: UUID, step: str, token_hash: str, now: datetime) -> None:
    """Record an address at which a step waits from now on; one from before is not good any more."""
    close_callback(connection, process_id, step, now)
    connection.execute(
        insert(process_callbacks).values(process_id=process_id, step=step, token_hash=token_hash, opened_at=now)
    )


def find_callback(connection: Connection, process_id: UUID, token_hash: str) -> Callback | None:
    """Return the callback with an address, whether it is waited for or not any more, and lock it.

    Args:
        connection: the transaction; nobody else changes the callback until it ends.
        process_id: the process of the address.
        token_hash: what its token hashes to.
    """
    return _lock(connection, _has_address(process_id, token_hash))


def callback_of(connection: Connection, process_id: UUID, step: str) -> Callback | None:
    """Return the callback that a step awaits, and lock it; see `find_callback`."""
    return _lock(connection, _is_awaited_by(process_id, step))


def callbacks_of(connection: Connection, process_id: UUID, *, lock: bool = True) -> list[Callback]:
    """Return all callbacks of a process, those that are not waited for any more too, the oldest first."""
    found = (
        select(process_callbacks)
        .where(process_callbacks.c.process_id == process_id)
        .order_by(process_callbacks.c.opened_at, process_callbacks.c.token_hash)
    )
    return [_callback(row) for row in connection.execute(found.with_for_update() if lock else found)]


def receive(connection: Connection, process_id: UUID, token_hash: str, body: Any, now: datetime) -> bool:
    """Keep what another system sent; return whether it is the first, and still waited for."""
    received = connection.execute(
        update(process_callbacks)
        .where(_has_address(process_id, token_hash), process_callbacks.c.received_at.is_(None), _IS_OPEN)
        .values(received_at=now, body=body)
    )
    return received.rowcount > 0


def progress(connection: Connection, process_id: UUID, token_hash: str, how_far: Any, now: datetime) -> bool:
    """Keep how far another system says that it is; return whether it is still waited for."""
    noted = connection.execute(
        update(process_callbacks)
        .where(_has_address(process_id, token_hash), process_callbacks.c.received_at.is_(None), _IS_OPEN)
        .values(progress=how_far, progress_at=now)
    )
    return noted.rowcount > 0


def close_callback(connection: Connection, process_id: UUID, step: str, now: datetime) -> None:
    """Let a step not wait at an address any more."""
    connection.execute(update(process_callbacks).where(_is_awaited_by(process_id, step)).values(closed_at=now))


def give_to_step(connection: Connection, callback: Callback, step: str) -> None:
    """Let a callback be awaited by a step under another key, since that was renamed."""
    address = _has_address(callback.process_id, callback.token_hash)
    connection.execute(update(process_callbacks).where(address).values(step=step))


def _has_address(process_id: UUID, token_hash: str) -> ColumnElement[bool]:
    return (process_callbacks.c.process_id == process_id) & (process_callbacks.c.token_hash == token_hash)


def _is_awaited_by(process_id: UUID, step: str) -> ColumnElement[bool]:
    return (process_callbacks.c.process_id == process_id) & (process_callbacks.c.step == step) & _IS_OPEN


def _lock(connection: Connection, which: ColumnElement[bool]) -> Callback | None:
    row = connection.execute(select(process_callbacks).where(which).with_for_update()).one_or_none()
    return None if row is None else _callback(row)


def _callback(row: Row[Any]) -> Callback:
    return Callback(
        process_id=row.process_id,
        step=row.step,
        token_hash=row.token_hash,
        opened_at=row.opened_at,
        received_at=row.received_at,
        body=row.body,
        progress=row.progress,
        progress_at=row.progress_at,
        closed_at=row.closed_at,
    )
