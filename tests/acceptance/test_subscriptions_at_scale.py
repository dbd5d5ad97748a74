"""Subscriptions, as somebody uses them who has many: loading, saving, finding them, and what they are related to."""

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from sqlalchemy import text
from user_project import UserProject, make_link, make_node, make_service

from orchestrator_dagster import (
    Session,
    StaleDataError,
    SubscriptionLifecycle,
    SubscriptionModel,
    SubscriptionNotFoundError,
)

pytestmark = pytest.mark.long

T = TypeVar("T")


def elsewhere(do: Callable[[], T]) -> T:
    """Do something as another user of the database does it: in a thread, with no part in this one's transaction."""
    done: list[T] = []
    thread = threading.Thread(target=lambda: done.append(do()))
    thread.start()
    thread.join(60)
    (result,) = done
    return result


def ids(rows: Any) -> list[UUID]:
    return [row.subscription_id for row in rows]


Connected = tuple[ModuleType, Session]


@pytest.fixture
def connected(project: UserProject) -> Iterator[Connected]:
    with project.connected(user="ada") as (code, wfo):
        yield code, wfo


@pytest.fixture
def code(connected: Connected) -> ModuleType:
    return connected[0]


@pytest.fixture
def wfo(connected: Connected) -> Session:
    return connected[1]


class TestLoading:
    def test_a_tree_comes_in_one_statement_however_many_blocks_and_subscriptions_it_spans(
        self, project: UserProject, code: ModuleType, count_statements: CountStatements
    ) -> None:
        nodes = [make_node(code, f"node-{n}", ports=[f"port-{p}" for p in range(40)]) for n in range(4)]
        service = make_service(code, make_link(code, "ring", nodes))
        with count_statements(project.engine) as statements:
            loaded = code.Service.from_subscription(service)
        assert len(statements) == 1
        ends = loaded.service.link.ends
        assert [end.node_name for end in ends] == ["node-0", "node-1", "node-2", "node-3"]
        assert [port.port_name for port in ends[3].ports] == [f"port-{p}" for p in range(40)]

    def test_blocks_nested_in_their_own_type_come_back_however_deep(
        self, project: UserProject, count_statements: CountStatements
    ) -> None:
        project.edit(
            ("    vlans: list[int] = []\n", '    vlans: list[int] = []\n    sub_ports: list["PortBlock"] = []\n')
        )
        with project.connected() as (code, _):
            node_id = make_node(code, "deep")
            node = code.Node.from_subscription(node_id)
            port = None
            for depth in range(60, 0, -1):
                below = [port] if port else []
                port = code.PortBlock.new(node_id, port_name=f"at {depth}", sub_ports=below)
            node.node.ports = [port]
            node.save()
            with count_statements(project.engine) as statements:
                found = code.Node.from_subscription(node_id).node.ports[0]
            assert len(statements) == 1
            names = []
            while found:
                names.append(found.port_name)
                found = found.sub_ports[0] if found.sub_ports else None
            assert names == [f"at {depth}" for depth in range(1, 61)]

    def test_a_thousand_come_at_once_in_the_order_asked_for_in_a_handful_of_statements(
        self, project: UserProject, wfo: Session, code: ModuleType, count_statements: CountStatements
    ) -> None:
        copies_of(project, make_node(code, "original", ports=["a", "b"]), 999)
        wanted = ids(wfo.subscriptions(product="Node Cisco", sort="subscription_id"))[::-1]
        assert len(wanted) == 1000
        with count_statements(project.engine) as statements:
            nodes = code.Node.from_subscriptions(wanted)
        assert len(statements) <= 5
        assert ids(nodes) == wanted
        assert {tuple(port.port_name for port in node.node.ports) for node in nodes} == {("a", "b")}

    def test_one_that_does_not_exist_is_named(self, code: ModuleType) -> None:
        missing = uuid4()
        with pytest.raises(SubscriptionNotFoundError, match=str(missing)):
            code.Node.from_subscriptions([make_node(code, "a"), missing])

    def test_each_comes_as_the_class_of_its_product_and_status(self, code: ModuleType) -> None:
        node, planned = make_node(code, "a"), make_node(code, "b", "provisioning")
        link = make_link(code, "l", [node])
        loaded = SubscriptionModel.from_subscriptions([link, planned, node, link])
        assert [type(one) for one in loaded] == [code.Link, code.NodeProvisioning, code.Node, code.Link]

    def test_those_of_a_product_are_gone_through_one_by_one(self, code: ModuleType) -> None:
        active = [make_node(code, f"node-{n}") for n in range(7)]
        make_node(code, "planned", "provisioning")
        make_link(code, "link", active[:2])
        found = list(code.Node.iterate(product="Node Cisco", status="active", batch_size=3))
        assert sorted(ids(found)) == sorted(active)
        assert all(type(node) is code.Node for node in found)


def copies_of(project: UserProject, subscription_id: UUID, how_many: int, customer: str = "many") -> None:
    """Copy a subscription with its blocks as a person with SQL would: that is quicker than to save them."""
    with project.engine.begin() as connection:
        connection.execute(COPY, {"original": subscription_id, "how_many": how_many, "customer": customer})


COPY = text("""
    WITH copies AS MATERIALIZED (
        SELECT number, gen_random_uuid() AS subscription_id FROM generate_series(1, :how_many) AS number
    ),
    subscription_rows AS (
        INSERT INTO orchestrator.subscriptions
            (subscription_id, product_id, customer_id, description, status, insync, start_date, version)
        SELECT copies.subscription_id, product_id, :customer, description || ' ' || number, status, insync, start_date,
               1
        FROM orchestrator.subscriptions AS original CROSS JOIN copies
        WHERE original.subscription_id = :original
    ),
    blocks AS MATERIALIZED (
        SELECT gen_random_uuid() AS copy_id, copies.subscription_id AS copy_of, instance.*
        FROM orchestrator.subscription_instances AS instance CROSS JOIN copies
        WHERE instance.subscription_id = :original
    ),
    block_rows AS (
        INSERT INTO orchestrator.subscription_instances
            (subscription_instance_id, subscription_id, product_block_id, label, values, attribute, position)
        SELECT copy_id, copy_of, product_block_id, label, values, attribute, position FROM blocks
    )
    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT above.copy_id, relation.attribute, relation.position, below.copy_id
    FROM orchestrator.subscription_instance_relations AS relation
    JOIN blocks AS above ON above.subscription_instance_id = relation.in_use_by_id
    JOIN blocks AS below ON below.subscription_instance_id = relation.depends_on_id AND below.copy_of = above.copy_of
""")


ITERATE = """
import resource
import network

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

with network.orchestrator.connect() as wfo:
    for customer in ("few", "many"):
        count = sum(1 for node in network.Node.iterate(customer_id=customer, batch_size=100))
        print(customer, count, peak())
"""


def test_going_through_twenty_times_as_many_takes_no_more_memory(project: UserProject) -> None:
    with project.connected() as (code, _):
        original = make_node(code, "original", ports=["a", "b", "c"])
    copies_of(project, original, 300, "few")
    copies_of(project, original, 6000, "many")
    ran = project.home.command("python", "-c", ITERATE)
    assert ran.status == 0, ran.output
    (_, few, before), (_, many, after) = (line.split() for line in ran.output.splitlines()[-2:])
    assert (few, many) == ("300", "6000")
    # 6000 models of four blocks take more than 60 MB
    assert int(after) - int(before) <= 8, ran.output


class TestSaving:
    def test_one_change_takes_as_many_statements_in_a_large_tree_as_in_a_small_one(
        self, project: UserProject, code: ModuleType, count_statements: CountStatements
    ) -> None:
        counts = []
        for size in (1, 200):
            node = code.Node.from_subscription(make_node(code, f"n{size}", ports=[f"p{n}" for n in range(size)]))
            node.node.ports[-1].vlans = [20, 10]
            with count_statements(project.engine) as statements:
                node.save()
            counts.append(len(statements))
            assert code.Node.from_subscription(node.subscription_id).node.ports[-1].vlans == [20, 10]
        assert counts[0] == counts[1] <= 6

    def test_a_save_that_changes_everything_is_bounded_too(
        self, project: UserProject, code: ModuleType, count_statements: CountStatements
    ) -> None:
        node = code.Node.from_subscription(make_node(code, "n", ports=[f"p{n}" for n in range(150)]))
        kept = node.node.ports[100:][::-1]
        for port in kept:
            port.vlans = [7]
        new = [code.PortBlock.new(node.subscription_id, port_name=f"new {n}") for n in range(100)]
        node.node.ports = [*kept, *new]
        node.description = "all other"
        with count_statements(project.engine) as statements:
            node.save()
        assert len(statements) <= 12
        assert code.Node.from_subscription(node.subscription_id).node.ports == [*kept, *new]

    def test_what_is_saved_unchanged_makes_no_version(self, wfo: Session, code: ModuleType) -> None:
        node_id = make_node(code, "n", ports=["a"])
        node = code.Node.from_subscription(node_id)
        versions = len(wfo.history(node_id))
        node.save()
        assert len(wfo.history(node_id)) == versions
        assert code.Node.from_subscription(node_id).version == node.version

    def test_a_change_that_somebody_else_made_meanwhile_is_not_overwritten(self, code: ModuleType) -> None:
        node_id = make_node(code, "n")
        mine, theirs = code.Node.from_subscription(node_id), code.Node.from_subscription(node_id)
        theirs.node.height = 2
        theirs.save()
        mine.node.cabinet = "elsewhere"
        with pytest.raises(StaleDataError, match=r"(?i)version") as refused:
            mine.save()
        assert str(node_id) in str(refused.value)
        stored = code.Node.from_subscription(node_id)
        assert (stored.node.height, stored.node.cabinet) == (2, "cabinet of n")
        stored.node.cabinet = "elsewhere"
        stored.save()
        assert code.Node.from_subscription(node_id).node.cabinet == "elsewhere"

    def test_of_two_that_save_at_the_same_moment_one_is_refused(self, project: UserProject, code: ModuleType) -> None:
        node_id = make_node(code, "n")
        start = threading.Barrier(2)
        outcomes: list[str] = []

        def save(cabinet: str) -> None:
            with code.orchestrator.connect():
                node = code.Node.from_subscription(node_id)
                node.node.cabinet = cabinet
                start.wait(30)
                try:
                    node.save()
                except StaleDataError:
                    outcomes.append("refused")
                else:
                    outcomes.append(cabinet)

        threads = [threading.Thread(target=save, args=[cabinet]) for cabinet in ("left", "right")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        saved = code.Node.from_subscription(node_id).node.cabinet
        assert sorted(outcomes) == sorted(["refused", saved])

    def test_labels_and_the_order_of_lists_are_kept(self, code: ModuleType) -> None:
        node_id = make_node(code, "n", ports=["c", "a", "b"])
        node = code.Node.from_subscription(node_id)
        node.node.ports[1].label = "the middle one"
        node.node.ports[1].vlans = [10, 0, 20]
        node.save()
        ports = code.Node.from_subscription(node_id).node.ports
        assert [(port.port_name, port.label) for port in ports] == [
            ("c", None),
            ("a", "the middle one"),
            ("b", None),
        ]
        assert ports[1].vlans == [10, 0, 20]


class TestFinding:
    def test_by_product_status_customer_and_sync(self, wfo: Session, code: ModuleType) -> None:
        cisco, planned = make_node(code, "a"), make_node(code, "b", "provisioning", customer="bits")
        link = make_link(code, "l", [cisco])
        node = code.Node.from_subscription(cisco)
        node.insync = False
        node.save()

        def found(**filters: Any) -> set[UUID]:
            return set(ids(wfo.subscriptions(**filters)))

        assert found() == {cisco, planned, link}
        assert found(product="Node Cisco") == {cisco, planned}
        assert found(product=["Link", "Service"]) == {link}
        assert found(product_type="Node") == {cisco, planned}
        assert found(tag=["LINK", "NODE"], status="active") == {cisco, link}
        assert found(status=["provisioning", SubscriptionLifecycle.TERMINATED]) == {planned}
        assert found(customer_id="bits") == {planned}
        assert found(insync=False) == {cisco}
        assert found(customer_id="nobody") == set()

    def test_by_the_dates_of_their_life(self, wfo: Session, code: ModuleType) -> None:
        first, second = make_node(code, "a"), make_node(code, "b")
        made = {row.subscription_id: row.created_at for row in wfo.subscriptions()}
        assert ids(wfo.subscriptions(created_at=(made[second], None))) == [second]
        assert ids(wfo.subscriptions(created_at=(None, made[second]))) == [first]
        assert ids(wfo.subscriptions(created_at=(made[first], made[second]))) == [first]
        started = code.Node.from_subscription(second).start_date
        assert ids(wfo.subscriptions(start_date=(started, None))) == [second]
        assert ids(wfo.subscriptions(end_date=(None, None), status="terminated")) == []

    def test_by_the_value_of_any_resource_type_compared_by_its_type(self, wfo: Session, code: ModuleType) -> None:
        low = make_node(code, "low", height=2, ports=["eth0"])
        high = make_node(code, "high", height=10, ports=["eth0", "eth1"])
        none = make_node(code, "none")
        link = make_link(code, "l", [low])
        node = code.Node.from_subscription(high)
        node.node.ports[1].vlans = [100, 200]
        node.save()

        def found(where: dict[str, Any], **filters: Any) -> set[UUID]:
            return set(ids(wfo.subscriptions(where=where, **filters)))

        assert found({"node.node_name": "low"}) == {low}
        assert found({"node.height": 2}) == {low}
        assert found({"node.height": "2"}) == set()  # a number is no text
        assert found({"node.height": {">": 2}}) == {high}  # and 10 is more than 2, which as text it is not
        assert found({"node.height": {">=": 2, "<": 10}}) == {low}
        assert found({"node.height": {"in": [2, 3, 10]}}) == {low, high}
        assert found({"node.node_name": {"in": ["low", "none"]}}) == {low, none}
        assert found({"node.ports.port_name": "eth1"}) == {high}
        assert found({"node.ports.vlans": {"contains": 200}}) == {high}
        assert found({"node.node_name": "low", "node.height": 10}) == set()
        assert found({"link.ends.node_name": "low"}) == {link}
        assert found({"node.node_name": {"!=": "low"}}, product="Node Cisco") == {high, none}

    def test_what_cannot_be_asked_is_refused_with_what_can(self, wfo: Session) -> None:
        with pytest.raises(ValueError, match="created_at"):
            wfo.subscriptions(sort="colour")
        with pytest.raises(ValueError, match="node_name"):
            wfo.subscriptions(where={"node_name": "x"})
        with pytest.raises(ValueError, match="contains"):
            wfo.subscriptions(where={"node.node_name": {"~": "x"}})

    def test_pages_show_each_once_while_others_are_added(
        self, project: UserProject, wfo: Session, code: ModuleType
    ) -> None:
        original = make_node(code, "original")
        copies_of(project, original, 24, "there before")
        for sort in ("-created_at", "description", "-start_date", "subscription_id", "-status"):
            self.assert_that_pages_show_each_once(project, wfo, original, sort)

    def assert_that_pages_show_each_once(self, project: UserProject, wfo: Session, original: UUID, sort: str) -> None:
        before = set(ids(wfo.subscriptions()))
        assert len(before) >= 25
        pages = []
        page = wfo.subscriptions(limit=4, sort=sort)
        while True:
            pages.append(ids(page))
            if page.next is None:
                break
            elsewhere(lambda: copies_of(project, original, 1, "added"))
            page = wfo.subscriptions(limit=4, sort=sort, after=page.next)
        seen = [one for shown in pages for one in shown]
        assert len(seen) == len(set(seen))
        assert before <= set(seen)
        assert all(len(shown) == 4 for shown in pages[:-1])

    def test_values_can_be_asked_with_sql(self, project: UserProject, code: ModuleType) -> None:
        node_id = make_node(code, "ams-core-1", height=4)
        found = project.rows(
            "SELECT subscription_instance_id, value FROM orchestrator.subscription_values "
            "WHERE subscription_id = :id AND resource_type = 'height'",
            id=node_id,
        )
        node = code.Node.from_subscription(node_id)
        assert [(row.subscription_instance_id, row.value) for row in found] == [(node.node.subscription_instance_id, 4)]


class TestSearching:
    def test_descriptions_values_product_and_customer_are_searched(self, wfo: Session, code: ModuleType) -> None:
        node = make_node(code, "ams-core-1", customer="brewery", ports=["uplink"])
        link = make_link(code, "transit", [node])
        assert ids(wfo.subscriptions(text="ams-core-1", product="Node Cisco")) == [node]
        assert ids(wfo.subscriptions(text="brewery")) == [node]
        assert ids(wfo.subscriptions(text="uplink")) == [node]
        assert ids(wfo.subscriptions(text="Cisco")) == [node]
        assert ids(wfo.subscriptions(text="TRANSIT")) == [link]
        assert ids(wfo.subscriptions(text="brewery transit")) == []
        assert ids(wfo.subscriptions(text="uplink", status="terminated")) == []

    def test_what_is_saved_is_found_from_the_commit_on_and_not_before(self, wfo: Session, code: ModuleType) -> None:
        node_id = make_node(code, "n")
        with wfo.transaction():
            node = code.Node.from_subscription(node_id)
            node.node.cabinet = "zeppelin"
            node.description = "Airship"
            node.save()
            assert elsewhere(lambda: ids(wfo.subscriptions(text="zeppelin"))) == []
        assert ids(wfo.subscriptions(text="zeppelin")) == [node_id]
        assert ids(wfo.subscriptions(text="airship")) == [node_id]
        node = code.Node.from_subscription(node_id)
        node.node.cabinet = "balloon"
        node.save()
        assert ids(wfo.subscriptions(text="zeppelin")) == []
        assert ids(wfo.subscriptions(text="balloon")) == [node_id]

    def test_what_is_rolled_back_is_never_found(self, wfo: Session, code: ModuleType) -> None:
        node_id = make_node(code, "n")

        def change_and_fail() -> None:
            with wfo.transaction():
                node = code.Node.from_subscription(node_id)
                node.node.cabinet = "zeppelin"
                node.save()
                raise RuntimeError("on second thoughts")

        with pytest.raises(RuntimeError, match="second thoughts"):
            change_and_fail()
        assert ids(wfo.subscriptions(text="zeppelin")) == []

    def test_nothing_that_people_type_is_an_error(self, wfo: Session) -> None:
        for typed in ("", "   ", "'", "a & | !", "(((", '"', "<->", ":*", "ä—€", "\x00", "-", "%", "\\"):
            assert wfo.subscriptions(text=typed) == []


class TestRelations:
    @pytest.fixture
    def chain(self, code: ModuleType) -> dict[str, UUID]:
        """A service on a link between two nodes, and a second link that was terminated."""
        left, right = make_node(code, "left"), make_node(code, "right")
        link = make_link(code, "link", [left, right])
        old = make_link(code, "old", [left])
        ended = code.Link.from_other_lifecycle(code.Link.from_subscription(old), SubscriptionLifecycle.TERMINATED)
        ended.save()
        return {"left": left, "right": right, "link": link, "old": old, "service": make_service(code, link)}

    def test_all_that_use_a_subscription_are_found_however_far_away(self, wfo: Session, chain: dict[str, UUID]) -> None:
        found = wfo.in_use_by(chain["left"])
        assert {(row.subscription_id, row.depth) for row in found} == {
            (chain["link"], 1),
            (chain["old"], 1),
            (chain["service"], 2),
        }
        assert {row.subscription_id: row.product for row in found}[chain["service"]] == "Service"
        assert set(ids(wfo.in_use_by(chain["left"], depth=1))) == {chain["link"], chain["old"]}
        assert set(ids(wfo.in_use_by(chain["left"], status="active"))) == {chain["link"], chain["service"]}
        assert ids(wfo.in_use_by(chain["left"], product_type="Service")) == [chain["service"]]
        assert ids(wfo.in_use_by(chain["service"])) == []

    def test_all_that_a_subscription_depends_on_are_found_in_one_statement(
        self, project: UserProject, wfo: Session, chain: dict[str, UUID], count_statements: CountStatements
    ) -> None:
        with count_statements(project.engine) as statements:
            found = wfo.depends_on(chain["service"])
        assert len(statements) == 1
        assert {(row.subscription_id, row.depth) for row in found} == {
            (chain["link"], 1),
            (chain["left"], 2),
            (chain["right"], 2),
        }
        assert ids(wfo.depends_on(chain["service"], depth=1)) == [chain["link"]]
        assert ids(wfo.depends_on(chain["left"])) == []


def test_the_command_line_shows_lists_relations_and_one_subscription(project: UserProject) -> None:
    with project.connected(user="ada") as (code, _):
        node = make_node(code, "ams-core-1", height=4, ports=["eth0"])
        other = make_node(code, "rtm-core-1", "provisioning")
        link = make_link(code, "ring", [node])

    listed = project.subscription("list", "--status", "active", "--product", "Node Cisco")
    assert listed.status == 0, listed.output
    assert str(node) in listed.output
    assert "Node ams-core-1" in listed.output
    assert str(other) not in listed.output
    assert str(link) not in listed.output

    shown = project.subscription("show", node)
    assert shown.status == 0, shown.output
    for told in ("ams-core-1", "cabinet of ams-core-1", "eth0", "active", "Node Cisco"):
        assert told in shown.output

    used = project.subscription("in-use-by", node)
    assert used.status == 0, used.output
    assert str(link) in used.output
    needed = project.subscription("depends-on", link)
    assert needed.status == 0, needed.output
    assert str(node) in needed.output
    assert str(other) not in needed.output

    unknown = project.subscription("show", uuid4())
    assert unknown.status != 0
    assert "does not exist" in unknown.output
    assert "Traceback" not in unknown.output
