"""The sensor that lets processes go on: after a dead worker, when a time has come, when nobody picked them up."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import dagster as dg
import pytest
import waiting_workflows
from sqlalchemy import Engine, text
from waiting_workflows import broken, orchestrator

from orchestrator_dagster import Session
from orchestrator_dagster.db.leases import Lease
from orchestrator_dagster.db.queue import claim_resume_token
from orchestrator_dagster.domain.clock import machine_time, use_clock
from orchestrator_dagster.jobs import going_on, tags
from orchestrator_dagster.sensors.going_on import going_on_sensor


@pytest.fixture
def wfo(orchestrator_database: str) -> Iterator[Session]:
    waiting_workflows.forget()
    with orchestrator.connect() as session:  # type: ignore[attr-defined]
        yield session


def tick(wfo: Session) -> list[dg.RunRequest]:
    """Let the sensor look once."""
    sensor = going_on_sensor([orchestrator.job(name) for name in orchestrator.workflows])
    resources = {"orchestrator_database": orchestrator.database}
    context = dg.build_sensor_context(instance=wfo.instance, resources=resources)
    return list(sensor.evaluate_tick(context).run_requests or [])


def answered(wfo: Session, engine: Engine) -> UUID:
    """A process that was answered, and that nobody has picked up."""
    asking = wfo.run("ask")
    with engine.begin() as connection:
        going_on.answer(connection, orchestrator.workflows, asking.process_id, {"ticket": "CHG1"}, user="ada")
    return asking.process_id


def let_submitting_be_long_ago(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE orchestrator.resume_tokens SET submitted_at = submitted_at - interval '1 minute'")
        )


def submitted(wfo: Session, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """Let there be the run that was requested, which has not come to its process."""
    job = orchestrator.job(str(request.job_name))
    wfo.instance.create_run_for_job(job, run_config={}, tags=dict(request.tags), status=status)


def run_requested(wfo: Session, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    assert request.job_name
    job = orchestrator.job(request.job_name, log_level="CRITICAL")
    return job.execute_in_process(
        run_config=dict(request.run_config), tags=request.tags, instance=wfo.instance, raise_on_error=False
    )


class TestProcessesThatNobodyPickedUp:
    def test_a_run_is_requested_at_once_by_which_the_process_goes_on(self, wfo: Session, engine: Engine) -> None:
        process_id = answered(wfo, engine)
        (request,) = tick(wfo)
        assert request.job_name == "ask"
        assert request.tags[tags.USER] == "ada"
        assert request.run_key == request.tags[tags.RESUME_TOKEN]
        assert run_requested(wfo, request).success
        assert wfo.process(process_id).status == "completed"
        assert tick(wfo) == []

    def test_somebody_who_is_about_to_submit_a_run_is_not_forestalled_and_not_waited_for_for_ever(
        self, wfo: Session, engine: Engine
    ) -> None:
        process_id = answered(wfo, engine)
        with engine.begin() as connection:
            claimed = claim_resume_token(connection, process_id, "ada")
        assert claimed is not None
        assert tick(wfo) == []
        let_submitting_be_long_ago(engine)
        assert [request.run_key for request in tick(wfo)] == [str(claimed.token)]
        assert tick(wfo) == [], "it is not tried again and again"

    def test_a_process_with_a_run_under_way_gets_no_other(self, wfo: Session, engine: Engine) -> None:
        answered(wfo, engine)
        (request,) = tick(wfo)
        submitted(wfo, request, dg.DagsterRunStatus.STARTING)
        let_submitting_be_long_ago(engine)
        assert tick(wfo) == []

    def test_a_run_that_was_never_launched_is_not_waited_for(self, wfo: Session, engine: Engine) -> None:
        answered(wfo, engine)
        (request,) = tick(wfo)
        submitted(wfo, request, dg.DagsterRunStatus.NOT_STARTED)
        assert tick(wfo) == []
        let_submitting_be_long_ago(engine)
        assert [again.run_key for again in tick(wfo)] == [request.run_key]

    def test_a_run_that_ended_without_going_on_is_replaced_by_another_one(self, wfo: Session, engine: Engine) -> None:
        process_id = answered(wfo, engine)
        (request,) = tick(wfo)
        submitted(wfo, request, dg.DagsterRunStatus.FAILURE)
        assert tick(wfo) == [], "it is not tried again and again"
        let_submitting_be_long_ago(engine)
        (other,) = tick(wfo)
        assert tick(wfo) == []
        assert other.run_key != request.run_key
        assert not run_requested(wfo, request).success, "its token is not good any more"
        assert run_requested(wfo, other).success
        assert wfo.process(process_id).status == "completed"

    def test_a_run_that_was_terminated_before_it_began_aborts_the_process(self, wfo: Session, engine: Engine) -> None:
        process_id = answered(wfo, engine)
        (request,) = tick(wfo)
        submitted(wfo, request, dg.DagsterRunStatus.CANCELED)
        (other,) = tick(wfo)
        assert other.run_key != request.run_key
        run_requested(wfo, other)
        process = wfo.process(process_id)
        assert (process.status, process.failed_reason) == ("aborted", "The run was terminated")
        assert tick(wfo) == []

    def test_nothing_is_requested_while_the_engine_is_paused_and_at_once_when_it_goes_on(
        self, wfo: Session, engine: Engine
    ) -> None:
        answered(wfo, engine)
        (refused,) = tick(wfo)
        wfo.pause_engine("maintenance")
        assert not run_requested(wfo, refused).success
        let_submitting_be_long_ago(engine)
        assert tick(wfo) == []
        wfo.resume_engine()
        assert len(tick(wfo)) == 1


class TestTimesThatHaveCome:
    def test_a_step_is_tried_again_when_that_is_due(self, wfo: Session) -> None:
        broken.add("reach")
        waiting = wfo.run("reach_out")
        assert tick(wfo) == []
        due = waiting.waits[0].due_at
        assert due is not None
        with use_clock(lambda: due + timedelta(seconds=1)):
            (request,) = tick(wfo)
        broken.clear()
        assert run_requested(wfo, request).success
        assert waiting.refresh().status == "completed"

    def test_processes_that_wait_for_something_else_are_not_looked_at(self, wfo: Session) -> None:
        wfo.run("ask")
        with use_clock(lambda: machine_time() + timedelta(days=400)):
            assert tick(wfo) == []


class TestDeadWorkers:
    def test_a_process_whose_worker_died_stands_as_failed_and_says_so_in_dagster(
        self, wfo: Session, engine: Engine
    ) -> None:
        left = wfo.run("ask")
        with engine.begin() as connection:
            connection.execute(text("UPDATE orchestrator.processes SET last_status = 'running'"))
        assert tick(wfo) == []
        assert "died" in (left.refresh().failed_reason or "")
        run = wfo.instance.get_run_by_id(str(left.process_id))
        assert run is not None
        assert run.tags[tags.STATUS] == "failed"
        assert left.retry().status == "suspended", "it asks again, where it was"

    def test_a_process_whose_worker_died_of_being_terminated_is_aborted(self, wfo: Session, engine: Engine) -> None:
        left = wfo.run("ask")
        with engine.begin() as connection:
            connection.execute(text("UPDATE orchestrator.processes SET last_status = 'running'"))
        run = wfo.instance.get_run_by_id(str(left.process_id))
        assert run is not None
        wfo.instance.report_run_canceled(run)
        (request,) = tick(wfo)
        run_requested(wfo, request)
        assert left.refresh().status == "aborted"

    def test_a_process_that_somebody_works_on_is_left_alone(self, wfo: Session, engine: Engine) -> None:
        left = wfo.run("ask")
        with engine.begin() as connection:
            connection.execute(text("UPDATE orchestrator.processes SET last_status = 'running'"))
        lease = Lease.take(engine, left.process_id)
        assert lease is not None
        tick(wfo)
        lease.release()
        assert left.refresh().status == "running"

    def test_it_looks_often_enough_to_notice_within_ten_seconds(self) -> None:
        (sensor,) = orchestrator.definitions().sensors or ()
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.minimum_interval_seconds is not None
        assert sensor.minimum_interval_seconds < 10
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_what_a_tick_asks_for_does_not_grow_with_the_processes_that_wait(
    wfo: Session, engine: Engine, count_statements: object
) -> None:
    def statements() -> int:
        with count_statements(engine) as made:  # type: ignore[operator]
            tick(wfo)
        return len(made)

    wfo.run("ask")
    few = statements()
    for _ in range(4):
        wfo.run("ask")
    assert statements() == few
