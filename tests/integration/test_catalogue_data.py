"""The data of existing subscriptions follows the code: what each operation changes, leaves, refuses and writes down."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from orchestrator_dagster.db.catalogue.data.operations import (
    ConvertField,
    FillField,
    Operation,
    RemoveBlock,
    RemoveField,
    RemoveLink,
    RenameField,
    RenameLink,
    apply_all,
)
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.history import subscription_as_of, subscription_versions
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.db.subscriptions.writer import Author
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord
from orchestrator_dagster.domain.stored import StoredBlock
from orchestrator_dagster.errors import CatalogueBusyError, CatalogueDataError, ModelError, StaleDataError

NODE, PORT = UUID(int=1), UUID(int=2)
WORKFLOW, PROCESS = UUID(int=3), UUID(int=4)
JAN = Author(changed_by="jan")

ALL = frozenset(SubscriptionLifecycle)
INITIAL, ACTIVE, TERMINATED = (
    SubscriptionLifecycle.INITIAL,
    SubscriptionLifecycle.ACTIVE,
    SubscriptionLifecycle.TERMINATED,
)

CATALOGUE = (
    """INSERT INTO orchestrator.products (product_id, name, description, product_type, tag, status)
       VALUES ('00000000-0000-0000-0000-000000000001', 'Node', 'A node', 'Node', 'NODE', 'active'),
              ('00000000-0000-0000-0000-000000000002', 'Port', 'A port', 'Port', 'PORT', 'active')""",
    """INSERT INTO orchestrator.product_blocks (name, description, tag)
       VALUES ('Node', 'A node', 'NODE'), ('Port', 'A port', 'PORT'), ('Channel', 'A channel', 'CHANNEL'),
              ('User', 'A user', 'USER')""",
    """INSERT INTO orchestrator.workflows (workflow_id, name, target, description)
       VALUES ('00000000-0000-0000-0000-000000000003', 'modify_port', 'MODIFY', 'Modify port')""",
    """INSERT INTO orchestrator.processes (process_id, workflow_id, is_task, last_status, run_id, plan)
       VALUES ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000000000003', false, 'running',
               'run', '[]')""",
)


def add_catalogue(engine: Engine) -> None:
    with engine.begin() as connection:
        for statement in CATALOGUE:
            connection.execute(text(statement))


@pytest.fixture(scope="module")
def shared_engine(module_database_url: str) -> Engine:
    engine = engine_for(module_database_url)
    add_catalogue(engine)
    return engine


@pytest.fixture
def connection(shared_engine: Engine) -> Iterator[Connection]:
    """A transaction that leaves nothing behind, but meets its deferred constraints."""
    with shared_engine.connect() as connection:
        yield connection
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        connection.rollback()


@pytest.fixture
def store(connection: Connection) -> PostgresRepository:
    return PostgresRepository(connection)


Links = Mapping[str, Sequence[BlockRecord]]


def block(owner: UUID, name: str, values: Mapping[str, Any] | None = None, links: Links | None = None) -> BlockRecord:
    return BlockRecord(
        subscription_instance_id=uuid4(),
        owner_subscription_id=owner,
        owner_status=INITIAL,
        product_block_name=name,
        label=f"a {name.lower()}",
        values=values or {},
        links={
            attribute: [one.subscription_instance_id for one in blocks] for attribute, blocks in (links or {}).items()
        },
    )


def save(
    store: PostgresRepository,
    product: UUID,
    *blocks: BlockRecord,
    status: SubscriptionLifecycle = ACTIVE,
    **roots: Sequence[BlockRecord],
) -> SubscriptionRecord:
    """Save a subscription; `roots` are its root blocks by attribute, `blocks` those below them."""
    every = [*blocks, *(root for listed in roots.values() for root in listed)]
    owner = next(iter(roots.values()))[0].owner_subscription_id
    record = SubscriptionRecord(
        subscription_id=owner,
        product=store.product(product).product,
        customer_id="acme",
        description="A subscription",
        status=status,
        insync=True,
        start_date=None,
        end_date=None,
        note=None,
        version=0,
        roots={name: [root.subscription_instance_id for root in listed] for name, listed in roots.items()},
        blocks={one.subscription_instance_id: one for one in every},
    )
    store.save_subscription(record)
    return store.load_subscription(owner)


def a_node(
    store: PostgresRepository, status: SubscriptionLifecycle = ACTIVE, **values: Any
) -> tuple[SubscriptionRecord, BlockRecord]:
    node = block(uuid4(), "Node", {"site": "Utrecht", **values})
    return save(store, NODE, status=status, node=[node]), node


def a_port(
    store: PostgresRepository, node: BlockRecord, channels: int = 2
) -> tuple[SubscriptionRecord, BlockRecord, list[BlockRecord]]:
    """Save a subscription of a block with a list of blocks and a block of another subscription."""
    owner = uuid4()
    lanes = [block(owner, "Channel", {"vlan": vlan}) for vlan in range(channels)]
    port = block(owner, "Port", {"speed": 10}, {"node": [node], "channels": lanes})
    return save(store, PORT, node, *lanes, port=[port]), port, lanes


def values_of(store: PostgresRepository, one: BlockRecord) -> Mapping[str, Any]:
    return store.load_block(one.subscription_instance_id)[one.subscription_instance_id].values


def last_changes(connection: Connection, record: SubscriptionRecord) -> Mapping[str, Any]:
    return subscription_versions(connection, record.subscription_id)[-1].changes


def versions(connection: Connection, record: SubscriptionRecord) -> list[tuple[int, str, str | None]]:
    found = subscription_versions(connection, record.subscription_id)
    return [(version.version, version.changed_by, version.step) for version in found]


def move(connection: Connection, *operations: Operation, **options: Any) -> list[int]:
    """Apply the operations; return how many subscriptions each changed, after a check that `affected` said so."""
    foreseen = [operation.affected(connection).count for operation in operations]
    changed = apply_all(connection, operations, JAN, **options)
    assert [changed[operation] for operation in operations] == foreseen
    return foreseen


def as_it_is(value: Any) -> Any:
    return value


def whole(value: Any) -> int:
    if not isinstance(value, int):
        raise ModelError(f"{value!r} is not a whole number")
    return value


def fill(
    field: str, value: Any, statuses: frozenset[SubscriptionLifecycle] = ALL, *, name: str = "Node", **more: Any
) -> FillField:
    return FillField(name, field, statuses, value, **{"dump": as_it_is, "optional": False, **more})


def test_a_renamed_field_takes_its_value_along(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store, ports=[1, 2.0, None])
    assert move(connection, RenameField("Node", "ports", "slots")) == [1]
    assert values_of(store, node) == {"site": "Utrecht", "slots": [1, 2.0, None]}
    assert last_changes(connection, record) == {
        "node.ports": {"before": [1, 2.0, None], "after": None},
        "node.slots": {"before": None, "after": [1, 2.0, None]},
    }


def test_two_fields_may_change_names(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store, a=1, b=2)
    assert move(connection, RenameField("Node", "a", "b"), RenameField("Node", "b", "a")) == [1, 1]
    assert values_of(store, node) == {"site": "Utrecht", "a": 2, "b": 1}


def test_a_field_is_renamed_in_its_own_block_only(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    port, _, _ = a_port(store, node)
    assert move(connection, RenameField("Port", "site", "place"), RenameField("Channel", "speed", "rate")) == [0, 0]
    assert store.load_subscription(port.subscription_id) == port


def test_a_value_is_not_renamed_onto_another(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store, city="Delft")
    with pytest.raises(CatalogueDataError, match=r"Node\.city") as refused:
        apply_all(connection, [RenameField("Node", "site", "city")], JAN)
    assert refused.value.subscription_ids == (record.subscription_id,)
    assert values_of(store, node) == {"site": "Utrecht", "city": "Delft"}
    move(connection, RemoveField("Node", "city"), RenameField("Node", "site", "city"))
    assert values_of(store, node) == {"city": "Utrecht"}


def test_two_values_do_not_get_one_name(connection: Connection, store: PostgresRepository) -> None:
    record, _ = a_node(store, city="Delft")
    _, node = a_node(store)
    renames = [RenameField("Node", "site", "place"), RenameField("Node", "city", "place")]
    with pytest.raises(CatalogueDataError, match=r"Node\.place") as refused:
        apply_all(connection, renames, JAN)
    assert refused.value.subscription_ids == (record.subscription_id,)
    move(connection, RemoveField("Node", "city"))
    move(connection, *renames)
    assert values_of(store, node) == {"place": "Utrecht"}


def test_a_removed_field_is_deleted_with_its_value(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store, note=None)
    assert move(connection, RemoveField("Node", "note")) == [1]
    assert values_of(store, node) == {"site": "Utrecht"}
    assert last_changes(connection, record) == {"node.note": {"before": None, "after": None}}


def test_a_missing_value_is_filled_in(connection: Connection, store: PostgresRepository) -> None:
    _, without = a_node(store)
    _, null = a_node(store, rack=None)
    _, filled = a_node(store, rack="A1")
    assert move(connection, fill("rack", "unknown")) == [2]
    assert [values_of(store, node)["rack"] for node in (without, null, filled)] == ["unknown", "unknown", "A1"]


def test_null_is_a_value_where_the_field_allows_it(connection: Connection, store: PostgresRepository) -> None:
    _, without = a_node(store)
    _, null = a_node(store, rack=None)
    assert move(connection, fill("rack", "unknown", optional=True)) == [1]
    assert [values_of(store, node)["rack"] for node in (without, null)] == ["unknown", None]
    _, empty = a_node(store)
    assert move(connection, fill("rack", None, optional=True)) == [1]
    assert values_of(store, empty)["rack"] is None


def test_a_constant_keeps_its_type(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    constants = {"a": 1.0, "b": 1e16, "c": True, "d": [1, {"x": "ü"}], "e": 2**70}
    move(connection, *(fill(name, value) for name, value in constants.items()))
    found = {name: values_of(store, node)[name] for name in constants}
    assert repr(found) == repr(constants)


def test_only_the_statuses_that_need_a_value_get_one(connection: Connection, store: PostgresRepository) -> None:
    _, initial = a_node(store, INITIAL)
    _, active = a_node(store, ACTIVE)
    terminated_record, terminated = a_node(store, TERMINATED)
    done = move(connection, fill("rack", "A1", frozenset({ACTIVE})), fill("rack", "old", frozenset({TERMINATED})))
    assert done == [1, 1]
    assert [values_of(store, node).get("rack") for node in (initial, active, terminated)] == [None, "A1", "old"]
    assert last_changes(connection, terminated_record) == {"node.rack": {"before": None, "after": "old"}}


def test_a_function_fills_in_from_the_stored_block(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store)
    seen: list[StoredBlock] = []

    def place(given: StoredBlock) -> str:
        seen.append(given)
        return f"{given.values['city']} 1"

    done = move(connection, fill("place", place), RenameField("Node", "site", "city"))
    assert done == [1, 1]
    assert values_of(store, node) == {"city": "Utrecht", "place": "Utrecht 1"}
    assert seen == [
        StoredBlock(
            subscription_id=record.subscription_id,
            subscription_instance_id=node.subscription_instance_id,
            product="Node",
            customer_id="acme",
            status=ACTIVE,
            product_block="Node",
            label="a node",
            values={"city": "Utrecht"},
        )
    ]


def test_blocks_come_to_functions_in_batches(
    shared_engine: Engine,
    connection: Connection,
    store: PostgresRepository,
    count_statements: CountStatements,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator_dagster.db.catalogue.data.functions._BATCH", 3)
    _, node = a_node(store)
    ports = [a_port(store, node) for _ in range(4)]
    with count_statements(shared_engine) as statements:
        done = apply_all(connection, [fill("mtu", lambda given: given.values["vlan"] + 1500, name="Channel")], JAN)
    assert list(done.values()) == [4]
    assert [values_of(store, lane)["mtu"] for _, _, lanes in ports for lane in lanes] == [1500, 1501] * 4
    assert len([one for one in statements if "jsonb_build_object(CAST" in one]) == 3


def test_a_function_that_fails_says_for_which_block(connection: Connection, store: PostgresRepository) -> None:
    record, node = a_node(store)
    with pytest.raises(CatalogueDataError, match=rf"Node\.rack.*{node.subscription_instance_id}.*KeyError") as failed:
        apply_all(connection, [fill("rack", lambda given: given.values["room"])], JAN)
    assert failed.value.subscription_ids == (record.subscription_id,)
    assert store.load_subscription(record.subscription_id) == record


def test_a_value_that_is_not_valid_is_not_filled_in(connection: Connection, store: PostgresRepository) -> None:
    record, _ = a_node(store)
    with pytest.raises(ModelError, match="'many' is not a whole number"):
        apply_all(connection, [fill("slots", "many", dump=whole)], JAN)
    with pytest.raises(CatalogueDataError, match="'many' is not a whole number"):
        apply_all(connection, [fill("slots", lambda _: "many", dump=whole)], JAN)
    assert store.load_subscription(record.subscription_id) == record


def slots_as_numbers(with_fill: bool = True, stored_as: tuple[str, ...] = ()) -> ConvertField:
    def number(given: StoredBlock) -> int:
        return int(given.values["slots"])

    return ConvertField(
        "Node", "slots", ALL, lambda value: isinstance(value, int), number if with_fill else None, whole, stored_as
    )


def test_values_that_do_not_fit_are_converted(connection: Connection, store: PostgresRepository) -> None:
    record, old = a_node(store, slots="4")
    fitting_record, fitting = a_node(store, slots=4)
    _, null = a_node(store, slots=None)
    assert move(connection, slots_as_numbers()) == [1]
    assert [values_of(store, node)["slots"] for node in (old, fitting, null)] == [4, 4, None]
    assert last_changes(connection, record) == {"node.slots": {"before": "4", "after": 4}}
    assert store.load_subscription(fitting_record.subscription_id) == fitting_record


def test_a_field_is_renamed_and_converted_at_once(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store, ports="4")
    _, empty = a_node(store)
    operations = (
        RenameField("Node", "ports", "slots"),
        slots_as_numbers(stored_as=("ports",)),
        fill("slots", 0, stored_as=("ports",)),
    )
    assert move(connection, *operations) == [1, 1, 1]
    assert [values_of(store, one)["slots"] for one in (node, empty)] == [4, 0]


def test_without_a_function_values_that_do_not_fit_are_only_counted(
    connection: Connection, store: PostgresRepository
) -> None:
    records = [a_node(store, slots="many")[0] for _ in range(3)]
    conversion = slots_as_numbers(with_fill=False)
    found = conversion.affected(connection, limit=2)
    assert (found.count, found.subscription_ids) == (3, tuple(sorted(one.subscription_id for one in records)[:2]))
    assert apply_all(connection, [conversion], JAN) == {conversion: 0}
    assert [store.load_subscription(one.subscription_id) for one in records] == records


def test_a_renamed_link_between_blocks_keeps_the_order(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, port, lanes = a_port(store, node)
    assert move(connection, RenameLink("Port", frozenset(), "channels", "lanes")) == [1]
    ids = [lane.subscription_instance_id for lane in lanes]
    loaded = store.load_subscription(record.subscription_id).blocks[port.subscription_instance_id]
    assert loaded.links == {"lanes": ids, "node": [node.subscription_instance_id]}
    assert last_changes(connection, record) == {
        **{f"port.channels.{n}": {"before": {"subscription_instance_id": str(ids[n])}, "after": None} for n in (0, 1)},
        **{f"port.lanes.{n}": {"before": None, "after": {"subscription_instance_id": str(ids[n])}} for n in (0, 1)},
    }


def test_a_renamed_link_of_subscriptions_concerns_the_products_only(
    connection: Connection, store: PostgresRepository
) -> None:
    record, node = a_node(store)
    other = block(uuid4(), "Node", {"site": "Delft"})
    other_record = save(store, PORT, node=[other])
    assert move(connection, RenameLink(None, frozenset({"Node"}), "node", "router")) == [1]
    assert store.load_subscription(record.subscription_id).roots == {"router": [node.subscription_instance_id]}
    assert store.load_subscription(other_record.subscription_id) == other_record
    shown = {"subscription_instance_id": str(node.subscription_instance_id)}
    assert last_changes(connection, record) == {
        "node": {"before": shown, "after": None},
        "router": {"before": None, "after": shown},
    }


def test_two_links_may_change_names(connection: Connection, store: PostgresRepository) -> None:
    owner = uuid4()
    first, second = block(owner, "Channel"), block(owner, "Channel")
    port = block(owner, "Port", {}, {"a": [first], "b": [second]})
    record = save(store, PORT, first, second, port=[port])
    swap = [RenameLink("Port", frozenset(), "a", "b"), RenameLink("Port", frozenset(), "b", "a")]
    assert move(connection, *swap) == [1, 1]
    loaded = store.load_subscription(owner).blocks[port.subscription_instance_id]
    assert loaded.links == {"a": [second.subscription_instance_id], "b": [first.subscription_instance_id]}
    shown = [{"subscription_instance_id": str(one.subscription_instance_id)} for one in (first, second)]
    assert last_changes(connection, record) == {
        "port.a": {"before": shown[0], "after": shown[1]},
        "port.b": {"before": shown[1], "after": shown[0]},
    }
    assert subscription_as_of(connection, owner, version=1) == replace(record, version=1)


def test_a_link_is_not_renamed_onto_another(connection: Connection, store: PostgresRepository) -> None:
    owner = uuid4()
    first, second = block(owner, "Channel"), block(owner, "Channel")
    port = block(owner, "Port", {}, {"a": [first], "b": [second]})
    record = save(store, PORT, first, second, port=[port])
    with pytest.raises(CatalogueDataError, match=f"b of subscription {owner}"):
        apply_all(connection, [RenameLink("Port", frozenset(), "a", "b")], JAN)
    assert store.load_subscription(owner) == record


def test_a_removed_link_takes_its_own_blocks_with_it(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, port, lanes = a_port(store, node)
    assert move(connection, RemoveLink("Port", frozenset(), "channels")) == [1]
    loaded = store.load_subscription(record.subscription_id)
    assert loaded.blocks.keys() == {port.subscription_instance_id, node.subscription_instance_id}
    assert loaded.blocks[port.subscription_instance_id].links == {"node": [node.subscription_instance_id]}
    assert last_changes(connection, record) == {
        f"port.channels.{number}": {
            "before": {
                "subscription_instance_id": str(lane.subscription_instance_id),
                "vlan": number,
                "label": "a channel",
                "product_block_name": "Channel",
            },
            "after": None,
        }
        for number, lane in enumerate(lanes)
    }


def test_a_removed_link_leaves_blocks_of_other_subscriptions(connection: Connection, store: PostgresRepository) -> None:
    node_record, node = a_node(store)
    record, _, _ = a_port(store, node)
    assert move(connection, RemoveLink("Port", frozenset(), "node")) == [1]
    assert node.subscription_instance_id not in store.load_subscription(record.subscription_id).blocks
    assert store.load_subscription(node_record.subscription_id) == node_record
    shown = {
        "subscription_instance_id": str(node.subscription_instance_id),
        "owner_subscription_id": str(node_record.subscription_id),
    }
    assert last_changes(connection, record) == {"port.node": {"before": shown, "after": None}}


def test_a_block_that_another_link_leads_to_stays(connection: Connection, store: PostgresRepository) -> None:
    owner = uuid4()
    shared = block(owner, "Channel", {"vlan": 1})
    port = block(owner, "Port", {}, {"channels": [shared]})
    record = save(store, PORT, port=[port], first=[shared])
    assert move(connection, RemoveLink(None, frozenset({"Port"}), "first")) == [1]
    loaded = store.load_subscription(owner)
    assert (loaded.roots, loaded.blocks) == ({"port": [port.subscription_instance_id]}, record.blocks)
    assert subscription_as_of(connection, owner, version=1) == record


def test_what_hangs_below_a_removed_link_goes_too(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    owner = uuid4()
    deep = block(owner, "Channel", {"vlan": 2}, {"node": [node]})
    lane = block(owner, "Channel", {"vlan": 1}, {"inner": [deep]})
    port, kept = block(owner, "Port", {}, {"lane": [lane]}), block(owner, "Port")
    record = save(store, PORT, node, deep, lane, port=[port], kept=[kept])
    assert move(connection, RemoveLink(None, frozenset({"Port"}), "port")) == [1]
    assert store.load_subscription(owner).blocks.keys() == {kept.subscription_instance_id}
    assert sorted(last_changes(connection, record)) == ["port", "port.lane", "port.lane.inner", "port.lane.inner.node"]
    assert subscription_as_of(connection, owner, version=1) == record


def test_a_block_that_others_use_cannot_go(connection: Connection, store: PostgresRepository) -> None:
    node_record, node = a_node(store)
    port_record, _, _ = a_port(store, node)
    removal = RemoveLink(None, frozenset({"Node"}), "node")
    with pytest.raises(CatalogueDataError, match=f"in use by {port_record.subscription_id}") as refused:
        apply_all(connection, [removal], JAN)
    assert refused.value.subscription_ids == (node_record.subscription_id,)
    assert move(connection, removal, RemoveLink("Port", frozenset(), "node")) == [1, 1]
    assert not store.load_subscription(node_record.subscription_id).blocks


def test_a_block_goes_when_nothing_holds_it(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, _, _ = a_port(store, node)
    with pytest.raises(CatalogueDataError, match="still hold") as refused:
        apply_all(connection, [RemoveBlock("Channel")], JAN)
    assert refused.value.subscription_ids == (record.subscription_id,)
    assert move(connection, RemoveBlock("Channel"), RemoveLink("Port", frozenset(), "channels")) == [1, 1]
    assert versions(connection, record)[1:] == [(2, "jan", "catalogue")]


def test_many_operations_leave_one_version(connection: Connection, store: PostgresRepository) -> None:
    node_record, node = a_node(store, old=1)
    record, port, lanes = a_port(store, node)
    move(
        connection,
        RenameField("Channel", "vlan", "tag"),
        fill("mtu", 1500, name="Channel"),
        RemoveField("Node", "old"),
        RenameLink("Port", frozenset(), "channels", "lanes"),
        RenameLink(None, frozenset({"Port"}), "port", "interface"),
    )
    assert versions(connection, record) == [(1, "SYSTEM", None), (2, "jan", "catalogue")]
    assert versions(connection, node_record) == [(1, "SYSTEM", None), (2, "jan", "catalogue")]
    shown = [{"subscription_instance_id": str(lane.subscription_instance_id)} for lane in lanes]
    port_shown = {"subscription_instance_id": str(port.subscription_instance_id)}
    assert last_changes(connection, record) == {
        "port": {"before": port_shown, "after": None},
        "interface": {"before": None, "after": port_shown},
        **{f"port.channels.{n}": {"before": shown[n], "after": None} for n in (0, 1)},
        **{f"interface.lanes.{n}": {"before": None, "after": shown[n]} for n in (0, 1)},
        **{f"interface.lanes.{n}.vlan": {"before": n, "after": None} for n in (0, 1)},
        **{f"interface.lanes.{n}.tag": {"before": None, "after": n} for n in (0, 1)},
        **{f"interface.lanes.{n}.mtu": {"before": None, "after": 1500} for n in (0, 1)},
    }


def test_history_goes_back_over_what_the_catalogue_did(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, _, _ = a_port(store, node)
    move(
        connection,
        RenameField("Channel", "vlan", "tag"),
        fill("mtu", None, name="Channel", optional=True),
        RenameLink("Port", frozenset(), "node", "router"),
        RenameLink(None, frozenset({"Port"}), "port", "interface"),
    )
    middle = store.load_subscription(record.subscription_id)
    move(connection, RemoveLink("Port", frozenset(), "channels"), RemoveField("Port", "speed"))
    assert subscription_as_of(connection, record.subscription_id, version=2) == middle
    assert subscription_as_of(connection, record.subscription_id, version=1) == record


def test_the_way_back_is_written_as_saves_write_it(connection: Connection, store: PostgresRepository) -> None:
    _, node = a_node(store)
    record, port, lanes = a_port(store, node, channels=1)
    move(
        connection,
        RenameField("Port", "speed", "rate"),
        RemoveLink("Port", frozenset(), "channels"),
        RenameLink("Port", frozenset(), "node", "router"),
        RenameLink(None, frozenset({"Port"}), "port", "interface"),
    )
    undo = connection.scalar(
        text("SELECT undo FROM orchestrator.subscription_versions WHERE subscription_id = :id AND version = 2"),
        {"id": record.subscription_id},
    )
    port_id, lane_id, node_id = (str(one.subscription_instance_id) for one in (port, lanes[0], node))
    assert {**undo, "links": sorted(undo["links"])} == {
        "blocks": {
            port_id: {"attribute": "port", "set": {"speed": 10}, "unset": ["rate"]},
            lane_id: {
                "product_block": "Channel",
                "label": "a channel",
                "attribute": None,
                "position": None,
                "set": {"vlan": 0},
            },
        },
        "links": [
            [port_id, "channels", 0, lane_id],
            [port_id, "node", 0, node_id],
            [port_id, "router", 0, None],
        ],
    }


def test_a_list_of_one_has_its_number_where_it_is_known_as_a_list(
    connection: Connection, store: PostgresRepository
) -> None:
    _, node = a_node(store)
    record, _, _ = a_port(store, node, channels=1)
    move(connection, fill("mtu", 1500, name="Channel"))
    assert list(last_changes(connection, record)) == ["port.channels.mtu"]
    move(connection, fill("qos", 1, name="Channel"), lists={("Port", "channels")})
    assert list(last_changes(connection, record)) == ["port.channels.0.qos"]


def test_a_block_that_is_reached_twice_has_its_shortest_path(connection: Connection, store: PostgresRepository) -> None:
    owner = uuid4()
    shared = block(owner, "Channel", {"vlan": 1})
    inner = block(owner, "Port", {}, {"lane": [shared]})
    port = block(owner, "Port", {}, {"inner": [inner], "spare": [shared]})
    record = save(store, PORT, shared, inner, port=[port])
    move(connection, fill("mtu", 1500, name="Channel"))
    assert list(last_changes(connection, record)) == ["port.spare.mtu"]


def rows(connection: Connection) -> set[str]:
    """Return every row of subscriptions; one that was written again stands elsewhere."""
    tables = ("subscriptions", "subscription_instances", "subscription_instance_relations", "subscription_versions")
    return {
        f"{name} {row}"
        for name in tables
        for row in connection.execute(text(f"SELECT ctid, * FROM orchestrator.{name}"))  # noqa: S608
    }


def test_what_is_not_affected_is_not_touched(connection: Connection, store: PostgresRepository) -> None:
    filled, node = a_node(store, rack="A1")
    a_port(store, node)
    before = rows(connection)
    record, _ = a_node(store)
    move(connection, fill("rack", "A2"), RenameField("Node", "city", "site"))
    assert before <= rows(connection)
    assert versions(connection, record)[1:] == [(2, "jan", "catalogue")]
    assert store.load_subscription(filled.subscription_id) == filled


def test_what_was_applied_is_not_applied_again(connection: Connection, store: PostgresRepository) -> None:
    record, _ = a_node(store, ports=1)
    operations = [RenameField("Node", "ports", "slots"), fill("rack", "A1"), RemoveField("Node", "site")]
    assert move(connection, *operations) == [1, 1, 1]
    assert move(connection, *operations) == [0, 0, 0]
    assert len(versions(connection, record)) == 2


def test_the_number_of_statements_does_not_grow(
    shared_engine: Engine, connection: Connection, store: PostgresRepository, count_statements: CountStatements
) -> None:
    operations = [
        RenameField("Node", "ports", "slots"),
        fill("rack", "A1"),
        RenameLink(None, frozenset({"Node"}), "node", "router"),
    ]
    counts = []
    for number in (1, 10):
        with connection.begin_nested() as savepoint:
            for _ in range(number):
                a_node(store, ports=1)
            with count_statements(shared_engine) as statements:
                apply_all(connection, operations, JAN)
            counts.append(len(statements))
            savepoint.rollback()
    assert counts[0] == counts[1]


def test_affected_names_the_first_subscriptions(connection: Connection, store: PostgresRepository) -> None:
    records = [a_node(store)[0] for _ in range(3)]
    found = fill("rack", "A1").affected(connection, limit=2)
    assert (found.count, found.subscription_ids) == (3, tuple(sorted(one.subscription_id for one in records)[:2]))
    assert RemoveBlock("Channel").affected(connection).subscription_ids == ()


OWN_BLOCKS = [UUID(int=100 + number) for number in range(5)]
NAMES = st.sampled_from(["Node", "Port", "Channel"])
LINKED = st.lists(st.sampled_from([*OWN_BLOCKS, UUID(int=99)]), unique=True, max_size=4).flatmap(
    lambda ids: st.integers(0, 4).map(
        lambda at: {key: some for key, some in (("a", ids[:at]), ("b", ids[at:])) if some}
    )
)
ROOTS = st.lists(st.sampled_from(OWN_BLOCKS), unique=True, min_size=1, max_size=3).flatmap(
    lambda ids: st.integers(0, 3).map(
        lambda at: {key: some for key, some in (("a", ids[:at]), ("b", ids[at:])) if some}
    )
)
TREES = st.tuples(
    ROOTS,
    st.fixed_dictionaries(
        {
            block_id: st.builds(
                BlockRecord,
                subscription_instance_id=st.just(block_id),
                owner_subscription_id=st.just(UUID(int=100)),
                owner_status=st.just(ACTIVE),
                product_block_name=NAMES,
                label=st.sampled_from([None, "label"]),
                values=st.dictionaries(st.sampled_from("xyz"), st.sampled_from([None, 1, True, 1.0, [2, {"x": 1}]])),
                links=LINKED,
            )
            for block_id in OWN_BLOCKS
        }
    ),
)
KEYS = st.sampled_from("xyz")
HOLDERS = st.one_of(st.none(), NAMES)
ATTRIBUTES = st.sampled_from("ab")
OPERATIONS = st.one_of(
    st.builds(RenameField, NAMES, KEYS, st.sampled_from(["new", "z"])),
    st.builds(RemoveField, NAMES, KEYS),
    st.builds(fill, KEYS, st.sampled_from([None, 1.0, lambda given: len(given.values)]), name=NAMES),
    st.builds(RenameLink, HOLDERS, st.just(frozenset({"Port"})), st.just("a"), st.sampled_from("bc")),
    st.builds(RemoveLink, HOLDERS, st.just(frozenset({"Port"})), ATTRIBUTES),
    st.builds(RemoveBlock, NAMES),
)


def subject(operation: Operation) -> tuple[Any, ...]:
    """Return what an operation is about: two that are about the same are not applied together."""
    match operation:
        case RenameField(name, key) | RemoveField(name, key):
            return ("value", name, key)
        case RenameLink(name) | RemoveLink(name):
            return ("links", name)
        case FillField(name, key):
            return ("missing", name, key)
    return (operation,)


def own_part(record: SubscriptionRecord) -> tuple[Any, Any]:
    own = {
        block_id: one for block_id, one in record.blocks.items() if one.owner_subscription_id == record.subscription_id
    }
    return record.roots, own


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES, st.lists(OPERATIONS, unique_by=subject, min_size=1, max_size=6), st.booleans())
def test_whatever_is_applied_can_be_undone_and_leaves_what_a_save_would_leave(
    shared_engine: Engine,
    tree: tuple[Mapping[str, Sequence[UUID]], Mapping[UUID, BlockRecord]],
    operations: Sequence[Operation],
    used: bool,
) -> None:
    roots, blocks = tree
    with shared_engine.connect() as connection:
        store = PostgresRepository(connection)
        linked = replace(block(UUID(int=98), "Node"), subscription_instance_id=UUID(int=99))
        save(store, NODE, node=[linked])
        own = {name: [blocks[block_id] for block_id in ids] for name, ids in roots.items()}
        before = save(store, PORT, *blocks.values(), **own)
        if used:
            save(store, NODE, node=[block(uuid4(), "User", links={"used": [next(iter(own.values()))[0]]})])
        try:
            apply_all(connection, operations, JAN)
        except CatalogueDataError:
            assert PostgresRepository(connection).load_subscription(before.subscription_id) == before
        after = PostgresRepository(connection).load_subscription(before.subscription_id)
        assert PostgresRepository(connection).save_subscription(after) == after.version
        assert subscription_as_of(connection, before.subscription_id, version=1) == before
        assert (after.version == 1) == (own_part(after) == own_part(before))
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        connection.rollback()


# Several at a time: each of these tests has a database of its own.


@pytest.fixture
def own_engine(engine: Engine) -> Engine:
    add_catalogue(engine)
    return engine


RENAME = RenameField("Node", "site", "city")


def waits_for_a_lock(engine: Engine) -> None:
    """Return when somebody waits for a lock of somebody else."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 60
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher:
        while not watcher.scalar(text(waiting)):
            assert time.monotonic() < deadline, "nobody waits"
            time.sleep(0.01)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread; when the block has ended, wait for its end and raise what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if raised:
        raise raised[0]


def apply_rename(engine: Engine, patience: float = 60) -> None:
    with engine.begin() as connection:
        apply_all(connection, [RENAME], JAN, patience=patience)


def test_a_save_that_came_first_is_seen(own_engine: Engine) -> None:
    with own_engine.begin() as connection:
        record, node = a_node(PostgresRepository(connection))
    moved = replace(node, values={"site": "Delft"})
    changed = replace(record, blocks={node.subscription_instance_id: moved})
    with own_engine.connect() as saving:
        PostgresRepository(saving).save_subscription(changed)
        with meanwhile(lambda: apply_rename(own_engine)):
            waits_for_a_lock(own_engine)
            saving.commit()
    with own_engine.begin() as connection:
        assert values_of(PostgresRepository(connection), node) == {"city": "Delft"}
        assert [version for version, *_ in versions(connection, record)] == [1, 2, 3]


def test_a_subscription_that_appears_while_others_are_waited_for_is_seen(own_engine: Engine) -> None:
    with own_engine.begin() as connection:
        record, _ = a_node(PostgresRepository(connection))
    with own_engine.connect() as saving:
        PostgresRepository(saving).save_subscription(replace(record, description="Another"))
        with meanwhile(lambda: apply_rename(own_engine)):
            waits_for_a_lock(own_engine)
            with own_engine.begin() as connection:
                _, late = a_node(PostgresRepository(connection))
            saving.commit()
    with own_engine.begin() as connection:
        assert values_of(PostgresRepository(connection), late) == {"city": "Utrecht"}


def test_a_save_that_comes_later_is_refused(own_engine: Engine) -> None:
    with own_engine.begin() as connection:
        record, node = a_node(PostgresRepository(connection))

    def save_later() -> None:
        with own_engine.begin() as connection:
            PostgresRepository(connection).save_subscription(replace(record, description="Another"))

    with pytest.raises(StaleDataError), own_engine.connect() as applying:  # noqa: PT012
        apply_all(applying, [RENAME], JAN)
        with meanwhile(save_later):
            waits_for_a_lock(own_engine)
            applying.commit()
    with own_engine.begin() as connection:
        assert values_of(PostgresRepository(connection), node) == {"city": "Utrecht"}


def test_who_is_at_work_is_named(own_engine: Engine) -> None:
    with own_engine.begin() as connection:
        store = PostgresRepository(connection)
        held, writing, free = (a_node(store)[0] for _ in range(3))
        connection.execute(
            text("UPDATE orchestrator.subscriptions SET held_by = :process WHERE subscription_id = :id"),
            {"process": PROCESS, "id": held.subscription_id},
        )
    with own_engine.connect() as saving:
        for record in (held, writing):
            PostgresRepository(saving).save_subscription(replace(record, description="Another"))
        with own_engine.connect() as applying:
            with pytest.raises(CatalogueBusyError, match=f"held by process {PROCESS}") as refused:
                apply_all(applying, [RENAME], JAN, patience=0.05)
            assert refused.value.held_by == {held.subscription_id: PROCESS, writing.subscription_id: None}
            assert PostgresRepository(applying).load_subscription(free.subscription_id) == free


def test_a_process_that_waits_is_not_in_the_way(own_engine: Engine) -> None:
    with own_engine.begin() as connection:
        _, node = a_node(PostgresRepository(connection))
        connection.execute(text("UPDATE orchestrator.subscriptions SET held_by = :process"), {"process": PROCESS})
        assert apply_all(connection, [RENAME], JAN) == {RENAME: 1}
        assert values_of(PostgresRepository(connection), node) == {"city": "Utrecht"}
        assert connection.scalar(text("SELECT held_by FROM orchestrator.subscriptions")) == PROCESS


def test_the_patience_of_the_transaction_is_as_before(connection: Connection, store: PostgresRepository) -> None:
    connection.execute(text("SET LOCAL lock_timeout = '7s'"))
    a_node(store)
    move(connection, RENAME)
    with pytest.raises(CatalogueDataError):
        apply_all(connection, [fill("rack", lambda _: 1 / 0)], JAN)
    assert connection.scalar(text("SHOW lock_timeout")) == "7s"


WORKER = Path(__file__).parents[1] / "workers" / "mortal_catalogue.py"


@pytest.fixture
def mortal(own_engine: Engine) -> Iterator[Callable[[str], str]]:
    """Tell a worker at which statement its next apply kills itself, or that it should not; get how that ended."""
    url = own_engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, str(WORKER), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        to, out = worker.stdin, worker.stdout

        def tell(line: str) -> str:
            print(line, file=to, flush=True)
            return out.readline().strip()

        yield tell
        to.close()


def test_killed_before_any_statement_nothing_is_done_and_applying_again_does_all(
    own_engine: Engine, mortal: Callable[[str], str]
) -> None:
    with own_engine.begin() as connection:
        store = PostgresRepository(connection)
        node_record, node = a_node(store)
        record, _, _ = a_port(store, node)
        before = rows(connection)
    point, ended = 0, "killed"
    while (ended := mortal(str(point))) == "killed":
        with own_engine.begin() as connection:
            assert rows(connection) == before
        point += 1
    assert (ended, point > 15) == ("done", True)
    with own_engine.begin() as connection:
        store = PostgresRepository(connection)
        assert values_of(store, node) == {"city": "Utrecht", "rack": "A1", "place": "Utrecht A1"}
        assert [version for version, *_ in versions(connection, record)] == [1, 2]
        assert "lanes" not in str(store.load_subscription(record.subscription_id))
        assert subscription_as_of(connection, node_record.subscription_id, version=1) == node_record
        assert subscription_as_of(connection, record.subscription_id, version=1) == record


def test_killed_while_the_server_is_at_work_nothing_is_done(own_engine: Engine, mortal: Callable[[str], str]) -> None:
    with own_engine.begin() as connection:
        _, node = a_node(PostgresRepository(connection))
    with own_engine.begin() as blocking:
        blocking.execute(text("LOCK TABLE orchestrator.subscription_versions IN SHARE MODE"))
        pid = int(mortal("never"))
        waits_for_a_lock(own_engine)
        os.kill(pid, signal.SIGKILL)
    assert mortal("wait") == "killed"
    apply_rename(own_engine)
    with own_engine.begin() as connection:
        assert values_of(PostgresRepository(connection), node) == {"city": "Utrecht"}
