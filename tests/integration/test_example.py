"""The life of the example operator's subscriptions, and what it refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from click.testing import CliRunner

from examples import controller as controller_module
from examples.controller import Controller
from examples.definitions import orchestrator
from examples.products.l2vpn import L2vpn
from examples.products.node import Node, NodeRole
from examples.products.port import Port, VlanRange
from orchestrator_dagster import (
    InputError,
    Process,
    RelationsOutOfSyncError,
    Session,
    SubscriptionInUseError,
    SubscriptionLifecycle,
    SubscriptionModel,
    SubscriptionOutOfSyncError,
)

RUN_CONFIG = Path(__file__).parents[2] / "examples" / "run_config"

OSLO = {
    "product": "Node Nokia",
    "hostname": "osl-pe1",
    "site": "osl",
    "role": "edge",
    "software": "23.10R1",
    "loopback": "10.255.0.1",
}
TRONDHEIM = {
    "product": "Node Juniper",
    "hostname": "trd-pe1",
    "site": "trd",
    "role": "edge",
    "software": "23.4R2",
    "loopback": "10.255.0.2",
}


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    """The network, in which nothing is configured yet."""
    monkeypatch.setenv(controller_module.DIRECTORY_VARIABLE, str(tmp_path / "controller"))
    return Controller()


@pytest.fixture
def wfo(database_url: str, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on a database without subscriptions."""
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with orchestrator.connect(user="ingrid") as session:
        yield session


class Network:
    """What the tests make, by short names."""

    def __init__(self, wfo: Session) -> None:
        self.wfo = wfo

    def completed(self, workflow: str, given: dict[str, Any]) -> UUID:
        """Run a workflow that is expected to succeed and return the subscription's id."""
        process = self.wfo.run(workflow, given)
        assert process.status == "completed", process.traceback
        assert process.subscription_id is not None
        return process.subscription_id

    def failed(self, workflow: str, given: dict[str, Any]) -> Process:
        process = self.wfo.run(workflow, given)
        assert process.status.failed or process.status == "waiting"
        return process

    def refused(self, workflow: str, given: dict[str, Any]) -> dict[str, str]:
        """Run a workflow with input that is not valid and return what is said of each field."""
        before = len(self.wfo.processes())
        with pytest.raises(InputError) as refusal:
            self.wfo.run(workflow, given)
        assert len(self.wfo.processes()) == before
        return {error.path: error.msg for error in refusal.value.errors}

    def node(self, **changes: Any) -> Node:
        return Node.from_subscription(self.completed("create_node", OSLO | changes))

    def port(self, node: Node, number: int = 1, **changes: Any) -> Port:
        name = {"Nokia": f"1/1/c{number}/1", "Juniper": f"et-0/0/{number}"}[node.vendor]
        given = {
            "product": "Port 10G",
            "customer_id": "hunt",
            "node_id": node.subscription_id,
            "number": number,
            "interfaces": [{"interface_name": name}],
            "vlans": ["100-199"],
        }
        return Port.from_subscription(self.completed("create_port", given | changes))

    def l2vpn(self, *ports: Port, **changes: Any) -> L2vpn:
        return L2vpn.from_subscription(self.completed("create_l2vpn", vpn_between(*ports) | changes))


def vpn_between(*ports: Port, vlan: int = 100) -> dict[str, Any]:
    return {
        "product": "L2VPN Point-to-Point",
        "customer_id": "hunt",
        "service_name": "hunt-trd-osl",
        "bandwidth": 1000,
        "endpoints": [{"port_id": str(port.subscription_id), "vlan": vlan} for port in ports],
    }


def of(subscription: SubscriptionModel) -> dict[str, Any]:
    return {"subscription_id": str(subscription.subscription_id)}


@pytest.fixture
def network(wfo: Session) -> Network:
    return Network(wfo)


@pytest.fixture
def nodes(network: Network) -> tuple[Node, Node]:
    """A node in Oslo and one in Trondheim."""
    return network.node(), network.node(**TRONDHEIM)


@pytest.fixture
def ports(network: Network, nodes: tuple[Node, Node]) -> tuple[Port, Port]:
    """A port on each node."""
    return network.port(nodes[0]), network.port(nodes[1])


@pytest.fixture
def l2vpn(network: Network, ports: tuple[Port, Port]) -> L2vpn:
    """A VPN between the ports."""
    return network.l2vpn(*ports)


def test_everything_that_is_created_is_active_in_sync_and_configured(
    wfo: Session, controller: Controller, l2vpn: L2vpn
) -> None:
    assert {(row.status, row.insync) for row in wfo.subscriptions()} == {("active", True)}
    assert set(controller.all()) == {
        "nodes/osl-pe1",
        "nodes/trd-pe1",
        "loopbacks/10.255.0.1",
        "loopbacks/10.255.0.2",
        "ports/osl-pe1/lag-1",
        "ports/trd-pe1/ae1",
        "interfaces/osl-pe1/1/1/c1/1",
        "interfaces/trd-pe1/et-0/0/1",
        "l2vpns/hunt-trd-osl",
        "vlans/osl-pe1/lag-1/100",
        "vlans/trd-pe1/ae1/100",
    }
    assert l2vpn.description == "L2VPN hunt-trd-osl for hunt, Oslo - Trondheim"
    assert [endpoint.title for endpoint in l2vpn.l2vpn.endpoints] == [
        "VLAN 100 at lag-1 on osl-pe1",
        "VLAN 100 at ae1 on trd-pe1",
    ]


def test_what_is_terminated_in_order_is_gone_from_the_network(
    network: Network, controller: Controller, nodes: tuple[Node, Node], ports: tuple[Port, Port], l2vpn: L2vpn
) -> None:
    network.completed("terminate_l2vpn", of(l2vpn))
    for port in ports:
        network.completed("terminate_port", of(port))
    for node in nodes:
        network.completed("terminate_node", of(node))
    assert not controller.all()
    assert {row.status for row in network.wfo.subscriptions()} == {SubscriptionLifecycle.TERMINATED}
    assert len(network.wfo.subscriptions()) == 5
    ended = L2vpn.from_subscription(l2vpn.subscription_id)
    assert [endpoint.port.node.hostname for endpoint in ended.l2vpn.endpoints] == ["osl-pe1", "trd-pe1"]


def test_a_node_in_use_cannot_be_terminated(
    network: Network, nodes: tuple[Node, Node], ports: tuple[Port, Port]
) -> None:
    with pytest.raises(SubscriptionInUseError, match="Port lag-1 on osl-pe1 for hunt"):
        network.wfo.run("terminate_node", of(nodes[0]))


def test_a_port_in_use_cannot_be_terminated(network: Network, ports: tuple[Port, Port], l2vpn: L2vpn) -> None:
    with pytest.raises(SubscriptionInUseError, match="hunt-trd-osl"):
        network.wfo.run("terminate_port", of(ports[1]))


def test_drift_fails_validation_blocks_other_workflows_and_is_mended_by_reconciling(
    network: Network, controller: Controller, ports: tuple[Port, Port], l2vpn: L2vpn
) -> None:
    network.completed("validate_l2vpn", of(l2vpn))
    controller.set_field("l2vpns/hunt-trd-osl", "mtu", 1500)

    failed = network.failed("validate_l2vpn", of(l2vpn))
    assert failed.current_step == "compare_l2vpn"
    assert failed.failed_reason == (
        "The network differs from the subscription: mtu of l2vpns/hunt-trd-osl is 1500, not 9000"
    )
    assert not L2vpn.from_subscription(l2vpn.subscription_id).insync
    with pytest.raises(SubscriptionOutOfSyncError, match=str(failed.process_id)):
        network.wfo.run("modify_l2vpn", of(l2vpn))
    with pytest.raises(RelationsOutOfSyncError, match="hunt-trd-osl"):
        network.wfo.run("modify_port", of(ports[0]))

    network.completed("reconcile_l2vpn", of(l2vpn))
    assert L2vpn.from_subscription(l2vpn.subscription_id).insync
    assert (controller.get("l2vpns/hunt-trd-osl") or {})["mtu"] == 9000
    network.completed("validate_l2vpn", of(l2vpn))


def test_a_drifted_node_and_port_are_mended_too(
    network: Network, controller: Controller, nodes: tuple[Node, Node], ports: tuple[Port, Port]
) -> None:
    controller.set_field("interfaces/osl-pe1/1/1/c1/1", "optic", "SR")
    controller.remove(["loopbacks/10.255.0.2"], owner=nodes[1].subscription_id)

    assert "optic of interfaces/osl-pe1/1/1/c1/1 is 'SR', not 'LR'" in str(
        network.failed("validate_port", of(ports[0])).failed_reason
    )
    assert "loopbacks/10.255.0.2 is 'absent'" in str(network.failed("validate_node", of(nodes[1])).failed_reason)

    network.completed("reconcile_port", of(ports[0]))
    network.completed("reconcile_node", of(nodes[1]))
    network.completed("validate_port", of(ports[0]))
    network.completed("validate_node", of(nodes[1]))


def test_a_modified_node_installs_software_only_if_that_changes(network: Network, controller: Controller) -> None:
    node = network.node()
    promoted = network.wfo.run("modify_node", of(node) | {"role": "core"})
    upgraded = network.wfo.run("modify_node", of(node) | {"software": "24.3R1"})

    statuses = [{row.step: row.status for row in process.steps} for process in (promoted, upgraded)]
    assert [status["install_software"] for status in statuses] == ["skipped", "success"]
    after = Node.from_subscription(node.subscription_id)
    assert (after.node.role, after.node.software) == (NodeRole.CORE, "24.3R1")
    assert after.description == "Core node osl-pe1 in Oslo"
    assert upgraded.state["previous_software"] == "23.10R1"
    assert (controller.get("nodes/osl-pe1") or {})["software"] == "24.3R1"


def test_a_modified_port_keeps_the_interfaces_that_stay_and_frees_the_others(
    network: Network, controller: Controller
) -> None:
    node = network.node()
    two = [{"interface_name": "1/1/c1/1"}, {"interface_name": "1/1/c2/1"}]
    port = network.port(node, interfaces=two)
    staying = port.port.interfaces[1].subscription_instance_id

    changed = [{"interface_name": "1/1/c3/1", "optic": "ER"}, {"interface_name": "1/1/c2/1"}]
    network.completed("modify_port", of(port) | {"interfaces": changed, "vlans": ["7", "100-120"]})

    after = Port.from_subscription(port.subscription_id)
    assert [block.interface_name for block in after.port.interfaces] == ["1/1/c3/1", "1/1/c2/1"]
    assert after.port.interfaces[1].subscription_instance_id == staying
    assert after.port.vlans == [VlanRange(first=7, last=7), VlanRange(first=100, last=120)]
    assert after.capacity == 20_000
    assert "interfaces/osl-pe1/1/1/c1/1" not in controller.all()
    assert (controller.get("ports/osl-pe1/lag-1") or {})["vlans"] == ["7", "100-120"]


def test_an_endpoint_moves_to_another_vlan(
    network: Network, controller: Controller, ports: tuple[Port, Port], l2vpn: L2vpn
) -> None:
    endpoints = vpn_between(*ports, vlan=150)["endpoints"]
    network.completed("modify_l2vpn", of(l2vpn) | {"bandwidth": 2000, "endpoints": endpoints})

    after = L2vpn.from_subscription(l2vpn.subscription_id)
    assert [block.subscription_instance_id for block in after.l2vpn.endpoints] == [
        block.subscription_instance_id for block in l2vpn.l2vpn.endpoints
    ]
    assert (after.l2vpn.bandwidth, [block.vlan for block in after.l2vpn.endpoints]) == (2000, [150, 150])
    assert {"vlans/osl-pe1/lag-1/150", "vlans/trd-pe1/ae1/150"} <= controller.all().keys()
    assert not {"vlans/osl-pe1/lag-1/100", "vlans/trd-pe1/ae1/100"} & controller.all().keys()


def test_a_multipoint_vpn_takes_more_than_two_ports(network: Network, nodes: tuple[Node, Node]) -> None:
    three = [network.port(nodes[0]), network.port(nodes[1]), network.port(nodes[0], 2)]
    assert "endpoints" in network.refused("create_l2vpn", vpn_between(*three))
    l2vpn = network.l2vpn(*three, product="L2VPN Multipoint")
    network.completed("modify_l2vpn", of(l2vpn) | {"endpoints": vpn_between(*three[:2])["endpoints"]})
    assert len(L2vpn.from_subscription(l2vpn.subscription_id).l2vpn.endpoints) == 2


def test_the_form_of_a_node_says_all_that_is_wrong(network: Network) -> None:
    errors = network.refused(
        "create_node",
        {"product": "Node Nokia", "hostname": "Oslo 1", "site": "cph", "loopback": "192.0.2.1", "colour": "blue"},
    )
    assert errors.keys() == {"hostname", "site", "software", "loopback", "colour"}
    assert errors["loopback"] == "loopback addresses are in 10.255.0.0/16"


def test_a_hostname_and_a_loopback_address_are_used_once(network: Network) -> None:
    network.node()
    assert network.refused("create_node", OSLO) == {
        "hostname": "there is a node osl-pe1 already",
        "loopback": "10.255.0.1 is the loopback address of osl-pe1",
    }


def test_a_node_gets_the_first_free_loopback_address_by_default(network: Network) -> None:
    network.node()
    given = {name: value for name, value in TRONDHEIM.items() if name != "loopback"}
    assert str(Node.from_subscription(network.completed("create_node", given)).node.loopback) == "10.255.0.2"


def test_a_port_goes_on_an_active_node_and_takes_free_interfaces_of_its_kind(network: Network) -> None:
    node = network.node()
    port = network.port(node)
    given = {
        "product": "Port 100G",
        "customer_id": "hunt",
        "number": 1,
        "interfaces": [{"interface_name": "1/1/c1/1"}],
        "vlans": ["200-100", "5000"],
    }
    nowhere = network.refused("create_port", given | {"node_id": str(port.subscription_id)})
    assert nowhere["node_id"] == "is not an active node; there are: Edge node osl-pe1 in Oslo"

    errors = network.refused("create_port", given | {"node_id": str(node.subscription_id)})
    assert errors["number"] == "osl-pe1 has a port lag-1 already"
    assert errors["interfaces"] == "1/1/c1/1 is part of lag-1 on osl-pe1"
    assert errors["vlans.0"] == "a range of VLANs begins with its lowest: 100-200"
    assert "vlans.1.first" in errors

    wrong_kind = given | {"node_id": node.subscription_id, "interfaces": [{"interface_name": "et-0/0/9"}]}
    assert "is not the name of an interface of a Nokia node" in network.refused("create_port", wrong_kind)["interfaces"]


def test_the_endpoints_of_a_vpn_are_on_different_ports(network: Network, ports: tuple[Port, Port]) -> None:
    errors = network.refused("create_l2vpn", vpn_between(ports[0], ports[0]))
    assert errors == {"endpoints": "the endpoints of a VPN must be on different ports"}


def test_a_vlan_is_used_once_on_a_port(network: Network, ports: tuple[Port, Port], l2vpn: L2vpn) -> None:
    errors = network.refused("create_l2vpn", vpn_between(*ports) | {"service_name": "hunt-backup"})
    assert errors["endpoints.0"] == (
        "VLAN 100 on port lag-1 on osl-pe1 is in use by L2VPN hunt-trd-osl for hunt, Oslo - Trondheim"
    )
    network.l2vpn(*ports, service_name="hunt-backup", endpoints=vpn_between(*ports, vlan=101)["endpoints"])


def test_an_endpoint_takes_a_vlan_that_its_port_allows(network: Network, ports: tuple[Port, Port]) -> None:
    errors = network.refused("create_l2vpn", vpn_between(*ports, vlan=300))
    assert errors["endpoints.1"] == "port ae1 on trd-pe1 does not take VLAN 300, only 100-199"


def test_a_vpn_is_not_wider_than_its_ports(network: Network, ports: tuple[Port, Port]) -> None:
    errors = network.refused("create_l2vpn", vpn_between(*ports) | {"bandwidth": 20_000})
    assert errors["endpoints.0"] == "port lag-1 on osl-pe1 has 10000 Mbit/s, which is less than 20000"


def test_a_vpn_goes_between_ports_of_its_customer(network: Network, nodes: tuple[Node, Node]) -> None:
    ports = network.port(nodes[0]), network.port(nodes[1], customer_id="uib")
    errors = network.refused("create_l2vpn", vpn_between(*ports))
    assert errors == {"endpoints.1.port_id": "is not an active port of hunt; there are: Port lag-1 on osl-pe1 for hunt"}


def test_input_errors_of_both_pages_are_reported_together(network: Network, ports: tuple[Port, Port]) -> None:
    errors = network.refused("create_l2vpn", vpn_between(ports[0], ports[0]) | {"service_name": "Hunt!", "mtu": 100})
    assert errors.keys() == {"service_name", "mtu", "endpoints"}


def test_what_cannot_be_checked_for_an_error_before_it_is_said_to_be_unchecked(
    network: Network, ports: tuple[Port, Port]
) -> None:
    with pytest.raises(InputError) as refusal:
        network.wfo.run("create_l2vpn", vpn_between(*ports) | {"bandwidth": "fast"})
    assert [error.path for error in refusal.value.errors] == ["bandwidth"]
    assert "Checking stopped at page 3, Endpoints" in str(refusal.value.stopped)


def test_a_port_keeps_the_vlans_that_are_in_use(network: Network, ports: tuple[Port, Port], l2vpn: L2vpn) -> None:
    errors = network.refused("modify_port", of(ports[0]) | {"vlans": ["200-299"]})
    assert errors["vlans"].startswith("VLAN 100 must stay: it is in use by L2VPN hunt-trd-osl")


def test_what_a_form_has_not_seen_the_controller_refuses(network: Network, controller: Controller) -> None:
    controller.put({"nodes/osl-pe1": {}}, owner="somebody else", request_id="1")
    failed = network.failed("create_node", OSLO)
    assert (failed.current_step, failed.failed_reason) == ("configure_node", "nodes/osl-pe1 is in use by somebody else")

    controller.remove(["nodes/osl-pe1"], owner="somebody else")
    assert failed.retry().status == "completed"


def test_a_request_that_was_carried_out_changes_nothing_when_it_is_sent_again(controller: Controller) -> None:
    controller.put({"nodes/osl-pe1": {"software": "1"}}, owner="me", request_id="first")
    controller.set_field("nodes/osl-pe1", "software", "2")
    controller.put({"nodes/osl-pe1": {"software": "1"}}, owner="me", request_id="first")
    assert controller.get("nodes/osl-pe1") == {"software": "2"}
    controller.put({"nodes/osl-pe1": {"software": "1"}}, owner="me", request_id="second")
    assert controller.get("nodes/osl-pe1") == {"software": "1"}


def test_a_person_looks_at_the_network_and_changes_it(controller: Controller) -> None:
    controller.put({"nodes/osl-pe1": {"software": "1"}, "ports/osl-pe1/lag-1": {}}, owner="me", request_id="1")
    cli = CliRunner()
    assert cli.invoke(controller_module.main, ["set", "nodes/osl-pe1", "software", "2R1"]).exit_code == 0
    assert cli.invoke(controller_module.main, ["show", "nodes/"]).output == 'nodes/osl-pe1: {"software": "2R1"}\n'
    unknown = cli.invoke(controller_module.main, ["set", "nodes/osl-pe1", "colour", "blue"])
    assert (unknown.exit_code, unknown.output) == (1, "Error: nodes/osl-pe1 has no colour; it has software\n")


def run_config(name: str) -> dict[str, Any]:
    given: dict[str, Any] = yaml.safe_load((RUN_CONFIG / f"{name}.yaml").read_text())
    return given


def test_the_run_configs_that_come_with_the_example_are_valid(network: Network) -> None:
    ids: dict[str, str] = {}

    def filled_in(name: str) -> dict[str, Any]:
        text = (RUN_CONFIG / f"{name}.yaml").read_text()
        for placeholder, subscription_id in ids.items():
            text = text.replace(f"<{placeholder}>", subscription_id)
        given: dict[str, Any] = yaml.safe_load(text)
        return given

    for name, made in [
        ("create_node_oslo", "id of the node in Oslo"),
        ("create_node_trondheim", "id of the node in Trondheim"),
        ("create_port_oslo", "id of the port in Oslo"),
        ("create_port_trondheim", "id of the port in Trondheim"),
        ("create_l2vpn", "id of the L2VPN"),
    ]:
        workflow = "_".join(name.split("_")[:2])
        ids[made] = str(network.completed(workflow, filled_in(name)))
    for name in ["modify_node", "modify_port", "modify_l2vpn", "validate_l2vpn", "reconcile_l2vpn", "terminate_l2vpn"]:
        network.completed(name, filled_in(name))
    assert {path.stem for path in RUN_CONFIG.iterdir()} == {
        *("create_node_oslo", "create_node_trondheim", "create_node_invalid"),
        *("create_port_oslo", "create_port_trondheim", "create_l2vpn"),
        *("modify_node", "modify_port", "modify_l2vpn", "validate_l2vpn", "reconcile_l2vpn", "terminate_l2vpn"),
    }


def test_the_run_config_of_a_refusal_is_refused(network: Network) -> None:
    errors = network.refused("create_node", run_config("create_node_invalid"))
    assert errors.keys() == {"hostname", "site", "software", "loopback", "colour"}
