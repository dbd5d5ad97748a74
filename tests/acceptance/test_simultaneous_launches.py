"""Of two runs that are launched on one subscription at the same moment, one completes and the other is refused."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest
from dagster_home import DagsterHome
from golden_example import CREATE_NODE, REPOSITORY
from sqlalchemy import Engine, NullPool, create_engine, text

from orchestrator_dagster import Launch, RefusalError, Session

ROUNDS = 3
PATIENCE = timedelta(seconds=60)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """As long as this file is there, modifications wait at their middle step."""
    return tmp_path / "held"


@pytest.fixture
def wfo(
    golden: ModuleType, dagster_home: DagsterHome, held: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    for name, value in dagster_home.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests" / "workers"), prepend=":")
    monkeypatch.setenv("WAIT_WHILE_THERE", str(held))
    workspace = dagster_home.workspace("patient_golden")
    with (
        dagster_home.instance() as instance,
        golden.orchestrator.connect(instance=instance, workspace=workspace) as session,
    ):
        yield session


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def launch_to_the_lock(wfo: Session, node_id: UUID, engine: Engine) -> list[Launch]:
    """Launch two, and let both come to the lock on the subscription's row before either gets it."""
    watching = create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with watching.connect() as watcher, engine.begin() as connection:
        statement = "SELECT 1 FROM orchestrator.subscriptions WHERE subscription_id = :id FOR UPDATE"
        connection.execute(text(statement), {"id": node_id})
        launches = [wfo.launch("modify_node", {"subscription_id": str(node_id)}) for _ in range(2)]
        until(lambda: watcher.execute(waiting).scalar_one() == 2, "not both workers wait for the row's lock")
    return launches


@pytest.mark.long
@pytest.mark.timeout(240)
def test_of_two_launches_at_the_same_moment_one_completes_and_the_other_is_refused_by_name(
    wfo: Session, held: Path, engine: Engine
) -> None:
    created = wfo.launch("create_node", CREATE_NODE).wait(PATIENCE)
    assert created.status == "completed", created.traceback
    node_id = created.subscription_id
    for _ in range(ROUNDS):
        held.touch()
        launches = launch_to_the_lock(wfo, node_id, engine)
        until(lambda: any(one.run_status.value == "FAILURE" for one in launches), "neither run was refused")  # noqa: B023
        (refused,) = [one for one in launches if one.run_status.value == "FAILURE"]
        (other,) = [one for one in launches if one is not refused]
        with pytest.raises(RefusalError, match=str(other.process_id)):
            refused.wait(PATIENCE)
        assert other.run_status.value == "STARTED"
        held.unlink()
        assert other.wait(PATIENCE).status == "completed"
        assert wfo.instance.get_run_by_id(refused.run_id).tags["orchestrator/status"] == "refused"
    assert len(wfo.processes(workflow="modify_node")) == ROUNDS
    assert [(row.insync, row.held_by) for row in wfo.subscriptions()] == [(True, None)]
