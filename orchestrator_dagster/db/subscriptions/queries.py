"""Subscriptions as lists: filtered, searched, sorted and paged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    SelectBase,
    and_,
    any_,
    func,
    not_,
    or_,
    select,
    true,
    union_all,
)

from orchestrator_dagster.db.subscriptions.filters import ColumnFilter, filters_of
from orchestrator_dagster.db.subscriptions.order import Walk
from orchestrator_dagster.db.subscriptions.probes import Probe, all_of, probes_of
from orchestrator_dagster.db.subscriptions.rows import row_of, select_rows
from orchestrator_dagster.db.tables import products, subscriptions
from orchestrator_dagster.domain.query import Page, SubscriptionQuery, one_or_more

NEAR = 500
"""How many of the first subscriptions are tested before any other index is asked."""

SOME = 2
"""How many of these have to pass for the page to be looked for among those that follow."""

MORE = 10_000
"""How many are tested then."""

FAR = 20_000
"""How many are tested when the indexes found too many to be sorted."""

PAGES = 10
"""How many are tested at least, in pages."""


def find_subscriptions(connection: Connection, query: SubscriptionQuery) -> Page:
    """Return the subscriptions that fit a query, in its order.

    That is one statement, and one before it for the products if they are asked for.

    Args:
        connection: where to look.
        query: what to look for.

    Example:
        ```python
        page = find_subscriptions(connection, SubscriptionQuery(status="active", limit=50))
        more = find_subscriptions(connection, SubscriptionQuery(status="active", limit=50, after=page.next))
        ```
    """
    walk = Walk(query, filters_of(query, _product_ids(connection, query)))
    if any(isinstance(filter_, ColumnFilter) and filter_.values == () for filter_ in walk.filters):
        return Page()
    return Page.of(query, [row_of(row) for row in connection.execute(_statement(walk))])


def _product_ids(connection: Connection, query: SubscriptionQuery) -> Sequence[UUID] | None:
    """Return the products that are asked for, `None` where any will do.

    Postgres plans with what it knows of these very products, and an index can be read for each of them.
    """
    conditions: list[ColumnElement[bool]] = []
    wanted_products = one_or_more("product", query.product)
    if wanted_products is not None:
        ids = [item for item in wanted_products if isinstance(item, UUID)]
        names = [item for item in wanted_products if isinstance(item, str)]
        conditions.append(or_(products.c.product_id.in_(ids), products.c.name.in_(names)))
    for column, wanted in ((products.c.product_type, query.product_type), (products.c.tag, query.tag)):
        if wanted is not None:
            conditions.append(column.in_(wanted))
    if not conditions:
        return None
    return connection.scalars(select(products.c.product_id).where(*conditions).order_by(products.c.name)).all()


def _statement(walk: Walk) -> Select[Any]:
    found = _found(walk).subquery("found")
    return (
        select_rows()
        .where(subscriptions.c.subscription_id == any_(_array_of(found)))
        .order_by(*walk.order(subscriptions))
    )


def _found(walk: Walk) -> SelectBase:
    """Return what selects the subscriptions of the page."""
    count = None if walk.query.limit is None else walk.query.limit + 1
    if any(not filter_.columns or filter_.lookups() for filter_ in walk.others):
        return _step_by_step(walk, count)
    return walk.first(count)


def _step_by_step(walk: Walk, count: int | None) -> SelectBase:
    """Return what selects the first that pass, where many or few may.

    Nobody knows before how many subscriptions have a value or a word, least of all Postgres: its statistics say little
    of what is inside of documents. If many have it, those that come first in the order of the list are found by testing
    one after the other; if few have it, by the index of the filter, and sorted. So

    1. the first ones are tested;
    2. if some of these pass, but do not fill the page, more are tested;
    3. if that was not enough, the indexes are asked, for no more than can be sorted at once;
    4. if there are more, many of the first ones are tested, which nearly always are enough then;
    5. and if they are not, since those that have it come last, all that the indexes find are sorted.
    """
    one = walk.in_one_piece()
    near = _Tested.of(one, count, NEAR, true())
    more = near and _Tested.of(one, count, MORE, and_(not_(near.is_enough), near.count >= SOME), narrowed=True)
    missing = and_(true(), *(not_(tested.is_enough) for tested in (near, more) if tested))
    probes = probes_of(one.others, missing)
    missing = _said_once(and_(missing, *(not_(probe.is_few) for probe in probes)))
    far = _Tested.of(one, count, FAR, missing, narrowed=True) if probes else None
    last = and_(missing, not_(far.is_enough)) if far else missing
    parts = [_only_if(tested.is_enough, tested.found) for tested in (near, more, far) if tested]
    parts += [_only_if(probe.is_few, _of_probe(one, probe, count)) for probe in probes]
    everything = _of_all(one, probes, count) if probes else walk.first(count).subquery()
    return union_all(*parts, _only_if(last, everything))


@dataclass(frozen=True)
class _Tested:
    """Which of the first subscriptions in the order of a list pass its filters.

    Attributes:
        found: those that do.
        is_enough: whether they fill the page, or there are no others.
    """

    found: FromClause
    is_enough: ColumnElement[bool]

    @property
    def count(self) -> ColumnElement[int]:
        """How many pass, up to a page."""
        return _count(self.found)

    @classmethod
    def of(
        cls, walk: Walk, count: int | None, most: int, needed: ColumnElement[bool], *, narrowed: bool = False
    ) -> "_Tested | None":
        """Return them; `None` where an index cannot say which come first, or the list has no end.

        Args:
            walk: the list.
            count: how many fill the page.
            most: how many to test, or `PAGES` if that is more.
            needed: when to do it at all.
            narrowed: whether those that the columns exclude do not count: they cost little.
        """
        if count is None or not walk.is_indexed:
            return None
        most = max(most, PAGES * count)
        columns = [filter_ for filter_ in walk.others if filter_.columns] if narrowed else []
        window = walk.window(most, *(filter_.test(subscriptions) for filter_ in columns)).where(needed)
        first = window.subquery("first")
        tests = [filter_.test(first) for filter_ in walk.others if filter_ not in columns]
        found = select(first.c.subscription_id).where(*tests).order_by(*walk.order(first)).limit(count).cte()
        are_all = _count(window.subquery("first")) < most
        return cls(found, _said_once(and_(needed, or_(_count(found) >= count, are_all))))


def _of_probe(walk: Walk, probe: Probe, count: int | None) -> FromClause:
    """Return the first of the few that a probe found: in order, so that no more than needed are looked into."""
    others = [filter_ for filter_ in walk.filters if filter_ is not probe.filter]
    columns = [filter_.test(subscriptions) for filter_ in others if filter_.columns]
    inside = [filter_ for filter_ in others if not filter_.columns]
    is_found = subscriptions.c.subscription_id == any_(probe.ids)
    if not inside:
        return walk.sorted(count, is_found, *columns).subquery()
    few = walk.sorted(None, is_found, *columns).offset(0).subquery("few")
    tests = [filter_.test(few) for filter_ in inside]
    return select(few.c.subscription_id).where(*tests).order_by(*walk.order(few)).limit(count).subquery()


def _of_all(walk: Walk, probes: Sequence[Probe], count: int | None) -> FromClause:
    """Return the first of all that the indexes find."""
    inside = [probe.filter for probe in probes if not probe.filter.columns]
    by_index = inside or [probes[0].filter]
    is_found = subscriptions.c.subscription_id == any_(all_of(by_index))
    tests = [filter_.test(subscriptions) for filter_ in walk.filters if filter_ not in by_index]
    return walk.sorted(count, is_found, *tests).subquery()


def _only_if(condition: ColumnElement[bool], found: FromClause) -> Select[Any]:
    """Return the ids of what was found; it is not looked for where the condition does not hold."""
    return select(found.c.subscription_id).where(condition)


def _said_once(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return a condition that others are made of: a statement that spelled it out in each would take long to plan."""
    return select(select(condition.label("holds")).cte().c.holds).scalar_subquery()


def _count(of: FromClause) -> ColumnElement[int]:
    return select(func.count()).select_from(of).scalar_subquery()


def _array_of(found: FromClause) -> ColumnElement[Any]:
    return func.array(select(found.c.subscription_id).scalar_subquery())
