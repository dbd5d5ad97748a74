"""Which events can wait a moment before they are written, and which can't."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from dagster import DagsterEventType as Type

LONGEST_INDEXED_TEXT = 2000


class Kind(Enum):
    """How an event is written."""

    DEFERRED = "with the next one that is prompt, or a moment later"
    PROMPT = "before the run goes on"
    ASSET = "before the run goes on; Dagster keeps tables about assets up to date with it"
    CHECK = "before the run goes on; Dagster keeps a table about asset checks up to date with it"
    OTHER = "by Dagster itself"


_KINDS: dict[Type, Kind] = {
    **dict.fromkeys(
        (
            Type.STEP_START,
            Type.STEP_INPUT,
            Type.STEP_OUTPUT,
            Type.STEP_EXPECTATION_RESULT,
            Type.STEP_WORKER_STARTING,
            Type.STEP_WORKER_STARTED,
            Type.RESOURCE_INIT_STARTED,
            Type.RESOURCE_INIT_SUCCESS,
            Type.RESOURCE_INIT_FAILURE,
            Type.OBJECT_STORE_OPERATION,
            Type.ASSET_STORE_OPERATION,
            Type.LOADED_INPUT,
            Type.HANDLED_OUTPUT,
            Type.ENGINE_EVENT,
            Type.LOGS_CAPTURED,
        ),
        Kind.DEFERRED,
    ),
    **dict.fromkeys(
        (
            Type.STEP_SUCCESS,
            Type.STEP_FAILURE,
            Type.STEP_SKIPPED,
            Type.STEP_UP_FOR_RETRY,
            Type.STEP_RESTARTED,
            Type.HOOK_COMPLETED,
            Type.HOOK_ERRORED,
            Type.HOOK_SKIPPED,
            Type.RUN_ENQUEUED,
            Type.RUN_DEQUEUED,
            Type.RUN_STARTING,
            Type.RUN_START,
            Type.RUN_SUCCESS,
            Type.RUN_FAILURE,
            Type.RUN_CANCELING,
            Type.RUN_CANCELED,
        ),
        Kind.PROMPT,
    ),
    **dict.fromkeys(
        (Type.ASSET_MATERIALIZATION, Type.ASSET_OBSERVATION, Type.ASSET_MATERIALIZATION_PLANNED), Kind.ASSET
    ),
    **dict.fromkeys((Type.ASSET_CHECK_EVALUATION, Type.ASSET_CHECK_EVALUATION_PLANNED), Kind.CHECK),
}


def kind_of(event_type: Type | None) -> Kind:
    """Say how an event is written. What this module doesn't know, Dagster writes itself.

    Args:
        event_type: None for a line that the author logged.

    Example:
        >>> kind_of(None).name, kind_of(Type.STEP_START).name, kind_of(Type.STEP_SUCCESS).name
        ('DEFERRED', 'DEFERRED', 'PROMPT')
    """
    return Kind.DEFERRED if event_type is None else _KINDS.get(event_type, Kind.OTHER)


def is_storable(row: Mapping[str, Any]) -> bool:
    r"""Whether Postgres surely takes a row: one that it refuses would be the end of all that are written with it.

    Args:
        row: values by the names of the columns of `event_logs`.

    Example:
        >>> is_storable({"event": "{}", "step_key": "reserve"}), is_storable({"event": "{}", "step_key": "\0"})
        (True, False)
    """
    return all(_is_storable_text(name, value) for name, value in row.items() if isinstance(value, str))


def _is_storable_text(column: str, value: str) -> bool:
    if "\0" in value or (column != "event" and len(value) > LONGEST_INDEXED_TEXT):
        return False
    return value.isascii() or _is_unicode(value)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
