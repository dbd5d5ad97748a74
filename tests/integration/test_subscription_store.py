"""Subscriptions in Postgres: what a load returns, what a save writes, what it refuses."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from orchestrator_dagster.db.subscriptions.history import subscription_versions
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.db.subscriptions.repository import AutocommitRepository, PostgresRepository
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductModel
from orchestrator_dagster.domain.query import SubscriptionQuery, SubscriptionRow
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord
from orchestrator_dagster.errors import (
    ModelError,
    ProductBlockNotFoundError,
    ProductNotFoundError,
    StaleDataError,
    SubscriptionNotFoundError,
)

NODE, PORT = UUID(int=1), UUID(int=2)
WORKFLOW, PROCESS = UUID(int=3), UUID(int=4)


@pytest.fixture(autouse=True)
def catalogue(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO orchestrator.products (product_id, name, description, product_type, tag, status)
                    VALUES (:node, 'Node Cisco', 'A node', 'Node', 'NODE', 'active'),
                           (:port, 'Port 10G', 'A port', 'Port', 'PORT', 'phase out')"""),
            {"node": NODE, "port": PORT},
        )
        connection.execute(
            text("""INSERT INTO orchestrator.fixed_inputs (product_id, name, value)
                    VALUES (:node, 'vendor', '"Cisco"'), (:node, 'maker', 'null')"""),
            {"node": NODE},
        )
        connection.execute(
            text("""INSERT INTO orchestrator.product_blocks (name, description, tag)
                    VALUES ('Node', 'A node', 'NODE'),
                           ('Port', 'A port', 'PORT'),
                           ('Channel', 'A channel', 'CHANNEL')""")
        )
        connection.execute(
            text("""INSERT INTO orchestrator.workflows (workflow_id, name, target, description)
                    VALUES (:workflow, 'modify_port', 'MODIFY', 'Modify port')"""),
            {"workflow": WORKFLOW},
        )
        connection.execute(
            text("""INSERT INTO orchestrator.processes (process_id, workflow_id, is_task, last_status, run_id, plan)
                    VALUES (:process, :workflow, false, 'running', 'run', '[]')"""),
            {"process": PROCESS, "workflow": WORKFLOW},
        )


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that is committed at the end of the test, so that deferred constraints have their say."""
    with engine.begin() as connection:
        yield connection


@pytest.fixture
def store(connection: Connection) -> PostgresRepository:
    return PostgresRepository(connection)


def block(
    subscription_id: UUID,
    name: str,
    values: Mapping[str, Any] | None = None,
    links: Mapping[str, Sequence[BlockRecord]] | None = None,
) -> BlockRecord:
    return BlockRecord(
        subscription_instance_id=uuid4(),
        owner_subscription_id=subscription_id,
        owner_status=SubscriptionLifecycle.INITIAL,
        product_block_name=name,
        values=values or {},
        links={
            attribute: [linked.subscription_instance_id for linked in held] for attribute, held in (links or {}).items()
        },
    )


def subscription(
    subscription_id: UUID, product: ProductModel, *blocks: BlockRecord, **roots: Any
) -> SubscriptionRecord:
    """Make a record; `roots` are the root blocks by attribute, `blocks` those below them."""
    held = {name: root if isinstance(root, list) else [root] for name, root in roots.items()}
    every = [*blocks, *(root for listed in held.values() for root in listed)]
    return SubscriptionRecord(
        subscription_id=subscription_id,
        product=product,
        customer_id="acme",
        description="A subscription",
        status=SubscriptionLifecycle.INITIAL,
        insync=False,
        start_date=None,
        end_date=None,
        note=None,
        version=0,
        roots={name: [root.subscription_instance_id for root in listed] for name, listed in held.items()},
        blocks={one.subscription_instance_id: one for one in every},
    )


def with_block(record: SubscriptionRecord, changed: BlockRecord) -> SubscriptionRecord:
    return replace(record, blocks={**record.blocks, changed.subscription_instance_id: changed})


def with_values(record: SubscriptionRecord, of: BlockRecord, **values: Any) -> SubscriptionRecord:
    return with_block(record, replace(of, values={**of.values, **values}))


def with_links(record: SubscriptionRecord, of: BlockRecord, **links: Sequence[BlockRecord]) -> SubscriptionRecord:
    ids = {name: [linked.subscription_instance_id for linked in held] for name, held in links.items()}
    return with_block(record, replace(of, links={**of.links, **ids}))


def a_node(store: PostgresRepository, **values: Any) -> tuple[SubscriptionRecord, BlockRecord]:
    """Save a subscription of one block."""
    subscription_id = uuid4()
    node = block(subscription_id, "Node", {"node_name": "ams-core-1", **values})
    record = subscription(subscription_id, store.product(NODE).product, node=node)
    store.save_subscription(record)
    return store.load_subscription(subscription_id), node


def a_port(
    store: PostgresRepository, node: BlockRecord, channels: int = 3
) -> tuple[SubscriptionRecord, BlockRecord, list[BlockRecord]]:
    """Save a subscription of a block with a list of blocks and a block of another subscription."""
    subscription_id = uuid4()
    lanes = [block(subscription_id, "Channel", {"vlan": vlan}) for vlan in range(channels)]
    port = block(subscription_id, "Port", {"allowed_vlans": [300, 20]}, {"node": [node], "channels": lanes})
    record = subscription(subscription_id, store.product(PORT).product, node, *lanes, port=port)
    store.save_subscription(record)
    return store.load_subscription(subscription_id), port, lanes


def history(connection: Connection, record: SubscriptionRecord) -> list[Any]:
    return [version.changes for version in subscription_versions(connection, record.subscription_id)]


def test_a_product_comes_with_its_fixed_inputs(store: PostgresRepository) -> None:
    found = store.product(NODE)
    assert (found.product.name, found.product.status) == ("Node Cisco", "active")
    assert found.fixed_inputs == {"vendor": "Cisco", "maker": None}
    assert store.product(PORT).fixed_inputs == {}


def test_what_does_not_exist_is_named(store: PostgresRepository) -> None:
    with pytest.raises(ProductNotFoundError, match=str(UUID(int=9))):
        store.product(UUID(int=9))
    with pytest.raises(ProductBlockNotFoundError, match="Router"):
        store.product_block("Router")
    with pytest.raises(SubscriptionNotFoundError, match=str(UUID(int=9))):
        store.load_subscription(UUID(int=9))
    with pytest.raises(ProductBlockNotFoundError, match=str(UUID(int=9))):
        store.load_block(UUID(int=9))


def test_a_product_block_is_found_by_name(store: PostgresRepository) -> None:
    assert store.product_block("Node").tag == "NODE"


def test_what_is_saved_is_loaded(store: PostgresRepository) -> None:
    subscription_id = uuid4()
    lanes = [replace(block(subscription_id, "Channel", {"vlan": vlan}), label=f"lane {vlan}") for vlan in (3, 1, 2)]
    ports = [
        block(subscription_id, "Port", {"allowed_vlans": [300, 20]}, {"channels": lanes}),
        block(subscription_id, "Port"),
    ]
    saved = replace(
        subscription(subscription_id, store.product(NODE).product, *lanes, ports=ports),
        description="Naïve 名",
        status=SubscriptionLifecycle.ACTIVE,
        insync=True,
        start_date=datetime(2024, 1, 1, 12, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
        end_date=datetime(2025, 1, 1, tzinfo=UTC),
        note="it's a note",
    )
    assert store.save_subscription(saved) == 1
    loaded = store.load_subscription(subscription_id)
    active = {
        block_id: replace(one, owner_status=SubscriptionLifecycle.ACTIVE) for block_id, one in saved.blocks.items()
    }
    assert loaded == replace(saved, version=1, fixed_inputs={"vendor": "Cisco", "maker": None}, blocks=active)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        1.0,
        1e16,
        -2.5e300,
        5e-324,
        123456789012345678901234567890,
        "",
        'a "quoted" 1e+16 text \\ with all',
        "\\u0000 only looks like a NUL",
        [300, 20, 100],
        [],
        {"nested": [{"deep": [1, 1.0, True, None]}]},
    ],
)
def test_a_value_comes_back_equal_and_of_the_same_type(store: PostgresRepository, value: Any) -> None:
    record, node = a_node(store, anything=value)
    found = record.blocks[node.subscription_instance_id].values["anything"]
    assert repr(found) == repr(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a NUL \0", {"deep": ["\0"]}, object()])
def test_a_value_that_postgres_cannot_hold_is_refused_by_name_of_the_block(
    store: PostgresRepository, value: Any
) -> None:
    with pytest.raises(ModelError, match=r"A value of block Node .* cannot be stored"):
        a_node(store, anything=value)


def test_a_description_that_postgres_cannot_hold_is_refused(store: PostgresRepository) -> None:
    record, _ = a_node(store)
    with pytest.raises(ModelError, match="NUL"):
        store.save_subscription(replace(record, description="a NUL \0"))


def test_a_date_without_time_zone_is_refused(store: PostgresRepository) -> None:
    record, _ = a_node(store)
    with pytest.raises(ModelError, match=r"The start_date of .* has no time zone"):
        store.save_subscription(replace(record, start_date=datetime(2024, 1, 1)))  # noqa: DTZ001


def test_blocks_of_other_subscriptions_load_with_the_status_of_their_owner(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    store.save_subscription(replace(of_node, status=SubscriptionLifecycle.ACTIVE))
    record, port, _ = a_port(store, node)
    linked = record.blocks[node.subscription_instance_id]
    assert (linked.owner_subscription_id, linked.owner_status) == (of_node.subscription_id, "active")
    assert linked.values == {"node_name": "ams-core-1"}
    assert record.blocks[port.subscription_instance_id].owner_status == "initial"
    assert record.roots == {"port": [port.subscription_instance_id]}


def test_a_block_loads_with_all_it_depends_on(store: PostgresRepository) -> None:
    _, node = a_node(store)
    _, port, lanes = a_port(store, node)
    found = store.load_block(port.subscription_instance_id)
    assert found.keys() == {one.subscription_instance_id for one in [port, node, *lanes]}
    assert store.load_block(node.subscription_instance_id).keys() == {node.subscription_instance_id}


def test_blocks_that_depend_on_each_other_in_a_circle_load(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    record, port, _ = a_port(store, node)
    node = of_node.blocks[node.subscription_instance_id]
    store.save_subscription(with_links(with_block(of_node, port), node, back=[port]))
    loaded = store.load_subscription(record.subscription_id)
    assert loaded.blocks[node.subscription_instance_id].links == {"back": [port.subscription_instance_id]}
    assert loaded.roots == record.roots


def test_trees_of_any_depth_load_in_one_statement(
    engine: Engine, store: PostgresRepository, count_statements: CountStatements
) -> None:
    subscription_id = uuid4()
    chain = [block(subscription_id, "Port")]
    for _ in range(50):
        chain.append(block(subscription_id, "Port", links={"below": [chain[-1]]}))
    store.save_subscription(subscription(subscription_id, store.product(PORT).product, *chain[:-1], top=chain[-1]))
    with count_statements(engine) as statements:
        loaded = store.load_subscription(subscription_id)
        assert len(statements) == 1
        below = store.load_block(chain[-1].subscription_instance_id)
        assert len(statements) == 2
    assert loaded.blocks.keys() == below.keys() == {one.subscription_instance_id for one in chain}


@pytest.mark.parametrize("channels", [1, 100])
def test_a_save_takes_at_most_six_statements_whatever_the_tree(
    engine: Engine, store: PostgresRepository, count_statements: CountStatements, channels: int
) -> None:
    _, node = a_node(store)
    with count_statements(engine) as statements:
        record, port, lanes = a_port(store, node, channels)
        created = len(statements) - 2  # the product and the load
        new = block(record.subscription_id, "Channel")
        everything = with_links(with_block(record, new), port, channels=[new, *lanes[1:]], node=[])
        everything = replace(with_values(everything, everything.blocks[port.subscription_instance_id], a=1), note="!")
        before = len(statements)
        store.save_subscription(everything)
        changed = len(statements) - before
    assert created <= 6
    assert changed <= 6


def test_a_save_of_one_value_takes_two_statements(
    engine: Engine, store: PostgresRepository, count_statements: CountStatements
) -> None:
    """And two more, to lock and to learn what is stored, where the subscription was not loaded in this transaction."""
    record, node = a_node(store)
    with count_statements(engine) as statements:
        store.save_subscription(with_values(record, node, site="Utrecht"))
        assert len(statements) == 2
        store.save_subscription(replace(with_values(record, node, site="Delft"), version=record.version + 1))
    assert len(statements) == 2 + 4


def test_what_is_changed_inside_a_loaded_record_is_saved(store: PostgresRepository) -> None:
    """Models may hold the very lists that were loaded."""
    record, node = a_node(store)
    store.save_subscription(with_values(record, node, vlans=[1, {"to": 5}]))
    loaded = store.load_subscription(record.subscription_id)
    vlans: Any = loaded.blocks[node.subscription_instance_id].values["vlans"]
    vlans[1]["to"] = 6
    vlans.append(7)
    store.save_subscription(loaded)
    again = store.load_subscription(record.subscription_id)
    assert again.blocks[node.subscription_instance_id].values["vlans"] == [1, {"to": 6}, 7]


def test_what_somebody_else_saved_after_it_was_loaded_is_not_overwritten(engine: Engine) -> None:
    with engine.begin() as connection:
        record, node = a_node(PostgresRepository(connection))
    with engine.connect() as connection, engine.connect() as other:
        ours, theirs = PostgresRepository(connection), PostgresRepository(other)
        loaded = ours.load_subscription(record.subscription_id)
        theirs.save_subscription(with_values(theirs.load_subscription(record.subscription_id), node, site="Utrecht"))
        other.commit()
        with pytest.raises(StaleDataError):
            ours.save_subscription(with_values(loaded, node, site="Delft"))


def test_a_save_that_changes_nothing_writes_nothing(
    engine: Engine, connection: Connection, store: PostgresRepository, count_statements: CountStatements
) -> None:
    _, node = a_node(store, large=1e16, none=None)
    record, _, _ = a_port(store, node)
    with count_statements(engine) as statements:
        assert store.save_subscription(record) == 1
    assert [statement.split()[0] for statement in statements] == ["SELECT"], "the lock"
    assert store.load_subscription(record.subscription_id).version == 1
    assert len(history(connection, record)) == 1


def test_only_the_rows_of_changed_blocks_are_written(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, _, lanes = a_port(store, node)
    rows = text("SELECT subscription_instance_id, ctid::text FROM orchestrator.subscription_instances")
    before = {tuple(row) for row in connection.execute(rows)}
    store.save_subscription(with_values(record, lanes[1], vlan=99))
    after = {tuple(row) for row in connection.execute(rows)}
    assert {block_id for block_id, _ in after - before} == {lanes[1].subscription_instance_id}


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0, False), ([1], [True]), ("1", 1)])
def test_values_that_only_python_calls_equal_are_different(store: PostgresRepository, before: Any, after: Any) -> None:
    record, node = a_node(store, value=before)
    assert store.save_subscription(with_values(record, node, value=after)) == 2
    loaded = store.load_subscription(record.subscription_id).blocks[node.subscription_instance_id]
    assert repr(loaded.values["value"]) == repr(after)


def test_the_order_of_lists_of_blocks_is_kept(store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, port, lanes = a_port(store, node)
    reversed_lanes = lanes[::-1]
    store.save_subscription(with_links(record, port, channels=reversed_lanes))
    loaded = store.load_subscription(record.subscription_id).blocks[port.subscription_instance_id]
    assert loaded.links["channels"] == [lane.subscription_instance_id for lane in reversed_lanes]


def test_the_order_of_roots_is_kept(store: PostgresRepository) -> None:
    subscription_id = uuid4()
    nodes = [block(subscription_id, "Node", {"number": number}) for number in range(4)]
    record = subscription(subscription_id, store.product(NODE).product, nodes=nodes)
    store.save_subscription(record)
    ids = [nodes[index].subscription_instance_id for index in (2, 0, 3)]
    without_one = {block_id: one for block_id, one in record.blocks.items() if block_id in ids}
    store.save_subscription(replace(record, version=1, roots={"nodes": ids}, blocks=without_one))
    loaded = store.load_subscription(subscription_id)
    assert loaded.roots == {"nodes": ids}
    assert loaded.blocks.keys() == set(ids)


def test_blocks_that_left_the_tree_are_deleted_with_all_below_them(store: PostgresRepository) -> None:
    subscription_id = uuid4()
    lane = block(subscription_id, "Channel")
    inner = block(subscription_id, "Port", links={"channels": [lane]})
    port = block(subscription_id, "Port", links={"inner": [inner]})
    record = subscription(subscription_id, store.product(PORT).product, lane, inner, port=port)
    store.save_subscription(record)
    store.save_subscription(replace(with_links(record, port, inner=[]), version=1))
    assert store.load_subscription(subscription_id).blocks.keys() == {port.subscription_instance_id}


def test_a_block_can_move_within_its_subscription(store: PostgresRepository) -> None:
    subscription_id = uuid4()
    lane = block(subscription_id, "Channel", {"vlan": 5})
    first, second = block(subscription_id, "Port", links={"channels": [lane]}), block(subscription_id, "Port")
    record = subscription(subscription_id, store.product(PORT).product, lane, ports=[first, second])
    store.save_subscription(record)
    moved = with_links(with_links(record, first, channels=[]), second, channels=[lane])
    store.save_subscription(replace(moved, version=1))
    loaded = store.load_subscription(subscription_id)
    assert loaded.blocks[first.subscription_instance_id].links == {}
    assert loaded.blocks[second.subscription_instance_id].links == {"channels": [lane.subscription_instance_id]}
    assert loaded.blocks[lane.subscription_instance_id].values == {"vlan": 5}


def test_blocks_of_other_subscriptions_are_never_written(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    record, _, _ = a_port(store, node)
    linked = record.blocks[node.subscription_instance_id]
    assert store.save_subscription(with_block(record, replace(linked, values={}, links={}, label="mine"))) == 1
    loaded = store.load_subscription(of_node.subscription_id)
    assert loaded == of_node


def test_unlinking_a_block_of_another_subscription_leaves_it(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    record, port, _ = a_port(store, node)
    assert store.save_subscription(with_links(record, port, node=[])) == 2
    assert store.load_subscription(of_node.subscription_id) == of_node
    assert node.subscription_instance_id not in store.load_subscription(record.subscription_id).blocks


def test_a_block_that_others_use_cannot_be_removed(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    of_port, _, _ = a_port(store, node)
    with pytest.raises(ModelError, match=f"block Node .* is in use by subscription {of_port.subscription_id}"):
        store.save_subscription(replace(of_node, roots={}, blocks={}))
    assert store.load_subscription(of_node.subscription_id) == of_node


def test_a_block_of_another_subscription_cannot_be_taken_over(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    record, port, _ = a_port(store, node)
    mine = replace(node, owner_subscription_id=record.subscription_id)
    subscription_id = uuid4()
    new = subscription(
        subscription_id, store.product(NODE).product, node=replace(node, owner_subscription_id=subscription_id)
    )
    for taking in (with_block(record, mine), with_links(with_block(record, mine), port, nodes=[mine], node=[]), new):
        with pytest.raises(ModelError, match=f"belongs to subscription {of_node.subscription_id}"):
            store.save_subscription(taking)


def test_a_block_of_another_subscription_cannot_be_a_root(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    new = subscription(uuid4(), store.product(NODE).product, node=node)
    with pytest.raises(ModelError, match=f"directly below a subscription.*{of_node.subscription_id}"):
        store.save_subscription(new)


def test_links_to_blocks_that_do_not_exist_are_refused_by_name(store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, port, _ = a_port(store, node)
    lost = block(uuid4(), "Node")
    with pytest.raises(ModelError, match=f"links blocks that do not exist: {lost.subscription_instance_id}"):
        store.save_subscription(with_links(with_block(record, lost), port, node=[lost]))


def test_an_own_block_that_is_linked_must_be_given(store: PostgresRepository) -> None:
    record, _, lanes = a_port(store, a_node(store)[1])
    without = {key: one for key, one in record.blocks.items() if key != lanes[0].subscription_instance_id}
    with pytest.raises(ModelError, match=f"{lanes[0].subscription_instance_id} .* is linked but not given"):
        store.save_subscription(replace(record, blocks=without))


def test_one_block_cannot_be_linked_twice_by_another(store: PostgresRepository) -> None:
    record, port, lanes = a_port(store, a_node(store)[1])
    for links in ({"channels": [lanes[0], lanes[0]]}, {"channels": lanes, "spare": [lanes[0]]}):
        with pytest.raises(ModelError, match="Cannot link the same subscription instance multiple times"):
            store.save_subscription(with_links(record, port, **links))


def test_blocks_and_products_that_are_not_in_the_catalogue_are_refused(store: PostgresRepository) -> None:
    record, node = a_node(store)
    with pytest.raises(ModelError, match="Not in the catalogue: product block Router"):
        store.save_subscription(with_block(record, replace(node, product_block_name="Router")))
    unknown = record.product.model_copy(update={"product_id": UUID(int=9), "name": "Node Juniper"})
    with pytest.raises(ModelError, match=r"Product Node Juniper .* is not in the catalogue"):
        store.save_subscription(replace(record, product=unknown))


def test_a_subscription_can_move_to_another_product(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store)
    moved = with_block(
        replace(record, product=store.product(PORT).product), replace(node, product_block_name="Port", label="moved")
    )
    assert store.save_subscription(moved) == 2
    loaded = store.load_subscription(record.subscription_id)
    assert (loaded.product.name, loaded.fixed_inputs) == ("Port 10G", {})
    assert loaded.blocks[node.subscription_instance_id].product_block_name == "Port"
    assert history(connection, record)[1] == {
        "product.product_id": {"before": str(NODE), "after": str(PORT)},
        "product.name": {"before": "Node Cisco", "after": "Port 10G"},
        "node.product_block_name": {"before": "Node", "after": "Port"},
        "node.label": {"before": None, "after": "moved"},
    }


def test_a_product_that_was_renamed_is_no_change_of_its_subscriptions(
    connection: Connection, store: PostgresRepository
) -> None:
    record, _ = a_node(store)
    connection.execute(text("UPDATE orchestrator.products SET name = 'Node C' WHERE name = 'Node Cisco'"))
    assert store.save_subscription(record) == 1


def test_the_version_rises_by_one_with_every_save_that_changes_something(store: PostgresRepository) -> None:
    record, node = a_node(store)
    assert record.version == 1
    assert store.save_subscription(with_values(record, node, site="Utrecht")) == 2
    assert store.save_subscription(replace(store.load_subscription(record.subscription_id), insync=True)) == 3
    assert store.load_subscription(record.subscription_id).insync


def test_a_save_of_an_older_version_is_refused(store: PostgresRepository) -> None:
    record, _ = a_node(store)
    store.save_subscription(replace(record, note="first"))
    with pytest.raises(
        StaleDataError, match=r"given version \(1\) does not match the current version \(2\)"
    ) as refusal:
        store.save_subscription(replace(record, note="second"))
    assert (refusal.value.given_version, refusal.value.current_version) == (1, 2)
    assert store.load_subscription(record.subscription_id).note == "first"


def test_a_new_subscription_cannot_have_the_id_of_another(store: PostgresRepository) -> None:
    record, _ = a_node(store)
    with pytest.raises(StaleDataError, match=r"given version \(0\)"):
        store.save_subscription(replace(record, version=0))


def test_a_subscription_that_is_gone_cannot_be_saved(store: PostgresRepository) -> None:
    record, _ = a_node(store)
    with pytest.raises(SubscriptionNotFoundError):
        store.save_subscription(replace(record, subscription_id=uuid4(), roots={}, blocks={}))


def test_of_two_saves_at_the_same_time_one_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        record, _ = a_node(PostgresRepository(connection))
    results: list[object] = []
    ready = threading.Barrier(2)

    def save(note: str) -> None:
        ready.wait()
        try:
            results.append(AutocommitRepository(engine).save_subscription(replace(record, note=note)))
        except StaleDataError as error:
            results.append(error.current_version)

    threads = [threading.Thread(target=save, args=(note,)) for note in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2, 2]
    with engine.begin() as connection:
        assert len(history(connection, record)) == 2


def test_a_second_creation_of_a_subscription_waits_for_the_first_and_is_refused(engine: Engine) -> None:
    subscription_id = uuid4()
    product = AutocommitRepository(engine).product(NODE).product
    record = subscription(subscription_id, product, node=block(subscription_id, "Node"))
    failures: list[BaseException] = []

    def create() -> None:
        try:
            AutocommitRepository(engine).save_subscription(record)
        except StaleDataError as error:
            failures.append(error)

    with engine.begin() as connection:
        PostgresRepository(connection).save_subscription(record)
        second = threading.Thread(target=create)
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
    second.join()
    assert len(failures) == 1


def test_a_linked_block_cannot_be_removed_before_the_link_is_committed(engine: Engine) -> None:
    """Removing it waits, and is refused then."""
    store = AutocommitRepository(engine)
    with engine.begin() as connection:
        of_node, node = a_node(PostgresRepository(connection))
    failures: list[BaseException] = []

    def remove() -> None:
        try:
            store.save_subscription(replace(of_node, roots={}, blocks={}))
        except (ModelError, IntegrityError) as error:
            failures.append(error)

    with engine.begin() as connection:
        a_port(PostgresRepository(connection), node)
        removal = threading.Thread(target=remove)
        removal.start()
        removal.join(timeout=0.3)
        assert removal.is_alive()
    removal.join()
    assert len(failures) == 1
    assert store.load_subscription(of_node.subscription_id) == of_node


def test_who_holds_a_subscription_is_not_changed_by_a_save(connection: Connection, store: PostgresRepository) -> None:
    record, _ = a_node(store)
    connection.execute(text("UPDATE orchestrator.subscriptions SET held_by = :process"), {"process": PROCESS})
    store.save_subscription(replace(record, note="saved"))
    assert [row.held_by for row in find_subscriptions(connection, SubscriptionQuery())] == [PROCESS]


def test_a_process_is_linked_to_what_it_saves_changed_or_not(connection: Connection, store: PostgresRepository) -> None:
    unchanged, _ = a_node(store)
    in_step = PostgresRepository(connection, process_id=PROCESS)
    in_step.save_subscription(unchanged)
    changed, _ = a_node(in_step)
    in_step.save_subscription(replace(changed, note="again"))
    linked = connection.scalars(
        text("SELECT subscription_id FROM orchestrator.processes_subscriptions WHERE process_id = :process"),
        {"process": PROCESS},
    )
    assert set(linked) == {unchanged.subscription_id, changed.subscription_id}


def test_history_says_who_saved_and_when(connection: Connection) -> None:
    record, _ = a_node(PostgresRepository(connection, changed_by="ann", process_id=PROCESS, step="construct_node"))
    PostgresRepository(connection).save_subscription(replace(record, note="later"))
    first, second = subscription_versions(connection, record.subscription_id)
    assert (first.version, first.changed_by, first.process_id, first.step) == (1, "ann", PROCESS, "construct_node")
    assert (second.version, second.changed_by, second.process_id, second.step) == (2, "SYSTEM", None, None)
    assert first.changed_at < second.changed_at <= datetime.now(UTC)
    assert second.changes == {"note": {"before": None, "after": "later"}}


def test_history_starts_with_everything_that_was_set(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store)
    assert history(connection, record) == [
        {
            "product.product_id": {"before": None, "after": str(NODE)},
            "product.name": {"before": None, "after": "Node Cisco"},
            "customer_id": {"before": None, "after": "acme"},
            "description": {"before": None, "after": "A subscription"},
            "status": {"before": None, "after": "initial"},
            "insync": {"before": None, "after": False},
            "node": {
                "before": None,
                "after": {
                    "subscription_instance_id": str(node.subscription_instance_id),
                    "product_block_name": "Node",
                    "label": None,
                    "node_name": "ams-core-1",
                },
            },
        }
    ]


def test_history_names_a_value_by_the_path_of_its_model(connection: Connection, store: PostgresRepository) -> None:
    record, port, lanes = a_port(store, a_node(store)[1])
    changed = with_values(with_values(record, lanes[2], vlan=7), record.blocks[port.subscription_instance_id], mtu=9000)
    store.save_subscription(replace(changed, status=SubscriptionLifecycle.ACTIVE))
    assert history(connection, record)[1] == {
        "status": {"before": "initial", "after": "active"},
        "port.mtu": {"before": None, "after": 9000},
        "port.channels.2.vlan": {"before": 2, "after": 7},
    }


def test_history_counts_the_blocks_of_a_list_that_has_one(connection: Connection, store: PostgresRepository) -> None:
    record, port, lanes = a_port(store, a_node(store)[1], channels=1)
    record = with_block(with_values(record, lanes[0], vlan=7), replace(port, lists=frozenset({"channels"})))
    store.save_subscription(record)
    assert history(connection, record)[1] == {"port.channels.0.vlan": {"before": 0, "after": 7}}


def test_history_shows_blocks_that_came_and_went(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, port, lanes = a_port(store, node)
    new = block(record.subscription_id, "Channel", {"vlan": 8})
    ids = [str(lane.subscription_instance_id) for lane in [*lanes, new]]
    store.save_subscription(with_links(with_block(record, new), port, channels=[lanes[2], lanes[1], new], node=[]))
    owner = str(node.owner_subscription_id)
    assert history(connection, record)[1] == {
        "port.channels.0": {
            "before": {
                "subscription_instance_id": ids[0],
                "product_block_name": "Channel",
                "label": None,
                "vlan": 0,
            },
            "after": {"subscription_instance_id": ids[2]},
        },
        "port.channels.2": {
            "before": {"subscription_instance_id": ids[2]},
            "after": {
                "subscription_instance_id": ids[3],
                "product_block_name": "Channel",
                "label": None,
                "vlan": 8,
            },
        },
        "port.node": {
            "before": {
                "subscription_instance_id": str(node.subscription_instance_id),
                "owner_subscription_id": owner,
            },
            "after": None,
        },
    }


def test_blocks_are_found_from_both_ends_of_a_relation(store: PostgresRepository) -> None:
    of_node, node = a_node(store)
    of_port, port, lanes = a_port(store, node)
    node_id, port_id = node.subscription_instance_id, port.subscription_instance_id
    (user,) = store.in_use_by([node_id])[node_id]
    assert (user.subscription_instance_id, user.product_block_name) == (port_id, "Port")
    assert (user.subscription_id, user.subscription_status) == (of_port.subscription_id, "initial")
    assert (user.subscription_description, user.insync) == ("A subscription", False)
    used = store.depends_on([port_id, node_id])
    assert [found.subscription_instance_id for found in used[port_id]] == [
        *(lane.subscription_instance_id for lane in lanes),
        node_id,
    ]
    assert used[port_id][-1].subscription_id == of_node.subscription_id
    assert used[node_id] == []
    assert store.in_use_by([]) == {}


def test_subscriptions_are_listed_newest_first_and_filtered(connection: Connection, store: PostgresRepository) -> None:
    first, node = a_node(store)
    port, _, _ = a_port(store, node)
    last, _ = a_node(store)
    store.save_subscription(replace(last, status=SubscriptionLifecycle.ACTIVE, insync=True, customer_id="other"))

    def listed(**filters: Any) -> list[UUID]:
        return [row.subscription_id for row in find_subscriptions(connection, SubscriptionQuery(**filters))]

    nodes = [last.subscription_id, first.subscription_id]
    assert listed() == [last.subscription_id, port.subscription_id, first.subscription_id]
    assert listed(limit=2) == [last.subscription_id, port.subscription_id]
    assert listed(product="Node Cisco") == listed(product=NODE) == listed(product_type="Node") == nodes
    assert listed(tag="PORT") == [port.subscription_id]
    assert listed(status="active") == listed(insync=True) == listed(customer_id="other") == [last.subscription_id]
    assert listed(insync=False, tag="NODE") == [first.subscription_id]
    assert listed(product="Node Juniper") == []


def test_a_listed_subscription_says_what_people_ask_for(connection: Connection, store: PostgresRepository) -> None:
    record, _ = a_node(store)
    (row,) = find_subscriptions(connection, SubscriptionQuery())
    assert row == SubscriptionRow(
        subscription_id=record.subscription_id,
        product_id=NODE,
        product="Node Cisco",
        product_type="Node",
        tag="NODE",
        customer_id="acme",
        description="A subscription",
        status=SubscriptionLifecycle.INITIAL,
        insync=False,
        held_by=None,
        start_date=None,
        end_date=None,
        version=1,
        created_at=row.created_at,
    )


def test_values_are_rows_for_those_who_write_sql(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store, ports=[1, 2], spare=None)
    rows = connection.execute(text("SELECT * FROM orchestrator.subscription_values ORDER BY resource_type"))
    own = (record.subscription_id, node.subscription_instance_id, "Node")
    assert [tuple(row) for row in rows] == [
        (*own, "node_name", "ams-core-1", "ams-core-1"),
        (*own, "ports", [1, 2], "[1, 2]"),
        (*own, "spare", None, None),
    ]


def test_in_a_notebook_each_save_is_a_transaction(engine: Engine) -> None:
    store = AutocommitRepository(engine, changed_by="ann")
    subscription_id = uuid4()
    node = block(subscription_id, "Node")
    store.save_subscription(subscription(subscription_id, store.product(NODE).product, node=node))
    record = store.load_subscription(subscription_id)
    assert store.load_block(node.subscription_instance_id) == record.blocks
    assert store.in_use_by([node.subscription_instance_id]) == store.depends_on([node.subscription_instance_id])
    assert store.product_block("Node").name == "Node"
    with pytest.raises(ModelError):
        store.save_subscription(with_block(replace(record, note="lost"), replace(node, product_block_name="Router")))
    assert store.load_subscription(subscription_id) == record
    with engine.connect() as connection:
        assert [version.changed_by for version in subscription_versions(connection, subscription_id)] == ["ann"]
