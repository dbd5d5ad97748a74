"""A worker that is frozen keeps its connection. It is not waited for, and what it does when it wakes up is too late."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_home import until
from golden_example import REPOSITORY
from sqlalchemy import Engine, create_engine, text

from orchestrator_dagster.db.heartbeat import FROZEN_AFTER, Heart, end_frozen_run
from orchestrator_dagster.db.leases import Lease
from orchestrator_dagster.jobs.left_behind import settle_all

WORKER = REPOSITORY / "tests" / "workers" / "freezing.py"
LET_TIME_PASS = text("""
    UPDATE orchestrator.processes
    SET last_modified_at = last_modified_at - CAST(:passed AS interval), seen_at = seen_at - CAST(:passed AS interval)
""")


@pytest.fixture
def freeze(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As long as this file is there, the step freezes."""
    file = tmp_path / "freeze"
    file.touch()
    monkeypatch.setenv("FREEZE", str(file))
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return file


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.counted (key text)"))
    yield engine
    engine.dispose()


@pytest.fixture
def frozen(freeze: Path, engine: Engine) -> Iterator[subprocess.Popen[str]]:
    """A worker that is frozen in the step."""
    with subprocess.Popen(
        [sys.executable, WORKER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        try:
            _, status = os.waitpid(worker.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), worker.communicate()[1][-3000:]
            freeze.unlink()
            yield worker
        finally:
            worker.kill()


def test_a_worker_that_is_frozen_for_too_long_loses_its_process_and_commits_nothing_when_it_wakes_up(
    frozen: subprocess.Popen[str], engine: Engine
) -> None:
    from freezing import orchestrator

    with orchestrator.connect() as wfo:
        (process,) = wfo.processes()
        assert list(settle_all(engine)) == []
        assert process.refresh().status == "running"
        with engine.begin() as connection:
            connection.execute(LET_TIME_PASS, {"passed": FROZEN_AFTER})
        until(lambda: list(settle_all(engine)), "the process still stands as running")
        assert process.refresh().status == "failed"
        assert "died" in str(process.failed_reason)
        assert process.retry().status == "completed"
        frozen.send_signal(18)
        _, errors = frozen.communicate()
        assert frozen.returncode != 0, errors
        steps = [(row.step, row.status) for row in process.refresh().steps]
    assert steps == [("init", "success"), ("count", "success"), ("done", "complete")]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM public.counted")) == 1


def test_a_run_that_shows_life_is_left_alone(frozen: subprocess.Popen[str], engine: Engine) -> None:
    """As if the worker were in a long step: its heart beats."""
    with engine.begin() as connection:
        connection.execute(LET_TIME_PASS, {"passed": FROZEN_AFTER})
        process_id, lease = connection.execute(text("SELECT process_id, lease FROM orchestrator.processes")).one()
    Heart(engine)._say({process_id: lease + 1})
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT seen_at FROM orchestrator.processes")) is None
    Heart(engine)._say({process_id: lease})
    with engine.begin() as connection:
        assert not end_frozen_run(connection, process_id)
        connection.execute(LET_TIME_PASS, {"passed": FROZEN_AFTER})
    with engine.begin() as connection:
        assert end_frozen_run(connection, process_id)
    until(lambda: Lease.take(engine, process_id), "the lease is still held")
