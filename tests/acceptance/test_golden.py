"""The golden example loads and runs unmodified: from the command line, from Python, and as Dagster shows it."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_graphql.cli import execute_query
from dagster_home import DagsterHome
from golden_example import CREATE_NODE, golden_folder
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    FormPage,
    InputError,
    Orchestrator,
    Product,
    Session,
    StartConditionError,
    create_workflow,
)
from orchestrator_dagster.jobs.job_names import PERSON_JOBS

RUN_CONFIGS = golden_folder() / "golden" / "run_config"
WORKFLOWS = {"create_node", "modify_node", "validate_node", "terminate_node", "create_port", "terminate_port"}
OWN_STEPS_OF_CREATE_NODE = {
    "construct_node": "Construct node",
    "assign_loopback": "Assign loopback address",
    "configure_node": "Configure node",
}
TITLES_OF_CREATE_NODE = [
    "Start",
    *OWN_STEPS_OF_CREATE_NODE.values(),
    "Set subscription to 'active'",
    "Unlock subscription",
    "Done",
]


def execute(home: DagsterHome, job: str, config: Path, **variables: str) -> Any:
    return home.command("dagster", "job", "execute", "-m", "golden.definitions", "-j", job, "-c", config, **variables)


def rows(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT count(*) FROM orchestrator.{table}")).scalar_one()  # noqa: S608


def only_subscription(engine: Engine, product: str) -> Any:
    statement = """
        SELECT subscription_id, subscriptions.status, insync, held_by, subscriptions.description
        FROM orchestrator.subscriptions JOIN orchestrator.products USING (product_id) WHERE products.name = :product
    """
    with engine.connect() as connection:
        return connection.execute(text(statement), {"product": product}).one()


class TestFromTheCommandLine:
    def test_nodes_and_ports_go_through_their_life(self, dagster_home: DagsterHome, engine: Engine) -> None:
        controller = Path(dagster_home.environment["CONTROLLER_DIRECTORY"])

        created = execute(dagster_home, "create_node", RUN_CONFIGS / "create_node.yaml")
        assert created.status == 0, created.output
        node = only_subscription(engine, "Node Cisco")
        assert (node.status, node.insync, node.held_by) == ("active", True, None)
        assert node.description == "Node ams-core-1 in Amsterdam"
        configured = json.loads((controller / "nodes" / f"{node.subscription_id}.json").read_text())["value"]
        assert configured == {"node_name": "ams-core-1", "site": "Amsterdam", "loopback": "10.0.0.1"}

        port_form = {
            "product": "Port 10G",
            "customer_id": "acme",
            "node_subscription_id": str(node.subscription_id),
            "port_name": "xe-0/0/1",
            "allowed_vlans": [300, 20, 100],
            "channel_vlans": [20],
        }
        port_created = execute(dagster_home, "create_port", dagster_home.run_config(port_form))
        assert port_created.status == 0, port_created.output
        port = only_subscription(engine, "Port 10G")
        assert (port.status, port.insync) == ("active", True)

        on_node = dagster_home.run_config({"subscription_id": str(node.subscription_id)})
        on_port = dagster_home.run_config({"subscription_id": str(port.subscription_id)})
        validated = execute(dagster_home, "validate_node", on_node)
        assert validated.status == 0, validated.output
        in_use = execute(dagster_home, "terminate_node", on_node)
        assert in_use.status != 0
        assert str(port.subscription_id) in in_use.output
        for job, config in [("terminate_port", on_port), ("terminate_node", on_node)]:
            terminated = execute(dagster_home, job, config)
            assert terminated.status == 0, terminated.output

        assert only_subscription(engine, "Port 10G").status == "terminated"
        assert only_subscription(engine, "Node Cisco").status == "terminated"
        assert list((controller / "nodes").iterdir()) == []
        assert rows(engine, "processes") == 5

    def test_invalid_input_is_refused_with_all_that_is_wrong_and_leaves_nothing(
        self, dagster_home: DagsterHome, engine: Engine
    ) -> None:
        refused = execute(dagster_home, "create_node", RUN_CONFIGS / "create_node_invalid.yaml")
        assert refused.status != 0
        for field in ("node_name", "site", "loopback", "colour"):
            assert f"{field}: " in refused.output
        assert "customer_id: " not in refused.output
        for table in ("subscriptions", "subscription_instances", "processes", "process_steps", "process_inputs"):
            assert rows(engine, table) == 0

    def test_a_launched_job_is_run_by_a_worker(self, dagster_home: DagsterHome, engine: Engine) -> None:
        workspace = dagster_home.workspace("golden.definitions")
        launched = dagster_home.command(
            "dagster", "job", "launch", "-w", workspace, "-j", "create_node", "-c", RUN_CONFIGS / "create_node.yaml"
        )
        assert launched.status == 0, launched.output
        with dagster_home.instance() as instance:
            (run,) = instance.get_runs()
            deadline = time.monotonic() + 60
            while not run.is_finished:
                assert time.monotonic() < deadline, f"the run is {run.status}"
                time.sleep(0.05)
                (run,) = instance.get_runs()
            assert run.status is dg.DagsterRunStatus.SUCCESS
            assert run.tags["orchestrator/process_id"] == run.run_id
        node = only_subscription(engine, "Node Cisco")
        assert (node.status, node.insync, node.held_by) == ("active", True, None)

    def test_dagster_itself_refuses_no_value_before_the_form_does(
        self, dagster_home: DagsterHome, engine: Engine
    ) -> None:
        wrong_types = {"customer_id": {"a": 1}, "node_name": 7, "site": None, "loopback": [1.5], "pages": 3}
        config = dagster_home.run_config(wrong_types | {"product": "Node Cisco"})
        refused = execute(dagster_home, "create_node", config)
        assert refused.status != 0
        for field in wrong_types:
            assert f"{field}: " in refused.output
        assert "DagsterInvalidConfigError" not in refused.output
        assert rows(engine, "processes") == 0

    def test_a_run_without_any_config_is_told_what_is_missing(self, dagster_home: DagsterHome) -> None:
        refused = dagster_home.command("dagster", "job", "execute", "-m", "golden.definitions", "-j", "create_node")
        assert refused.status != 0
        for field in ("product", "customer_id", "node_name", "site", "loopback"):
            assert f"{field}: " in refused.output
        assert "DagsterInvalidConfigError" not in refused.output


@pytest.fixture
def wfo(golden: ModuleType) -> Iterator[Session]:
    with dg.DagsterInstance.ephemeral() as instance, golden.orchestrator.connect(instance=instance) as session:
        yield session


class TestFromPython:
    def test_the_walkthrough_holds_up_to_where_a_process_suspends(self, wfo: Session) -> None:
        from golden.products import Node, Port

        created = wfo.run("create_node", CREATE_NODE)
        assert created.status == "completed", created
        node = Node.from_subscription(created.subscription_id)
        assert (node.status, node.insync, node.node.title) == ("active", True, "ams-core-1 in Amsterdam")

        port = wfo.run(
            "create_port",
            {
                "product": "Port 10G",
                "customer_id": "acme",
                "node_subscription_id": str(node.subscription_id),
                "port_name": "xe-0/0/1",
                "allowed_vlans": [300, 20, 100],
                "channel_vlans": [20],
            },
        )
        assert Port.from_subscription(port.subscription_id).port.allowed_vlans == [300, 20, 100]
        assert [channel.vlan for channel in Port.from_subscription(port.subscription_id).port.channels] == [20]

        with pytest.raises(StartConditionError, match=str(port.subscription_id)):
            wfo.run("terminate_node", {"subscription_id": str(node.subscription_id)})

        assert wfo.run("validate_node", {"subscription_id": str(node.subscription_id)}).status == "completed"

        workflows = [process.workflow for process in wfo.processes(subscription_id=node.subscription_id)]
        assert workflows == ["create_node", "validate_node"]
        assert [(s.name, s.status) for s in wfo.process(created.process_id).steps] == [
            (title, "complete" if title == "Done" else "success") for title in TITLES_OF_CREATE_NODE
        ]
        history = wfo.history(node.subscription_id)
        assert [version.version for version in history] == list(range(1, len(history) + 1))
        assert {version.process_id for version in history} == {
            process.process_id for process in wfo.processes(subscription_id=node.subscription_id)
        }
        assert all(version.step and version.changes for version in history)
        found = wfo.subscriptions(product="Node Cisco", status="active")
        assert [row.subscription_id for row in found] == [node.subscription_id]

    def test_a_modification_without_a_move_skips_the_steps_of_the_move(self, wfo: Session) -> None:
        node_id = wfo.run("create_node", CREATE_NODE).subscription_id
        modified = wfo.run("modify_node", {"subscription_id": str(node_id), "site": "Amsterdam"})
        assert modified.status == "completed"
        skipped = [s.name for s in modified.steps if s.status == "skipped"]
        assert skipped == ["Confirm move", "Move node"]

    def test_a_modification_takes_the_present_value_as_default(self, wfo: Session) -> None:
        node_id = wfo.run("create_node", CREATE_NODE).subscription_id
        modified = wfo.run("modify_node", {"subscription_id": str(node_id)})
        assert (modified.status, modified.state["site"]) == ("completed", "Amsterdam")

    def test_a_port_has_what_fits_only(self, wfo: Session) -> None:
        node_id = wfo.run("create_node", CREATE_NODE).subscription_id
        form = {
            "product": "Port 100G",
            "customer_id": "acme",
            "node_subscription_id": str(node_id),
            "port_name": "et-0/0/1",
        }
        with pytest.raises(InputError) as refused:
            wfo.run("create_port", form | {"allowed_vlans": [1, 4095, 2, 0]})
        assert [error.path for error in refused.value.errors] == ["allowed_vlans.1", "allowed_vlans.3"]
        too_many = wfo.run("create_port", form | {"channel_vlans": list(range(1, 10))})
        assert too_many.status == "failed"
        assert wfo.subscriptions(product="Port 100G") == []

    def test_invalid_input_is_refused_with_all_that_is_wrong_and_leaves_nothing(self, wfo: Session) -> None:
        invalid = yaml.safe_load((RUN_CONFIGS / "create_node_invalid.yaml").read_text())
        with pytest.raises(InputError) as refused:
            wfo.run("create_node", invalid)
        assert {error.path for error in refused.value.errors} == {"node_name", "site", "loopback", "colour"}
        assert wfo.processes() == []
        assert wfo.subscriptions() == []

    def test_results_show_themselves_in_a_notebook(self, wfo: Session) -> None:
        created = wfo.run("create_node", CREATE_NODE)
        assert "Construct node" in created._repr_html_()
        assert "ams-core-1" in wfo.subscriptions()._repr_html_()
        assert "create_node" in wfo.processes()._repr_html_()
        assert "node.loopback" in wfo.history(created.subscription_id)._repr_html_()
        assert "create_node" in repr(created)
        assert "completed" in repr(created)

    def test_an_id_that_a_result_gives_is_taken_as_input(self, wfo: Session) -> None:
        created = wfo.run("create_node", CREATE_NODE)
        assert wfo.run("validate_node", {"subscription_id": created.subscription_id}).status == "completed"


class TestAsDagsterRuns:
    def test_a_run_has_the_tags_by_which_dagit_finds_it(self, wfo: Session) -> None:
        created = wfo.run("create_node", CREATE_NODE)
        run = wfo.instance.get_run_by_id(str(created.process_id))
        assert run is not None, "a process has the id of the run that started it"
        assert {key: value for key, value in run.tags.items() if key.startswith("orchestrator/")}.items() >= {
            "orchestrator/process_id": str(created.process_id),
            "orchestrator/workflow": "create_node",
            "orchestrator/target": "CREATE",
            "orchestrator/product": "Node Cisco",
            "orchestrator/subscription_id": str(created.subscription_id),
            "orchestrator/customer_id": "acme",
            "orchestrator/status": "completed",
        }.items()
        assert run.tags["dagster/max_retries"] == "0"

    def test_a_run_on_a_subscription_is_found_by_the_subscription(self, wfo: Session) -> None:
        node_id = wfo.run("create_node", CREATE_NODE).subscription_id
        wfo.run("validate_node", {"subscription_id": str(node_id)})
        found = wfo.instance.get_runs(dg.RunsFilter(tags={"orchestrator/subscription_id": str(node_id)}))
        assert {run.job_name for run in found} == {"create_node", "validate_node"}

    def test_a_run_whose_process_failed_says_so(self, wfo: Session, tmp_path: Path) -> None:
        node_id = wfo.run("create_node", CREATE_NODE).subscription_id
        (tmp_path / "controller" / "nodes" / f"{node_id}.json").unlink()
        failed = wfo.run("validate_node", {"subscription_id": str(node_id)})
        run = wfo.instance.get_run_by_id(str(failed.process_id))
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert run.tags["orchestrator/status"] == "inconsistent_data"

    def test_a_refused_run_belongs_to_no_process(self, wfo: Session) -> None:
        with pytest.raises(InputError):
            wfo.run("create_node", {})
        (run,) = wfo.instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert "orchestrator/process_id" not in run.tags
        assert run.tags["orchestrator/status"] not in ("running", "completed")

    def test_a_refused_run_shows_the_errors_of_the_fields(self, wfo: Session) -> None:
        with pytest.raises(InputError):
            wfo.run("create_node", CREATE_NODE | {"loopback": "300.0.0.1"})
        (run,) = wfo.instance.get_runs()
        failures = wfo.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        failed_first = failures[0].get_dagster_event()
        assert failed_first.node_name == "init"
        assert "loopback" in str(failed_first.event_specific_data)

    def test_each_step_shows_what_it_changed_and_the_subscription_it_touched(self, wfo: Session) -> None:
        created = wfo.run("create_node", CREATE_NODE)
        shown = metadata_by_step(wfo.instance, str(created.process_id))
        assert "subscription" in shown["construct_node"]["changed"]
        assert shown["construct_node"]["subscription_id"] == str(created.subscription_id)
        assert "subscription" in shown["assign_loopback"]["changed"]
        assert shown["assign_loopback"]["subscription_id"] == str(created.subscription_id)
        assert "changed" not in shown["init"]


def metadata_by_step(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT):
        event = record.get_dagster_event()
        metadata = event.step_output_data.metadata
        found[event.node_name] = {key: value.value for key, value in metadata.items()}
    return found


class TestAsDagsterLoads:
    def test_every_workflow_is_a_job(self, golden: ModuleType) -> None:
        repository = golden.defs.get_repository_def()
        assert set(repository.job_names) - {"__ASSET_JOB"} == WORKFLOWS | set(PERSON_JOBS)
        dg.Definitions.validate_loadable(golden.defs)

    def test_a_job_has_the_steps_under_their_functions_names_in_order(self, golden: ModuleType) -> None:
        job = golden.defs.get_job_def("create_node")
        names = [node.name for node in job.nodes_in_topological_order]
        assert len(names) == len(TITLES_OF_CREATE_NODE)
        assert [name for name in names if name in OWN_STEPS_OF_CREATE_NODE] == list(OWN_STEPS_OF_CREATE_NODE)

    def test_titles_stand_in_tag_and_description(self, golden: ModuleType) -> None:
        job = golden.defs.get_job_def("create_node")
        titles = {node.name: node.tags["orchestrator/title"] for node in job.nodes_in_topological_order}
        assert list(titles.values()) == TITLES_OF_CREATE_NODE
        assert titles.items() >= OWN_STEPS_OF_CREATE_NODE.items()
        for node in job.nodes:
            assert titles[node.name] in (node.definition.description or "")

    def test_a_job_says_what_it_is_for(self, golden: ModuleType) -> None:
        job = golden.defs.get_job_def("terminate_port")
        assert job.description == "Terminate port"
        assert job.tags["orchestrator/workflow"] == "terminate_port"
        assert job.tags["orchestrator/target"] == "TERMINATE"

    def test_a_workflow_gives_its_job_by_itself(self, golden: ModuleType) -> None:
        assert golden.create_node.job.name == "create_node"

    def test_a_step_has_the_same_op_in_every_job(self, golden: ModuleType) -> None:
        jobs = [golden.defs.get_job_def(name) for name in ("create_node", "create_port")]
        init = {next(node for node in job.nodes if node.name == "init").definition.name for job in jobs}
        assert len(init) == 1


LAUNCHPAD = """
query($job: String!, $repository: String!, $location: String!) {
  runConfigSchemaOrError(
    selector: {pipelineName: $job, repositoryName: $repository, repositoryLocationName: $location}
  ) {
    __typename
    ... on RunConfigSchema {
      rootConfigType { key }
      allConfigTypes {
        key
        ... on RegularConfigType { givenName }
        ... on EnumConfigType { givenName values { value } }
        ... on CompositeConfigType {
          fields { name description isRequired defaultValueAsJson configType { key } }
        }
      }
    }
  }
  pipelineOrError(
    params: {pipelineName: $job, repositoryName: $repository, repositoryLocationName: $location}
  ) {
    ... on Pipeline {
      description
      tags { key value }
      solidHandles { handleID solid { name definition { name description } } }
    }
  }
}
"""
LAUNCH = """
mutation($config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {
      pipelineName: "create_node", repositoryName: "__repository__", repositoryLocationName: "golden.definitions"
    }
    mode: "default"
    runConfigData: $config
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
REEXECUTE = """
mutation($run: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: ALL_STEPS}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
VALID = """
query($job: String!, $repository: String!, $location: String!, $config: RunConfigData!) {
  isPipelineConfigValid(
    pipeline: {pipelineName: $job, repositoryName: $repository, repositoryLocationName: $location}
    runConfigData: $config
    mode: "default"
  ) { __typename }
}
"""


class TestInDagit:
    """What Dagit asks for by GraphQL, of a code server that loaded the workspace."""

    @pytest.fixture
    def workspace(
        self, dagster_home: DagsterHome, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[WorkspaceProcessContext]:
        for name, value in dagster_home.environment.items():
            monkeypatch.setenv(name, value)
        target = WorkspaceFileTarget([str(dagster_home.workspace("golden.definitions"))])
        with dagster_home.instance() as instance, WorkspaceProcessContext(instance, target) as context:
            yield context

    def test_dagit_shows_the_workflows_and_what_is_known_of_their_forms(
        self, workspace: WorkspaceProcessContext
    ) -> None:
        def ask(query: str, job: str, **more: Any) -> Any:
            names = {"job": job, "repository": "__repository__", "location": "golden.definitions"}
            answer = execute_query(workspace, query, names | more)
            assert "errors" not in answer, answer
            return answer["data"]

        create = ask(LAUNCHPAD, "create_node")
        solids = [handle["solid"] for handle in create["pipelineOrError"]["solidHandles"]]
        described = {solid["name"]: solid["definition"]["description"] for solid in solids}
        assert len(described) == len(TITLES_OF_CREATE_NODE)
        for name, title in OWN_STEPS_OF_CREATE_NODE.items():
            assert title in described[name]

        product = launchpad_fields(create)["product"]
        for choice in ("Node Cisco", "Node Nokia"):
            assert choice in words(product)
        assert "Port 10G" not in words(product), "products that the workflow is not valid for"

        modify = launchpad_fields(ask(LAUNCHPAD, "modify_node"))
        assert {"subscription_id", "version"} <= modify.keys()
        assert "uuid" in words(modify["subscription_id"]).lower()
        assert "int" in words(modify["version"])

        invalid = yaml.safe_load((RUN_CONFIGS / "create_node_invalid.yaml").read_text())
        for config in (invalid, {}, {"pages": [{"product": 1}, {}, 3]}, {"product": {"a": [1]}, "loopback": None}):
            answer = ask(VALID, "create_node", config=json.dumps(config))
            assert answer["isPipelineConfigValid"]["__typename"] == "PipelineConfigValidationValid", config

    def test_a_full_re_execution_is_a_process_of_its_own(self, workspace: WorkspaceProcessContext) -> None:
        def launch(query: str, **variables: Any) -> dg.DagsterRun:
            (answer,) = execute_query(workspace, query, variables)["data"].values()
            assert answer["__typename"] == "LaunchRunSuccess", answer
            deadline = time.monotonic() + 60
            while True:
                run = workspace.instance.get_run_by_id(answer["run"]["runId"])
                assert run is not None
                if run.is_finished:
                    assert run.status is dg.DagsterRunStatus.SUCCESS
                    return run
                assert time.monotonic() < deadline, f"the run is {run.status}"
                time.sleep(0.05)

        first = launch(LAUNCH, config=json.dumps(CREATE_NODE))
        again = launch(REEXECUTE, run=first.run_id)
        tags = [
            {key: value for key, value in run.tags.items() if key.startswith("orchestrator/")} for run in (first, again)
        ]
        assert [tag["orchestrator/process_id"] for tag in tags] == [first.run_id, again.run_id]
        assert tags[0]["orchestrator/subscription_id"] != tags[1]["orchestrator/subscription_id"]
        assert [tag["orchestrator/status"] for tag in tags] == ["completed", "completed"]


def launchpad_fields(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the top level of a job's run config, each field with its type."""
    schema = answer["runConfigSchemaOrError"]
    types = {found["key"]: found for found in schema["allConfigTypes"]}
    root = types[schema["rootConfigType"]["key"]]
    return {field["name"]: field | {"type": types.get(field["configType"]["key"])} for field in root["fields"]}


def words(field: Mapping[str, Any]) -> str:
    """Return all that the Launchpad says of a field."""
    return json.dumps(field).replace('\\"', '"')


class TestTheLaunchpadPage:
    def test_a_page_declared_beside_the_generator_is_shown(self, golden: ModuleType) -> None:
        from golden.products import Node, Speed, Vendor
        from pydantic import Field

        class RackPage(FormPage):
            rack: str = Field(description="Where it stands", max_length=8)
            units: int = Field(2, ge=1, le=4, description="Height")
            speed: Speed = Speed.TEN_GIG
            makers: list[Vendor] = []
            serial: str | None = None

        def form(product_name: str) -> Any:
            answer = yield RackPage
            return answer.model_dump()

        @create_workflow("Mount", initial_input_form=form, launchpad=RackPage)
        def mount() -> Any:
            from golden.workflows import construct_node

            return construct_node

        products = [Product("Mounted node", Node, fixed_inputs={"vendor": Vendor.CISCO}, workflows=[mount])]
        fields = config_fields(Orchestrator(products=products).definitions().get_job_def("mount"))
        assert {"product", "rack", "units", "speed", "makers", "serial"} <= fields.keys()
        assert "Where it stands" in fields["rack"]
        assert "str" in fields["rack"]
        for known in ("Height", "int", "2"):
            assert known in fields["units"]
        for choice in ("10000", "100000"):
            assert choice in fields["speed"]
        for choice in ("Cisco", "Nokia"):
            assert choice in fields["makers"]
        assert not any("[required]" in said for said in fields.values()), "the form's own check says what is missing"

    def test_a_form_that_is_a_class_is_shown_by_itself(self, golden: ModuleType) -> None:
        from golden.products import Node, Vendor
        from golden.workflows import construct_node

        class NamePage(FormPage):
            customer_id: str
            node_name: str
            site: str = "Amsterdam"

        @create_workflow("Name", initial_input_form=NamePage)
        def name_it() -> Any:
            return construct_node

        products = [Product("Named node", Node, fixed_inputs={"vendor": Vendor.CISCO}, workflows=[name_it])]
        fields = config_fields(Orchestrator(products=products).definitions().get_job_def("name_it"))
        assert {"product", "customer_id", "node_name", "site"} <= fields.keys()
        assert "Amsterdam" in fields["site"]


def config_fields(job: dg.JobDefinition) -> dict[str, str]:
    """Return the fields that the Launchpad shows of a job, each with all that it says of it."""
    job_snapshot = job.get_job_snapshot()
    snapshot = job_snapshot.config_schema_snapshot
    root_key = job_snapshot.mode_def_snaps[0].root_config_key
    assert root_key
    fields = {}
    for field in snapshot.get_config_snap(root_key).fields or []:
        of_type = snapshot.get_config_snap(field.type_key)
        default = field.default_value_as_json_str or ""
        required = "[required]" if field.is_required else ""
        fields[field.name or ""] = " ".join(
            filter(None, (of_type.given_name, str(of_type.enum_values or ""), field.description, default, required))
        )
    return fields
