"""The filters of a list: each tests one subscription, and some find all that pass by an index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, and_, func, literal, literal_column, not_, select

from orchestrator_dagster.db.subscriptions.search import Search, documents_with, has_words
from orchestrator_dagster.db.subscriptions.value_conditions import has_value, of_blocks_with, relation_below
from orchestrator_dagster.db.tables import (
    NEVER,
    subscription_instances,
    subscriptions,
)
from orchestrator_dagster.domain.query import SubscriptionQuery
from orchestrator_dagster.domain.value_filter import ValueFilter

_PERIODS = ("created_at", "start_date", "end_date")


class Filter(Protocol):
    """What a subscription has to fit."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns of a subscription that a test needs, besides its id."""

    def test(self, subscription: FromClause) -> ColumnElement[bool]:
        """Return the condition on what has those columns."""

    def lookups(self) -> Sequence["Lookup"]:
        """Return how an index finds what passes, step by step up to the subscriptions; nothing where none does."""


@dataclass(frozen=True)
class Lookup:
    """A step on the way from what an index finds to the subscriptions.

    Attributes:
        statement: selects what is found, as `id`.
        given: what has to be one of what the step before found; `None` for the first step.
    """

    statement: Select[Any]
    given: ColumnElement[Any] | None = None


@dataclass(frozen=True)
class ColumnFilter:
    """One column has one of some values, or is in a period."""

    name: str
    values: Sequence[Any] | None = None
    period: tuple[Any, Any] = (None, None)

    @property
    def columns(self) -> Sequence[str]:
        """The column."""
        return (self.name,)

    def test(self, subscription: FromClause) -> ColumnElement[bool]:
        """Return the condition on what has the column."""
        column = subscription.c[self.name]
        if self.name == "insync":
            return column if self.values == (True,) else not_(column)
        return and_(*self._within(subscription)) if self.values is None else column.in_(self.values)

    def lookups(self) -> Sequence[Lookup]:
        """Return the index of the column; there is none of what is in sync, which nearly everything is."""
        if self.values == (True,):
            return ()
        return (Lookup(select(subscriptions.c.subscription_id.label("id")).where(self.test(subscriptions))),)

    def _within(self, subscription: FromClause) -> Iterator[ColumnElement[bool]]:
        start, end = self.period
        place = sort_key(subscription, self.name)
        if start is not None:
            yield place >= start
        if end is not None:
            yield place < end
        elif start is not None and self.name != "created_at":
            yield subscription.c[self.name].is_not(None)


@dataclass(frozen=True)
class ValuesFilter:
    """A block has a value."""

    wanted: ValueFilter
    columns: Sequence[str] = ()

    def test(self, subscription: FromClause) -> ColumnElement[bool]:
        """Return the condition on what has the `subscription_id`."""
        return has_value(self.wanted, subscription)

    def lookups(self) -> Sequence[Lookup]:
        """Return the way from the blocks with the value up to the subscriptions."""
        return tuple(self._climb()) if self.wanted.indexable else ()

    def _climb(self) -> Iterator[Lookup]:
        first, *others = self.wanted.attributes
        conditions = of_blocks_with(self.wanted)
        root = subscription_instances.c
        roots = select(root.subscription_id.label("id")).where(root.attribute == first)
        if not others:
            yield Lookup(roots.where(*conditions))
            return
        yield Lookup(select(root.subscription_instance_id.label("id")).where(*conditions))
        for number, attribute in reversed(list(enumerate(others))):
            relation = relation_below(number).c
            users = select(relation.in_use_by_id.label("id")).where(relation.attribute == attribute)
            yield Lookup(users, relation.depends_on_id)
        yield Lookup(roots, root.subscription_instance_id)


@dataclass(frozen=True)
class WordsFilter:
    """The document of the subscription has words."""

    search: Search
    columns: Sequence[str] = ()

    def test(self, subscription: FromClause) -> ColumnElement[bool]:
        """Return the condition on what has the `subscription_id`."""
        return has_words(self.search, subscription)

    def lookups(self) -> Sequence[Lookup]:
        """Return the index of words."""
        return (Lookup(documents_with(self.search)),)


def filters_of(query: SubscriptionQuery, product_ids: Sequence[UUID] | None) -> list[Filter]:
    """Return the filters of a query: those first of which an index says soonest whether they let few pass."""
    columns = {"customer_id": query.customer_id, "product_id": product_ids, "status": query.status}
    by_column = [
        ColumnFilter(name, tuple(dict.fromkeys(values))) for name, values in columns.items() if values is not None
    ]
    periods = {name: getattr(query, name) or (None, None) for name in _PERIODS}
    by_column += [ColumnFilter(name, period=period) for name, period in periods.items() if period != (None, None)]
    if query.insync is not None:
        by_column.append(ColumnFilter("insync", (query.insync,)))
    search = Search.of(query.text)
    inside: list[Filter] = [ValuesFilter(wanted) for wanted in query.values]
    inside += [] if search is None else [WordsFilter(search)]
    most = [filter_ for filter_ in by_column if filter_.name in ("product_id", "status")]
    return [*(filter_ for filter_ in by_column if filter_ not in most), *inside, *most]


def sort_key(subscription: FromClause, name: str) -> ColumnElement[Any]:
    """Return what a list is sorted by, as the indexes have it.

    A date that is not there is later than all others; of a description only its beginning counts.
    """
    column = subscription.c[name]
    if name in ("start_date", "end_date"):
        return func.coalesce(column, literal_column(NEVER))
    return _beginning(column) if name == "description" else column


def sort_value(value: Any, name: str) -> ColumnElement[Any]:
    """Return the `sort_key` of what has that value in the column."""
    return _beginning(literal(value)) if name == "description" else literal(value)


def _beginning(text: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.left(text, literal_column("100"))
