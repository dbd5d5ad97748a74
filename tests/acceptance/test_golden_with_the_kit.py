"""The golden example's workflows, tested as their author would: with the testing kit."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_example import CREATE_NODE, golden_folder

from orchestrator_dagster import Database, InputError, Orchestrator, StartConditionError
from orchestrator_dagster.testing import (
    Workbench,
    assert_assignee,
    assert_complete,
    assert_failed,
    assert_state,
    assert_step_name,
    assert_suspended,
    run_form_generator,
)


class ControllerDouble:
    """Stands for the golden controller: what it was told to keep, and nothing on disk."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def put(self, key: str, value: dict[str, Any], request_id: str) -> None:
        self.kept[key] = value


@pytest.fixture
def golden_orchestrator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orchestrator:
    monkeypatch.setenv("CONTROLLER_DIRECTORY", str(tmp_path / "controller"))
    monkeypatch.syspath_prepend(str(golden_folder()))
    orchestrator: Orchestrator = importlib.import_module("golden.definitions").orchestrator
    return orchestrator


@pytest.fixture
def bench(golden_orchestrator: Orchestrator, database_url: str) -> Iterator[Workbench]:
    with Workbench(golden_orchestrator, database=Database(url=database_url)) as bench:
        yield bench


@pytest.fixture
def node_id(bench: Workbench) -> str:
    created = bench.run("create_node", CREATE_NODE)
    assert_complete(created)
    return str(created.subscription_id)


def site_of(node_id: str) -> str:
    from golden.products import Node

    return str(Node.from_subscription(node_id).node.site)


def test_a_node_is_created(bench: Workbench, node_id: str) -> None:
    from golden.products import Node

    node = Node.from_subscription(node_id)
    assert (node.status, node.insync, node.node.title) == ("active", True, "ams-core-1 in Amsterdam")


def test_a_move_waits_for_its_ticket(bench: Workbench, node_id: str) -> None:
    moving = bench.run("modify_node", {"subscription_id": node_id, "site": "Utrecht"})
    assert_suspended(moving, "confirm_move")
    assert_assignee(moving, "NOC")
    assert site_of(node_id) == "Amsterdam"
    assert_complete(moving.resume({"ticket": "CHG123"}))
    assert_state(moving, {"ticket": "CHG123", "site": "Utrecht"})
    assert site_of(node_id) == "Utrecht"


def test_a_ticket_that_is_none_is_refused_and_the_move_goes_on_waiting(bench: Workbench, node_id: str) -> None:
    moving = bench.run("modify_node", {"subscription_id": node_id, "site": "Utrecht"})
    with pytest.raises(InputError, match="ticket"):
        moving.resume({"ticket": "later"})
    assert_suspended(moving.refresh(), "confirm_move")


def test_a_node_that_stays_needs_no_ticket(bench: Workbench, node_id: str) -> None:
    assert_complete(bench.run("modify_node", {"subscription_id": node_id}))


def test_a_validation_finds_what_differs(bench: Workbench, node_id: str, tmp_path: Path) -> None:
    assert_complete(bench.run("validate_node", {"subscription_id": node_id}))
    (tmp_path / "controller" / "nodes" / f"{node_id}.json").unlink()
    validation = bench.run("validate_node", {"subscription_id": node_id})
    assert_failed(validation, "controller has None", step="compare_with_controller")
    assert_step_name(validation, "Compare with controller")


def test_a_node_in_use_stays(bench: Workbench, node_id: str) -> None:
    port = bench.run(
        "create_port",
        {"product": "Port 10G", "customer_id": "acme", "node_subscription_id": node_id, "port_name": "xe-0/0/1"},
    )
    assert_complete(port)
    with pytest.raises(StartConditionError, match=str(port.subscription_id)):
        bench.run("terminate_node", {"subscription_id": node_id})
    assert_complete(bench.run("terminate_port", {"subscription_id": str(port.subscription_id)}))
    assert_complete(bench.run("terminate_node", {"subscription_id": node_id}))


def test_a_double_stands_for_the_controller(
    golden_orchestrator: Orchestrator, database_url: str, tmp_path: Path
) -> None:
    double = ControllerDouble()
    database = Database(url=database_url)
    with Workbench(golden_orchestrator, database=database, resources={"controller": double}) as bench:
        created = bench.run("create_node", CREATE_NODE)
        assert_complete(created)
        assert double.kept.keys() == {f"nodes/{created.subscription_id}"}
    assert not (tmp_path / "controller").exists()


def test_the_form_asks_for_the_node_and_then_for_its_address(golden_orchestrator: Orchestrator) -> None:
    from golden.workflows import create_node_form

    answers = [
        {key: CREATE_NODE[key] for key in ("customer_id", "node_name", "site")},
        {"loopback": CREATE_NODE["loopback"]},
    ]
    pages, state = run_form_generator(create_node_form("Node Cisco"), answers)
    assert [list(page["properties"]) for page in pages] == [["customer_id", "node_name", "site"], ["loopback"]]
    assert state["node_name"] == "ams-core-1"
