"""What can be asked of the list of subscriptions, and what is refused with what is allowed instead."""

import base64
import json
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from orchestrator_dagster.domain.cursor import Cursor
from orchestrator_dagster.domain.query import SORT_COLUMNS, SubscriptionFilters, SubscriptionQuery
from orchestrator_dagster.domain.value_filter import OPERATORS
from orchestrator_dagster.errors import QueryError

MOMENT = datetime(2026, 1, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))
VALUES = {
    "subscription_id": UUID(int=1),
    "description": "a\nß",
    "customer_id": "acme",
    "status": "active",
    "insync": False,
    "start_date": None,
    "end_date": MOMENT,
    "version": 7,
    "created_at": MOMENT,
}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"sort": "name"}, "sort cannot be 'name'; it can be subscription_id, description, .*; with a - before it"),
        ({"sort": "--version"}, "sort cannot be"),
        ({"sort": None}, "sort cannot be None"),
        ({"status": "actve"}, "status cannot be 'actve'; it can be initial, provisioning, active"),
        ({"status": 1}, "status cannot be 1"),
        ({"product": 7}, "product cannot be 7"),
        ({"tag": ["A", 1]}, "tag cannot be 1"),
        ({"customer_id": b"x"}, "customer_id cannot be"),
        ({"insync": "yes"}, "insync cannot be 'yes'; it can be bool or None"),
        ({"text": 5}, "text cannot be 5"),
        ({"limit": 0}, "limit cannot be 0; it can be a whole number from 1 on"),
        ({"limit": True}, "limit cannot be True"),
        ({"limit": "10"}, "limit cannot be '10'"),
        ({"created_at": MOMENT}, "created_at cannot be .* a pair"),
        ({"start_date": ("2026-01-01", None)}, "start_date cannot be '2026-01-01'"),
        ({"where": ["a.b"]}, "where cannot be"),
        ({"where": {"": 1}}, "where cannot be ''; it can be attributes from the subscription down"),
        ({"where": {"name": 1}}, "where cannot be 'name'"),
        ({"where": {"node..name": 1}}, "where cannot be 'node..name'"),
        (
            {"where": {"node.size": {"~": 1}}},
            "where node.size cannot be '~'; it can be the operators = != < .*contains",
        ),
        ({"where": {"node.size": {}}}, "where node.size cannot be {}"),
        ({"where": {"node.size": {"<": None}}}, "where node.size < cannot be None; it can be a number"),
        ({"where": {"node.size": {"<": True}}}, "where node.size < cannot be True"),
        ({"where": {"node.size": {"<": float("nan")}}}, "where node.size < cannot be nan"),
        ({"where": {"node.size": {">": [1]}}}, "where node.size > cannot be"),
        ({"where": {"node.size": {"in": 1}}}, "where node.size in cannot be 1; it can be a list of values"),
        ({"where": {"node.size": {"in": "abc"}}}, "where node.size in cannot be 'abc'"),
        ({"where": {"node.size": object()}}, "where node.size = cannot be .*; it can be a value that a resource type"),
        ({"after": "nonsense"}, "after cannot be 'nonsense'; it can be `next` of the page before"),
        ({"after": ""}, "after cannot be ''"),
        ({"after": 7}, "after cannot be 7"),
    ],
)
def test_what_is_not_possible_is_refused_with_what_is(filters: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message) as refused:
        SubscriptionQuery(**filters)
    assert isinstance(refused.value, ValueError)
    assert refused.value.allowed


def test_filters_are_named_once_and_typed_for_those_who_pass_them_on() -> None:
    assert set(SubscriptionFilters.__annotations__) == {field.name for field in fields(SubscriptionQuery) if field.init}


def test_a_filter_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="produkt"):
        SubscriptionQuery(produkt="Node")  # type: ignore[call-arg]


def test_moments_without_a_zone_are_in_utc_and_a_date_is_its_first_moment() -> None:
    query = SubscriptionQuery(created_at=(date(2026, 1, 1), datetime(2026, 1, 1, 12)), end_date=(MOMENT, None))  # noqa: DTZ001
    assert query.created_at == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert query.end_date == (MOMENT, None)


def test_equality_and_items_of_lists_have_an_index_but_for_moments_and_nothing() -> None:
    indexable: list[Any] = [1, "a", True, [1], {"=": {"a": 1}}, {"in": [1, 2]}, {"contains": 1}, {"=": 1, "<": 2}]
    others: list[Any] = [None, MOMENT, {"in": [1, None]}, {"!=": 1}, {"<": 1}, {"<=": "a"}, {">": Decimal(1)}]
    assert all(SubscriptionQuery(where={"node.size": wanted}).values[0].indexable for wanted in indexable)
    assert not any(SubscriptionQuery(where={"node.size": wanted}).values[0].indexable for wanted in others)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_is_understood(operator: str) -> None:
    (found,) = SubscriptionQuery(where={"node.ports.size": {operator: ["a"] if operator == "in" else "a"}}).values
    assert (found.attributes, found.resource_type) == (("node", "ports"), "size")


@pytest.mark.parametrize("column", SORT_COLUMNS)
def test_a_cursor_reads_back_what_was_written(column: str) -> None:
    cursor = Cursor(f"-{column}", VALUES[column], UUID(int=2))
    assert Cursor.read(cursor.write(), f"-{column}") == cursor
    with pytest.raises(QueryError, match=f"sorted by {column}; this one is by -{column}"):
        Cursor.read(cursor.write(), column)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        ["version", 1],
        ["version", "1", str(UUID(int=1))],
        ["version", 1, "x"],
        ["created_at", None, str(UUID(int=1))],
        ["created_at", "2026-01-01", str(UUID(int=1))],
        ["start_date", 5, str(UUID(int=1))],
        ["insync", 1, str(UUID(int=1))],
        [1, 1, str(UUID(int=1))],
    ],
)
def test_a_cursor_that_somebody_made_up_is_refused(content: Any) -> None:
    with pytest.raises(QueryError, match="`next` of the page before"):
        Cursor.read(base64.urlsafe_b64encode(json.dumps(content).encode()).decode(), "version")
