"""Models change every month: what somebody sees who edits their module and has the database follow it."""

import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from dagster_home import BIN, until
from user_project import FIRST_VERSION, MODULE, UserProject, make_link, make_node

from orchestrator_dagster import ConfigurationError, StaleDataError, StartConditionError

pytestmark = pytest.mark.long

IMPORTS = ("from enum import StrEnum\n", "from enum import StrEnum\nfrom orchestrator_dagster import Stored\n")
BLOCK = 'class NodeBlockInactive(ProductBlockModel, product_block_name="Node"):\n'
CABINET_WHEN_ACTIVE = "    cabinet: str\n\n\nclass NodeInactive"
SERIAL = "    serial: str | None = None\n"
PORTS = "    ports: list[PortBlock] = []\n"
STATUS = "status=ProductLifecycle.ACTIVE"
PORT_BLOCK = """class PortBlock(ProductBlockModel, product_block_name="Port"):
    port_name: str
    vlans: list[int] = []


"""
CONSOLE_PORT = '    subscription.node.ports = [PortBlock.new(subscription.subscription_id, port_name="console")]\n'
SERVICE_PRODUCT = '        Product("Service", Service, tag="SERVICE"),\n'

RENAMED_FIELD = [
    IMPORTS,
    ("    cabinet: str | None = None\n", '    rack: Annotated[str | None, Stored(renamed_from="cabinet")] = None\n'),
    (CABINET_WHEN_ACTIVE, "    rack: str\n\n\nclass NodeInactive"),
    (
        "    subscription.node.cabinet = cabinet\n    subscription.node.ports",
        "    subscription.node.rack = cabinet\n    subscription.node.ports",
    ),
    ("        cabinet: str = subscription.node.cabinet\n", "        cabinet: str = subscription.node.rack\n"),
    (
        "def move_node(subscription: Node, cabinet: str) -> State:\n    subscription.node.cabinet = cabinet",
        "def move_node(subscription: Node, cabinet: str) -> State:\n    subscription.node.rack = cabinet",
    ),
]


def node_values(project: UserProject) -> dict[UUID, dict[str, Any]]:
    found = project.rows(
        "SELECT subscription_id, resource_type, value FROM orchestrator.subscription_values "
        "WHERE product_block IN ('Node', 'Router')"
    )
    values: dict[UUID, dict[str, Any]] = {row.subscription_id: {} for row in found}
    for row in found:
        values[row.subscription_id][row.resource_type] = row.value
    return values


class TestRenaming:
    def test_what_was_renamed_keeps_its_data_ids_and_history(self, project: UserProject) -> None:
        with project.connected(user="ada") as (code, wfo):
            form = {"product": "Node Cisco", "customer_id": "acme", "node_name": "ams-1", "cabinet": "C7"}
            created = wfo.run("create_node", form)
            assert created.status == "completed", created
            node_id = created.subscription_id
            link_id = make_link(code, "ring", [node_id])
            before = code.Node.from_subscription(node_id)
        project.edit(
            *RENAMED_FIELD,
            (BLOCK, 'class NodeBlockInactive(ProductBlockModel, product_block_name="Router", renamed_from="Node"):\n'),
            (PORTS, '    interfaces: Annotated[list[PortBlock], Stored(renamed_from="ports")] = []\n'),
            ("subscription.node.ports = [", "subscription.node.interfaces = ["),
            ('            "Node Cisco",\n', '            "Router Cisco",\n'),
            (f"            {STATUS},\n", f'            {STATUS},\n            renamed_from="Node Cisco",\n'),
            (
                '@create_workflow("Create node", initial_input_form=create_node_form)\ndef create_node(',
                '@create_workflow("Create router", initial_input_form=create_node_form, renamed_from="create_node")\n'
                "def create_router(",
            ),
            ("workflows=[create_node, ", "workflows=[create_router, "),
        )

        stored = project.everything()
        planned = project.catalogue("plan")
        assert planned.status == 0, planned.output
        for old, new in [
            ("cabinet", "rack"),
            ("Node", "Router"),
            ("ports", "interfaces"),
            ("Node Cisco", "Router Cisco"),
            ("create_node", "create_router"),
        ]:
            lines = [line for line in planned.output.splitlines() if old in line and new in line]
            assert lines, f"{old} to {new}: {planned.output}"
        assert project.everything() == stored

        applied = project.catalogue("apply", "--user", "grace")
        assert applied.status == 0, applied.output
        with project.connected() as (code, wfo):
            after = code.Node.from_subscription(node_id)
            assert (after.node.node_name, after.node.rack) == ("ams-1", "C7")
            assert after.product.product_id == before.product.product_id
            assert after.product.name == "Router Cisco"
            assert after.node.subscription_instance_id == before.node.subscription_instance_id
            assert [p.subscription_instance_id for p in after.node.interfaces] == [
                p.subscription_instance_id for p in before.node.ports
            ]
            ends = code.Link.from_subscription(link_id).link.ends
            assert [(end.subscription_instance_id, end.rack) for end in ends] == [
                (before.node.subscription_instance_id, "C7")
            ]
            assert wfo.process(created.process_id).status == "completed"
            assert wfo.run("validate_node", {"subscription_id": str(node_id)}).status == "completed"
            assert [row.subscription_id for row in wfo.subscriptions(where={"node.rack": "C7"})] == [node_id]
            assert [row.subscription_id for row in wfo.subscriptions(text='"Router Cisco"')] == [node_id]
            moved = [version for version in wfo.history(node_id) if version.changed_by == "grace"]
            assert len(moved) == 1
            assert wfo.subscription_as_of(node_id, version=moved[0].version - 1)["node"]["cabinet"] == "C7"

        again = project.load().orchestrator.catalogue.plan()
        assert not again
        assert "Nothing to do" in str(again)
        shown = project.catalogue("show")
        assert shown.status == 0, shown.output
        for told in ("Router Cisco", "create_router", "grace"):
            assert told in shown.output
        assert "Node Cisco" not in shown.output

    def test_a_rename_declared_twice_in_a_row_reaches_data_of_both_versions(self, project: UserProject) -> None:
        """Who skipped version 2 goes from 1 to 3."""
        with project.connected() as (code, _):
            node_id = make_node(code, "n", cabinet="C7")
        project.edit(*RENAMED_FIELD)
        project.edit(
            ('Stored(renamed_from="cabinet")', 'Stored(renamed_from=("rack", "cabinet"))'),
            ("    rack: Annotated", "    place: Annotated"),
            ("    rack: str\n", "    place: str\n"),
            (
                "subscription.node.rack = cabinet\n    subscription.node.ports",
                "subscription.node.place = cabinet\n    subscription.node.ports",
            ),
            ("= subscription.node.rack\n", "= subscription.node.place\n"),
            ("    subscription.node.rack = cabinet\n    return", "    subscription.node.place = cabinet\n    return"),
        )
        project.load().orchestrator.catalogue.apply()
        with project.connected() as (code, _):
            assert code.Node.from_subscription(node_id).node.place == "C7"

    def test_a_process_that_failed_before_goes_on_with_the_new_names(self, project: UserProject) -> None:
        two_steps = ("begin >> move_node\n", "begin >> move_node >> check_node\n")
        check_node = """@step("Check node")
def check_node(subscription: Node) -> State:
    raise RuntimeError("not there yet")
"""
        modify = '@modify_workflow("Modify node"'
        project.edit(two_steps, (modify, f"{check_node}\n\n{modify}"))
        with project.connected() as (code, wfo):
            node_id = make_node(code, "ams-1")
            failed = wfo.run("modify_node", {"subscription_id": str(node_id), "cabinet": "C8"})
            assert failed.status == "failed"
        project.edit(
            *RENAMED_FIELD,
            ('    raise RuntimeError("not there yet")\n', '    return {"seen": subscription.node.rack}\n'),
        )
        project.load().orchestrator.catalogue.apply()
        with project.connected() as (_, wfo):
            retried = wfo.retry(failed.process_id)
            assert retried.status == "completed", retried
            assert retried.state["seen"] == "C8"


class TestANewRequiredField:
    ADDED = (CABINET_WHEN_ACTIVE, "    cabinet: str\n    owner: str\n\n\nclass NodeInactive")
    OPTIONAL = (SERIAL, SERIAL + "    owner: str | None = None\n")

    def test_without_a_value_is_refused_with_the_subscriptions_and_nothing_is_touched(
        self, project: UserProject
    ) -> None:
        with project.connected() as (code, _):
            needing = make_node(code, "ams-core-1")
            planned = make_node(code, "rtm-core-1", "provisioning")
        project.edit(self.OPTIONAL, self.ADDED)
        stored = project.everything()
        for command in ("plan", "apply"):
            refused = project.catalogue(command)
            assert refused.status != 0, refused.output
            assert "owner" in refused.output
            assert str(needing) in refused.output
            assert str(planned) not in refused.output
            assert "Traceback" not in refused.output
            assert project.everything() == stored

    def test_without_a_value_is_no_matter_where_no_subscription_needs_it(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            planned = make_node(code, "rtm-core-1", "provisioning")
        project.edit(self.OPTIONAL, self.ADDED)
        project.load().orchestrator.catalogue.apply()
        with project.connected() as (code, _):
            assert code.NodeProvisioning.from_subscription(planned).node.owner is None

    def test_gets_a_constant_or_what_a_function_says_in_the_statuses_that_need_it(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            active = [make_node(code, f"ams-{n}", cabinet=f"C{n}") for n in range(3)]
            planned = make_node(code, "rtm-1", "provisioning")
            drawn = make_node(code, "rtm-2", "initial")
        project.edit(
            IMPORTS,
            (
                SERIAL,
                SERIAL + "".join(f"    {name}: str | None = None\n" for name in ("owner", "title", "role")),
            ),
            (
                CABINET_WHEN_ACTIVE,
                '    cabinet: str\n    owner: Annotated[str, Stored(fill="noc")]\n'
                "    title: Annotated[str, Stored(fill=title_of)]\n\n\nclass NodeInactive",
            ),
            (
                "    node_name: str\n\n\nclass NodeBlock(",
                '    node_name: str\n    role: Annotated[str, Stored(fill="core")]\n\n\nclass NodeBlock(',
            ),
            (BLOCK, TITLE_OF + BLOCK),
        )
        planned_changes = project.load().orchestrator.catalogue.plan()
        assert not planned_changes.refusals
        project.load().orchestrator.catalogue.apply()
        with project.connected() as (code, wfo):
            nodes = code.Node.from_subscriptions(active)
            assert [(node.node.owner, node.node.title, node.node.role) for node in nodes] == [
                ("noc", f"ams-{n} in C{n} (active)", "core") for n in range(3)
            ]
            node = code.NodeProvisioning.from_subscription(planned).node
            assert (node.owner, node.title, node.role) == (None, None, "core")
            node = code.NodeInactive.from_subscription(drawn).node
            assert (node.owner, node.title, node.role) == (None, None, None)
            assert len(wfo.history(active[0])) == len(wfo.history(drawn)) + 1
            assert wfo.history(active[0])[-1].changes["node.owner"] == {"before": None, "after": "noc"}
            assert wfo.subscription_as_of(active[0], version=1)["node"].get("owner") is None

    def test_with_a_value_that_does_not_fit_is_refused(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            node_id = make_node(code, "ams-1")
        project.edit(
            IMPORTS,
            (SERIAL, SERIAL + "    weight: int | None = None\n"),
            (
                CABINET_WHEN_ACTIVE,
                "    cabinet: str\n"
                '    weight: Annotated[int, Stored(fill=lambda block: "heavy")]\n\n\nclass NodeInactive',
            ),
        )
        stored = project.everything()
        with pytest.raises(ConfigurationError, match="weight") as refused:
            project.load().orchestrator.catalogue.apply()
        assert str(node_id) in str(refused.value)
        assert project.everything() == stored


TITLE_OF = """def title_of(block):
    return f"{block.values['node_name']} in {block.values['cabinet']} ({block.status})"


"""


class TestAnotherType:
    CHANGED = (
        ("    height: int | None = None\n", "    height: Annotated[str | None, Stored(fill=in_words)] = None\n"),
        (
            BLOCK,
            "def in_words(block):\n    return f\"{block.values['height']} units\"\n\n\n" + BLOCK,
        ),
        IMPORTS,
    )

    def test_values_that_do_not_fit_are_refused_and_listed_or_converted(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            tall, unknown = make_node(code, "ams-1", height=40), make_node(code, "ams-2")
        first = project.source
        project.edit(("    height: int | None = None\n", "    height: bool | None = None\n"))
        stored = project.everything()
        with pytest.raises(ConfigurationError, match="height") as refused:
            project.load().orchestrator.catalogue.apply()
        assert str(tall) in str(refused.value)
        assert str(unknown) not in str(refused.value)
        assert project.everything() == stored

        project.write(first)
        project.edit(*self.CHANGED)
        project.load().orchestrator.catalogue.apply()
        with project.connected() as (code, wfo):
            assert code.Node.from_subscription(tall).node.height == "40 units"
            assert code.Node.from_subscription(unknown).node.height is None
            assert wfo.history(tall)[-1].changes["node.height"] == {"before": 40, "after": "40 units"}


class TestRemoving:
    def test_a_field_and_a_block_that_hold_data_go_with_consent_only(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            holding = make_node(code, "ams-1", serial="X99", ports=["eth0", "eth1"])
            without = make_node(code, "ams-2")
        project.edit(
            (SERIAL, ""),
            (PORTS, ""),
            (PORT_BLOCK, ""),
            (CONSOLE_PORT, ""),
        )
        stored = project.everything()
        refused = project.catalogue("apply")
        assert refused.status != 0, refused.output
        for told in ("serial", "Port", str(holding), "--allow-data-loss"):
            assert told in refused.output
        losing = refused.output.split("Deletes data, and needs consent:")[1]
        assert str(holding) in losing
        assert str(without) not in losing
        assert project.everything() == stored

        applied = project.catalogue("apply", "--allow-data-loss")
        assert applied.status == 0, applied.output
        assert "serial" not in node_values(project)[holding]
        assert project.rows("SELECT 1 FROM orchestrator.subscription_values WHERE product_block = 'Port'") == []
        with project.connected() as (code, wfo):
            node = code.Node.from_subscription(holding)
            assert node.node.node_name == "ams-1"
            assert [len(wfo.history(node_id)) for node_id in (holding, without)] == [2, 2]
            # what was deleted stands in the history
            assert wfo.subscription_as_of(holding, version=1)["node"]["serial"] == "X99"
            ports = wfo.subscription_as_of(holding, version=1)["node"]["ports"]
            assert [port["port_name"] for port in ports] == ["eth0", "eth1"]

    def test_what_holds_nothing_goes_without_a_question(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            node_id = make_node(code, "ams-1")
        project.edit((SERIAL, ""))
        project.load().orchestrator.catalogue.apply()
        with project.connected() as (code, _):
            assert code.Node.from_subscription(node_id).node.node_name == "ams-1"

    def test_a_product_that_has_subscriptions_does_not_just_vanish(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            link_id = make_link(code, "ring", [make_node(code, "ams-1")])
        project.edit(('        Product("Link", Link, tag="LINK"),\n', ""))
        planned = project.load().orchestrator.catalogue.plan()
        assert "Link" in str(planned)
        try:
            project.load().orchestrator.catalogue.apply()
        except ConfigurationError as refused:
            assert str(link_id) in str(refused)  # noqa: PT017 - either is right, as long as nothing is lost
        assert project.rows("SELECT 1 FROM orchestrator.subscriptions WHERE subscription_id = :id", id=link_id)


class TestTwoAtOnce:
    """The fill function waits until it is told to go on, so that an apply can be looked at in the middle."""

    WAITS = """def waits(block):
    from pathlib import Path
    import os, time
    folder = Path(os.environ["WAIT_IN"])
    with (folder / "called").open("a") as file:
        file.write(f"{block.subscription_id}\\n")
    while not (folder / "go").exists():
        time.sleep(0.02)
    return "noc"


"""

    @pytest.fixture
    def nodes(self, project: UserProject) -> list[UUID]:
        with project.connected() as (code, _):
            nodes = [make_node(code, f"ams-{n}", cabinet=f"C{n}") for n in range(5)]
        project.edit(
            *RENAMED_FIELD,
            (SERIAL, SERIAL + "    owner: str | None = None\n"),
            (
                "    rack: str\n\n\nclass NodeInactive",
                "    rack: str\n    owner: Annotated[str, Stored(fill=waits)]\n\n\nclass NodeInactive",
            ),
            (BLOCK, self.WAITS + BLOCK),
        )
        return nodes

    def begin_apply(self, project: UserProject, folder: Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(BIN / "orchestrator-dagster"), "catalogue", "apply", "-m", MODULE],
            env={**project.home.environment, "WAIT_IN": str(folder)},
            cwd=project.home.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def assert_done_once(self, project: UserProject, nodes: list[UUID]) -> None:
        with project.connected() as (code, wfo):
            found = code.Node.from_subscriptions(nodes)
            assert [(node.node.rack, node.node.owner) for node in found] == [(f"C{n}", "noc") for n in range(5)]
            assert [len(wfo.history(node)) for node in nodes] == [2] * 5
        assert not project.load().orchestrator.catalogue.plan()

    def test_the_second_of_two_waits_and_finds_nothing_to_do(
        self, project: UserProject, nodes: list[UUID], tmp_path: Path
    ) -> None:
        first = self.begin_apply(project, tmp_path)
        until((tmp_path / "called").exists, "the first does not get to the function")
        second = self.begin_apply(project, tmp_path)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        until(lambda: project.rows(waiting) or second.poll() is not None, "the second does not wait")
        (tmp_path / "go").touch()
        outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), outputs
        assert "Nothing to do" in outputs[1]
        assert len((tmp_path / "called").read_text().splitlines()) == len(nodes)
        self.assert_done_once(project, nodes)

    def test_one_that_is_killed_in_the_middle_leaves_nothing_behind_and_can_be_repeated(
        self, project: UserProject, nodes: list[UUID], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = project.everything()
        killed = self.begin_apply(project, tmp_path)
        until((tmp_path / "called").exists, "it does not get to the function")
        killed.kill()
        killed.communicate(timeout=60)
        assert killed.returncode == -9
        assert project.everything() == stored
        (tmp_path / "go").touch()
        monkeypatch.setenv("WAIT_IN", str(tmp_path))
        assert project.load().orchestrator.catalogue.apply()
        self.assert_done_once(project, nodes)

    def test_what_was_loaded_before_is_not_saved_over_what_apply_did(
        self, project: UserProject, nodes: list[UUID], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "go").touch()
        monkeypatch.setenv("WAIT_IN", str(tmp_path))
        newer = project.source
        project.write(FIRST_VERSION.read_text())
        with project.connected() as (code, _):
            node = code.Node.from_subscription(nodes[0])
            project.write(newer)
            project.load().orchestrator.catalogue.apply()
            node.node.cabinet = "elsewhere"
            with pytest.raises(StaleDataError):
                node.save()
        self.assert_done_once(project, nodes)


class TestCodeAndDatabaseThatDiffer:
    def test_an_older_version_of_the_code_is_told_that_the_database_is_ahead(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            make_node(code, "ams-1")
        older = project.source
        project.edit(*RENAMED_FIELD)
        project.load().orchestrator.catalogue.apply()
        newer = project.source
        project.write(older)
        stored = project.everything()
        refused = project.catalogue("apply")
        assert refused.status != 0
        assert "database is ahead" in refused.output
        assert "Traceback" not in refused.output
        assert project.everything() == stored
        with pytest.raises(ConfigurationError, match="database is ahead"), project.connected():
            pass
        project.write(newer)
        assert not project.load().orchestrator.catalogue.plan()

    def test_whoever_starts_with_another_catalogue_is_told_the_command_to_run(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            node_id = make_node(code, "ams-1")
        project.edit(*RENAMED_FIELD)
        stored = project.everything()

        with (
            pytest.raises(ConfigurationError, match="orchestrator-dagster catalogue apply") as refused,
            project.connected(),
        ):
            pass
        assert "cabinet" in str(refused.value)

        config = project.home.run_config({"subscription_id": str(node_id)})
        executed = project.home.command("dagster", "job", "execute", "-m", MODULE, "-j", "validate_node", "-c", config)
        assert executed.status != 0
        assert "orchestrator-dagster catalogue apply" in executed.output
        assert "KeyError" not in executed.output
        assert "ValidationError" not in executed.output
        shown = project.subscription("show", node_id)
        assert shown.status == 0 or "orchestrator-dagster catalogue apply" in shown.output, shown.output
        assert "Traceback" not in shown.output
        assert project.everything() == stored

    def test_a_field_that_the_database_does_not_know_is_no_crash_in_a_load(self, project: UserProject) -> None:
        with project.connected() as (code, _):
            make_node(code, "ams-1")
        project.edit(TestANewRequiredField.OPTIONAL, TestANewRequiredField.ADDED)
        with pytest.raises(ConfigurationError, match="orchestrator-dagster catalogue") as refused, project.connected():
            pass
        assert "owner" in str(refused.value)

    def test_an_empty_database_is_filled_at_the_first_start(self, project: UserProject) -> None:
        with project.connected() as (_, wfo):
            assert wfo.subscriptions() == []
        assert not project.load().orchestrator.catalogue.plan()


CREATE = {"product": "Node Cisco", "customer_id": "acme", "node_name": "new-1", "cabinet": "C1"}


class TestTheStatusOfAProduct:
    """active: everything; pre production: being prepared; phase out: no new ones; end of life: to be terminated."""

    def with_status(self, project: UserProject, status: str) -> UUID:
        with project.connected() as (code, _):
            node_id = make_node(code, "ams-1")
        project.edit((STATUS, f"status=ProductLifecycle.{status}"))
        project.load().orchestrator.catalogue.apply()
        return node_id

    def test_of_a_product_in_phase_out_what_there_is_goes_on_and_nothing_new_starts(self, project: UserProject) -> None:
        node_id = self.with_status(project, "PHASE_OUT")
        with project.connected() as (code, wfo):
            with pytest.raises(ValueError, match=r"(?i)phase out"):
                wfo.run("create_node", CREATE)
            assert len(wfo.subscriptions()) == 1
            on_node = {"subscription_id": str(node_id)}
            assert wfo.run("modify_node", on_node | {"cabinet": "C2"}).status == "completed"
            assert code.Node.from_subscription(node_id).product.status == "phase out"
            assert wfo.run("terminate_node", on_node).status == "completed"

    def test_of_a_product_at_its_end_of_life_what_there_is_can_only_end(self, project: UserProject) -> None:
        node_id = self.with_status(project, "END_OF_LIFE")
        with project.connected() as (_, wfo):
            with pytest.raises(ValueError, match=r"(?i)end of life"):
                wfo.run("create_node", CREATE)
            on_node = {"subscription_id": str(node_id)}
            with pytest.raises(StartConditionError, match=r"(?i)end of life"):
                wfo.run("modify_node", on_node | {"cabinet": "C2"})
            assert wfo.run("terminate_node", on_node).status == "completed"
            assert len(wfo.processes()) == 1

    def test_a_product_in_pre_production_is_shown_as_such(self, project: UserProject) -> None:
        self.with_status(project, "PRE_PRODUCTION")
        shown = project.load().orchestrator.catalogue.show()
        assert "pre production" in str(shown)


def test_plan_says_what_is_added_and_what_changes_of_products_and_workflows(project: UserProject) -> None:
    with project.connected() as (code, _):
        node_id = make_node(code, "ams-1")
    project.edit(
        ('fixed_inputs={"vendor": Vendor.CISCO}', 'fixed_inputs={"vendor": Vendor.NOKIA}'),
        (SERVICE_PRODUCT, SERVICE_PRODUCT + '        Product("Link 10G", Link, tag="LINK"),\n'),
        ("modify_node, validate_node, terminate_node]", "modify_node, terminate_node]"),
    )
    planned = str(project.load().orchestrator.catalogue.plan())
    for told in ("Link 10G", "vendor", "Nokia", "validate_node"):
        assert told in planned, planned
    project.load().orchestrator.catalogue.apply()
    with project.connected() as (code, _):
        assert code.Node.from_subscription(node_id).vendor == "Nokia"
