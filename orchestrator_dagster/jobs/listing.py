"""Lists that show themselves as tables in a notebook."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any, TypeVar

_Row = TypeVar("_Row")


class Listing(list[_Row]):
    """A list of rows; a notebook shows it as a table.

    Attributes:
        next: of a list that comes in pages, what to give as `after` for the next one; `None` where there is none.
    """

    def __init__(self, rows: Iterable[_Row] = (), following: str | None = None) -> None:
        super().__init__(rows)
        self.next = following

    def _repr_html_(self) -> str:
        if not self:
            return "<p>Nothing found.</p>"
        filled = [name for name in _columns(self[0]) if any(getattr(row, name) not in (None, "", ()) for row in self)]
        return table(filled, [[getattr(row, name) for name in filled] for row in self])


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return an HTML table."""
    head = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_text(value))}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _columns(row: Any) -> list[str]:
    shown: Sequence[str] = getattr(row, "shown", None) or list(row.__dataclass_fields__)
    return list(shown)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_text, value))
    return str(value)
