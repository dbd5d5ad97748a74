"""Dagit's jobs for what a person does to a process."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import waiting_workflows
from sqlalchemy import Engine
from waiting_workflows import broken, effects, orchestrator

from orchestrator_dagster import DefinitionError, Orchestrator, Process, Session, StepList, done, init, workflow
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.job_names import PERSON_JOBS


@pytest.fixture
def wfo(orchestrator_database: str) -> Iterator[Session]:
    waiting_workflows.forget()
    with orchestrator.connect() as session:  # type: ignore[attr-defined]
        yield session


def do(wfo: Session, job: str, /, **config: Any) -> dg.ExecuteInProcessResult:
    """Run a job as a person does in Dagit."""
    return (
        orchestrator.definitions()
        .get_job_def(job)
        .execute_in_process(run_config=config, instance=wfo.instance, tags={tags.USER: "ada"}, raise_on_error=False)
    )


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, Any]]:
    """What Dagit shows of the op that failed."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    shown = event.step_failure_data.user_failure_data
    assert shown is not None
    return str(shown.description), {name: value.value for name, value in shown.metadata.items()}


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def go_on(wfo: Session, process: Process) -> Process:
    wfo.go_on()
    return process.refresh()


def test_a_person_answers_what_a_process_asks_for(wfo: Session) -> None:
    asking = wfo.run("ask")
    answered = do(wfo, "resume_process", process_id=str(asking.process_id), step="confirm", input={"ticket": "CHG1"})
    assert answered.success
    assert shown(answered) == {"process_id": str(asking.process_id), "status": "resumed"}
    run = wfo.instance.get_run_by_id(answered.run_id)
    assert run is not None
    assert run.tags[tags.PROCESS_ID] == str(asking.process_id)
    assert go_on(wfo, asking).status == "completed"
    assert [row.created_by for row in asking.steps if row.step == "confirm"][-1] == "ada"


def test_a_wrong_answer_shows_what_is_wrong_with_each_field(wfo: Session) -> None:
    asking = wfo.run("ask")
    refused = do(wfo, "resume_process", process_id=str(asking.process_id), input={"ticket": "x", "hours": 0})
    assert not refused.success
    _, metadata = failure(refused)
    assert metadata.keys() == {"ticket", "hours"}
    assert asking.refresh().status == "suspended"


@pytest.mark.parametrize(
    ("process_id", "why"),
    [("nonsense", "is not the id of a process"), ("00000000-0000-4000-8000-000000000000", "does not exist")],
)
def test_a_process_that_is_none_is_refused(wfo: Session, process_id: str, why: str) -> None:
    refused = do(wfo, "retry_process", process_id=process_id)
    assert why in failure(refused)[0]


def test_a_person_retries_what_failed(wfo: Session) -> None:
    broken.add("configure")
    failed = wfo.run("do_plainly")
    broken.clear()
    assert do(wfo, "retry_process", process_id=str(failed.process_id)).success
    assert go_on(wfo, failed).status == "completed"


def test_a_person_skips_a_step(wfo: Session) -> None:
    broken.add("configure")
    failed = wfo.run("do_plainly")
    assert do(wfo, "skip_step", process_id=str(failed.process_id), step="configure", reason="by hand").success
    assert go_on(wfo, failed).status == "completed"


def test_a_person_replaces_a_value(wfo: Session) -> None:
    broken.add("configure")
    failed = wfo.run("do_plainly")
    replaced = do(
        wfo, "replace_value", process_id=str(failed.process_id), key="speed", value={"down": 40}, reason="was wrong"
    )
    assert shown(replaced)["status"] == "failed"
    assert failed.refresh().state["speed"] == {"down": 40}


def test_a_person_aborts_a_process(wfo: Session) -> None:
    broken.add("configure")
    failed = wfo.run("do")
    assert do(wfo, "abort_process", process_id=str(failed.process_id), reason="no hope").success
    assert go_on(wfo, failed).status == "aborted"
    assert effects["take down"] == 1


def test_a_person_pauses_and_resumes_the_engine(wfo: Session) -> None:
    assert do(wfo, "pause_engine", reason="maintenance").success
    status = wfo.engine_status()
    assert (status.paused, status.by, status.reason) == (True, "ada", "maintenance")
    assert do(wfo, "resume_engine").success
    assert not wfo.engine_status().paused


def test_dagster_loads_the_jobs_beside_those_of_the_workflows() -> None:
    definitions = orchestrator.definitions()
    dg.Definitions.validate_loadable(definitions)
    assert set(definitions.get_repository_def().job_names) >= {*orchestrator.workflows, *PERSON_JOBS}


@pytest.mark.parametrize("name", PERSON_JOBS)
def test_each_job_says_what_it_does_and_what_it_asks_for(name: str) -> None:
    job = orchestrator.definitions().get_job_def(name)
    assert job.description
    snapshot = job.get_job_snapshot()
    root = snapshot.config_schema_snapshot.get_config_snap(str(snapshot.mode_def_snaps[0].root_config_key))
    assert all(field.description for field in root.fields or [])


@pytest.mark.parametrize("name", PERSON_JOBS)
def test_no_workflow_has_the_name_of_one_of_the_jobs(name: str) -> None:
    def steps() -> StepList:
        return init >> done

    steps.__name__ = name
    with pytest.raises(DefinitionError, match=name):
        Orchestrator([], workflows=[workflow("Taken")(steps)])


def test_a_refused_person_leaves_the_process_as_it_was(wfo: Session, engine: Engine) -> None:
    asking = wfo.run("ask")
    before = [(row.step, row.status) for row in asking.steps]
    for job, config in [
        ("retry_process", {}),
        ("skip_step", {"step": "configure", "reason": "by hand"}),
        ("abort_process", {"reason": " "}),
    ]:
        assert not do(wfo, job, process_id=str(asking.process_id), **config).success
    assert [(row.step, row.status) for row in asking.refresh().steps] == before
    assert asking.status == "suspended"
