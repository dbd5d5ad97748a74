"""What an index finds for one filter of a list, if it is not too much: then the list is made of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, and_, any_, func, intersect, not_, select

from orchestrator_dagster.db.subscriptions.filters import Filter, Lookup

FEW = 8000
"""As many as can be sorted at once."""


@dataclass(frozen=True)
class Probe:
    """What an index finds for a filter.

    Attributes:
        filter: the filter.
        steps: from what the index has up to the subscriptions, each at most one more than `FEW`.
        is_few: whether it looked and no step found too many, so that all were found.
    """

    filter: Filter
    steps: Sequence[CTE]
    is_few: ColumnElement[bool]

    @property
    def ids(self) -> ColumnElement[Any]:
        """The subscriptions, where they are few, as an array."""
        return _array_of(self.steps[-1])


def probes_of(filters: Sequence[Filter], needed: ColumnElement[bool]) -> list[Probe]:
    """Return the probes of filters that have an index. Each looks only if those before it found too much.

    Args:
        filters: the filters.
        needed: when they look at all.
    """
    found: list[Probe] = []
    for filter_ in filters:
        lookups = filter_.lookups()
        if lookups:
            name = f"probe_{len(found)}"
            steps = _steps(lookups, needed, name)
            is_few = select(and_(needed, *(_count(step) <= FEW for step in steps)).label("holds")).cte(f"{name}_is_few")
            found.append(Probe(filter_, steps, select(is_few.c.holds).scalar_subquery()))
            needed = and_(needed, not_(found[-1].is_few))
    return found


def all_of(filters: Sequence[Filter]) -> ColumnElement[Any]:
    """Return all subscriptions that pass some filters, by their indexes, as an array."""
    return func.array(intersect(*map(_all_of, filters)).scalar_subquery())


def _all_of(filter_: Filter) -> Select[Any]:
    first, *others = filter_.lookups()
    found = first.statement
    for lookup in others:
        found = lookup.statement.where(_given(lookup) == any_(func.array(found.scalar_subquery())))
    return found


def _steps(lookups: Sequence[Lookup], needed: ColumnElement[bool], name: str) -> list[CTE]:
    """Return the steps of a probe.

    Each gets what the one before found as an array: Postgres takes it for small, and so never reads a whole table to
    join it.
    """
    first, *others = lookups
    steps = [first.statement.where(needed).limit(FEW + 1).cte(f"{name}_0")]
    for number, lookup in enumerate(others, 1):
        is_one = _given(lookup) == any_(_array_of(steps[-1]))
        found = lookup.statement.where(is_one, _count(steps[-1]) <= FEW).limit(FEW + 1)
        steps.append(found.cte(f"{name}_{number}"))
    return steps


def _given(lookup: Lookup) -> ColumnElement[Any]:
    if lookup.given is None:
        raise ValueError("only the first step is given nothing")
    return lookup.given


def _array_of(step: CTE) -> ColumnElement[Any]:
    return func.array(select(step.c.id).scalar_subquery())


def _count(step: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(step).scalar_subquery()
