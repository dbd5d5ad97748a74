"""`orchestrator-dagster subscription`, the session and the resource: the same lists."""

import json
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from stored_subscriptions import Block, StoredSubscriptions

from orchestrator_dagster.cli.main import main
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.resources.access import Subscriptions
from orchestrator_dagster.resources.database import Database


class Stored:
    """Two nodes, and a port on the first of them."""

    def __init__(self, store: StoredSubscriptions) -> None:
        blocks = [Block({"node_name": name, "rack": rack}) for name, rack in (("ams-core-1", 5), ("utr-core-1", 7))]
        node, port = store.product("Node X"), store.product("Port X", "Port", "PORT")
        self.first, self.second = (
            store.add(node, {"node": [block]}, description=f"Node {block.values['node_name']}") for block in blocks
        )
        ports = [Block({"speed": 10, "tags": ["a"]}, {"node": [blocks[0]]})]
        self.port = store.add(port, {"port": ports}, status="initial", insync=False)


@pytest.fixture
def stored(golden: ModuleType, orchestrator_database: str) -> Stored:
    with engine_for(orchestrator_database).begin() as connection:
        return Stored(StoredSubscriptions(connection))


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["subscription", *map(str, arguments), "-m", "golden.definitions"])


def listed(*arguments: str) -> list[str]:
    result = run("list", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [row["subscription_id"] for row in json.loads(result.stdout)["subscriptions"]]


def texts(ids: Sequence[UUID]) -> list[str]:
    return list(map(str, ids))


def test_every_filter_is_an_option(stored: Stored) -> None:
    options = {
        ("--product", "Node X", "--product", "Port X"): [stored.port, stored.second, stored.first],
        ("--product-type", "Port"): [stored.port],
        ("--tag", "PORT"): [stored.port],
        ("--status", "initial"): [stored.port],
        ("--customer", "acme", "--in-sync"): [stored.second, stored.first],
        ("--out-of-sync",): [stored.port],
        ("--created", "2026-01-02", "2026-01-03"): [stored.second],
        ("--created", "2026-01-02", "-", "--sort", "created_at"): [stored.second, stored.port],
        ("--started", "-", "-", "--limit", "1"): [stored.port],
        ("--ended", "2026-01-01", "-"): [],
        ("--text", "utr-core-1"): [stored.second],
        ("--where", "node.node_name=ams-core-1"): [stored.first],
        ("--where", "node.rack>=6", "--where", "node.rack < 8"): [stored.second],
        ("--where", "node.rack in [5, 6]"): [stored.first],
        ("--where", 'node.rack="5"'): [],
        ("--where", "node.rack!=5"): [stored.second],
        ("--where", "port.tags contains a", "--where", "port.node.rack = 5"): [stored.port],
    }
    for given, found in options.items():
        assert listed(*given) == texts(found), given


def test_a_list_is_a_table_that_says_how_to_go_on(stored: Stored) -> None:
    result = run("list", "--limit", 2)
    header, *lines = result.stdout.splitlines()
    assert header.split("  ")[0] == "subscription id"
    assert [line[:36] for line in lines] == texts([stored.port, stored.second])
    cursor = re.search(r"--after (\S+)", result.stderr)
    assert cursor is not None
    assert listed("--after", cursor[1]) == texts([stored.first])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sort", "name"), "sort cannot be 'name'"),
        (("--where", "node.rack"), "no condition such as"),
        (("--where", "node.rack=1", "--where", "node.rack=2"), "node.rack = is there twice"),
        (("--where", "rack=1"), "where cannot be 'rack'"),
        (("--created", "tomorrow", "-"), "a date is 2026-01-31"),
    ],
)
def test_what_is_not_possible_is_said_in_a_line(stored: Stored, arguments: tuple[str, ...], message: str) -> None:
    result = run("list", *arguments)
    assert result.exit_code != 0
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_subscription_is_shown_with_its_blocks(stored: Stored) -> None:
    shown = json.loads(run("show", stored.port).stdout)
    assert shown["subscription_id"] == str(stored.port)
    assert (shown["port"]["speed"], shown["port"]["node"]["node_name"]) == (10, "ams-core-1")
    assert "does not exist" in run("show", UUID(int=7)).stderr


def test_the_history_of_a_subscription_is_shown(stored: Stored) -> None:
    assert run("history", stored.port).stdout == ""
    assert json.loads(run("history", stored.port, "--json").stdout) == []


def test_relations_are_listed(stored: Stored) -> None:
    _, line = run("in-use-by", stored.first).stdout.splitlines()
    assert line.split()[:2] == ["1", str(stored.port)]
    (row,) = json.loads(run("depends-on", stored.port, "--json", "--depth", 1, "--status", "active").stdout)
    assert (row["subscription_id"], row["depth"]) == (str(stored.first), 1)
    assert json.loads(run("depends-on", stored.port, "--json", "--product-type", "Port").stdout) == []


def test_session_and_resource_take_the_same_filters(golden: ModuleType, orchestrator_database: str) -> None:
    resource = Subscriptions(database=Database(url=orchestrator_database))
    with golden.orchestrator.connect() as wfo:
        with engine_for(orchestrator_database).begin() as connection:
            stored = Stored(StoredSubscriptions(connection))
        for source in (wfo.subscriptions, resource.find):
            page = source(where={"node.rack": {">": 1}}, text="node", sort="created_at", limit=1)
            assert [row.subscription_id for row in page] == [stored.first]
            page = source(where={"node.rack": {">": 1}}, text="node", sort="created_at", limit=1, after=page.next)
            assert ([row.subscription_id for row in page], page.next) == ([stored.second], None)
        for related in (wfo, resource):
            assert [row.subscription_id for row in related.in_use_by(stored.first, status="initial")] == [stored.port]
            assert [row.subscription_id for row in related.depends_on(str(stored.port), depth=3)] == [stored.first]
