"""Lists of subscriptions: what each filter finds, in which order, page by page."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from ipaddress import IPv4Address
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from conftest import CountStatements
from sqlalchemy import Connection, Engine
from stored_subscriptions import FIRST_DAY, Block, StoredSubscriptions

from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.domain.query import SORT_COLUMNS, SubscriptionQuery
from orchestrator_dagster.domain.values import ValueCodec
from orchestrator_dagster.errors import QueryError


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Engine:
    return engine_for(module_database_url)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that is rolled back, so that each test has the database for itself."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def store(connection: Connection) -> StoredSubscriptions:
    return StoredSubscriptions(connection)


@pytest.fixture
def node(store: StoredSubscriptions) -> UUID:
    return store.product("Node Cisco")


def of_value(store: StoredSubscriptions, node: UUID, *values: Any) -> list[UUID]:
    """Store a subscription for each value of the resource type `size`; `...` for one that lacks it."""
    return [store.add(node, {"node": [Block({} if value is ... else {"size": value})]}) for value in values]


class Colour(StrEnum):
    RED = "red"


class Level(Enum):
    LOW = 1


class TestFilters:
    def test_without_filters_all_are_found_newest_first(self, store: StoredSubscriptions, node: UUID) -> None:
        first, second = store.add(node), store.add(node)
        assert [row.subscription_id for row in store.find()] == [second, first]

    def test_a_product_is_named_by_its_name_or_its_id(self, store: StoredSubscriptions, node: UUID) -> None:
        found, other = store.add(node), store.product("Port", "Port", "PORT")
        port = store.add(other)
        assert store.ids(product="Node Cisco") == store.ids(product=node) == [found]
        assert store.ids(product=["Node Cisco", other]) == [found, port]

    def test_type_and_tag_are_those_of_the_product(self, store: StoredSubscriptions, node: UUID) -> None:
        found, port = store.add(node), store.add(store.product("Port", "Port", "PORT"))
        assert store.ids(product_type="Node") == store.ids(tag="NODE") == [found]
        assert store.ids(tag=["NODE", "PORT"]) == [found, port]
        assert store.ids(tag="NODE", product_type="Port") == []

    def test_a_list_of_values_means_any_of_them(self, store: StoredSubscriptions, node: UUID) -> None:
        active = store.add(node)
        initial, other = store.add(node, status="initial"), store.add(node, customer_id="other")
        assert store.ids(status=["initial"]) == [initial]
        assert store.ids(status=["initial", "active", "active"]) == [active, initial, other]
        assert store.ids(customer_id=["other", "nobody"]) == [other]
        assert store.ids(customer_id=["acme", "other"], status="active", limit=9) == [active, other]

    def test_an_empty_list_of_values_fits_nothing(self, store: StoredSubscriptions, node: UUID) -> None:
        store.add(node)
        assert store.ids(status=[]) == store.ids(product=[]) == store.ids(customer_id=[]) == []

    def test_in_sync_or_not(self, store: StoredSubscriptions, node: UUID) -> None:
        in_sync, out_of_sync = store.add(node), store.add(node, insync=False)
        assert store.ids(insync=True) == [in_sync]
        assert store.ids(insync=False) == store.ids(insync=False, limit=5) == [out_of_sync]

    def test_a_period_has_its_start_and_lacks_its_end(self, store: StoredSubscriptions, node: UUID) -> None:
        days = [store.add(node) for _ in range(4)]
        assert store.ids(created_at=(FIRST_DAY + timedelta(days=1), FIRST_DAY + timedelta(days=3))) == days[1:3]
        assert store.ids(created_at=(date(2026, 1, 3), None)) == days[2:]
        assert store.ids(created_at=(None, date(2026, 1, 3)), status="active") == days[:2]

    @pytest.mark.parametrize("column", ["start_date", "end_date"])
    def test_a_date_that_is_not_there_is_in_no_period(
        self, store: StoredSubscriptions, node: UUID, column: str
    ) -> None:
        dated, _ = store.add(node, **{column: FIRST_DAY}), store.add(node)
        assert store.ids(**{column: (FIRST_DAY, None)}) == [dated]
        assert store.ids(**{column: (None, FIRST_DAY + timedelta(days=1))}) == [dated]
        assert store.ids(**{column: (FIRST_DAY + timedelta(days=1), None)}) == []
        assert len(store.ids(**{column: (None, None)})) == 2

    def test_a_subscription_has_to_fit_everything(self, store: StoredSubscriptions, node: UUID) -> None:
        found = store.add(node, {"node": [Block({"size": 1})]}, description="In Delft", insync=False)
        store.add(node, {"node": [Block({"size": 1})]}, description="In Leiden", insync=False)
        store.add(node, {"node": [Block({"size": 2})]}, description="In Delft", insync=False)
        store.add(node, {"node": [Block({"size": 1})]}, description="In Delft")
        assert store.ids(where={"node.size": 1}, text="delft", insync=False, product="Node Cisco", limit=9) == [found]


class TestValues:
    def test_a_value_is_found_by_the_attributes_down_to_it(self, store: StoredSubscriptions, node: UUID) -> None:
        found = store.add(node, {"node": [Block({"node_name": "ams-core-1"})]})
        store.add(node, {"spare": [Block({"node_name": "ams-core-1"})]})
        store.add(node, {"node": [Block({"name": "ams-core-1"})]})
        assert store.ids(where={"node.node_name": "ams-core-1"}) == [found]

    def test_a_path_leads_on_into_the_blocks_of_other_subscriptions(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        block = Block({"node_name": "ams-core-1"})
        store.add(node, {"node": [block]})
        using = [store.add(node, {"port": [Block(held={"node": [block]})]}) for _ in range(2)]
        deep = store.add(node, {"ring": [Block(held={"ports": [Block(), Block(held={"node": [block]})]})]})
        assert store.ids(where={"port.node.node_name": "ams-core-1"}) == using
        assert store.ids(where={"ring.ports.node.node_name": "ams-core-1"}, limit=3) == [deep]
        assert store.ids(where={"ring.node.node_name": "ams-core-1"}) == []

    def test_places_in_lists_are_left_out_and_any_block_will_do(self, store: StoredSubscriptions, node: UUID) -> None:
        found = store.add(node, {"ports": [Block({"vlan": 1}), Block({"vlan": 2})]})
        store.add(node, {"ports": [Block({"vlan": 1})]})
        assert store.ids(where={"ports.vlan": 2}) == [found]

    def test_two_paths_below_one_list_need_not_be_the_same_block(self, store: StoredSubscriptions, node: UUID) -> None:
        both = store.add(node, {"ports": [Block({"vlan": 1, "mtu": 2}), Block({"vlan": 3, "mtu": 4})]})
        assert store.ids(where={"ports.vlan": 1, "ports.mtu": 4}) == [both]

    def test_several_operators_of_one_path_have_to_hold_for_one_block(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        store.add(node, {"ports": [Block({"vlan": 1}), Block({"vlan": 300})]})
        found = store.add(node, {"ports": [Block({"vlan": 1}), Block({"vlan": 150})]})
        assert store.ids(where={"ports.vlan": {">=": 100, "<": 200}}) == [found]

    @pytest.mark.parametrize("value", [1, "1", True, 1.5, "", "a.b", [1, 2], {"a": 1}, [], {}])
    def test_values_are_compared_with_their_types(self, store: StoredSubscriptions, node: UUID, value: Any) -> None:
        values = [1, "1", True, 1.5, "", "a.b", [1, 2], {"a": 1}, [], {}, [2, 1], {"a": 1, "b": 2}, [1, 2, 3], ...]
        stored = dict(zip(map(repr, values), of_value(store, node, *values), strict=True))
        wanted: Any = {"=": value}
        assert store.ids(where={"node.size": wanted}) == [stored[repr(value)]]
        assert store.ids(where={"node.size": wanted}, limit=50) == [stored[repr(value)]]

    def test_numbers_are_compared_as_numbers(self, store: StoredSubscriptions, node: UUID) -> None:
        stored = of_value(store, node, 1, 1.0, 10000000000000000)
        assert store.ids(where={"node.size": 1}) == store.ids(where={"node.size": 1.0}) == stored[:2]
        assert store.ids(where={"node.size": 1e16}) == stored[2:]

    def test_none_is_null_or_no_value_in_a_block_that_is_there(self, store: StoredSubscriptions, node: UUID) -> None:
        stored = of_value(store, node, None, ..., 0, "")
        store.add(node)
        assert store.ids(where={"node.size": None}) == stored[:2]
        assert store.ids(where={"node.size": {"!=": None}}) == stored[2:]
        assert store.ids(where={"node.size": {"in": [None, 0]}}) == stored[:3]

    def test_not_equal_is_everything_else_in_a_block_that_is_there(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        stored = of_value(store, node, 1, 2, "1", None, ...)
        store.add(node)
        assert store.ids(where={"node.size": {"!=": 1}}) == stored[1:]

    def test_in_is_any_of_some_values(self, store: StoredSubscriptions, node: UUID) -> None:
        stored = of_value(store, node, 1, 2, "2", 3)
        assert store.ids(where={"node.size": {"in": [1, "2"]}}) == [stored[0], stored[2]]
        assert store.ids(where={"node.size": {"in": []}}) == []

    def test_contains_is_an_item_of_a_list(self, store: StoredSubscriptions, node: UUID) -> None:
        stored = of_value(store, node, ["a", "b"], ["b"], "a", [["a"]], [], ["1"], [1])
        assert store.ids(where={"node.size": {"contains": "a"}}) == [stored[0]]
        assert store.ids(where={"node.size": {"contains": "b"}}, limit=1) == [stored[0]]
        assert store.ids(where={"node.size": {"contains": 1}}) == [stored[6]]

    def test_ranges_compare_numbers_with_numbers_and_text_with_text(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        stored = of_value(store, node, 9, 10, "9", "10", True, None, ..., [9], {"a": 9}, 9.5)
        assert store.ids(where={"node.size": {"<=": 9.5}}) == [stored[0], stored[9]]
        assert store.ids(where={"node.size": {">": 9}}) == [stored[1], stored[9]]
        assert store.ids(where={"node.size": {">=": "9"}}) == [stored[2]]
        assert store.ids(where={"node.size": {"<": "9"}}) == [stored[3]]

    def test_text_is_in_the_order_of_its_characters(self, store: StoredSubscriptions, node: UUID) -> None:
        stored = of_value(store, node, "a", "B", "é")
        assert store.ids(where={"node.size": {"<": "a"}}) == [stored[1]]
        assert store.ids(where={"node.size": {">": "a"}}) == [stored[2]]

    def test_dates_are_compared_as_moments_however_they_are_written(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        stored = of_value(
            store,
            node,
            "2026-01-01T12:00:00Z",
            "2026-01-01T13:00:00+01:00",
            "2026-01-01T12:00:00.000001",
            "2026-01-01",
            {"$exact": {"$type": "datetime", "value": "2026-01-01T14:00:00+02:00"}},
        )
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        assert store.ids(where={"node.size": noon}) == [*stored[:2], stored[4]]
        assert store.ids(where={"node.size": {">": noon}}) == [stored[2]]
        assert store.ids(where={"node.size": {"<": noon}}) == [stored[3]]
        assert store.ids(where={"node.size": {">=": date(2026, 1, 1), "<": noon}}) == [stored[3]]
        assert store.ids(where={"node.size": date(2026, 1, 1)}) == [stored[3]]
        assert store.ids(where={"node.size": {"!=": noon}}) == stored[2:4]

    def test_decimals_are_compared_with_numbers_and_with_numbers_in_text(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        stored = of_value(store, node, "1.50", 1.5, "12", "1e1", "1e999999999", "", "x", None)
        assert store.ids(where={"node.size": Decimal("1.50")}) == stored[:2]
        assert store.ids(where={"node.size": {"<": Decimal(10)}}) == stored[:2]
        assert store.ids(where={"node.size": {">=": Decimal(10)}}) == stored[2:4]

    def test_odd_data_is_no_error(self, store: StoredSubscriptions, node: UUID) -> None:
        odd = ["2026-02-30", "2026-01-01T25:00:00Z", "9999-12-31T23:59:59-23:59", "now", "infinity", "1e400", "NaN"]
        of_value(store, node, *odd, "9" * 2000, 10**400, None, [], {}, True, {"$exact": 1}, {"$exact": {"$type": "x"}})
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        for operand in (1, 1.5, "a", Decimal(1), date(2026, 1, 1), moment, Colour.RED):
            for operator in ("=", "!=", "<", ">="):
                store.ids(where={"node.size": {operator: operand}})

    @pytest.mark.parametrize(
        ("value", "annotation"),
        [
            (UUID(int=1), UUID),
            (UUID(int=1), str | UUID),
            (IPv4Address("10.0.0.1"), IPv4Address),
            (IPv4Address("10.0.0.1"), str | IPv4Address),
            (Colour.RED, Colour),
            (Level.LOW, Level),
            (Decimal("1.50"), Decimal),
            (timedelta(minutes=90), timedelta),
            (b"bytes", bytes),
            (("a", 1), tuple[str, int]),
            ("nul \0", str),
            (1e300, float),
            (float("inf"), float),
            ([IPv4Address("10.0.0.1")], list[str | IPv4Address]),
            (2**80, int),
            (date(2026, 1, 1), date),
            (datetime(2026, 1, 1, tzinfo=UTC), datetime),
            (datetime(2026, 1, 1, tzinfo=UTC), str | datetime),
        ],
    )
    def test_values_of_python_are_found_as_models_store_them(
        self, store: StoredSubscriptions, node: UUID, value: Any, annotation: Any
    ) -> None:
        found, *_ = of_value(store, node, ValueCodec(annotation, {}).dump(value), "other", 7)
        assert store.ids(where={"node.size": {"=": value}}) == [found]

    @pytest.mark.parametrize("annotation", [list[IPv4Address], list[str | IPv4Address], tuple[str | IPv4Address, ...]])
    def test_an_item_of_a_list_is_found_as_models_store_it(
        self, store: StoredSubscriptions, node: UUID, annotation: Any
    ) -> None:
        address = IPv4Address("10.0.0.1")
        stored = ValueCodec(annotation, {}).dump((address,) if "tuple" in str(annotation) else [address])
        found, _ = of_value(store, node, stored, ["10.0.0.2"])
        assert store.ids(where={"node.size": {"contains": address}}) == [found]


class TestOrder:
    @pytest.mark.parametrize("sort", [*SORT_COLUMNS, *(f"-{column}" for column in SORT_COLUMNS)])
    def test_pages_by_any_column_are_the_whole_list(self, store: StoredSubscriptions, node: UUID, sort: str) -> None:
        """Equal ones included, and those without a date, which count as later than all others."""
        for number in range(9):
            moment = None if number % 3 == 0 else FIRST_DAY + timedelta(days=number // 4)
            state = {"start_date": moment, "end_date": moment, "insync": number % 2 == 0}
            store.add(node, **state, description=f"{number % 4}", customer_id=f"{number % 2}", created_at=FIRST_DAY)
        whole = store.find(sort=sort)
        column = sort.removeprefix("-")
        values = [getattr(row, column) for row in whole]
        latest = datetime.max.replace(tzinfo=UTC)
        keys = [
            (latest if value is None else value, row.subscription_id) for value, row in zip(values, whole, strict=True)
        ]
        assert keys == sorted(keys, reverse=sort.startswith("-"))
        assert pages(store, 2, sort=sort) == pages(store, 4, sort=sort) == whole

    @pytest.mark.parametrize("sort", ["-created_at", "start_date"])
    @pytest.mark.parametrize(
        "filters",
        [
            {"status": ["active", "initial"]},
            {"customer_id": "acme"},
            {"tag": "NODE", "created_at": (date(2026, 1, 2), date(2026, 1, 9))},
            {"where": {"node.size": {"in": [0, 1]}}},
            {"where": {"node.size": {">=": 0}}, "status": "active"},
            {"text": "even | odd"},
            {"product": "Node Cisco", "status": ["active", "initial"], "created_at": (date(2026, 1, 2), None)},
            {"tag": "NODE", "insync": False},
        ],
    )
    def test_pages_of_filtered_lists_are_the_whole_list(
        self, store: StoredSubscriptions, node: UUID, sort: str, filters: dict[str, Any]
    ) -> None:
        for number in range(10):
            store.add(
                node,
                {"node": [Block({"size": number % 3})]},
                status="active" if number % 2 else "initial",
                description="odd" if number % 2 else "even",
                start_date=FIRST_DAY if number % 4 else None,
                insync=number % 5 == 0,
            )
        assert len(store.find(sort=sort, **filters)) > 3
        assert pages(store, 3, sort=sort, **filters) == store.find(sort=sort, **filters)

    def test_of_long_descriptions_the_beginning_counts(self, store: StoredSubscriptions, node: UUID) -> None:
        beginnings = ["b" * 100, "a" * 100, "b" * 100, "é" * 3000, "b" * 99]
        for number, beginning in enumerate(beginnings):
            store.add(node, description=f"{beginning}{9 - number}")
        whole = store.find(sort="description")
        keys = [(row.description[:100], row.subscription_id) for row in whole if row.description < "c"]
        assert keys == sorted(keys)
        assert pages(store, 1, sort="description") == whole
        assert pages(store, 2, sort="-description") == whole[::-1]

    def test_the_last_page_says_that_nothing_follows(self, store: StoredSubscriptions, node: UUID) -> None:
        store.add(node), store.add(node)
        assert store.find(limit=2).next is None
        assert store.find(limit=3).next is None
        assert store.find().next is None
        assert store.find(limit=1).next is not None

    def test_a_page_goes_on_where_the_one_before_ended_whatever_came_in_between(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        ids = [store.add(node) for _ in range(4)]
        page = store.find(limit=2)
        store.add(node)
        assert [row.subscription_id for row in store.find(limit=2, after=page.next)] == [ids[1], ids[0]]

    def test_a_cursor_of_another_order_is_refused(self, store: StoredSubscriptions, node: UUID) -> None:
        store.add(node), store.add(node)
        cursor = store.find(limit=1, sort="version").next
        with pytest.raises(QueryError, match=r"after cannot be .* sorted by -version; this one is by version"):
            store.find(limit=1, sort="-version", after=cursor)


class TestManyMatches:
    """What is found does not depend on how: near, a bit further, by an index, far, or by all that an index has."""

    @pytest.fixture(autouse=True)
    def small_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("orchestrator_dagster.db.subscriptions.queries.NEAR", 2)
        monkeypatch.setattr("orchestrator_dagster.db.subscriptions.queries.SOME", 1)
        monkeypatch.setattr("orchestrator_dagster.db.subscriptions.queries.MORE", 3)
        monkeypatch.setattr("orchestrator_dagster.db.subscriptions.queries.FAR", 4)
        monkeypatch.setattr("orchestrator_dagster.db.subscriptions.queries.PAGES", 1)
        monkeypatch.setattr("orchestrator_dagster.db.subscriptions.probes.FEW", 3)

    @pytest.mark.parametrize("matching", [{0}, {0, 1, 2, 3}, {3, 5, 12, 13, 14}, set()])
    @pytest.mark.parametrize("sort", ["-created_at", "start_date", "description"])
    def test_all_ways_lead_to_the_same_list(
        self, store: StoredSubscriptions, node: UUID, matching: set[int], sort: str
    ) -> None:
        below = {number: Block({"colour": "red" if number in matching else "blue"}) for number in range(16)}
        for number, block in below.items():
            text = "crimson" if number in matching else "navy"
            root = Block({"size": 1 if number in matching else 2}, {"part": [block]})
            store.add(node, {"node": [root]}, description=text, customer_id=text)
        by_column = pages(store, 3, customer_id="crimson", sort=sort)
        assert len(by_column) == len(matching)
        filters: list[dict[str, Any]] = [
            {"where": {"node.size": 1}},
            {"where": {"node.part.colour": "red"}},
            {"text": "crimson"},
            {"text": "crimson", "where": {"node.size": 1, "node.part.colour": "red"}},
            {"where": {"node.size": {"<": 2}}},
            {"where": {"node.size": 1}, "status": "active", "product_type": "Node"},
            {"where": {"node.size": {"<": 2}}, "status": ["active", "initial"], "product_type": "Node"},
            {"where": {"node.size": 1}, "customer_id": ["crimson", "nobody"], "insync": True},
        ]
        for found_by in filters:
            assert pages(store, 3, sort=sort, **found_by) == by_column
            assert store.find(sort=sort, **found_by) == by_column


def test_a_page_is_one_statement_and_another_one_for_its_products(
    engine: Engine, count_statements: CountStatements
) -> None:
    where = {"node.size": 1, "node.part.colour": "red"}
    queries = [
        (SubscriptionQuery(limit=5), 1),
        (SubscriptionQuery(text="a b", status="active", where=where, limit=5, sort="start_date"), 1),
        (SubscriptionQuery(tag="NODE", product="Node", product_type=["Node", "Port"], where=where, limit=5), 2),
    ]
    with engine.connect() as connection:
        for query, statements in queries:
            with count_statements(engine) as counted:
                find_subscriptions(connection, query)
            assert len(counted) <= statements


def pages(store: StoredSubscriptions, size: int, **filters: Any) -> list[Any]:
    """Return a list as it comes page by page; each page but the last one is full."""
    found = [store.find(limit=size, **filters)]
    while found[-1].next:
        found.append(store.find(limit=size, after=found[-1].next, **filters))
    assert all(len(page) == size for page, _ in pairwise(found))
    return [row for page in found for row in page]
