"""Full-text search of subscriptions: what is found, by which words, and that it is so as soon as a change is there."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from stored_subscriptions import Block, StoredSubscriptions

from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.domain.query import SubscriptionQuery
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
    return store.product("Node Cisco", "Router", "NC")


def change(store: StoredSubscriptions, statement: str, **parameters: Any) -> None:
    store.connection.execute(text(statement), parameters)


class TestWhatIsFound:
    @pytest.mark.parametrize(
        "searched",
        ["delft", "urgent", "acme", "cisco", "router", "nc", "ams-core-1", "10.0.0.1", "2001:db8::1", "4711"],
    )
    def test_description_note_customer_product_and_values(
        self, store: StoredSubscriptions, node: UUID, searched: str
    ) -> None:
        inner = Block({"address": "10.0.0.1", "more": [{"v6": "2001:db8::1"}, 4711]})
        roots = {"node": [Block({"name": "ams-core-1"}, {"port": [inner]})]}
        found = store.add(node, roots, description="A node in Delft", note="urgent!", customer_id="ACME b.v.")
        store.add(store.product("Other"), customer_id="other")
        assert store.ids(text=searched) == store.ids(text=searched.upper(), limit=5) == [found]

    def test_fixed_inputs_labels_ids_and_what_customers_call_it(self, store: StoredSubscriptions, node: UUID) -> None:
        change(
            store,
            """INSERT INTO orchestrator.fixed_inputs (product_id, name, value) VALUES (:id, 'vendor', '"Juniper"')""",
            id=node,
        )
        found, _ = store.add(node, {"node": [Block(label="left rack")]}), store.add(store.product("Other"))
        change(
            store,
            """INSERT INTO orchestrator.subscription_customer_descriptions (subscription_id, customer_id, description)
               VALUES (:id, 'surf', 'Our uplink')""",
            id=found,
        )
        for searched in ("juniper", "left rack", "uplink", "surf", str(found), str(found)[:8]):
            assert store.ids(text=searched) == [found]

    def test_names_of_values_are_not_searched(self, store: StoredSubscriptions, node: UUID) -> None:
        store.add(node, {"node": [Block({"node_name": "x", "on": True, "off": None})]})
        assert store.ids(text="node_name") == store.ids(text="true") == store.ids(text="null") == []

    @pytest.mark.parametrize(
        ("searched", "stored"),
        [
            ("ams-core-1", "ams-core-1"),
            ("ams-core-1", "(ams-core-1),"),
            ("ams-core", "ams-core-1"),
            ("core-1", "ams-core-1"),
            ("core", "ams-core-1"),
            ("core-1.example.net", "ams-core-1.example.net"),
            ("10.0.0.1", "10.0.0.1/24"),
            ("10.0.0.*", "10.0.0.1/24"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("https://example.net/a?b=c", "See https://example.net/a?b=c."),
            ("xe-0/0/1", "xe-0/0/1"),
            ("node_name", "node_name"),
            ("3e8f9b2a", "3e8f9b2a-0000-0000-0000-000000000001"),
            ("3e8f*", "3e8f9b2a-0000-0000-0000-000000000001"),
            ("ZÜRICH", "Zürich"),
            ("日本", "日本"),
        ],
    )
    def test_names_addresses_and_ids_are_found_whole_and_by_their_parts(
        self, store: StoredSubscriptions, node: UUID, searched: str, stored: str
    ) -> None:
        found = store.add(node, {"node": [Block({"name": stored})]})
        assert store.ids(text=searched) == [found]

    @pytest.mark.parametrize("searched", ["ams-core-1", "1-core", "ams-1", "10.0.0.1", "0.0.10", "core1"])
    def test_words_that_do_not_stand_together_are_no_name(
        self, store: StoredSubscriptions, node: UUID, searched: str
    ) -> None:
        store.add(node, description="ams-core-2 and core-11, 10.0.1.1, 1 core ams, ams core 1")
        assert store.ids(text=searched) == []


class TestLanguage:
    @pytest.mark.parametrize(
        ("searched", "found"),
        [
            ("red apple", ["red apple", "apple red"]),
            ('"red apple"', ["red apple"]),
            ("red -apple", ["red plum"]),
            ("-red", ["green apple"]),
            ("plum | green", ["red plum", "green apple"]),
            ("red (plum | -apple)", ["red plum"]),
            ("apple -(red | yellow)", ["green apple"]),
            ('-"red apple" apple', ["apple red", "green apple"]),
            ("gre*", ["green apple"]),
            ('gre* "red a"', []),
            ("RED", ["red apple", "apple red", "red plum"]),
        ],
    )
    def test_words_phrases_exclusions_alternatives_and_beginnings(
        self, store: StoredSubscriptions, node: UUID, searched: str, found: list[str]
    ) -> None:
        for description in ("red apple", "apple red", "red plum", "green apple"):
            store.add(node, description=description)
        assert [row.description for row in store.find(text=searched, sort="created_at")] == found

    @pytest.mark.parametrize("nothing", ["", "  ", "-", "()", '""', "| ( -", "!&:*", "\0", "\ud800"])
    def test_a_search_without_a_word_asks_for_nothing(
        self, store: StoredSubscriptions, node: UUID, nothing: str
    ) -> None:
        found = store.add(node)
        assert store.ids(text=nothing) == [found]

    @pytest.mark.parametrize(
        "odd",
        [
            "red | ",
            "(red",
            "red)",
            '"red',
            "red ((",
            "red & !",
            "red:*",
            "'red'",
            "\\red",
            "red <->",
            "red\0",
            "((((red",
        ],
    )
    def test_nothing_that_people_type_is_an_error(self, store: StoredSubscriptions, node: UUID, odd: str) -> None:
        found, _ = store.add(node, description="red"), store.add(node, description="blue")
        assert store.ids(text=odd) == [found]

    def test_a_search_has_five_hundred_characters_at_most(self, store: StoredSubscriptions) -> None:
        store.ids(text="(" * 499 + "a")
        store.ids(text="日" * 500)
        with pytest.raises(QueryError, match=r"text cannot be .*; it can be text of 500 characters at most"):
            store.ids(text="a" * 501)


class TestChanges:
    def test_a_change_of_anything_that_is_searched_is_there_at_once(
        self, store: StoredSubscriptions, node: UUID
    ) -> None:
        block = Block({"name": "before"})
        found = store.add(node, {"node": [block]})
        changes = {
            "UPDATE orchestrator.subscriptions SET description = 'described'": "described",
            "UPDATE orchestrator.subscriptions SET note = 'noted'": "noted",
            "UPDATE orchestrator.subscriptions SET customer_id = 'bought'": "bought",
            """UPDATE orchestrator.subscription_instances SET values = '{"name": "valued"}'""": "valued",
            "UPDATE orchestrator.subscription_instances SET label = 'labelled'": "labelled",
            "UPDATE orchestrator.products SET name = 'named' WHERE product_id = :node": "named",
            "UPDATE orchestrator.products SET tag = 'tagged' WHERE product_id = :node": "tagged",
            "UPDATE orchestrator.products SET description = 'sold' WHERE product_id = :node": "sold",
            "UPDATE orchestrator.products SET product_type = 'typed' WHERE product_id = :node": "typed",
            """INSERT INTO orchestrator.fixed_inputs (product_id, name, value)
               VALUES (:node, 'a', '"fixed"')""": "fixed",
            """UPDATE orchestrator.fixed_inputs SET value = '"refixed"'""": "refixed",
            """INSERT INTO orchestrator.subscription_customer_descriptions (subscription_id, customer_id, description)
               VALUES (:found, 'a', 'called')""": "called",
            "UPDATE orchestrator.subscription_customer_descriptions SET description = 'recalled'": "recalled",
        }
        for statement, word in changes.items():
            assert store.ids(text=word) == []
            change(store, statement, **{name: {"node": node, "found": found}[name] for name in names_in(statement)})
            assert store.ids(text=word) == [found]
        assert store.ids(text="before | fixed | called") == []

    def test_what_is_removed_is_not_found_any_more(self, store: StoredSubscriptions, node: UUID) -> None:
        found = store.add(node, {"node": [Block({"name": "gone"})]})
        change(store, "DELETE FROM orchestrator.subscription_instances")
        assert store.ids(text="gone") == []
        change(store, "DELETE FROM orchestrator.subscriptions WHERE subscription_id = :id", id=found)
        assert store.connection.scalar(text("SELECT count(*) FROM orchestrator.subscription_search")) == 0

    def test_another_product_brings_other_words(self, store: StoredSubscriptions, node: UUID) -> None:
        found, juniper = store.add(node), store.product("Node Juniper")
        change(store, "UPDATE orchestrator.subscriptions SET product_id = :id", id=juniper)
        assert (store.ids(text="cisco"), store.ids(text="juniper")) == ([], [found])

    @pytest.mark.parametrize(
        "huge", ["a-" * 400_000, "日本 " * 300_000, "x" * 3_000_000, " ".join(f"{n:x}.{n:o}" for n in range(100_000))]
    )
    def test_the_words_after_the_first_hundred_thousand_characters_are_left_out(
        self, store: StoredSubscriptions, node: UUID, huge: str
    ) -> None:
        found = store.add(node, {"node": [Block({"huge": huge})]}, description="described")
        assert store.ids(text="described") == [found]

    def test_a_change_of_no_word_writes_no_document(self, store: StoredSubscriptions, node: UUID) -> None:
        store.add(node, {"node": [Block({"name": "a", "on": True})]})
        place = text("SELECT ctid, xmin FROM orchestrator.subscription_search")
        before = store.connection.execute(place).all()
        change(store, "UPDATE orchestrator.subscriptions SET status = 'disabled', version = version + 1")
        change(store, """UPDATE orchestrator.subscription_instances SET values = '{"name": "a", "on": false}'""")
        assert store.connection.execute(place).all() == before


class TestTwoAtOnce:
    """Each waits for the other, and sees what it did."""

    def test_a_description_and_a_value_of_one_subscription(self, engine: Engine) -> None:
        with engine.begin() as connection:
            store = StoredSubscriptions(connection)
            found = store.add(store.product("Shared"), {"node": [Block({"name": "old"})]})
        both(
            engine,
            "UPDATE orchestrator.subscriptions SET description = 'twofold' WHERE subscription_id = :id",
            """UPDATE orchestrator.subscription_instances SET values = '{"name": "threefold"}'
               WHERE subscription_id = :id""",
            id=found,
        )
        assert committed(engine, "twofold threefold") == [found]
        remove(engine)

    def test_a_product_that_is_renamed_and_a_subscription_to_it_that_is_made(self, engine: Engine) -> None:
        with engine.begin() as connection:
            product = StoredSubscriptions(connection).product("Shared")
        new = uuid4()
        made = """INSERT INTO orchestrator.subscriptions
                         (subscription_id, product_id, customer_id, description, status, insync)
                  VALUES (:new, :id, 'acme', 'made', 'active', true)"""
        renamed = "UPDATE orchestrator.products SET name = 'renamed' WHERE product_id = :id"
        both(engine, made, renamed, id=product, new=new)
        assert committed(engine, "made renamed") == [new]
        remove(engine)


def both(engine: Engine, first: str, second: str, **parameters: Any) -> None:
    """Run a statement, and before it is committed another one elsewhere."""
    failures: list[BaseException] = []

    def run_second() -> None:
        try:
            with engine.begin() as connection:
                connection.execute(text(second), only(second, parameters))
        except BaseException as error:
            failures.append(error)

    with engine.connect() as one, engine.connect() as watching:
        one.execute(text(first), only(first, parameters))
        other = threading.Thread(target=run_second)
        other.start()
        while not watching.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            watching.rollback()
        one.commit()
        other.join()
    assert failures == []


def only(statement: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: parameters[name] for name in names_in(statement)}


def names_in(statement: str) -> set[str]:
    return set(text(statement).compile().params)


def committed(engine: Engine, searched: str) -> list[UUID]:
    with engine.connect() as connection:
        return [row.subscription_id for row in find_subscriptions(connection, SubscriptionQuery(text=searched))]


def remove(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM orchestrator.subscriptions"))
        connection.execute(text("DELETE FROM orchestrator.products"))
        connection.execute(text("DELETE FROM orchestrator.product_blocks"))
