"""The history of a subscription: every change with who, when, process and step; how it was; what differs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from uuid import UUID

import pytest
from user_project import UserProject, make_link, make_node

from orchestrator_dagster import NotFoundError, Process, Session, StaleDataError, SubscriptionModel

CREATE = {"product": "Node Cisco", "customer_id": "acme", "node_name": "ams-1", "cabinet": "C1"}


class Life:
    """A node that workflows created, moved twice and terminated."""

    def __init__(self, code: ModuleType, wfo: Session) -> None:
        self.code = code
        self.wfo = wfo
        created = wfo.run("create_node", CREATE)
        self.node_id: UUID = created.subscription_id
        on_node = {"subscription_id": str(self.node_id)}
        self.processes: list[Process] = [
            created,
            wfo.run("modify_node", on_node | {"cabinet": "C2"}),
            wfo.run("validate_node", on_node),
            wfo.run("modify_node", on_node | {"cabinet": "C3"}),
            wfo.run("terminate_node", on_node),
        ]
        assert {process.status for process in self.processes} == {"completed"}

    def version_of(self, step: str, number: int = 0) -> int:
        return [version.version for version in self.wfo.history(self.node_id) if version.step == step][number]


@pytest.fixture
def life(project: UserProject) -> Iterator[Life]:
    with project.connected(user="ada") as (code, wfo):
        yield Life(code, wfo)


def test_a_whole_life_is_on_record(project: UserProject, life: Life) -> None:
    """One version for each step that changed something, none for those that did not; seen from Python and the shell."""
    history = life.wfo.history(life.node_id)
    assert [version.version for version in history] == list(range(1, len(history) + 1))
    assert {version.changed_by for version in history} == {"ada"}
    assert [version.changed_at for version in history] == sorted(version.changed_at for version in history)
    by_process = [[v for v in history if v.process_id == process.process_id] for process in life.processes]
    assert sum(map(len, by_process)) == len(history)
    created, moved, validated, moved_again, terminated = by_process
    steps = {process.process_id: [step.step for step in process.steps] for process in life.processes}
    for version in history:
        assert version.step in steps[version.process_id]
        assert version.changes
    for versions in by_process:
        assert len({version.step for version in versions}) == len(versions)
    assert "look_at_node" not in [version.step for version in validated]
    assert created[0].step == "construct_node"
    cabinets = [version.changes["node.cabinet"] for version in history if "node.cabinet" in version.changes]
    assert cabinets == [
        {"before": None, "after": "C1"},
        {"before": "C1", "after": "C2"},
        {"before": "C2", "after": "C3"},
    ]
    assert [v.step for v in (*moved, *moved_again) if "node.cabinet" in v.changes] == ["move_node", "move_node"]
    statuses = [version.changes["status"]["after"] for version in history if "status" in version.changes]
    assert statuses == ["provisioning", "active", "terminated"]
    assert "status" in {name for version in terminated for name in version.changes}

    shown = project.subscription("history", life.node_id)
    assert shown.status == 0, shown.output
    for told in ("ada", "move_node", "node.cabinet", "C1", "C2", str(life.processes[0].process_id), "terminated"):
        assert told in shown.output


def test_it_can_be_seen_as_it_was_at_each_version_and_moment(life: Life) -> None:
    placed = life.version_of("place_node")
    moved = [life.version_of("move_node", number) for number in (0, 1)]
    history = {version.version: version for version in life.wfo.history(life.node_id)}

    first = life.code.NodeProvisioning.as_of(life.node_id, version=1)
    assert (first.status, first.node.cabinet, first.node.ports, first.version) == ("provisioning", None, [], 1)
    at_cabinets = [SubscriptionModel.as_of(life.node_id, version=version).node.cabinet for version in (placed, *moved)]
    assert at_cabinets == ["C1", "C2", "C3"]
    active = life.code.Node.as_of(life.node_id, version=moved[0])
    assert (active.status, [port.port_name for port in active.node.ports]) == ("active", ["console"])

    at = life.wfo.subscription_as_of(life.node_id, at=history[moved[0]].changed_at)
    assert (at["version"], at["node"]["cabinet"]) == (moved[0], "C2")
    just_before = history[moved[0]].changed_at - timedelta(microseconds=1)
    assert life.wfo.subscription_as_of(life.node_id, at=just_before)["node"]["cabinet"] == "C1"
    now = life.wfo.subscription_as_of(life.node_id, at=datetime.now(UTC))
    assert (now["status"], now["node"]["cabinet"], now["version"]) == ("terminated", "C3", len(history))
    present = SubscriptionModel.from_subscription(life.node_id)
    assert SubscriptionModel.as_of(life.node_id, version=len(history)) == present


def test_two_versions_or_moments_can_be_compared(life: Life) -> None:
    moved = [life.version_of("move_node", number) for number in (0, 1)]
    history = {version.version: version for version in life.wfo.history(life.node_id)}
    difference = life.wfo.difference(life.node_id, moved[0], moved[1])
    assert difference["node.cabinet"] == {"before": "C2", "after": "C3"}
    assert "status" not in difference
    assert life.wfo.difference(life.node_id, moved[1], moved[0])["node.cabinet"] == {"before": "C3", "after": "C2"}
    assert life.wfo.difference(life.node_id, moved[0], moved[0]) == {}
    by_moment = life.wfo.difference(life.node_id, history[moved[0]].changed_at, history[moved[1]].changed_at)
    assert by_moment == difference
    whole = life.wfo.difference(life.node_id, 1, len(history))
    assert whole["status"] == {"before": "provisioning", "after": "terminated"}


def test_what_never_was_is_said_so(life: Life) -> None:
    first = life.wfo.history(life.node_id)[0]
    for asked in ({"version": 99}, {"version": 0}, {"at": first.changed_at - timedelta(days=1)}):
        with pytest.raises(NotFoundError, match=str(life.node_id)):
            life.wfo.subscription_as_of(life.node_id, **asked)
        with pytest.raises(NotFoundError, match=str(life.node_id)):
            life.code.Node.as_of(life.node_id, **asked)


def test_the_past_cannot_be_saved_over_the_present(life: Life) -> None:
    past = life.code.Node.as_of(life.node_id, version=life.version_of("move_node"))
    past.node.cabinet = "C1"
    with pytest.raises(StaleDataError):
        past.save()


def test_blocks_of_other_subscriptions_are_shown_as_they_were(project: UserProject) -> None:
    with project.connected() as (code, wfo):
        node_id = make_node(code, "ams-1", cabinet="C1", ports=["eth0", "eth1"])
        link_id = make_link(code, "ring", [node_id])
        before = datetime.now(UTC)
        node = code.Node.from_subscription(node_id)
        node.node.cabinet = "C2"
        node.node.ports = node.node.ports[1:]
        node.save()
        then = code.Link.as_of(link_id, at=before).link.ends[0]
        assert (then.cabinet, [port.port_name for port in then.ports]) == ("C1", ["eth0", "eth1"])
        now = code.Link.from_subscription(link_id).link.ends[0]
        assert (now.cabinet, [port.port_name for port in now.ports]) == ("C2", ["eth1"])
        assert len(wfo.history(link_id)) == 1


def test_a_transaction_that_saves_twice_can_be_followed(project: UserProject) -> None:
    with project.connected(user="grace") as (code, wfo):
        node_id = make_node(code, "ams-1")
        with wfo.transaction():
            node = code.Node.from_subscription(node_id)
            node.node.height = 1
            node.save()
            node.node.height = 2
            node.save()
        heights = [version.changes["node.height"] for version in wfo.history(node_id)[1:]]
        assert heights[0]["before"] is None
        assert heights[-1]["after"] == 2
        assert {version.changed_by for version in wfo.history(node_id)} == {"grace"}
        assert {(version.process_id, version.step) for version in wfo.history(node_id)} == {(None, None)}
