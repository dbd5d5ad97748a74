"""Texts of errors, made such that Postgres can store them."""

from typing import Any

_MOST_REASON = 10_000
_MOST_TRACEBACK = 50_000


def short_reason(reason: str | None) -> str | None:
    """Return why something failed, as it is stored: a long one without its end."""
    return reason and storable(reason)[:_MOST_REASON]


def short_traceback(traceback: str | None) -> str | None:
    """Return where something failed, as it is stored: a long one without its beginning."""
    return traceback and storable(traceback)[-_MOST_TRACEBACK:]


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
