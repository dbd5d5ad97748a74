"""Loads and saves that do not grow with the tree or with the database: how many statements, and by which plans."""

import gc
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from sqlalchemy import Connection, Engine, event, text

from orchestrator_dagster import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.repository import AutocommitRepository, PostgresRepository
from orchestrator_dagster.domain import ProductBlockModel, SubscriptionModel, use_repository
from orchestrator_dagster.domain.repository import SubscriptionRecord
from orchestrator_dagster.errors import (
    ModelError,
    ProductNotInRegistryError,
    StaleDataError,
    SubscriptionNotFoundError,
)

BOX_PRODUCT, HUB_PRODUCT = UUID(int=1), UUID(int=2)
WORKFLOW, PROCESS = UUID(int=3), UUID(int=4)
MANY = 10_000
TABLES = {"subscriptions", "subscription_instances", "subscription_instance_relations"}


class BoxBlock(ProductBlockModel, product_block_name="Box"):
    """A box in which there are boxes: a block that is nested in its own type."""

    title: str = ""
    tags: list[str] = []
    inner: "BoxBlock | None" = None
    boxes: "list[BoxBlock]" = []


class Box(SubscriptionModel, is_base=True):
    box: BoxBlock


class Hub(SubscriptionModel, is_base=True):
    box: BoxBlock


CATALOGUE = text("""
    WITH product AS (
        INSERT INTO orchestrator.products (product_id, name, description, product_type, tag, status)
        VALUES (:box, 'Box', 'A box', 'Box', 'BOX', 'active'), (:hub, 'Hub', 'A hub', 'Hub', 'HUB', 'active')
    ), workflow AS (
        INSERT INTO orchestrator.workflows (workflow_id, name, target, description)
        VALUES (:workflow, 'modify_hub', 'MODIFY', 'Modify hub')
        RETURNING workflow_id
    ), process AS (
        INSERT INTO orchestrator.processes (process_id, workflow_id, is_task, last_status, run_id, plan)
        SELECT :process, workflow_id, false, 'running', 'run', '[]'
        FROM workflow
    )
    INSERT INTO orchestrator.product_blocks (name, description, tag)
    VALUES ('Box', 'A box', 'BOX')
""")

# Subscriptions of two blocks, of which one uses the block of a hub that each hundred of them have in common.
SUBSCRIPTIONS = text("""
    WITH made AS (
        INSERT INTO orchestrator.subscriptions (subscription_id, product_id, customer_id, description, status, insync)
        SELECT gen_random_uuid(), CASE WHEN number % 100 = 0 THEN CAST(:hub AS uuid) ELSE CAST(:box AS uuid) END,
               'customer ' || number % 50, 'subscription ' || number, 'active', true
        FROM generate_series(0, :many - 1) AS number
        RETURNING subscription_id, product_id, CAST(substring(description FROM '\\d+') AS integer) AS number
    ), outer_block AS (
        SELECT made.*, gen_random_uuid() AS outer_id, gen_random_uuid() AS inner_id
        FROM made
    ), instance AS (
        INSERT INTO orchestrator.subscription_instances
               (subscription_instance_id, subscription_id, product_block_id, values, attribute, position)
        SELECT block_id, subscription_id, product_block.product_block_id,
               jsonb_build_object('title', part || ' ' || number, 'tags', CAST('[]' AS jsonb)), attribute, position
        FROM outer_block
        CROSS JOIN LATERAL (VALUES (outer_id, 'outer', 'box', 0), (inner_id, 'inner', NULL, NULL))
                   AS block (block_id, part, attribute, position)
        JOIN orchestrator.product_blocks AS product_block ON product_block.name = 'Box'
    )
    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT outer_id, 'inner', 0, inner_id
    FROM outer_block
    UNION ALL
    SELECT block.inner_id, 'boxes', 0, hub.outer_id
    FROM outer_block AS block
    JOIN outer_block AS hub ON hub.number = block.number - block.number % 100 AND hub.number <> block.number
""")


@pytest.fixture(scope="module")
def scale_engine(module_database_url: str) -> Engine:
    """An engine on a database with many subscriptions, whose statistics are known."""
    engine = engine_for(module_database_url)
    with engine.begin() as connection:
        parameters = {"box": BOX_PRODUCT, "hub": HUB_PRODUCT, "workflow": WORKFLOW, "process": PROCESS}
        connection.execute(CATALOGUE, parameters)
    _switch_triggers(engine, "DISABLE")  # nobody searches here
    with engine.begin() as connection:
        connection.execute(SUBSCRIPTIONS, {"box": BOX_PRODUCT, "hub": HUB_PRODUCT, "many": MANY})
    _switch_triggers(engine, "ENABLE")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return engine


def _switch_triggers(engine: Engine, to: str) -> None:
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(text(f"ALTER TABLE orchestrator.{table} {to} TRIGGER USER"))


@pytest.fixture(autouse=True)
def models() -> Iterator[None]:
    others = dict(SUBSCRIPTION_MODEL_REGISTRY)
    SUBSCRIPTION_MODEL_REGISTRY.update({"Box": Box, "Hub": Hub})
    yield
    SUBSCRIPTION_MODEL_REGISTRY.clear()
    SUBSCRIPTION_MODEL_REGISTRY.update(others)


@pytest.fixture
def store(scale_engine: Engine) -> Iterator[PostgresRepository]:
    """A transaction that is rolled back: the tests share the database."""
    with scale_engine.connect() as connection, use_repository(PostgresRepository(connection)) as repository:
        assert isinstance(repository, PostgresRepository)
        yield repository
        connection.rollback()


@pytest.fixture
def notebook(scale_engine: Engine) -> Iterator[AutocommitRepository]:
    """Each call is a transaction of its own."""
    with use_repository(AutocommitRepository(scale_engine)) as repository:
        assert isinstance(repository, AutocommitRepository)
        yield repository


def some_ids(store: PostgresRepository, count: int, product: UUID = BOX_PRODUCT) -> list[UUID]:
    statement = text("""
        SELECT subscription_id FROM orchestrator.subscriptions
        WHERE product_id = :product ORDER BY subscription_id LIMIT :count
    """)
    return list(store.connection.scalars(statement, {"product": product, "count": count}))


def new_box(boxes: int = 0, depth: int = 0) -> Box:
    """Make a box with boxes in it, and with others in each other below."""
    box = Box.from_product_id(BOX_PRODUCT, "acme")
    box.box.boxes = [BoxBlock.new(box.subscription_id, title=f"box {number}") for number in range(boxes)]
    inner = None
    for level in reversed(range(depth)):
        inner = BoxBlock.new(box.subscription_id, title=f"level {level}", inner=inner)
    box.box.inner = inner
    return box


@contextmanager
def sent(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect statements with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def wait_until_one_waits_for(connection: Connection) -> None:
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))")
    while not connection.scalar(waiting):
        time.sleep(0.01)


def tables_read_whole(store: PostgresRepository, statement: str, parameters: Any) -> set[str]:
    """Return the tables that a statement would read from the beginning to the end."""
    with store.connection.connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        (plan,) = cursor.fetchone()
    found: set[str] = set()
    waiting = [json.loads(plan) if isinstance(plan, str) else plan]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("Node Type") == "Seq Scan":
                found.add(part["Relation Name"])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return found & TABLES


class TestLoading:
    @pytest.mark.parametrize(("boxes", "depth"), [(0, 0), (9, 0), (99, 0), (499, 0), (0, 60), (30, 30)])
    def test_a_tree_of_any_width_and_depth_loads_in_one_statement(
        self, store: PostgresRepository, scale_engine: Engine, count_statements: CountStatements, boxes: int, depth: int
    ) -> None:
        saved = new_box(boxes, depth)
        saved.save()
        with count_statements(scale_engine) as statements:
            loaded = Box.from_subscription(saved.subscription_id)
        assert len(statements) == 1
        assert loaded == saved

    @pytest.mark.parametrize("count", [0, 1, 100, 1000])
    def test_many_load_in_five_statements_at_most(
        self, store: PostgresRepository, scale_engine: Engine, count_statements: CountStatements, count: int
    ) -> None:
        ids = some_ids(store, count)
        with count_statements(scale_engine) as statements:
            loaded = SubscriptionModel.from_subscriptions(ids)
        assert len(statements) <= 5
        assert [box.subscription_id for box in loaded] == ids
        assert {type(box) for box in loaded} <= {Box}

    def test_many_load_as_each_of_them_does_alone(self, store: PostgresRepository) -> None:
        ids = [*some_ids(store, 30), *some_ids(store, 3, HUB_PRODUCT)]
        alone = [SubscriptionModel.from_subscription(subscription_id) for subscription_id in ids]
        assert SubscriptionModel.from_subscriptions(map(str, ids)) == alone

    def test_many_load_in_the_order_given_and_each_once(self, store: PostgresRepository) -> None:
        one, two = some_ids(store, 2)
        loaded = Box.from_subscriptions([two, one, two])
        assert [box.subscription_id for box in loaded] == [two, one, two]
        assert loaded[0] is loaded[2]

    def test_the_first_that_is_missing_is_named(self, store: PostgresRepository) -> None:
        missing = [uuid4(), uuid4()]
        with pytest.raises(SubscriptionNotFoundError, match=str(missing[0])):
            Box.from_subscriptions([*some_ids(store, 1), *missing])
        with pytest.raises(SubscriptionNotFoundError, match="no id"):
            Box.from_subscriptions(["no id"])

    def test_the_class_of_each_is_chosen_as_for_one(self, store: PostgresRepository) -> None:
        (box,), (hub,) = some_ids(store, 1), some_ids(store, 1, HUB_PRODUCT)
        assert [type(found) for found in SubscriptionModel.from_subscriptions([hub, box])] == [Hub, Box]
        with pytest.raises(ModelError, match="not of"):
            Box.from_subscriptions([hub])
        del SUBSCRIPTION_MODEL_REGISTRY["Hub"]
        with pytest.raises(ProductNotInRegistryError, match="Hub"):
            SubscriptionModel.from_subscriptions([hub])

    def test_a_block_that_several_use_is_an_object_of_its_own_in_each(self, store: PostgresRepository) -> None:
        hub = Hub.from_product_id(HUB_PRODUCT, "acme")
        hub.box.tags = ["shared"]
        hub.save()
        boxes = [new_box(), new_box()]
        for box in boxes:
            box.box.boxes = [hub.box]
            box.save()
        one, other = Box.from_subscriptions([box.subscription_id for box in boxes])
        assert one.box.boxes == other.box.boxes == [hub.box]
        one.box.boxes[0].tags.append("mine")
        assert other.box.boxes[0].tags == ["shared"]

    def test_a_block_nested_in_its_own_type_loads_across_subscriptions(self, store: PostgresRepository) -> None:
        hub = Hub.from_product_id(HUB_PRODUCT, "acme")
        hub.box.inner = BoxBlock.new(hub.subscription_id, title="in the hub")
        hub.save()
        box = new_box(depth=3)
        assert box.box.inner
        box.box.inner.boxes = [hub.box]
        box.save()
        for loaded in (Box.from_subscription(box.subscription_id), *Box.from_subscriptions([box.subscription_id])):
            assert loaded == box
            assert loaded.box.inner
            assert loaded.box.inner.boxes[0].inner == hub.box.inner
        assert BoxBlock.from_db(box.box.subscription_instance_id) == box.box


class TestIterating:
    def test_each_batch_takes_two_statements(
        self, store: PostgresRepository, scale_engine: Engine, count_statements: CountStatements
    ) -> None:
        """And one more where something of the product is asked for."""
        batches = MANY // 50 // 25
        with count_statements(scale_engine) as statements:
            assert len(list(SubscriptionModel.iterate(customer_id="customer 0", batch_size=25))) == 25 * batches
            assert len(statements) == 2 * batches
            assert len(list(Hub.iterate(product="Hub", batch_size=25))) == MANY // 100
        assert len(statements) <= 2 * batches + 3 * (MANY // 100 // 25)

    def test_subscriptions_come_in_the_order_of_their_ids(self, store: PostgresRepository) -> None:
        expected = Hub.from_subscriptions(some_ids(store, MANY, HUB_PRODUCT))
        assert list(Hub.iterate(product="Hub", batch_size=7)) == expected

    def test_only_what_fits_is_loaded(self, store: PostgresRepository) -> None:
        found = list(SubscriptionModel.iterate(customer_id="customer 7", product=["Box", "Hub"]))
        assert len(found) == MANY // 50
        assert list(Box.iterate(status="terminated")) == []

    def test_one_batch_is_in_memory(self, store: PostgresRepository, scale_engine: Engine) -> None:
        """And none of it any more while the next one is loaded."""

        def records() -> int:
            return sum(isinstance(found, SubscriptionRecord) for found in gc.get_objects())

        def note(*_: Any) -> None:
            counts.append(records())

        before, counts = records(), list[int]()
        boxes = Box.iterate(product="Box", customer_id="customer 7", batch_size=60)
        event.listen(scale_engine, "before_cursor_execute", note)
        try:
            most = max(records() for number, _ in enumerate(boxes) if number % 60 == 59)
        finally:
            event.remove(scale_engine, "before_cursor_execute", note)
        assert most - before <= 60
        assert len(counts) > 4
        assert max(counts) == before

    @pytest.mark.parametrize("name", ["sort", "limit", "after"])
    def test_what_is_no_filter_is_refused_at_once(self, store: PostgresRepository, name: Any) -> None:
        with pytest.raises(TypeError, match=f"{name} is no filter"):
            Box.iterate(**{name: "description"})


class TestSaving:
    def test_one_changed_value_takes_two_statements(
        self, notebook: AutocommitRepository, scale_engine: Engine, count_statements: CountStatements
    ) -> None:
        """Its own connection or not, after a load or after a save: what is stored is remembered."""
        saved = new_box(boxes=20)
        saved.save()
        box = Box.from_subscription(saved.subscription_id)
        with count_statements(scale_engine) as statements:
            for title in ("one", "two"):
                box.box.boxes[7].title = title
                box.save()
        assert len(statements) == 4
        assert Box.from_subscription(box.subscription_id) == box
        assert box.version == 3

    def test_a_changed_note_takes_one_statement(
        self, store: PostgresRepository, scale_engine: Engine, count_statements: CountStatements
    ) -> None:
        (box,) = map(Box.from_subscription, some_ids(store, 1))
        box.note = "changed"
        with count_statements(scale_engine) as statements:
            box.save()
        assert len(statements) == 1

    def test_an_unchanged_model_is_looked_at_and_not_written(
        self, notebook: AutocommitRepository, scale_engine: Engine, count_statements: CountStatements
    ) -> None:
        box = new_box(boxes=3)
        box.save()
        with count_statements(scale_engine) as statements:
            box.save()
        assert box.version == 1
        assert [statement.split()[0] for statement in statements] == ["SELECT"], "the lock"

    @pytest.mark.parametrize("boxes", [3, 100])
    def test_everything_at_once_takes_six_statements(
        self, store: PostgresRepository, scale_engine: Engine, count_statements: CountStatements, boxes: int
    ) -> None:
        """Not remembered, values, blocks that come and go, a link to a subscription that a process holds."""
        box, hub = new_box(boxes, depth=2), Hub.from_product_id(HUB_PRODUCT, "acme")
        for model in (box, hub):
            model.save()
        held = "UPDATE orchestrator.subscriptions SET held_by = :process WHERE subscription_id = :hub"
        store.connection.execute(text(held), {"process": PROCESS, "hub": hub.subscription_id})
        (box,) = Box.from_subscriptions([box.subscription_id])
        box.note = box.box.title = "changed"
        box.box.inner = None
        box.box.boxes = [hub.box, *box.box.boxes[:0:-1], BoxBlock.new(box.subscription_id)]
        with count_statements(scale_engine) as statements:
            box.save()
        assert len(statements) == 6
        assert Box.from_subscription(box.subscription_id) == box

    def test_what_somebody_else_saved_meanwhile_is_not_overwritten(self, scale_engine: Engine) -> None:
        """Each remembers the version that it loaded."""
        ours, theirs = AutocommitRepository(scale_engine), AutocommitRepository(scale_engine)
        with use_repository(theirs):
            saved = new_box()
            saved.save()
        with use_repository(ours):
            box = Box.from_subscription(saved.subscription_id)
        with use_repository(theirs):
            saved.note = "theirs"
            saved.save()
        with use_repository(ours):
            box.note = "ours"
            with pytest.raises(StaleDataError) as refusal:
                box.save()
            assert (refusal.value.given_version, refusal.value.current_version) == (1, 2)
            assert Box.from_subscription(saved.subscription_id).note == "theirs"

    def test_what_was_deleted_meanwhile_is_not_made_again(
        self, notebook: AutocommitRepository, scale_engine: Engine
    ) -> None:
        box = new_box()
        box.save()
        with scale_engine.begin() as connection:
            statement = text("DELETE FROM orchestrator.subscriptions WHERE subscription_id = :box")
            connection.execute(statement, {"box": box.subscription_id})
        box.note = "changed"
        with pytest.raises(SubscriptionNotFoundError):
            box.save()
        with pytest.raises(SubscriptionNotFoundError):
            Box.from_subscription(box.subscription_id)

    def test_a_block_whose_product_block_was_renamed_meanwhile_is_not_left_out(self, store: PostgresRepository) -> None:
        (box,) = map(Box.from_subscription, some_ids(store, 1))
        store.connection.execute(text("UPDATE orchestrator.product_blocks SET name = 'Crate' WHERE name = 'Box'"))
        box.box.title = "changed"
        with pytest.raises(ModelError, match="renamed or removed its product block in the catalogue"):
            box.save()

    def test_what_is_being_deleted_is_not_made_again(
        self, notebook: AutocommitRepository, scale_engine: Engine
    ) -> None:
        """The save waits for the row, and finds that it is gone."""
        box = new_box()
        box.save()
        box.note = "changed"
        failures: list[BaseException] = []

        def save() -> None:
            try:
                with use_repository(notebook):
                    box.save()
            except SubscriptionNotFoundError as error:
                failures.append(error)

        saving = threading.Thread(target=save)
        with scale_engine.begin() as connection:
            statement = text("DELETE FROM orchestrator.subscriptions WHERE subscription_id = :box")
            connection.execute(statement, {"box": box.subscription_id})
            saving.start()
            wait_until_one_waits_for(connection)
        saving.join()
        assert len(failures) == 1
        with pytest.raises(SubscriptionNotFoundError):
            Box.from_subscription(box.subscription_id)

    def test_a_save_that_was_rolled_back_is_not_remembered(
        self, notebook: AutocommitRepository, scale_engine: Engine
    ) -> None:
        box = new_box()
        box.save()

        def fail(_: Any) -> None:
            raise ConnectionError("lost at the commit")

        box.note = "lost"
        event.listen(scale_engine, "commit", fail)
        try:
            with pytest.raises(ConnectionError):
                box.save()
        finally:
            event.remove(scale_engine, "commit", fail)
        assert box.version == 1
        box.save()
        assert (box.version, Box.from_subscription(box.subscription_id).note) == (2, "lost")


class TestPlans:
    """With so many subscriptions, none of the statements reads a table of them from the beginning to the end."""

    def test_loading_one_or_a_hundred_or_a_block_goes_by_indexes(
        self, store: PostgresRepository, scale_engine: Engine
    ) -> None:
        ids = some_ids(store, 100)
        with sent(scale_engine) as statements:
            box = Box.from_subscription(ids[0])
            Box.from_subscriptions(ids)
            BoxBlock.from_db(box.box.subscription_instance_id)
        assert len(statements) == 3
        for statement in statements:
            assert not tables_read_whole(store, *statement)

    def test_saving_whatever_changed_goes_by_indexes(self, store: PostgresRepository, scale_engine: Engine) -> None:
        box, hub = Box.from_subscription(some_ids(store, 1)[0]), Hub.from_product_id(HUB_PRODUCT, "acme")
        hub.save()
        box.note = box.box.title = "changed"
        box.box.inner = None
        box.box.boxes = [hub.box, BoxBlock.new(box.subscription_id)]
        with sent(scale_engine) as statements:
            box.save()
        assert len(statements) == 4
        for statement in statements:
            assert not tables_read_whole(store, *statement)

    def test_a_table_that_is_read_whole_would_be_noticed(self, store: PostgresRepository) -> None:
        statement = "SELECT note FROM orchestrator.subscriptions WHERE note IS NOT NULL"
        assert tables_read_whole(store, statement, None) == {"subscriptions"}
