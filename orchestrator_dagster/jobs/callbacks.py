"""What another system says that a process waits for: checked, kept, and the process put in the queue to go on."""

from collections.abc import Iterable, Mapping
from hmac import compare_digest
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.callbacks import Callback, find_callback, hash_of, progress, receive
from orchestrator_dagster.db.engine_settings import require_going_engine
from orchestrator_dagster.db.exact_json import same_json, to_json
from orchestrator_dagster.db.processes import get_process
from orchestrator_dagster.db.waits import make_ready
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import Assignee
from orchestrator_dagster.errors import CallbackBodyError, CallbackNotFoundError, CallbackRefusedError

_DEEPEST = 100


def receive_callback(engine: Engine, process_id: UUID | str, token: str, body: Any) -> bool:
    """Keep what another system sends when it is done, and put the process in the queue if it stands at that step.

    A process that has not come to the step yet finds it there.

    Args:
        engine: the database.
        process_id: the process of the address.
        token: the token of the address.
        body: the JSON that was sent.

    Returns:
        Whether it is new; `False` where the same came before, which then has no effect.

    Raises:
        CallbackNotFoundError: there is no such address.
        CallbackRefusedError: nothing is waited for there any more, or something else came before.
        CallbackBodyError: it cannot be stored.
        EnginePausedError: the engine is paused; to be tried again.
    """
    _require_storable(body)
    with engine.begin() as connection:
        callback = _find(connection, process_id, token)
        if callback.received_at is not None and same_json(callback.body, body):
            return False
        _require_awaited(connection, callback)
        receive(connection, callback.process_id, callback.token_hash, body, now())
        make_ready(connection, callback.process_id, callback.step, user=Assignee.SYSTEM, now=now())
    return True


def receive_progress(engine: Engine, process_id: UUID | str, token: str, how_far: Any) -> None:
    """Keep how far another system says that it is, in place of what it said before.

    Args:
        engine: the database.
        process_id: the process of the address.
        token: the token of the address.
        how_far: text or other JSON.

    Raises:
        CallbackNotFoundError: there is no such address.
        CallbackRefusedError: nothing is waited for there any more.
        CallbackBodyError: it cannot be stored.
        EnginePausedError: the engine is paused; to be tried again.
    """
    _require_storable(how_far)
    with engine.begin() as connection:
        callback = _find(connection, process_id, token)
        _require_awaited(connection, callback)
        progress(connection, callback.process_id, callback.token_hash, how_far, now())


def _find(connection: Connection, process_id: UUID | str, token: str) -> Callback:
    """Return the callback of an address, locked."""
    require_going_engine(connection)
    try:
        process_id, token_hash = UUID(str(process_id)), hash_of(token)
    except ValueError as error:
        raise CallbackNotFoundError from error
    callback = find_callback(connection, process_id, token_hash)
    if callback is None or not compare_digest(callback.token_hash, token_hash):
        raise CallbackNotFoundError
    return callback


def _require_awaited(connection: Connection, callback: Callback) -> None:
    process = get_process(connection, callback.process_id)
    if callback.received_at is not None:
        message = f"Process {process.process_id} has received something else here before"
    elif callback.closed_at is not None or process.status.ended:
        message = f"Process {process.process_id} does not wait for this any more"
    elif process.abort_requested_at is not None:
        message = f"Process {process.process_id} is being aborted by {process.abort_requested_by}"
    else:
        return
    raise CallbackRefusedError(message, process_id=process.process_id)


def _require_storable(body: Any) -> None:
    if _is_deeper(body, _DEEPEST):
        raise CallbackBodyError(f"The body cannot be stored: it is nested more than {_DEEPEST} deep")
    try:
        to_json(body).encode()
    except ValueError as error:
        raise CallbackBodyError(f"The body cannot be stored: {error}") from error


def _is_deeper(value: Any, most: int) -> bool:
    level: list[Any] = [value]
    for _ in range(most):
        level = [item for container in level for item in _items(container)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()
