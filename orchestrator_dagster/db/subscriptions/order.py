"""Lists of subscriptions in the order of an index: from where the page before ended, and no further than needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import inf
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

from orchestrator_dagster.db.subscriptions.filters import ColumnFilter, Filter, sort_key, sort_value
from orchestrator_dagster.db.tables import NEVER, subscriptions
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import SubscriptionQuery

_INDEXED = ("subscription_id", "created_at", "start_date", "end_date", "description")


@dataclass(frozen=True)
class Lead:
    """The columns that an index has before the one that a list is sorted by, and what is wanted in them.

    Attributes:
        columns: their names.
        keys: the values of these columns, any of which will do.
    """

    columns: tuple[str, ...]
    keys: Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Walk:
    """The way through the subscriptions in the order of a query.

    Where a list is sorted by `created_at`, there is an index for each column that it can be filtered by: it is read for
    each wanted value, and what comes first of all of these is the page. The filters are the walk's `lead`.

    The conditions on that column are written so that no other index has the order that is asked for. Else Postgres
    might read the one of `created_at` and look for the value in it, which takes very long if few have it, or none: its
    statistics need not know that yet.

    Attributes:
        query: what is asked for.
        filters: its filters.
        most_keys: the lead has no more keys than this; else there is none.
    """

    query: SubscriptionQuery
    filters: Sequence[Filter]
    most_keys: float = inf

    @property
    def is_indexed(self) -> bool:
        """Whether an index has the order: else all has to be sorted before the first row is known."""
        return self.query.order.column in _INDEXED

    @cached_property
    def lead(self) -> Lead | None:
        """What the index has before the column that is sorted by."""
        if self.query.order.column != "created_at":
            return None
        values = {filter_.name: filter_.values or () for filter_ in self.filters if isinstance(filter_, ColumnFilter)}
        lead = _lead_of(values)
        return lead if lead and len(lead.keys) <= self.most_keys else None

    @cached_property
    def others(self) -> list[Filter]:
        """The filters of which the index knows nothing."""
        known = {self.query.order.column, *(self.lead.columns if self.lead else ())}
        if self.query.order.column == "created_at" and not self.lead and self.query.insync is False:
            known.add("insync")
        return [filter_ for filter_ in self.filters if known.isdisjoint(filter_.columns)]

    def in_one_piece(self) -> "Walk":
        """Return the same list, read from one place of an index on.

        What comes first of several places is known only when as much has been read of each: that is much for a page of
        many thousands.
        """
        return replace(self, most_keys=1)

    def first(self, count: int | None) -> Select[Any]:
        """Return what selects the first that pass all filters: their `subscription_id` and `sort_key`, in order."""
        return self._first(count, [filter_.test(subscriptions) for filter_ in self.others])

    def window(self, count: int, *tests: ColumnElement[bool]) -> Select[Any]:
        """Return what selects the first that pass some tests, whether they pass the other filters or not."""
        return self._first(count, tests, self.columns)

    @property
    def columns(self) -> list[ColumnElement[Any]]:
        """The columns that the tests of other filters need."""
        names = dict.fromkeys(name for filter_ in self.others for name in filter_.columns)
        return [subscriptions.c[name] for name in names]

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
        lead = [subscriptions.c[name] for name in self.lead.columns]
        if len(self.lead.keys) == 1:
            key = [literal(value, column.type) for value, column in zip(self.lead.keys[0], lead, strict=True)]
            return self._with(lead, key).where(*tests).add_columns(*columns).limit(count)
        values = zip(*self.lead.keys, strict=True)
        arrays = [cast(list(each), ARRAY(column.type)) for each, column in zip(values, lead, strict=True)]
        wanted = func.unnest(*arrays).table_valued(*self.lead.columns).render_derived("wanted")
        found = self._with(lead, list(wanted.c)).where(*tests).add_columns(*columns).limit(count).lateral("found")
        return select(found).select_from(wanted.join(found, true())).order_by(*self.order(found)).limit(count)

    def _with(self, lead: Sequence[ColumnElement[Any]], key: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """Return what has a key in the columns of the lead, within the period and after the cursor."""
        created_at = subscriptions.c.created_at
        start, end = self.query.created_at or (None, None)
        limits = [
            tuple_(*lead, created_at) >= tuple_(*key, literal(start)) if start else tuple_(*lead) >= tuple_(*key),
            tuple_(*lead, created_at) < tuple_(*key, literal(end)) if end else tuple_(*lead) <= tuple_(*key),
            *self._after(*zip(lead, key, strict=True)),
        ]
        return self._select(*limits).order_by(*map(self._directed, lead), *self.order(subscriptions))

    def _after(self, *lead: tuple[ColumnElement[Any], ColumnElement[Any]]) -> Iterator[ColumnElement[bool]]:
        """Yield the condition of what comes after the cursor, in the index that has some columns before its own."""
        cursor = self.query.cursor
        if cursor is None:
            return
        name = self.query.order.column
        key = sort_key(subscriptions, name)
        value = literal_column(NEVER) if cursor.value is None else sort_value(cursor.value, name)
        places = [*lead, (key, value), (subscriptions.c.subscription_id, literal(cursor.subscription_id))]
        place, last = (tuple_(*side) for side in zip(*places, strict=True))
        yield place < last if self.query.order.descending else place > last

    def _select(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        place = sort_key(subscriptions, self.query.order.column).label("sort_key")
        return select(subscriptions.c.subscription_id, place).where(*conditions)

    def _directed(self, column: ColumnElement[Any]) -> UnaryExpression[Any]:
        return column.desc() if self.query.order.descending else column.asc()


def _lead_of(values: Mapping[str, Sequence[Any]]) -> Lead | None:
    """Return the lead for columns that are wanted to have some values.

    What is out of sync is read as such: few are.
    """
    if "customer_id" in values:
        return Lead(("customer_id",), [(customer_id,) for customer_id in values["customer_id"]])
    if values.get("insync") == (False,):
        return None
    if "product_id" in values:
        statuses = values.get("status", tuple(SubscriptionLifecycle))
        return Lead(("product_id", "status"), list(product(values["product_id"], statuses)))
    return Lead(("status",), [(status,) for status in values["status"]]) if "status" in values else None
