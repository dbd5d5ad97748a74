"""Which subscriptions use a subscription, and which it depends on, all the way."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from sqlalchemy import Connection, Engine
from stored_subscriptions import Block, StoredSubscriptions

from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.relations import subscriptions_that_use, subscriptions_used_by
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow
from orchestrator_dagster.errors import QueryError, SubscriptionNotFoundError

Find = Callable[[Connection, RelatedQuery], list[RelatedSubscriptionRow]]


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


class Network:
    """A node, two ports on it, a ring over both ports and the node, and a service over the ring."""

    def __init__(self, store: StoredSubscriptions) -> None:
        node, port, ring = store.product("Node"), store.product("Port", "Port"), store.product("Ring", "Ring")
        self.blocks = {name: Block() for name in ("node", "left", "right")}
        self.blocks |= {
            "ring": Block(held={"ends": [self.blocks["left"], self.blocks["right"]], "node": [self.blocks["node"]]})
        }
        self.node = store.add(node, {"node": [self.blocks["node"]]})
        self.left = self._port(store, port, "left", status="terminated")
        self.right = self._port(store, port, "right")
        self.ring = store.add(ring, {"ring": [self.blocks["ring"]]})
        self.service = store.add(ring, {"service": [Block(held={"part": [Block(held={"on": [self.blocks["ring"]]})]})]})

    def _port(self, store: StoredSubscriptions, product: UUID, name: str, **columns: Any) -> UUID:
        self.blocks[name].held = {"inner": [Block(held={"node": [self.blocks["node"]]})]}
        return store.add(product, {"port": [self.blocks[name]]}, **columns)


@pytest.fixture
def network(store: StoredSubscriptions) -> Network:
    return Network(store)


def found(find: Find, store: StoredSubscriptions, subscription_id: UUID, **filters: Any) -> list[tuple[UUID, int]]:
    rows = find(store.connection, RelatedQuery(subscription_id, **filters))
    return [(row.subscription_id, row.depth) for row in rows]


def test_each_user_is_there_once_at_its_smallest_depth_the_nearest_first(
    store: StoredSubscriptions, network: Network
) -> None:
    users = [(network.left, 1), (network.right, 1), (network.ring, 1), (network.service, 2)]
    assert found(subscriptions_that_use, store, network.node) == users


def test_each_dependency_is_there_once_at_its_smallest_depth(store: StoredSubscriptions, network: Network) -> None:
    used = [(network.ring, 1), (network.node, 2), (network.left, 2), (network.right, 2)]
    assert found(subscriptions_used_by, store, network.service) == used


def test_a_depth_says_how_far_to_look(store: StoredSubscriptions, network: Network) -> None:
    assert found(subscriptions_used_by, store, network.service, depth=1) == [(network.ring, 1)]
    assert len(found(subscriptions_used_by, store, network.service, depth=2)) == 4
    assert len(found(subscriptions_used_by, store, network.service, depth=99)) == 4


def test_filters_leave_out_subscriptions_but_not_what_lies_behind_them(
    store: StoredSubscriptions, network: Network
) -> None:
    assert found(subscriptions_used_by, store, network.service, product_type="Node") == [(network.node, 2)]
    assert found(subscriptions_that_use, store, network.node, status="terminated") == [(network.left, 1)]
    of_both = found(subscriptions_that_use, store, network.node, status=["active"], product_type=["Port", "Ring"])
    assert of_both == [(network.right, 1), (network.ring, 1), (network.service, 2)]
    assert found(subscriptions_that_use, store, network.node, status=[]) == []


def test_what_nobody_uses_and_what_does_not_exist_have_no_users(store: StoredSubscriptions, network: Network) -> None:
    assert found(subscriptions_that_use, store, network.service) == []
    assert found(subscriptions_used_by, store, network.node) == []
    assert found(subscriptions_that_use, store, uuid4()) == []


def test_circles_end_and_nobody_uses_itself(store: StoredSubscriptions) -> None:
    product = store.product("Node")
    blocks = [Block() for _ in range(3)]
    ids = [store.add(product, {"node": [block]}) for block in blocks]
    for number in range(3):
        store.link(blocks[number], "next", 0, blocks[(number + 1) % 3])
    store.link(blocks[0], "self", 0, blocks[0])
    assert found(subscriptions_used_by, store, ids[0]) == [(ids[1], 1), (ids[2], 2)]
    assert found(subscriptions_that_use, store, ids[0]) == [(ids[2], 1), (ids[1], 2)]


def test_a_row_says_what_people_ask_for(store: StoredSubscriptions, network: Network) -> None:
    (row,) = subscriptions_used_by(store.connection, RelatedQuery(str(network.service), depth=1))
    assert row == RelatedSubscriptionRow(
        subscription_id=network.ring,
        description="A subscription",
        product="Ring",
        product_type="Ring",
        status=row.status,
        insync=True,
        held_by=None,
        depth=1,
    )
    assert row.status == "active"


def test_however_deep_it_is_one_statement(engine: Engine, count_statements: CountStatements) -> None:
    with engine.connect() as connection:
        store = StoredSubscriptions(connection)
        product, block = store.product("Node"), Block()
        first = store.add(product, {"node": [block]})
        for _ in range(30):
            block = Block(held={"below": [block]})
            last = store.add(product, {"node": [block]})
        with count_statements(engine) as statements:
            assert len(subscriptions_that_use(connection, RelatedQuery(first))) == 30
        assert len(statements) == 1
        with count_statements(engine) as statements:
            assert subscriptions_used_by(connection, RelatedQuery(last))[-1].depth == 30
        assert len(statements) == 1


@pytest.mark.parametrize("depth", [0, -1, 1.5, "1", True])
def test_a_depth_is_a_whole_number_from_one_on(depth: Any) -> None:
    with pytest.raises(QueryError, match="depth cannot be"):
        RelatedQuery(uuid4(), depth=depth)


def test_what_is_no_id_is_no_subscription() -> None:
    with pytest.raises(SubscriptionNotFoundError):
        RelatedQuery("node-1")
