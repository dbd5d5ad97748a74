"""Lists, searches and relations are read from indexes, whether Postgres has looked at the tables lately or not."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.db.subscriptions.relations import subscriptions_that_use, subscriptions_used_by
from orchestrator_dagster.domain.query import SubscriptionQuery
from orchestrator_dagster.domain.related import RelatedQuery

COUNT = 20_000

GENERATED = """
    INSERT INTO orchestrator.product_blocks (product_block_id, name, description, tag)
    VALUES (md5('block')::uuid, 'Block', 'A block', 'B');

    INSERT INTO orchestrator.products (product_id, name, description, product_type, tag, status)
    SELECT md5('p' || n)::uuid, 'Product ' || n, 'A product', 'Type ' || n % 3, 'TAG ' || n % 5, 'active'
    FROM generate_series(0, 9) AS n;

    INSERT INTO orchestrator.subscriptions
           (subscription_id, product_id, customer_id, description, status, insync, start_date, end_date, created_at)
    SELECT md5('s' || n)::uuid, md5('p' || n % 9)::uuid, 'customer ' || n % 500, 'Service ' || n,
           CASE WHEN n % 5 = 0 THEN 'terminated' ELSE 'active' END, n % 1000 > 0,
           CASE WHEN n % 10 > 0 THEN timestamptz '2020-01-01' + n * interval '1 hour' END,
           CASE WHEN n % 5 = 0 THEN timestamptz '2025-01-01' + n * interval '1 hour' END,
           timestamptz '2020-01-01' + n * interval '1 hour'
    FROM generate_series(1, :count) AS n;

    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, values, attribute, position)
    SELECT md5('root' || n)::uuid, md5('s' || n)::uuid, md5('block')::uuid,
           jsonb_build_object('name', 'ams-core-' || n, 'colour', CASE WHEN n % 3 = 0 THEN 'red' ELSE 'blue' END,
                              'tags', jsonb_build_array('t' || n % 7)), 'node', 0
    FROM generate_series(1, :count) AS n;

    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, values)
    SELECT md5('part' || n)::uuid, md5('s' || n)::uuid, md5('block')::uuid, jsonb_build_object('port', n)
    FROM generate_series(1, :count, 2) AS n;

    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT md5('root' || n)::uuid, 'part', 0, md5('part' || n)::uuid
    FROM generate_series(1, :count, 2) AS n;

    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT md5('root' || n)::uuid, 'uplink', 0, md5('root' || n / 50)::uuid
    FROM generate_series(50, :count) AS n;
"""

A_DAY = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 2, tzinfo=UTC))
LARGE = "subscriptions|subscription_instances|subscription_instance_relations|subscription_search"

LISTS: dict[str, tuple[dict[str, Any], str]] = {
    "newest": ({}, "ix_subscriptions_created_at_subscription_id"),
    "by id": ({"sort": "subscription_id"}, "pk_subscriptions"),
    "by start": ({"sort": "-start_date"}, "ix_subscriptions_start_date"),
    "by end": ({"sort": "end_date"}, "ix_subscriptions_end_date"),
    "by description": ({"sort": "description"}, "ix_subscriptions_description"),
    "status": ({"status": "active"}, "ix_subscriptions_status_created_at_subscription_id"),
    "no such status": ({"status": "migrating"}, "ix_subscriptions_status_created_at_subscription_id"),
    "statuses": (
        {"status": ["active", "terminated"]},
        "ix_subscriptions_status_created_at_subscription_id",
    ),
    "customer": ({"customer_id": "customer 7"}, "ix_subscriptions_customer_id_created_at_subscription_id"),
    "product": ({"product": "Product 1"}, "ix_subscriptions_product_id_status_created_at_subscription_id"),
    "product without any": ({"product": "Product 9"}, "ix_subscriptions_product_id_status_created_at_subscription_id"),
    "type": ({"product_type": "Type 1"}, "ix_subscriptions_product_id_status_created_at_subscription_id"),
    "tag": ({"tag": ["TAG 1", "TAG 2"]}, "ix_subscriptions_product_id_status_created_at_subscription_id"),
    "tag and statuses": (
        {"tag": "TAG 1", "status": ["active", "terminated"]},
        "ix_subscriptions_product_id_status_created_at_subscription_id",
    ),
    "out of sync": ({"insync": False}, "ix_subscriptions_out_of_sync"),
    "tag, out of sync": ({"tag": "TAG 1", "insync": False}, "ix_subscriptions_out_of_sync"),
    "period": ({"created_at": A_DAY}, "ix_subscriptions_created_at_subscription_id"),
    "period of a product": (
        {"created_at": A_DAY, "product": "Product 1"},
        "ix_subscriptions_product_id_status_created_at_subscription_id",
    ),
    "period of start": ({"start_date": A_DAY}, "ix_subscriptions_start_date"),
    "value": ({"where": {"node.name": "ams-core-7"}}, "ix_subscription_instances_values"),
    "list with a value": ({"where": {"node.tags": {"contains": "t1"}}}, "ix_subscription_instances_values"),
    "value below": ({"where": {"node.part.port": 7}}, "ix_subscription_instances_values"),
    "value elsewhere": ({"where": {"node.uplink.name": "ams-core-7"}}, "ix_subscription_instances_values"),
    "value of a product": (
        {"where": {"node.name": "ams-core-7"}, "tag": "TAG 1", "sort": "start_date"},
        "ix_subscription_instances_values",
    ),
    "word": ({"text": "7"}, "ix_subscription_search_document"),
    "name": ({"text": "ams-core-7", "customer_id": "customer 7"}, "ix_subscription_search_document"),
    "beginning": ({"text": "1234* -7", "sort": "-end_date"}, "ix_subscription_search_document"),
}


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Engine:
    engine = engine_for(module_database_url)
    with engine.begin() as connection:
        for statement in GENERATED.split(";"):
            if statement.strip():
                connection.execute(text(statement), {"count": COUNT} if ":count" in statement else {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))  # as the server does by and by
    return engine


@pytest.fixture(params=["looked at lately", "never looked at"])
def connection(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A transaction that is rolled back, and what Postgres has found out about the tables with it."""
    with engine.connect() as connection:
        if request.param == "looked at lately":
            connection.execute(text("ANALYZE"))
        else:
            connection.execute(
                text("DELETE FROM pg_statistic WHERE starelid = ANY(CAST(:tables AS regclass[]))"),
                {"tables": [f"orchestrator.{name}" for name in LARGE.split("|")]},
            )
        yield connection


@pytest.fixture(autouse=True)
def tests_a_part_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else as many subscriptions would be tested as there are here, and then an index would be of no use."""
    monkeypatch.setattr("orchestrator_dagster.db.subscriptions.queries.MORE", COUNT // 40)
    monkeypatch.setattr("orchestrator_dagster.db.subscriptions.queries.FAR", COUNT // 40)


def plans_of(connection: Connection, act: Any, options: str = "COSTS OFF") -> list[str]:
    """Return the plan of each statement that something runs."""
    ran: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        ran.append((statement, parameters))

    event.listen(connection.engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        event.remove(connection.engine, "before_cursor_execute", note)
    plans = [
        connection.exec_driver_sql(f"EXPLAIN ({options}) {statement}", parameters) for statement, parameters in ran
    ]
    return ["\n".join(plan.scalars()) for plan in plans]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("page", ["first", "second"])
def test_a_list_is_read_from_an_index(connection: Connection, name: str, page: str) -> None:
    filters, index = LISTS[name]
    after = None
    if page == "second":
        after = find_subscriptions(connection, SubscriptionQuery(**filters, limit=1)).next
    query = SubscriptionQuery(**filters, limit=50, after=after)
    *_, plan = plans_of(connection, lambda: find_subscriptions(connection, query))
    assert re.findall(rf"Seq Scan on (?:{LARGE})\b.*", plan) == []
    assert index in plan


@pytest.mark.parametrize("find", [subscriptions_that_use, subscriptions_used_by])
def test_relations_are_followed_by_index(connection: Connection, find: Any) -> None:
    start = connection.scalar(text("SELECT CAST(md5('s7') AS uuid)"))
    (plan,) = plans_of(connection, lambda: find(connection, RelatedQuery(start)))
    assert re.findall(rf"Seq Scan on (?:{LARGE})\b.*", plan) == []


@pytest.mark.parametrize(
    "filters",
    [
        {"where": {"node.name": "ams-core-7"}},
        {"where": {"node.colour": "red"}},
        {"where": {"node.name": "nobody"}, "sort": "description"},
        {"text": "service"},
        {"text": "ams-core-7"},
        {"tag": "TAG 1", "insync": False},
        {"product": "Product 9", "sort": "start_date"},
    ],
)
def test_few_rows_are_read_for_a_page_however_many_match(connection: Connection, filters: dict[str, Any]) -> None:
    query = SubscriptionQuery(**filters, limit=50)
    *_, plan = plans_of(connection, lambda: find_subscriptions(connection, query), "ANALYZE, TIMING OFF, COSTS OFF")
    read = [int(float(rows)) for rows in re.findall(r"(?:Index|Bitmap Heap|Seq).*Scan.*\(actual rows=([\d.]+)", plan)]
    assert read
    assert max(read) <= COUNT // 4
