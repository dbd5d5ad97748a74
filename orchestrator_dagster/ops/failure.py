"""What is kept of an error that made a step fail."""

import traceback
from typing import Any

from pydantic_core import to_jsonable_python

from orchestrator_dagster.db.stored_text import storable_json
from orchestrator_dagster.domain.process import Assignee, ProcessStatus
from orchestrator_dagster.domain.secret import Hiding

_INCONSISTENT = "InconsistentDataError"
_OUT_OF_REACH = "MaxRetryError"
_OF_AN_API = "ApiException"
_AWAY = (502, 503, 504)
_NOTHING = Hiding()


def text_of(error: BaseException) -> str:
    """Return the text of an error, whatever its `str()` does."""
    try:
        return str(error)
    except Exception as failure:
        return f"{type(error).__name__}, which cannot be shown: {type(failure).__name__}"


def reason_of(error: BaseException, hide: Hiding = _NOTHING) -> str:
    """Return why something failed: the error's text, or else its class."""
    return hide.text(text_of(error)) or type(error).__name__


def traceback_of(error: BaseException, hide: Hiding = _NOTHING) -> str:
    """Return where in the code something failed."""
    return hide.text("".join(traceback.format_exception(error)))


def record_of(error: BaseException, hide: Hiding = _NOTHING) -> dict[str, Any]:
    """Return an error as the step log keeps it."""
    record: dict[str, Any] = {"class": type(error).__name__, "error": text_of(error)}
    if details := getattr(error, "details", None):
        record["details"] = to_jsonable_python(details, inf_nan_mode="strings", fallback=str)
    stored: dict[str, Any] = storable_json(hide.json(record))
    return stored


def standing_of_task(error: BaseException) -> tuple[ProcessStatus, Assignee]:
    """Return where a task stands that failed with an error, and who is to look at it.

    Example:
        >>> standing_of_task(AssertionError("the ports differ"))
        (<ProcessStatus.INCONSISTENT_DATA: 'inconsistent_data'>, <Assignee.NOC: 'NOC'>)
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, AssertionError) or _INCONSISTENT in names:
        return ProcessStatus.INCONSISTENT_DATA, Assignee.NOC
    if _OUT_OF_REACH in names or (_OF_AN_API in names and getattr(error, "status", None) in _AWAY):
        return ProcessStatus.API_UNAVAILABLE, Assignee.SYSTEM
    return ProcessStatus.FAILED, Assignee.SYSTEM
