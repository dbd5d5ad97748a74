"""The history of subscriptions: who changed what, and how a subscription was at any version or moment."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
from conftest import CountStatements
from golden_example import CREATE_NODE
from pydantic import ValidationError
from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, text

from orchestrator_dagster import (
    SUBSCRIPTION_MODEL_REGISTRY,
    HistoryIncompleteError,
    HistoryNotFoundError,
    ProductBlockModel,
    Session,
    StaleDataError,
    SubscriptionLifecycle,
    SubscriptionModel,
    SubscriptionNotFoundError,
)
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.history import subscription_difference, subscription_versions
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.domain.record_view import as_json
from orchestrator_dagster.domain.repository import SubscriptionRecord, use_repository
from orchestrator_dagster.ops.transaction import save_models

NODE, PORT, TRUNK = UUID(int=1), UUID(int=2), UUID(int=3)
ACTIVE = SubscriptionLifecycle.ACTIVE
LATER = datetime(9999, 1, 1, tzinfo=UTC)


class SiteBlock(ProductBlockModel, product_block_name="Site"):
    city: str | None = None


class NodeBlock(ProductBlockModel, product_block_name="Node"):
    node_name: str | None = None
    site: SiteBlock | None = None


class ChannelBlock(ProductBlockModel, product_block_name="Channel"):
    vlan: int | None = None


class GroupBlock(ProductBlockModel, product_block_name="Group"):
    channels: list[ChannelBlock] = []


class PortBlock(ProductBlockModel, product_block_name="Port"):
    speed: int | float | None = None
    node: NodeBlock | None = None
    channels: list[ChannelBlock] = []
    group: GroupBlock | None = None


class Site(SubscriptionModel, is_base=True):
    site: SiteBlock


class Node(SubscriptionModel, is_base=True):
    node: NodeBlock


class Port(SubscriptionModel, is_base=True):
    port: PortBlock
    spares: list[PortBlock] = []


@pytest.fixture
def connection(module_database_url: str) -> Iterator[Connection]:
    """A transaction that leaves nothing behind, but meets its deferred constraints."""
    with engine_for(module_database_url).connect() as connection:
        connection.execute(
            text("""INSERT INTO orchestrator.products (product_id, name, description, product_type, tag, status)
                    VALUES (:node, 'Node', 'A node', 'Node', 'NODE', 'active'),
                           (:port, 'Port', 'A port', 'Port', 'PORT', 'active'),
                           (:trunk, 'Trunk', 'A trunk', 'Port', 'TRUNK', 'active')"""),
            {"node": NODE, "port": PORT, "trunk": TRUNK},
        )
        connection.execute(
            text("""INSERT INTO orchestrator.product_blocks (name, description, tag)
                    SELECT name, name, name FROM unnest(ARRAY['Site', 'Node', 'Port', 'Channel', 'Group']) AS name""")
        )
        yield connection
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        connection.rollback()


@pytest.fixture
def store(connection: Connection) -> Iterator[PostgresRepository]:
    repository = PostgresRepository(connection)
    with use_repository(repository):
        yield repository


@pytest.fixture
def a_site(store: PostgresRepository) -> Site:
    site = Site.from_product_id(NODE, "acme")
    site.site.city = "Delft"
    site.save()
    return site


@pytest.fixture
def a_node(a_site: Site) -> Node:
    """A subscription that uses a block of another one."""
    node = Node.from_product_id(NODE, "acme")
    node.node = NodeBlock.new(node.subscription_id, node_name="ams-core-1", site=a_site.site)
    node.save()
    return node


@pytest.fixture
def a_port(a_node: Node) -> Port:
    """A subscription with blocks in lists and below each other, which uses a block of a node."""
    port = Port.from_product_id(PORT, "acme")
    channels = [ChannelBlock.new(port.subscription_id, vlan=vlan) for vlan in (10, 20, 30)]
    port.port = PortBlock.new(port.subscription_id, label="first", speed=1, node=a_node.node, channels=channels)
    port.port.group = GroupBlock.new(port.subscription_id)
    port.spares = [PortBlock.new(port.subscription_id, speed=speed) for speed in (10, 40)]
    port.save()
    return port


def exact(record: SubscriptionRecord) -> str:
    """A record as text, in which `1`, `1.0` and `true` differ."""
    return json.dumps(to_jsonable_python(record), sort_keys=True)


def another_node(site: Site) -> Node:
    node = Node.from_product_id(NODE, "acme")
    node.node = NodeBlock.new(node.subscription_id, node_name="rtm-core-1", site=site.site)
    node.save()
    return node


def changed_fields(port: Port) -> None:
    port.customer_id, port.description, port.note, port.insync = "other", "Another description", "A note", True


def dates(port: Port) -> None:
    port.start_date = datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=UTC)
    port.end_date = datetime(2025, 1, 1, tzinfo=UTC)


def a_value(port: Port) -> None:
    port.port.speed = 100


def a_value_of_another_type(port: Port) -> None:
    port.port.speed = 1.0


def a_value_that_is_no_more(port: Port) -> None:
    port.port.speed = None


def a_label(port: Port) -> None:
    port.port.label = "second"


def a_label_that_is_no_more(port: Port) -> None:
    port.port.label = None


def a_block_that_is_new(port: Port) -> None:
    port.port.channels.insert(1, ChannelBlock.new(port.subscription_id, vlan=15))


def a_block_that_is_removed(port: Port) -> None:
    del port.port.channels[0]


def a_branch_that_is_removed(port: Port) -> None:
    port.spares = []
    port.port = PortBlock.new(port.subscription_id)


def a_block_that_moves(port: Port) -> None:
    assert port.port.group
    port.port.group.channels = [port.port.channels.pop(0)]


def an_order(port: Port) -> None:
    port.port.channels.reverse()


def an_order_of_root_blocks(port: Port) -> None:
    port.spares.reverse()


def root_blocks_that_change_places(port: Port) -> None:
    port.port, port.spares = port.spares[0], [port.port]


def a_root_block_that_goes_below_another(port: Port) -> None:
    channels = port.port.channels
    port.port.channels = []
    port.spares[1].channels = channels
    port.spares = [port.spares[1]]


def a_link_to_another_subscription(port: Port) -> None:
    assert port.port.node
    port.port.node = another_node(Site.from_subscription(port.port.node.site.owner_subscription_id)).node  # type: ignore[union-attr]


def a_link_to_another_subscription_that_is_no_more(port: Port) -> None:
    port.port.node = None


CHANGES: list[Callable[[Port], None]] = [
    changed_fields,
    dates,
    a_value,
    a_value_of_another_type,
    a_value_that_is_no_more,
    a_label,
    a_label_that_is_no_more,
    a_block_that_is_new,
    a_block_that_is_removed,
    a_branch_that_is_removed,
    a_block_that_moves,
    an_order,
    an_order_of_root_blocks,
    root_blocks_that_change_places,
    a_root_block_that_goes_below_another,
    a_link_to_another_subscription,
    a_link_to_another_subscription_that_is_no_more,
]


class Kept:
    """Saves a subscription, and keeps how it loads after each save."""

    def __init__(self, store: PostgresRepository, model: SubscriptionModel) -> None:
        self.store = store
        self.model = model
        self.records = {model.version: store.load_subscription(model.subscription_id)}

    def save(self) -> None:
        self.model.save()
        self.records[self.model.version] = self.store.load_subscription(self.model.subscription_id)

    def check(self) -> None:
        for version, kept in self.records.items():
            shown = self.store.subscription_as_of(self.model.subscription_id, version=version)
            assert exact(shown) == exact(kept)


@pytest.mark.parametrize("change", CHANGES)
def test_a_version_is_shown_as_it_was_saved_whatever_changed_after_it(
    store: PostgresRepository, a_port: Port, change: Callable[[Port], None]
) -> None:
    kept = Kept(store, a_port)
    change(a_port)
    kept.save()
    assert list(kept.records) == [1, 2]
    kept.check()


def test_every_version_is_shown_as_it_was_saved_after_all_these_changes(
    store: PostgresRepository, a_port: Port
) -> None:
    kept = Kept(store, a_port)
    for change in CHANGES:
        if change not in (an_order_of_root_blocks, root_blocks_that_change_places, a_branch_that_is_removed):
            change(a_port)
            kept.save()
    assert len(kept.records) > 10
    kept.check()


def test_a_value_that_was_not_stored_then_is_not_shown(store: PostgresRepository, a_node: Node) -> None:
    """A field that the model has got since."""
    record = store.load_subscription(a_node.subscription_id)
    block = record.blocks[a_node.node.subscription_instance_id]
    with_more = replace(block, values={**block.values, "serial": None, "rack": 4})
    store.save_subscription(replace(record, blocks={**record.blocks, block.subscription_instance_id: with_more}))
    with_less = replace(block, values={"rack": 4})
    store.save_subscription(
        replace(record, version=2, blocks={**record.blocks, block.subscription_instance_id: with_less})
    )
    values = [
        store.subscription_as_of(a_node.subscription_id, version=version).blocks[block.subscription_instance_id].values
        for version in (1, 2, 3)
    ]
    assert values == [{"node_name": "ams-core-1"}, {"node_name": "ams-core-1", "serial": None, "rack": 4}, {"rack": 4}]


def test_a_subscription_that_went_to_another_product_is_shown_with_the_product_of_then(a_port: Port) -> None:
    Port.from_other_product(a_port, TRUNK).save()
    assert Port.as_of(a_port.subscription_id, version=1).product.name == "Port"
    assert Port.as_of(a_port.subscription_id, version=2).product.name == "Trunk"


def test_a_block_that_became_one_of_another_kind_is_shown_as_it_was(store: PostgresRepository, a_node: Node) -> None:
    record = store.load_subscription(a_node.subscription_id)
    block = record.blocks[a_node.node.subscription_instance_id]
    other = replace(block, product_block_name="Port", values={"speed": 1}, links={})
    store.save_subscription(replace(record, blocks={**record.blocks, block.subscription_instance_id: other}))
    assert exact(store.subscription_as_of(a_node.subscription_id, version=1)) == exact(record)


def test_between_two_changes_a_subscription_is_as_the_first_left_it(connection: Connection, a_node: Node) -> None:
    for name in ("two", "three"):
        a_node.node.node_name = name
        a_node.save()
    moments = [version.changed_at for version in subscription_versions(connection, a_node.subscription_id)]
    instant = timedelta(microseconds=1)

    def shown(at: datetime) -> str | None:
        return Node.as_of(a_node.subscription_id, at=at).node.node_name

    assert [shown(moment) for moment in moments] == ["ams-core-1", "two", "three"]
    assert [shown(moment - instant) for moment in moments[1:]] == ["ams-core-1", "two"]
    assert shown(LATER) == "three"


def test_a_moment_without_time_zone_is_in_utc(connection: Connection, a_node: Node) -> None:
    (first,) = subscription_versions(connection, a_node.subscription_id)
    at = first.changed_at.astimezone(UTC).replace(tzinfo=None)
    assert Node.as_of(a_node.subscription_id, at=at).version == 1


class TestBlocksOfOtherSubscriptions:
    def test_they_are_shown_as_they_were_then(self, a_site: Site, a_node: Node, a_port: Port) -> None:
        """At any distance: the port uses the node, which uses the site."""
        a_node.node.node_name = "ams-core-2"
        a_node.save()
        a_site.site.city, a_site.status = "Utrecht", ACTIVE
        a_site.save()
        then = Port.as_of(a_port.subscription_id, version=1)
        assert then.port.node
        assert then.port.node.site
        assert (then.port.node.node_name, then.port.node.site.city) == ("ams-core-1", "Delft")

    def test_their_status_is_that_of_then(self, store: PostgresRepository, a_site: Site, a_port: Port) -> None:
        a_site.status = ACTIVE
        a_site.save()
        city = a_site.site.subscription_instance_id
        assert store.subscription_as_of(a_port.subscription_id, version=1).blocks[city].owner_status == "initial"
        now = store.subscription_as_of(a_port.subscription_id, at=LATER)
        assert now.blocks[city].owner_status == "active"

    def test_the_newest_version_shows_them_as_they_were_when_it_was_saved(self, a_node: Node, a_port: Port) -> None:
        """A version stands for the moment at which it was saved; what is now is the subscription as it loads."""
        a_node.node.node_name = "ams-core-2"
        a_node.save()
        newest, now = Port.as_of(a_port.subscription_id, version=1), Port.from_subscription(a_port.subscription_id)
        assert newest.port.node
        assert now.port.node
        assert (newest.port.node.node_name, now.port.node.node_name) == ("ams-core-1", "ams-core-2")

    def test_links_that_they_had_only_then_are_followed(self, a_node: Node, a_port: Port) -> None:
        a_node.node.site = None
        a_node.save()
        then = Port.as_of(a_port.subscription_id, version=1)
        assert then.port.node
        assert then.port.node.site
        assert then.port.node.site.city == "Delft"

    def test_blocks_that_have_been_removed_since_are_found(
        self, store: PostgresRepository, a_site: Site, a_node: Node, a_port: Port
    ) -> None:
        kept = Kept(store, a_port)
        a_port.port.node = None
        a_port.save()
        a_node.node = NodeBlock.new(a_node.subscription_id, node_name="new")
        a_node.save()
        a_site.site = SiteBlock.new(a_site.subscription_id, city="new")
        a_site.save()
        kept.check()

    def test_a_circle_through_another_subscription_is_followed_once(
        self, store: PostgresRepository, a_port: Port
    ) -> None:
        node_id = a_port.port.node.owner_subscription_id  # type: ignore[union-attr]
        record = store.load_subscription(node_id)
        (block,) = (block for block in record.blocks.values() if block.owner_subscription_id == node_id)
        circle = replace(block, links={"back": [a_port.port.subscription_instance_id]})
        store.save_subscription(
            replace(record, blocks={**record.blocks, block.subscription_instance_id: circle}),
        )
        kept = Kept(store, a_port)
        a_port.note = "in a circle"
        kept.save()
        assert kept.store.subscription_as_of(node_id, version=1) == record
        assert exact(store.subscription_as_of(a_port.subscription_id, version=2)) == exact(kept.records[2])

    def test_what_belonged_to_a_subscription_that_has_been_deleted_is_known_by_its_id_only(
        self, connection: Connection, store: PostgresRepository, a_node: Node, a_port: Port
    ) -> None:
        node_id = a_node.node.subscription_instance_id
        a_port.port.node = None
        a_port.save()
        connection.execute(
            text("DELETE FROM orchestrator.subscriptions WHERE subscription_id = :node"),
            {"node": a_node.subscription_id},
        )
        then = store.subscription_as_of(a_port.subscription_id, version=1)
        assert node_id not in then.blocks
        assert as_json(then)["port"]["node"] == {"subscription_instance_id": str(node_id)}


class TestModels:
    def test_the_class_is_that_of_the_product_and_status_of_then(
        self, a_node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class ActiveNode(Node, lifecycle=[ACTIVE]):
            pass

        monkeypatch.setitem(SUBSCRIPTION_MODEL_REGISTRY, "Node", Node)
        SubscriptionModel.from_other_lifecycle(a_node, ACTIVE).save()
        versions = [SubscriptionModel.as_of(a_node.subscription_id, version=version) for version in (1, 2)]
        assert [type(version) for version in versions] == [Node, ActiveNode]

    def test_a_model_that_has_changed_since_is_said_to_have(self, a_node: Node) -> None:
        class StrictBlock(ProductBlockModel, product_block_name="Node"):
            node_name: int

        class StrictNode(SubscriptionModel, is_base=True):
            node: StrictBlock

        with pytest.raises(ValidationError) as refusal:
            StrictNode.as_of(a_node.subscription_id, version=1)
        assert any("which have changed since" in note for note in refusal.value.__notes__)

    def test_a_subscription_as_it_was_cannot_be_saved_over_what_came_later(self, a_node: Node) -> None:
        a_node.node.node_name = "two"
        a_node.save()
        old = Node.as_of(a_node.subscription_id, version=1)
        for now in (old, Node.from_subscription(a_node.subscription_id)):
            now.note = "looked at"
        with pytest.raises(StaleDataError, match=r"given version \(1\) does not match the current version \(2\)"):
            old.save()
        assert Node.from_subscription(a_node.subscription_id).node.node_name == "two"

    def test_looking_at_the_past_does_not_disturb_a_save(self, a_node: Node) -> None:
        a_node.node.node_name = "two"
        a_node.save()
        loaded = Node.from_subscription(a_node.subscription_id)
        Node.as_of(a_node.subscription_id, version=1)
        loaded.node.node_name = "ams-core-1"
        loaded.save()
        assert Node.from_subscription(a_node.subscription_id).node.node_name == "ams-core-1"


class TestWhatCannotBeShown:
    def test_a_subscription_that_does_not_exist(self, store: PostgresRepository) -> None:
        for asked in ({"version": 1}, {"at": LATER}):
            with pytest.raises(SubscriptionNotFoundError):
                Node.as_of(uuid4(), **asked)  # type: ignore[arg-type]
        with pytest.raises(SubscriptionNotFoundError):
            Node.as_of("no id", version=1)

    @pytest.mark.parametrize("version", [0, 2, -1])
    def test_a_version_that_does_not_exist(self, a_node: Node, version: int) -> None:
        with pytest.raises(HistoryNotFoundError, match=f"as of version {version}: .* the newest is 1") as refusal:
            Node.as_of(a_node.subscription_id, version=version)
        assert (refusal.value.subscription_id, refusal.value.version) == (a_node.subscription_id, version)
        assert isinstance(refusal.value, LookupError)

    def test_a_moment_before_it_existed(self, connection: Connection, a_node: Node) -> None:
        (first,) = subscription_versions(connection, a_node.subscription_id)
        at = first.changed_at - timedelta(microseconds=1)
        with pytest.raises(HistoryNotFoundError, match="it was created at") as refusal:
            Node.as_of(a_node.subscription_id, at=at)
        assert refusal.value.at == at

    @pytest.mark.parametrize("asked", [{}, {"version": 1, "at": datetime(2024, 1, 1, tzinfo=UTC)}])
    def test_neither_or_both_of_a_version_and_a_moment(self, a_node: Node, asked: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match="either a version or a moment"):
            Node.as_of(a_node.subscription_id, **asked)

    def test_what_came_before_a_change_that_was_not_recorded_so(self, connection: Connection, a_node: Node) -> None:
        """Rows of the history from before schema revision 0003."""
        for name in ("two", "three"):
            a_node.node.node_name = name
            a_node.save()
        connection.execute(text("UPDATE orchestrator.subscription_versions SET undo = NULL WHERE version = 2"))
        assert Node.as_of(a_node.subscription_id, version=2).node.node_name == "two"
        with pytest.raises(HistoryIncompleteError, match=r"version 2 .* older than schema revision 0003") as refusal:
            Node.as_of(a_node.subscription_id, version=1)
        assert (refusal.value.incomplete_id, refusal.value.oldest_version) == (a_node.subscription_id, 2)

    def test_what_came_before_a_change_that_has_no_row(self, connection: Connection, a_node: Node) -> None:
        (first,) = subscription_versions(connection, a_node.subscription_id)
        connection.execute(text("UPDATE orchestrator.subscriptions SET version = 2, note = 'by hand'"))
        with pytest.raises(HistoryIncompleteError, match="or was made by hand"):
            Node.as_of(a_node.subscription_id, version=1)
        assert Node.as_of(a_node.subscription_id, at=first.changed_at).note == "by hand", "nothing says when"


class TestWhatAHistoryRowHolds:
    def test_the_first_version_has_nothing_to_go_back_to(self, connection: Connection, a_node: Node) -> None:
        assert undo(connection, a_node) == [None]

    def test_only_what_changed_is_in_it(self, connection: Connection, a_port: Port) -> None:
        a_port.note, a_port.port.speed = "new", 2
        a_port.save()
        port_id = str(a_port.port.subscription_instance_id)
        assert undo(connection, a_port)[1:] == [
            {"subscription": {"note": None}, "blocks": {port_id: {"set": {"speed": 1}}}}
        ]

    def test_a_block_that_came_is_null_and_its_place_empty(self, connection: Connection, a_port: Port) -> None:
        new = ChannelBlock.new(a_port.subscription_id, vlan=40)
        a_port.port.channels.append(new)
        a_port.save()
        port_id = str(a_port.port.subscription_instance_id)
        assert undo(connection, a_port)[1:] == [
            {"blocks": {str(new.subscription_instance_id): None}, "links": [[port_id, "channels", 3, None]]}
        ]

    def test_a_block_that_went_is_there_with_all_that_it_had(self, connection: Connection, a_port: Port) -> None:
        gone = a_port.port.channels.pop()
        a_port.save()
        port_id, gone_id = str(a_port.port.subscription_instance_id), str(gone.subscription_instance_id)
        whole = {"product_block": "Channel", "label": None, "attribute": None, "position": None, "set": {"vlan": 30}}
        assert undo(connection, a_port)[1:] == [
            {"blocks": {gone_id: whole}, "links": [[port_id, "channels", 2, gone_id]]}
        ]


def undo(connection: Connection, model: SubscriptionModel) -> list[Any]:
    rows = text(
        "SELECT undo FROM orchestrator.subscription_versions WHERE subscription_id = :subscription_id ORDER BY version"
    )
    return list(connection.scalars(rows, {"subscription_id": model.subscription_id}))


def write_by_sql(connection: Connection, model: SubscriptionModel, undo: dict[str, Any]) -> None:
    """Make a new version as those do who change the data of many subscriptions at once."""
    connection.execute(
        text("""WITH changed AS (
                    UPDATE orchestrator.subscriptions SET version = version + 1
                    WHERE subscription_id = :subscription_id
                    RETURNING subscription_id, version
                )
                INSERT INTO orchestrator.subscription_versions (subscription_id, version, changed_by, changes, undo)
                SELECT subscription_id, version, 'catalogue apply', '{}', CAST(:undo AS jsonb) FROM changed"""),
        {"subscription_id": model.subscription_id, "undo": json.dumps(undo)},
    )


@pytest.fixture
def a_port_with_a_gap(connection: Connection, store: PostgresRepository, a_port: Port) -> Kept:
    """A subscription that lost a block in the middle of each of its lists, and what it was before and after that."""
    a_port.spares.append(PortBlock.new(a_port.subscription_id, speed=100))
    a_port.save()
    kept = Kept(store, a_port)
    channel, spare = a_port.port.channels[1], a_port.spares[1]
    gone = {"gone": [channel.subscription_instance_id, spare.subscription_instance_id]}
    for statement in (
        "DELETE FROM orchestrator.subscription_instance_relations WHERE depends_on_id = ANY(:gone)",
        "DELETE FROM orchestrator.subscription_instances WHERE subscription_instance_id = ANY(:gone)",
    ):
        connection.execute(text(statement), gone)
    undo = {
        "blocks": {
            str(channel.subscription_instance_id): {"product_block": "Channel", "set": {"vlan": 20}},
            str(spare.subscription_instance_id): {
                "product_block": "Port",
                "attribute": "spares",
                "position": 1,
                "set": {"speed": 40},
            },
        },
        "links": [[str(a_port.port.subscription_instance_id), "channels", 1, str(channel.subscription_instance_id)]],
    }
    write_by_sql(connection, a_port, {"blocks": undo["blocks"], "links": undo["links"]})
    kept.model = Port.from_subscription(a_port.subscription_id)
    kept.records[kept.model.version] = store.load_subscription(a_port.subscription_id)
    return kept


def a_channel_at_the_end(port: Port) -> None:
    port.port.channels.append(ChannelBlock.new(port.subscription_id, vlan=40))


def no_channel_after_the_gap(port: Port) -> None:
    del port.port.channels[1]


def a_spare_at_the_end(port: Port) -> None:
    port.spares.append(PortBlock.new(port.subscription_id, speed=400))


def no_spare_after_the_gap(port: Port) -> None:
    del port.spares[1]


class TestListsWithGaps:
    """Whoever writes SQL may leave them."""

    @pytest.mark.parametrize(
        "change", [a_channel_at_the_end, no_channel_after_the_gap, a_spare_at_the_end, no_spare_after_the_gap, a_value]
    )
    def test_a_list_with_a_gap_is_saved_as_the_model_has_it_and_no_version_is_lost(
        self, a_port_with_a_gap: Kept, change: Callable[[Port], None]
    ) -> None:
        kept = a_port_with_a_gap
        assert isinstance(kept.model, Port)
        assert [channel.vlan for channel in kept.model.port.channels] == [10, 30]
        change(kept.model)
        kept.save()
        assert Port.from_subscription(kept.model.subscription_id) == kept.model
        kept.check()


class TestHistoryWrittenBySql:
    def test_a_value_that_got_another_name(
        self, connection: Connection, store: PostgresRepository, a_node: Node
    ) -> None:
        kept = Kept(store, a_node)
        block_id = a_node.node.subscription_instance_id
        connection.execute(
            text("""UPDATE orchestrator.subscription_instances
                    SET values = values - 'node_name' || jsonb_build_object('name', values -> 'node_name')
                    WHERE subscription_instance_id = :block"""),
            {"block": block_id},
        )
        entry = {"set": {"node_name": "ams-core-1"}, "unset": ["name"]}
        write_by_sql(connection, a_node, {"blocks": {str(block_id): entry}})
        kept.check()

    def test_blocks_that_were_removed_from_the_middle_of_a_list(
        self, connection: Connection, store: PostgresRepository, a_port: Port
    ) -> None:
        """Whether the places after them stay as they are or close up."""
        kept = Kept(store, a_port)
        port_id, gone_id = a_port.port.subscription_instance_id, a_port.port.channels[1].subscription_instance_id
        for statement in (
            "DELETE FROM orchestrator.subscription_instance_relations WHERE depends_on_id = :gone",
            "DELETE FROM orchestrator.subscription_instances WHERE subscription_instance_id = :gone",
        ):
            connection.execute(text(statement), {"gone": gone_id})
        whole = {"product_block": "Channel", "set": {"vlan": 20}}
        write_by_sql(
            connection,
            a_port,
            {"blocks": {str(gone_id): whole}, "links": [[str(port_id), "channels", 1, str(gone_id)]]},
        )
        kept.check()

    def test_a_field_of_blocks_that_got_another_name(
        self, connection: Connection, store: PostgresRepository, a_port: Port
    ) -> None:
        kept = Kept(store, a_port)
        port_id = a_port.port.subscription_instance_id
        connection.execute(
            text("""UPDATE orchestrator.subscription_instance_relations
                    SET attribute = 'lanes'
                    WHERE attribute = 'channels'""")
        )
        connection.execute(
            text("UPDATE orchestrator.subscription_instances SET attribute = 'uplink' WHERE attribute = 'port'")
        )
        links = [
            link
            for position, channel in enumerate(a_port.port.channels)
            for link in (
                [str(port_id), "lanes", position, None],
                [str(port_id), "channels", position, str(channel.subscription_instance_id)],
            )
        ]
        write_by_sql(connection, a_port, {"blocks": {str(port_id): {"attribute": "port"}}, "links": links})
        kept.check()

    def test_links_of_a_block_that_came_may_be_there_as_empty_places(
        self, connection: Connection, store: PostgresRepository, a_port: Port
    ) -> None:
        kept = Kept(store, a_port)
        new = GroupBlock.new(a_port.subscription_id, channels=[ChannelBlock.new(a_port.subscription_id)])
        a_port.port.group = new
        a_port.save()
        connection.execute(
            text("""UPDATE orchestrator.subscription_versions
                    SET undo = jsonb_insert(
                            undo, '{links,0}', jsonb_build_array(CAST(:new AS text), 'channels', 0, NULL)
                        )
                    WHERE version = 2"""),
            {"new": new.subscription_instance_id},
        )
        kept.check()


class TestTheDifference:
    def test_it_is_what_the_history_says_where_one_change_is_between(
        self, connection: Connection, a_port: Port, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(SUBSCRIPTION_MODEL_REGISTRY, "Port", Port)
        a_port.note = "new"
        a_port.port.channels[1].vlan = 21
        del a_port.port.channels[2]
        a_port.save()
        _, change = subscription_versions(connection, a_port.subscription_id)
        assert subscription_difference(connection, a_port.subscription_id, 1, 2) == change.changes
        assert change.changes["port.channels.1.vlan"] == {"before": 20, "after": 21}

    def test_it_can_be_asked_backwards(self, connection: Connection, a_node: Node) -> None:
        a_node.node.node_name = "two"
        a_node.save()
        forwards = subscription_difference(connection, a_node.subscription_id, 1, 2)
        assert forwards == {"node.node_name": {"before": "ams-core-1", "after": "two"}}
        backwards = subscription_difference(connection, a_node.subscription_id, 2, 1)
        assert backwards == {"node.node_name": {"before": "two", "after": "ams-core-1"}}

    def test_what_changed_and_changed_back_is_no_difference(self, connection: Connection, a_node: Node) -> None:
        for name in ("two", "ams-core-1"):
            a_node.node.node_name = name
            a_node.save()
        assert subscription_difference(connection, a_node.subscription_id, 1, 3) == {}

    def test_moments_do_as_well_as_versions(self, connection: Connection, a_node: Node) -> None:
        a_node.note = "new"
        a_node.save()
        first, _ = subscription_versions(connection, a_node.subscription_id)
        found = subscription_difference(connection, a_node.subscription_id, first.changed_at, LATER)
        assert found == subscription_difference(connection, a_node.subscription_id, 1, 2)
        assert found == {"note": {"before": None, "after": "new"}}


class TestJson:
    def test_a_subscription_is_shown_by_the_names_of_its_fields(self, store: PostgresRepository, a_port: Port) -> None:
        shown = as_json(store.subscription_as_of(a_port.subscription_id, version=1))
        assert (shown["customer_id"], shown["status"], shown["version"]) == ("acme", "initial", 1)
        assert shown["product"]["name"] == "Port"
        assert shown["port"]["label"] == "first"
        assert shown["port"]["node"]["site"]["city"] == "Delft"
        assert [channel["vlan"] for channel in shown["port"]["channels"]] == [10, 20, 30]
        assert json.loads(json.dumps(shown)) == shown

    def test_a_list_of_one_is_a_list_where_todays_model_says_so(
        self, store: PostgresRepository, a_port: Port, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del a_port.port.channels[1:]
        a_port.save()
        record = store.subscription_as_of(a_port.subscription_id, version=2)
        assert as_json(record)["port"]["channels"]["vlan"] == 10
        monkeypatch.setitem(SUBSCRIPTION_MODEL_REGISTRY, "Port", Port)
        assert [channel["vlan"] for channel in as_json(record)["port"]["channels"]] == [10]
        assert as_json(record)["port"]["group"]["channels"] == []

    def test_a_block_in_several_places_is_written_out_once(self, store: PostgresRepository, a_port: Port) -> None:
        assert a_port.port.group
        a_port.port.group.channels = [a_port.port.channels[0]]
        a_port.save()
        shown = as_json(store.subscription_as_of(a_port.subscription_id, version=2))["port"]
        assert shown["channels"][0]["vlan"] == 10
        block_id = str(a_port.port.channels[0].subscription_instance_id)
        assert shown["group"]["channels"] == {"subscription_instance_id": block_id}


class TestWhatItCosts:
    def test_a_subscription_as_it_was_takes_three_statements_and_one_for_each_step_into_others(
        self, store: PostgresRepository, a_site: Site, a_port: Port, count_statements: CountStatements
    ) -> None:
        for count in range(20):
            a_port.note = f"change {count}"
            a_port.save()
        with count_statements(store.connection.engine) as statements:
            store.subscription_as_of(a_site.subscription_id, version=1)
            alone = len(statements)
            store.subscription_as_of(a_port.subscription_id, version=1)
            with_node_and_site = len(statements) - alone
        assert (alone, with_node_and_site) == (3, 3 + 2)

    def test_a_save_writes_one_row_of_history_and_none_where_nothing_changed(
        self, connection: Connection, a_node: Node
    ) -> None:
        a_node.note = "new"
        a_node.save()
        a_node.save()
        assert [row.version for row in subscription_versions(connection, a_node.subscription_id)] == [1, 2]

    def test_a_step_that_saves_a_subscription_itself_and_returns_it_makes_one_version(
        self, connection: Connection, a_node: Node
    ) -> None:
        a_node.note = "new"
        a_node.save()
        save_models({"subscription": a_node, "again": [a_node]})
        assert [row.version for row in subscription_versions(connection, a_node.subscription_id)] == [1, 2]


class TestASession:
    @pytest.fixture
    def wfo(self, golden: ModuleType) -> Iterator[Session]:
        with (
            dg.DagsterInstance.ephemeral() as instance,
            golden.orchestrator.connect(user="ada", instance=instance) as session,
        ):
            yield session

    def test_what_is_no_id_is_the_id_of_no_subscription(self, wfo: Session) -> None:
        for ask in (
            lambda: wfo.history("no id"),
            lambda: wfo.subscription_as_of("no id", version=1),
            lambda: wfo.difference("no id", 1, 2),
        ):
            with pytest.raises(SubscriptionNotFoundError):
                ask()

    def test_it_shows_who_changed_what_in_which_process_and_step_and_what_was_before(self, wfo: Session) -> None:
        created = wfo.run("create_node", CREATE_NODE)
        history = wfo.history(created.subscription_id)
        assert history[0].step == "construct_node"
        assert history[0].changes["node"]["after"]["site"] == "Amsterdam"
        assert {(row.changed_by, row.process_id) for row in history} == {("ada", created.process_id)}
        assert len({row.step for row in history}) == len(history), "one version for each step that changed something"

        first = wfo.subscription_as_of(created.subscription_id, version=1)
        assert (first["status"], first["node"]["site"], first["node"]["loopback"]) == (
            "provisioning",
            "Amsterdam",
            None,
        )
        newest = wfo.subscription_as_of(created.subscription_id, at=LATER)
        assert (newest["status"], newest["version"]) == ("active", history[-1].version)
        difference = wfo.difference(created.subscription_id, 1, LATER)
        assert difference["status"] == {"before": "provisioning", "after": "active"}
        assert difference["node.loopback"] == {"before": None, "after": "10.0.0.1"}
