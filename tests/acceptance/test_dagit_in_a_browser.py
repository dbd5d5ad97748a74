"""What a person does to processes in Dagit: in a real browser, with real workers and the daemon."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
import yaml
from browser import Person, needs_a_browser, person_at
from dagster_home import DagsterHome, everything
from golden_example import REPOSITORY

pytestmark = needs_a_browser

MODULE = "moving_nodes"
MAKE_NODE = f"""
from {MODULE} import orchestrator

with orchestrator.connect() as wfo:
    values = {{"product": "Node", "customer_id": "acme", "node_name": "ams-1", "site": "Amsterdam"}}
    print(wfo.run("create_node", values).subscription_id)
"""

AtDagit = Callable[[], AbstractContextManager[Person]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose files say how the network is."""
    return tmp_path_factory.mktemp("network")


@pytest.fixture(scope="module")
def home(network: Path, tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> DagsterHome:
    """An instance as the package recommends it, and a project of a user."""
    folder = tmp_path_factory.mktemp("dagit")
    code = folder / "code"
    code.mkdir()
    shutil.copy(REPOSITORY / "tests" / "data" / f"{MODULE}.py", code)
    variables = {"ORCHESTRATOR_DATABASE_URL": module_database_url, "NETWORK_FOLDER": str(network)}
    home = DagsterHome.make(folder / "home", python_path=[code], **variables)
    shutil.copy(REPOSITORY / "dagster.yaml", home.folder)
    return home


@pytest.fixture(scope="module")
def address(home: DagsterHome) -> Iterator[str]:
    with everything(home, home.workspace(MODULE)) as address:
        yield address


@pytest.fixture
def at_dagit(address: str, tmp_path: Path) -> AtDagit:
    return partial(person_at, address, tmp_path)


@pytest.fixture
def node(home: DagsterHome, address: str) -> str:
    """A node in Amsterdam."""
    made = home.command("python", "-c", MAKE_NODE)
    assert made.status == 0, made.output
    return made.output.split()[-1]


def site(home: DagsterHome, node: str) -> str:
    """Return where a node is."""
    shown = home.command("orchestrator-dagster", "subscription", "show", node, "-m", MODULE)
    assert shown.status == 0, shown.output
    return str(yaml.safe_load(shown.output)["node"]["site"])


def test_a_process_that_waits_is_found_answered_and_seen_to_complete(
    at_dagit: AtDagit, home: DagsterHome, node: str
) -> None:
    with at_dagit() as person:
        moving = person.launch("move_node", {"subscription_id": node, "site": "Utrecht"})
        person.see_run_end("Success")

        person.find_run(moving, workflow="move_node", status="suspended")
        assert person.read("waits for") == "input from NOC"
        ready = yaml.safe_load(person.read("run config for resume_process"))
        assert ready.pop("input").keys() == {"ticket", "hour"}
        assert ready == {"process_id": moving, "step": "confirm_move"}

        person.launch("resume_process", {**ready, "input": {"ticket": "CHG7", "hour": 4}})
        person.see_run_end("Success")

        person.find_other_run(moving, process_id=moving, status="completed")
        person.see_run_end("Success")
    assert site(home, node) == "Utrecht"


@pytest.mark.long
def test_a_wrong_answer_shows_what_is_wrong_with_each_field_and_the_process_waits_on(
    at_dagit: AtDagit, home: DagsterHome, node: str
) -> None:
    with at_dagit() as person:
        moving = person.launch("move_node", {"subscription_id": node, "site": "Utrecht"})
        person.see_run_end("Success")

        person.launch("resume_process", {"process_id": moving, "input": {"ticket": "tomorrow", "hour": 24}})
        person.see_run_end("Failure")
        assert "should match pattern" in person.read("ticket")
        assert "less than or equal to 23" in person.read("hour")

        person.find_run(moving, process_id=moving, status="suspended")
    assert site(home, node) == "Amsterdam"


@pytest.mark.long
def test_re_execute_from_failure_goes_on_with_the_process(
    at_dagit: AtDagit, home: DagsterHome, network: Path, node: str
) -> None:
    with at_dagit() as person:
        failed = person.launch("announce_node", {"subscription_id": node})
        person.see_run_end("Failure")
        person.see("The controller does not answer")
        person.see_tags(status="failed", process_id=failed)

        (network / "controller-is-up").touch()
        person.reexecute_from_failure()
        person.see_run_end("Success")
        person.see_tags(status="completed", process_id=failed)


@pytest.mark.long
def test_terminate_aborts_the_process_after_the_step_it_is_in(
    at_dagit: AtDagit, home: DagsterHome, network: Path, node: str
) -> None:
    with at_dagit() as person:
        draining = person.launch("drain_node", {"subscription_id": node})
        person.see('Started execution of step "drain_traffic"')
        person.terminate()
        person.see("Sending run termination request.")

        (network / "traffic-is-gone").touch()
        person.see_run_end("Canceled")
        person.see_tags(status="aborted", process_id=draining)
    assert site(home, node) == "Amsterdam"
