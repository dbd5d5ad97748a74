"""Drift: a failed validation marks the subscription, says what differs, and is over once the drift is mended."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from golden_example import CREATE_NODE
from sqlalchemy import Engine, text

from orchestrator_dagster import Process, Session, StartConditionError

PERIOD = timedelta(hours=24)


@pytest.fixture
def wfo(golden: ModuleType) -> Iterator[Session]:
    with dg.DagsterInstance.ephemeral() as instance, golden.orchestrator.connect(instance=instance) as session:
        yield session


@pytest.fixture
def node_id(wfo: Session) -> UUID:
    return create_node(wfo)


def create_node(wfo: Session, **changes: str) -> UUID:
    created = wfo.run("create_node", CREATE_NODE | changes)
    assert created.status == "completed", created.traceback
    return created.subscription_id


class Outside:
    """What the controller has of a node."""

    def __init__(self, folder: Path, node_id: UUID) -> None:
        self._file = folder / "controller" / "nodes" / f"{node_id}.json"
        self._before = self._file.read_text()

    def drift(self, site: str) -> None:
        found = json.loads(self._before)
        found["value"]["site"] = site
        self._file.write_text(json.dumps(found))

    def mend(self) -> None:
        self._file.write_text(self._before)


@pytest.fixture
def outside(tmp_path: Path, node_id: UUID) -> Outside:
    return Outside(tmp_path, node_id)


def validate(wfo: Session, node_id: UUID) -> Process:
    return wfo.run("validate_node", {"subscription_id": str(node_id)})


def row(wfo: Session, node_id: UUID) -> Any:
    return next(found for found in wfo.subscriptions() if found.subscription_id == node_id)


class TestAFailedValidation:
    def test_it_leaves_the_subscription_out_of_sync_and_says_what_differs(
        self, wfo: Session, node_id: UUID, outside: Outside
    ) -> None:
        outside.drift(site="Rotterdam")
        failed = validate(wfo, node_id)
        assert (failed.status, failed.current_step) == ("inconsistent_data", "compare_with_controller")
        for word in ("Rotterdam", "Amsterdam"):
            assert word in failed.failed_reason
        found = row(wfo, node_id)
        assert (found.insync, found.held_by, found.status) == (False, failed.process_id, "active")

    def test_dagit_says_what_differs_too(self, wfo: Session, node_id: UUID, outside: Outside) -> None:
        outside.drift(site="Rotterdam")
        failed = validate(wfo, node_id)
        events = wfo.instance.all_logs(str(failed.process_id), of_type=dg.DagsterEventType.STEP_FAILURE)
        assert "Rotterdam" in str(events[0].get_dagster_event().event_specific_data)

    def test_as_long_as_the_drift_is_there_it_fails_again(self, wfo: Session, node_id: UUID, outside: Outside) -> None:
        outside.drift(site="Rotterdam")
        assert validate(wfo, node_id).retry().status == "inconsistent_data"
        assert validate(wfo, node_id).status == "inconsistent_data"
        assert not row(wfo, node_id).insync

    def test_once_it_is_mended_a_retry_puts_the_subscription_in_sync(
        self, wfo: Session, node_id: UUID, outside: Outside
    ) -> None:
        outside.drift(site="Rotterdam")
        failed = validate(wfo, node_id)
        outside.mend()
        assert failed.retry().status == "completed"
        assert (row(wfo, node_id).insync, row(wfo, node_id).held_by) == (True, None)

    def test_once_it_is_mended_a_new_validation_puts_the_subscription_in_sync(
        self, wfo: Session, node_id: UUID, outside: Outside
    ) -> None:
        outside.drift(site="Rotterdam")
        failed = validate(wfo, node_id)
        outside.mend()
        again = validate(wfo, node_id)
        assert (again.status, again.process_id == failed.process_id) == ("completed", False)
        assert (row(wfo, node_id).insync, row(wfo, node_id).held_by) == (True, None)
        assert wfo.processes(status="inconsistent_data") == []
        assert wfo.run("modify_node", {"subscription_id": str(node_id)}).status == "completed"

    def test_nothing_else_is_done_with_the_subscription_until_then(
        self, wfo: Session, node_id: UUID, outside: Outside
    ) -> None:
        outside.drift(site="Rotterdam")
        failed = validate(wfo, node_id)
        for workflow in ("modify_node", "terminate_node"):
            with pytest.raises(StartConditionError, match=str(failed.process_id)):
                wfo.run(workflow, {"subscription_id": str(node_id)})

    def test_an_object_that_is_gone_outside_is_drift_too(self, wfo: Session, node_id: UUID, tmp_path: Path) -> None:
        (tmp_path / "controller" / "nodes" / f"{node_id}.json").unlink()
        failed = validate(wfo, node_id)
        assert failed.status == "inconsistent_data"
        assert "None" in failed.failed_reason

    def test_the_history_shows_when_it_went_out_of_sync_and_by_which_process(
        self, wfo: Session, node_id: UUID, outside: Outside
    ) -> None:
        outside.drift(site="Rotterdam")
        failed = validate(wfo, node_id)
        outside.mend()
        again = validate(wfo, node_id)
        changes = [(v.process_id, v.changes["insync"]["after"]) for v in wfo.history(node_id) if "insync" in v.changes]
        assert changes[-2:] == [(failed.process_id, False), (again.process_id, True)]


class TestTheSensor:
    """It requests each active subscription that is due, once per period."""

    def tick(self, golden: ModuleType, wfo: Session) -> Any:
        repository = golden.defs.get_repository_def()
        (sensor,) = [sensor for sensor in repository.sensor_defs if "validat" in sensor.name]
        resources = {key: repository.get_top_level_resources()[key] for key in sensor.required_resource_keys}
        with dg.build_sensor_context(wfo.instance, repository_def=repository, resources=resources) as context:
            return sensor.evaluate_tick(context)

    def requests(self, golden: ModuleType, wfo: Session) -> list[dg.RunRequest]:
        return list(self.tick(golden, wfo).run_requests or [])

    def requested(self, golden: ModuleType, wfo: Session) -> list[str]:
        return sorted(request.run_config["subscription_id"] for request in self.requests(golden, wfo))

    def age(self, engine: Engine, period: timedelta) -> None:
        """Make everything that happened be longer ago."""
        with engine.begin() as connection:
            for table, column in [("processes", "started_at"), ("subscriptions", "created_at")]:
                statement = f"UPDATE orchestrator.{table} SET {column} = {column} - :period"  # noqa: S608
                connection.execute(text(statement), {"period": period})

    def validate_by_hand(self, wfo: Session, *node_ids: UUID) -> None:
        for node_id in node_ids:
            assert validate(wfo, node_id).status == "completed"

    def test_it_requests_the_validation_of_each_node_and_of_nothing_else(
        self, golden: ModuleType, wfo: Session
    ) -> None:
        nodes = [create_node(wfo), create_node(wfo, product="Node Nokia")]
        port = {"product": "Port 10G", "customer_id": "acme", "node_subscription_id": str(nodes[0]), "port_name": "a"}
        assert wfo.run("create_port", port).status == "completed"
        requests = self.requests(golden, wfo)
        assert sorted(str(node_id) for node_id in nodes) == self.requested(golden, wfo)
        assert {request.job_name for request in requests} == {"validate_node"}
        assert len({request.run_key for request in requests}) == 2

    def test_what_it_requests_runs(self, golden: ModuleType, wfo: Session, node_id: UUID) -> None:
        (request,) = self.requests(golden, wfo)
        assert wfo.run(request.job_name, request.run_config).status == "completed"
        job = golden.defs.get_job_def(request.job_name)
        assert job.execute_in_process(instance=wfo.instance, run_config=request.run_config, tags=request.tags).success

    def test_it_requests_once_per_period(self, golden: ModuleType, wfo: Session, node_id: UUID) -> None:
        first = self.requests(golden, wfo)
        second = self.requests(golden, wfo)
        assert {request.run_key for request in second} <= {request.run_key for request in first}
        assert first[0].run_key
        self.validate_by_hand(wfo, node_id)
        assert self.requested(golden, wfo) == []

    def test_after_the_period_it_requests_again(
        self, golden: ModuleType, wfo: Session, node_id: UUID, engine: Engine
    ) -> None:
        self.validate_by_hand(wfo, node_id)
        self.age(engine, PERIOD - timedelta(minutes=5))
        assert self.requested(golden, wfo) == []
        self.age(engine, timedelta(minutes=10))
        assert self.requested(golden, wfo) == [str(node_id)]

    def test_what_is_not_active_is_not_validated(self, golden: ModuleType, wfo: Session, node_id: UUID) -> None:
        assert wfo.run("terminate_node", {"subscription_id": str(node_id)}).status == "completed"
        assert self.requested(golden, wfo) == []

    def test_what_a_process_works_on_is_left_alone(
        self, golden: ModuleType, wfo: Session, node_id: UUID, tmp_path: Path
    ) -> None:
        controller = tmp_path / "controller"
        controller.rename(tmp_path / "away")
        controller.write_text("in the way")
        assert wfo.run("modify_node", {"subscription_id": str(node_id)}).status == "failed"
        assert self.requested(golden, wfo) == []

    def test_a_drifted_subscription_is_validated_again_after_the_period(
        self, golden: ModuleType, wfo: Session, node_id: UUID, outside: Outside, engine: Engine
    ) -> None:
        outside.drift(site="Rotterdam")
        assert validate(wfo, node_id).status == "inconsistent_data"
        assert self.requested(golden, wfo) == []
        self.age(engine, PERIOD + timedelta(minutes=5))
        assert self.requested(golden, wfo) == [str(node_id)]

    def test_it_says_why_it_requests_nothing(self, golden: ModuleType, wfo: Session) -> None:
        tick = self.tick(golden, wfo)
        assert not tick.run_requests
        assert tick.skip_message

    def test_the_sensor_runs_without_being_switched_on(self, golden: ModuleType) -> None:
        (sensor,) = [sensor for sensor in golden.defs.sensors if "validat" in sensor.name]
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
