"""Where a page of a list ended, as an opaque text that the next page starts from."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from orchestrator_dagster.errors import QueryError

_DATES = ("start_date", "end_date", "created_at")


@dataclass(frozen=True)
class Cursor:
    """The last subscription of a page.

    Attributes:
        sort: how the list was sorted.
        value: what it has in the column that was sorted by.
        subscription_id: its id.

    Example:
        >>> written = Cursor("-version", 3, UUID(int=1)).write()
        >>> Cursor.read(written, "-version")
        Cursor(sort='-version', value=3, subscription_id=UUID('00000000-0000-0000-0000-000000000001'))
    """

    sort: str
    value: Any
    subscription_id: UUID

    def write(self) -> str:
        """Return it as text."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        written = json.dumps([self.sort, value, self.subscription_id], default=str, separators=(",", ":"))
        return base64.urlsafe_b64encode(written.encode()).decode()

    @classmethod
    def read(cls, text: object, sort: str) -> "Cursor":
        """Read one.

        Args:
            text: what `write` returned.
            sort: how the list is sorted that it is for.

        Raises:
            QueryError: it is none, or one of a list that was sorted otherwise.
        """
        try:
            of, value, subscription_id = json.loads(base64.b64decode(str(text), altchars=b"-_", validate=True))
            found = cls(of, _read(of, value), UUID(subscription_id))
        except (binascii.Error, ValueError, TypeError, AttributeError) as error:
            raise QueryError("after", text, "`next` of the page before") from error
        if found.sort != sort:
            raise QueryError("after", text, f"`next` of a page that is sorted by {sort}; this one is by {found.sort}")
        return found


def _read(sort: str, value: Any) -> Any:
    """Return the value as the column has it; raise `ValueError` for one that it cannot have."""
    column = sort.removeprefix("-")
    if column in _DATES:
        moment = None if value is None and column != "created_at" else datetime.fromisoformat(value)
        if moment is not None and moment.tzinfo is None:
            raise ValueError("a moment without a zone")
        return moment
    if column == "subscription_id":
        return UUID(value)
    wanted = {"version": int, "insync": bool}.get(column, str)
    if type(value) is not wanted:
        raise ValueError(f"{value!r} is not {wanted}")
    return value
