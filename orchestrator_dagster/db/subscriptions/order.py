"""Lists of subscriptions in the order of an index: from where the page before ended, and no further than needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    UnaryExpression,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator_dagster.db.subscriptions.filters import ColumnFilter, Filter, sort_key
from orchestrator_dagster.db.tables import NEVER, subscriptions
from orchestrator_dagster.domain.query import SubscriptionQuery

_INDEXED = ("subscription_id", "created_at", "start_date", "end_date")
_LEADS = ("customer_id", "product_id", "status")


@dataclass(frozen=True)
class Walk:
    """The way through the subscriptions in the order of a query.

    Where a list is sorted by `created_at`, there is an index for each column that it can be filtered by: it is read for
    each wanted value, and what comes first of all of these is the page. The filter is the walk's `lead`.

    The conditions on that column are written so that no other index has the order that is asked for. Else Postgres
    might read the one of `created_at` and look for the value in it, which takes very long if few have it, or none: its
    statistics need not know that yet.

    Attributes:
        query: what is asked for.
        filters: its filters.
    """

    query: SubscriptionQuery
    filters: Sequence[Filter]

    @property
    def is_indexed(self) -> bool:
        """Whether an index has the order: else all has to be sorted before the first row is known."""
        return self.query.order.column in _INDEXED

    @property
    def lead(self) -> ColumnFilter | None:
        """The filter on the column that the index has before the one that is sorted by."""
        if self.query.order.column != "created_at":
            return None
        found = {filter_.name: filter_ for filter_ in self.filters if isinstance(filter_, ColumnFilter)}
        return next((found[name] for name in _LEADS if name in found), None)

    @property
    def others(self) -> list[Filter]:
        """The filters of which the index knows nothing."""
        known = [self.lead.name] if self.lead else []
        known += [self.query.order.column]
        is_out_of_sync = self.query.order.column == "created_at" and not self.lead and self.query.insync is False
        known += ["insync"] if is_out_of_sync else []
        return [filter_ for filter_ in self.filters if not (set(filter_.columns) & set(known))]

    def first(self, count: int | None) -> Select[Any]:
        """Return what selects the first that pass all filters: their `subscription_id` and `sort_key`, in order."""
        return self._first(count, [filter_.test(subscriptions) for filter_ in self.others])

    def window(self, count: int) -> Select[Any]:
        """Return what selects the first in the index, whether they pass the others filters or not."""
        names = dict.fromkeys(name for filter_ in self.others for name in filter_.columns)
        return self._first(count, [], [subscriptions.c[name] for name in names])

    def sorted(self, count: int | None, *conditions: ColumnElement[bool]) -> Select[Any]:
        """Return what selects the first of those that fit some conditions, whatever finds them."""
        return self._select(*conditions, *self._after()).order_by(*self.order(subscriptions)).limit(count)

    def order(self, of: FromClause) -> list[UnaryExpression[Any]]:
        """Return the order of the list for what has its columns, or for what `first` selects."""
        place = of.c.sort_key if "sort_key" in of.c else sort_key(of, self.query.order.column)
        return [self._directed(place), self._directed(of.c.subscription_id)]

    def _first(
        self, count: int | None, tests: Sequence[ColumnElement[bool]], columns: Sequence[ColumnElement[Any]] = ()
    ) -> Select[Any]:
        if self.lead is None:
            known = [filter_.test(subscriptions) for filter_ in self.filters if filter_ not in self.others]
            return self.sorted(count, *known, *tests).add_columns(*columns)
        kind, values = subscriptions.c[self.lead.name].type, self.lead.values or ()
        if len(values) == 1:
            return self._with(literal(values[0], kind)).where(*tests).add_columns(*columns).limit(count)
        wanted = func.unnest(cast(list(values), ARRAY(kind))).table_valued("value").render_derived("wanted")
        found = self._with(wanted.c.value).where(*tests).add_columns(*columns).limit(count).lateral("found")
        return select(found).select_from(wanted.join(found, true())).order_by(*self.order(found)).limit(count)

    def _with(self, value: ColumnElement[Any]) -> Select[Any]:
        """Return what has a value in the column of the lead, within the period and after the cursor."""
        lead, created_at = subscriptions.c[self.lead.name if self.lead else ""], subscriptions.c.created_at
        start, end = self.query.created_at or (None, None)
        limits = [
            tuple_(lead, created_at) >= tuple_(value, literal(start)) if start else lead >= value,
            tuple_(lead, created_at) < tuple_(value, literal(end)) if end else lead <= value,
            *self._after((lead, value)),
        ]
        return self._select(*limits).order_by(self._directed(lead), *self.order(subscriptions))

    def _after(self, *lead: tuple[ColumnElement[Any], ColumnElement[Any]]) -> Iterator[ColumnElement[bool]]:
        """Yield the condition of what comes after the cursor, in the index that has some columns before its own."""
        cursor = self.query.cursor
        if cursor is None:
            return
        value = literal_column(NEVER) if cursor.value is None else literal(cursor.value)
        key = sort_key(subscriptions, self.query.order.column)
        places = [*lead, (key, value), (subscriptions.c.subscription_id, literal(cursor.subscription_id))]
        place, last = (tuple_(*side) for side in zip(*places, strict=True))
        yield place < last if self.query.order.descending else place > last

    def _select(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        place = sort_key(subscriptions, self.query.order.column).label("sort_key")
        return select(subscriptions.c.subscription_id, place).where(*conditions)

    def _directed(self, column: ColumnElement[Any]) -> UnaryExpression[Any]:
        return column.desc() if self.query.order.descending else column.asc()
