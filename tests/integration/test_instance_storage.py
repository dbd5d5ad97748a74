"""Dagster instances whose records are in the orchestrator's database."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from dagster import DagsterInstance, job, op
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage
from dagster._serdes import serialize_value
from dagster_home import DagsterHome
from sqlalchemy import make_url

from orchestrator_dagster.db.server import EmbeddedServer
from orchestrator_dagster.instance import PostgresStorage

DAGSTER_YAML = """
storage:
  custom:
    module: orchestrator_dagster.instance
    class: PostgresStorage
    config: {config}
telemetry:
  enabled: false
"""
OTHER_PROCESS = """
import sys
from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import deserialize_value
with DagsterInstance.from_ref(deserialize_value(sys.stdin.read(), InstanceRef)) as instance:
    print([run.job_name for run in instance.get_runs()])
"""


@op
def do_nothing() -> None:
    return None


@job
def nothing() -> None:
    do_nothing()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A Dagster home that has an embedded server."""
    with tempfile.TemporaryDirectory(prefix="instance-", dir="/var/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        yield home
        EmbeddedServer(home / "postgres").destroy()


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.delenv("ORCHESTRATOR_DATABASE_URL", raising=False)


@pytest.fixture
def instance(home: Path) -> Iterator[DagsterInstance]:
    yield from opened(home)


def opened(home: Path, config: str = "{}") -> Iterator[DagsterInstance]:
    (home / "dagster.yaml").write_text(DAGSTER_YAML.format(config=config))
    with DagsterInstance.from_config(str(home)) as instance:
        yield instance


def storage_of(instance: DagsterInstance) -> PostgresStorage:
    """The storage as any process that gets the instance's reference opens it."""
    storage = instance.get_ref().storage
    assert isinstance(storage, PostgresStorage)
    return storage


def test_without_a_url_the_records_are_in_the_embedded_server(instance: DagsterInstance, home: Path) -> None:
    nothing.execute_in_process(instance=instance)
    connection = psycopg2.connect(EmbeddedServer(home / "postgres").url.replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT schemaname FROM pg_tables WHERE tablename IN ('runs', 'event_logs', 'instigators')")
            assert cursor.fetchall() == [("public",)] * 3
            cursor.execute("SELECT pipeline_name FROM public.runs")
            assert ("nothing",) in cursor.fetchall()
    finally:
        connection.close()


def test_the_instance_uses_our_storage(instance: DagsterInstance) -> None:
    assert storage_of(instance).postgres_url.startswith("postgresql+psycopg2://")


def test_another_process_opens_the_instance_by_its_reference(instance: DagsterInstance) -> None:
    nothing.execute_in_process(instance=instance)
    other = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS],
        input=serialize_value(instance.get_ref()),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "nothing" in other.stdout, other.stderr


def test_the_reference_holds_no_password(instance: DagsterInstance, home: Path) -> None:
    assert (home / "postgres" / "password").read_text() not in serialize_value(instance.get_ref())


def test_each_part_of_the_storage_can_be_opened_alone(instance: DagsterInstance) -> None:
    storage = storage_of(instance)
    for data, kind in (
        (storage.run_storage_data, RunStorage),
        (storage.event_storage_data, EventLogStorage),
        (storage.schedule_storage_data, ScheduleStorage),
    ):
        assert data is not None
        assert isinstance(data.rehydrate(as_type=kind), kind)
    ref = instance.get_ref()
    assert isinstance(ref, InstanceRef)
    assert isinstance(ref.run_storage, RunStorage)


def test_a_url_in_the_settings_of_the_storage_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = EmbeddedServer(home / "postgres").start()
    monkeypatch.setenv("DATABASE_OF_DAGSTER", url.replace("postgresql+psycopg2", "postgres"))
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", "postgresql://nowhere.invalid/db")
    for instance in opened(home, "{postgres_url: {env: DATABASE_OF_DAGSTER}}"):
        assert storage_of(instance).postgres_url == url
        assert nothing.execute_in_process(instance=instance).success


def test_the_url_of_the_environment_is_used_in_any_spelling(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = EmbeddedServer(home / "postgres").start()
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", url.replace("postgresql+psycopg2", "postgresql"))
    for instance in opened(home):
        assert storage_of(instance).postgres_url == url


def test_dagsters_commands_work(
    new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", url := new_database())
    dagster = DagsterHome.make(tmp_path / "dagster", ORCHESTRATOR_DATABASE_URL=url)
    assert dagster.command("dagster", "instance", "migrate").status == 0
    with DagsterInstance.from_config(str(dagster.folder)) as instance:
        run_ids = [nothing.execute_in_process(instance=instance).run_id for _ in range(2)]
        listed = dagster.command("dagster", "run", "list")
        assert all(run_id in listed.output for run_id in run_ids), listed.output
        assert dagster.command("dagster", "run", "delete", "--force", run_ids[0]).status == 0
        assert [run.run_id for run in instance.get_runs()] == run_ids[1:]
        assert instance.all_logs(run_ids[0]) == []
        assert dagster.command("dagster", "run", "wipe", "--force").status == 0
        assert instance.get_runs() == []
        assert dagster.command("dagster", "instance", "reindex").status == 0
        assert dagster.command("dagster", "instance", "info").status == 0


def test_the_settings_of_dagsters_own_storage_are_understood(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_url(EmbeddedServer(home / "postgres").start())
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", "postgresql://nowhere.invalid/db")
    monkeypatch.setenv("PASSWORD", url.password or "")
    database = {
        "username": url.username,
        "password": {"env": "PASSWORD"},
        "hostname": url.host or "",
        "port": url.port or 5432,
        "db_name": url.database,
        "params": dict(url.query),
    }
    for instance in opened(home, json.dumps({"postgres_db": database})):
        assert nothing.execute_in_process(instance=instance).success
