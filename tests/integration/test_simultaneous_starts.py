"""Of two worker processes that start on one subscription at the same moment, exactly one gets it."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from uuid import UUID

import dagster as dg
import pytest
from dagster_home import DagsterHome
from golden_example import CREATE_NODE, REPOSITORY
from sqlalchemy import Engine, NullPool, create_engine, text

pytestmark = pytest.mark.long

ROUNDS = 100
PATIENCE = 30
WORKER = REPOSITORY / "tests" / "workers" / "starting.py"


class Worker:
    """A worker process, and what it says."""

    def __init__(self, home: DagsterHome, log: Path) -> None:
        self._log = log
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER)],
                env=dict(home.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
            )
        assert self.process.stdin
        assert self.process.stdout
        self._input: IO[str] = self.process.stdin
        self._listener = threading.Thread(target=self._listen, args=[self.process.stdout])
        self._listener.start()

    def _listen(self, output: IO[str]) -> None:
        for line in output:
            self._said.put(json.loads(line))
        self._said.put(None)

    def tell(self, line: str) -> None:
        self._input.write(f"{line}\n")

    def hear(self) -> dict[str, Any]:
        said = self._said.get(timeout=PATIENCE)
        assert said is not None, f"a worker ended: {self._log.read_text()[-3000:]}"
        return said

    def stop(self) -> None:
        self._input.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._listener.join()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def workers(dagster_home: DagsterHome, tmp_path: Path) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        started = []
        for number in range(2):
            worker = Worker(dagster_home, tmp_path / f"worker-{number}.log")
            stack.callback(worker.stop)
            started.append(worker)
        for worker in started:
            assert worker.hear() == {"ready": True}
        yield started


@pytest.fixture
def node_id(golden: ModuleType) -> UUID:
    with dg.DagsterInstance.ephemeral() as instance, golden.orchestrator.connect(instance=instance) as wfo:
        found: UUID = wfo.run("create_node", CREATE_NODE).subscription_id
        return found


def start_at_once(workers: list[Worker], node_id: UUID) -> None:
    for worker in workers:
        worker.tell(str(node_id))


def start_at_the_lock(workers: list[Worker], node_id: UUID, engine: Engine) -> None:
    """Let both come to the lock on the subscription's row before either gets it."""
    watching = create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with watching.connect() as watcher, engine.begin() as connection:
        statement = "SELECT 1 FROM orchestrator.subscriptions WHERE subscription_id = :id FOR UPDATE"
        connection.execute(text(statement), {"id": node_id})
        start_at_once(workers, node_id)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + PATIENCE
        while watcher.execute(text(waiting)).scalar_one() < len(workers):
            assert time.monotonic() < deadline, "not both workers wait for the row's lock"
            time.sleep(0.002)


@pytest.mark.timeout(120)
def test_of_two_starts_at_the_same_moment_one_completes_and_the_other_is_refused_by_name(
    workers: list[Worker], node_id: UUID, engine: Engine
) -> None:
    winners: set[int] = set()
    for number in range(ROUNDS):
        if number % 2:
            start_at_the_lock(workers, node_id, engine)
        else:
            start_at_once(workers, node_id)
        heard = [worker.hear() for worker in workers]
        (winner,) = [index for index, said in enumerate(heard) if "holding" in said]
        holder, refused = heard[winner]["holding"], heard[1 - winner]
        assert refused.get("held_by") == holder, heard
        assert holder in refused["refused"]
        workers[winner].tell("")
        assert workers[winner].hear() == {"ended": "completed", "process_id": holder}
        winners.add(winner)

    with engine.connect() as connection:
        count = (
            "SELECT last_status, count(*) FROM orchestrator.processes JOIN orchestrator.workflows USING (workflow_id)"
        )
        found = connection.execute(text(f"{count} WHERE workflows.name = 'modify_node' GROUP BY last_status")).all()
        assert found == [("completed", ROUNDS)]
        subscription = connection.execute(text("SELECT insync, held_by FROM orchestrator.subscriptions")).one()
        assert subscription == (True, None)
    assert winners == {0, 1}, "each wins at times, or they were not in step"
