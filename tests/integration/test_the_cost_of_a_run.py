"""What a run costs: statements for each step, events in Dagster's log, and writes of the run's tags."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from conftest import CountStatements
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    FormPage,
    Orchestrator,
    Process,
    Product,
    ProductBlockModel,
    Session,
    State,
    StepList,
    SubscriptionModel,
    begin,
    create_workflow,
    modify_workflow,
    step,
    task,
)
from orchestrator_dagster.ops import commit_path
from orchestrator_dagster.ops.commit_path import CommitPoint
from orchestrator_dagster.sensors.going_on import going_on_sensor

pytestmark = pytest.mark.usefixtures("orchestrator_database")


class HatBlock(ProductBlockModel, product_block_name="Hat to count"):
    size: int = 1


class Hat(SubscriptionModel, is_base=True):
    hat: HatBlock


class HatForm(FormPage):
    customer_id: str = "acme"


@step("Construct hat")
def construct_hat(product: UUID, customer_id: str) -> State:
    return {"subscription": Hat.from_product_id(product, customer_id)}


@step("Stretch hat")
def stretch_hat(subscription: Hat) -> State:
    subscription.hat.size += 1
    return {"subscription": subscription}


@step("Note")
def note(state: State) -> State:
    return {"noted": len(state)}


@step("Fail")
def fail() -> None:
    raise RuntimeError("no felt")


@create_workflow("Create hat", initial_input_form=HatForm)
def create_hat() -> StepList:
    return begin >> construct_hat >> note


@create_workflow("Create bad hat", initial_input_form=HatForm)
def create_bad_hat() -> StepList:
    return begin >> construct_hat >> fail


@modify_workflow("Modify hat")
def modify_hat() -> StepList:
    return begin >> stretch_hat


def notes(count: int) -> StepList:
    steps = begin
    for _ in range(count):
        steps = steps >> note
    return steps


@task("Few notes")
def few_notes() -> StepList:
    return notes(5)


@task("Many notes")
def many_notes() -> StepList:
    return notes(15)


TAGGED: list[dict[str, str]] = []


@pytest.fixture
def wfo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    add_run_tags = dg.DagsterInstance.add_run_tags

    def note_and_add(self: Any, run_id: str, new_tags: dict[str, str]) -> None:
        TAGGED.append(dict(new_tags))
        add_run_tags(self, run_id, new_tags)

    monkeypatch.setattr(dg.DagsterInstance, "add_run_tags", note_and_add)
    workflows = [create_hat, create_bad_hat, modify_hat]
    orchestrator = Orchestrator([Product("Hat", Hat, workflows=workflows)], workflows=[few_notes, many_notes])
    with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as wfo:
        yield wfo
    TAGGED.clear()


def new_hat(wfo: Session) -> Process:
    process = wfo.run("create_hat", {"product": "Hat"})
    assert process.status == "completed", process.traceback
    TAGGED.clear()
    return process


def test_a_step_is_one_statement_and_a_commit(wfo: Session, engine: Engine, count_statements: CountStatements) -> None:
    wfo.run("few_notes")
    counts = []
    for workflow in ("few_notes", "many_notes"):
        with count_statements(engine) as statements:
            assert wfo.run(workflow).status == "completed"
        counts.append(len(statements))
    assert counts[1] - counts[0] == 10


def test_a_process_is_started_and_ended_in_a_handful_of_statements(
    wfo: Session, engine: Engine, count_statements: CountStatements
) -> None:
    wfo.run("few_notes")
    with count_statements(engine) as statements:
        wfo.run("few_notes")
    read_by_the_session = 4
    look_at_the_catalogue = 1
    look_whether_the_engine_is_paused = 1
    besides = read_by_the_session + look_at_the_catalogue + look_whether_the_engine_is_paused
    assert len(statements) - besides - len(few_notes.plan) <= 4


def test_a_step_that_changes_a_subscription_takes_four_statements(
    wfo: Session, engine: Engine, count_statements: CountStatements
) -> None:
    """To load it, to write it and its block, and the one for the log."""
    hat = new_hat(wfo)
    with count_statements(engine) as statements:
        wfo.run("modify_hat", {"subscription_id": str(hat.subscription_id)})
    logged = [
        index for index, statement in enumerate(statements) if "INSERT INTO orchestrator.process_steps" in statement
    ]
    own = list(modify_hat.plan).index("stretch_hat")
    assert logged[own] - logged[own - 1] == 4


def test_dagster_stores_three_events_for_each_step(wfo: Session) -> None:
    process = wfo.run("many_notes")
    events = [record.get_dagster_event() for record in wfo.instance.all_logs(str(process.process_id))]
    of_steps = [event for event in events if event.event_type_value in ("STEP_START", "STEP_OUTPUT", "STEP_SUCCESS")]
    assert Counter(event.step_key for event in of_steps) == dict.fromkeys(many_notes.plan, 3)
    assert len(events) - len(of_steps) <= 7, "those of the run"


def test_the_tags_of_a_run_are_written_twice(wfo: Session) -> None:
    hat = new_hat(wfo)
    for workflow, given in [
        ("create_hat", {"product": "Hat"}),
        ("modify_hat", {"subscription_id": str(hat.subscription_id)}),
        ("few_notes", {}),
    ]:
        TAGGED.clear()
        assert wfo.run(workflow, given).status == "completed"
        assert [tags["orchestrator/status"] for tags in TAGGED] == ["running", "completed"]
        assert TAGGED[1].keys() == {"orchestrator/status"}, "what was written is not written again"


def test_a_creation_can_be_found_by_its_subscription_while_it_runs(wfo: Session) -> None:
    created = wfo.run("create_hat", {"product": "Hat"})
    assert TAGGED[0]["orchestrator/subscription_id"] == str(created.subscription_id)


def test_a_run_whose_worker_died_before_it_wrote_tags_gets_them_from_the_sensor(
    wfo: Session, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(dg.DagsterInstance, "add_run_tags", lambda *_: None)
        left = wfo.run("create_bad_hat", {"product": "Hat"})
    with engine.begin() as connection:
        connection.execute(text("UPDATE orchestrator.processes SET last_status = 'running'"))
    sensor = going_on_sensor([wfo.orchestrator.job("create_bad_hat")])
    resources = {"orchestrator_database": wfo.orchestrator.database}
    sensor.evaluate_tick(dg.build_sensor_context(instance=wfo.instance, resources=resources))
    run = wfo.instance.get_run_by_id(str(left.process_id))
    assert run is not None
    assert run.tags["orchestrator/subscription_id"] == str(left.subscription_id)
    assert run.tags["orchestrator/status"] == "failed"


def test_a_new_creation_does_not_pass_for_the_one_that_it_re_executes(
    wfo: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it ends in its first step, before it has a subscription."""
    old = new_hat(wfo)
    old_run = wfo.instance.get_run_by_id(str(old.process_id))
    assert old_run is not None
    job = wfo.orchestrator.job("create_hat", log_level="CRITICAL")
    inherited = {tag: value for tag, value in old_run.tags.items() if tag.startswith("orchestrator/")}

    def fail(point: CommitPoint, key: str) -> None:
        raise RuntimeError("no felt")

    monkeypatch.setattr(commit_path, "listeners", [fail])
    new = job.execute_in_process(
        instance=wfo.instance, run_config=old_run.run_config, tags=inherited, raise_on_error=False
    )
    run = wfo.instance.get_run_by_id(new.run_id)
    assert run is not None
    assert run.tags["orchestrator/process_id"] == new.run_id
    assert run.tags["orchestrator/subscription_id"] == ""
    assert TAGGED[0]["orchestrator/status"] == "running", "written at once, should the worker be killed"
    assert TAGGED[0]["orchestrator/subscription_id"] == ""


def test_a_creation_that_failed_has_all_tags(wfo: Session) -> None:
    failed = wfo.run("create_bad_hat", {"product": "Hat"})
    run = wfo.instance.get_run_by_id(str(failed.process_id))
    assert run is not None
    assert (
        run.tags.items()
        >= {
            "orchestrator/process_id": str(failed.process_id),
            "orchestrator/product": "Hat",
            "orchestrator/subscription_id": str(failed.subscription_id),
            "orchestrator/customer_id": "acme",
            "orchestrator/status": "failed",
        }.items()
    )
