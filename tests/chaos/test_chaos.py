"""Processes of all shapes while Postgres is restarted and workers are killed: nothing is lost, twice, or stuck.

`make chaos` has 300 processes. In the suite a few are enough to see that nothing is out of order.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from driving import Driver
from golden_example import REPOSITORY
from mortal_server import MortalServer
from shapes import CREATE_EFFECTS, SHAPES, calls, orchestrator
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from orchestrator_dagster.db.engine import dispose_engine, engine_for
from orchestrator_dagster.db.migrate import upgrade
from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.testing import JumpingClock

WORKERS_FOLDER = REPOSITORY / "tests" / "workers"

PROCESSES = int(os.environ.get("CHAOS_PROCESSES", "20"))
WORKERS = 2
SECONDS_BETWEEN_BLOWS = (1.0, 3.0)
MOST_SECONDS = 60 + 3 * PROCESSES
"""For so long the processes may take once it is quiet."""

UNHARMED = "unharmed"

TABLES = """
    CREATE TABLE public.wanted (
        number int NOT NULL, mark text PRIMARY KEY, shape text NOT NULL, ends text NOT NULL, children int NOT NULL,
        accepted boolean NOT NULL DEFAULT false
    );
    CREATE VIEW public.marked AS
        SELECT process_id, parent_process_id, last_status, state ->> 'mark' AS mark
        FROM orchestrator.processes JOIN orchestrator.process_inputs USING (process_id)
        WHERE input_type = 'initial_state';
    CREATE VIEW public.finished AS
        SELECT process_id, step, round, status
        FROM orchestrator.process_steps WHERE status IN ('success', 'skipped', 'complete', 'abort');
"""
WANT = text("INSERT INTO public.wanted VALUES (:number, :mark, :shape, :ends, :children)")

INVARIANTS = {
    "was accepted, and there is nothing of it": """
        SELECT mark FROM wanted WHERE accepted AND NOT EXISTS (SELECT FROM marked WHERE marked.mark = wanted.mark)
    """,
    "was wanted, and started more than once or never": """
        SELECT wanted.mark, count(process_id)
        FROM wanted LEFT JOIN marked ON marked.mark = wanted.mark AND parent_process_id IS NULL
        GROUP BY wanted.mark HAVING count(process_id) <> 1
    """,
    "has fewer or more children than its workflow starts": """
        SELECT wanted.mark, count(parent_process_id)
        FROM wanted JOIN marked USING (mark)
        GROUP BY wanted.mark, wanted.children HAVING count(parent_process_id) <> wanted.children
    """,
    "is stuck, or ended otherwise": """
        SELECT mark, last_status, ends
        FROM wanted JOIN marked USING (mark)
        WHERE last_status <> CASE WHEN parent_process_id IS NULL THEN ends ELSE 'completed' END
    """,
    "had an effect twice": """
        SELECT mark, label, process_id, count(*) FROM effects GROUP BY mark, label, process_id HAVING count(*) > 1
    """,
    "has other effects than its like": """
        SELECT wanted.mark, label, expected.label IS NULL AS unexpected
        FROM wanted
        CROSS JOIN LATERAL (
            SELECT DISTINCT label FROM effects WHERE effects.mark = 'unharmed ' || shape
        ) AS expected
        FULL JOIN (SELECT mark, label FROM effects JOIN wanted USING (mark)) AS found USING (mark, label)
        WHERE expected.label IS NULL OR found.label IS NULL
    """,
    "finished a step twice": """
        SELECT process_id, step, round, count(*) FROM finished GROUP BY process_id, step, round HAVING count(*) > 1
    """,
    "finished other steps than its like": """
        WITH expected AS (
            SELECT wanted.mark, step, status
            FROM wanted
            JOIN marked ON marked.mark = 'unharmed ' || shape AND parent_process_id IS NULL
            JOIN finished USING (process_id)
        ), found AS (
            SELECT wanted.mark, step, status
            FROM wanted
            JOIN marked ON marked.mark = wanted.mark AND parent_process_id IS NULL
            JOIN finished USING (process_id)
        )
        (TABLE expected EXCEPT TABLE found) UNION ALL (TABLE found EXCEPT TABLE expected)
    """,
    "has a gap or a duplicate in its attempts": """
        SELECT process_id, step, count(*), max(attempt)
        FROM orchestrator.process_steps GROUP BY process_id, step HAVING count(*) <> max(attempt)
    """,
    "ended, and waits": """
        SELECT process_id, step FROM orchestrator.process_waits JOIN marked USING (process_id)
        WHERE last_status IN ('completed', 'aborted')
    """,
    "ended, and has an address open": """
        SELECT process_id, step FROM orchestrator.process_callbacks JOIN marked USING (process_id)
        WHERE last_status IN ('completed', 'aborted') AND closed_at IS NULL AND received_at IS NULL
    """,
}


@dataclass
class Storm:
    """What happened so far.

    Attributes:
        folder: where the workers leave notes.
        server: the server under them.
        chance: what decides.
        blows: how often what happened.
    """

    folder: Path
    server: MortalServer
    chance: random.Random
    blows: Counter[str] = field(default_factory=Counter)

    def worker(self, number: int) -> "subprocess.Popen[bytes]":
        """Have a worker run."""
        with (self.folder / f"worker-{number}").open("ab") as output:
            command = [sys.executable, "-m", "chaotic", str(number), str(WORKERS)]
            return subprocess.Popen(command, stdout=output, stderr=output)

    def blow(self, workers: "list[subprocess.Popen[bytes]]") -> None:
        """Let something happen."""
        what = self.chance.choice(["fast restart", "immediate restart", "killed backend", "killed worker"])
        self.blows[what] += 1
        match what:
            case "fast restart":
                self.server.restart(signal.SIGINT)
            case "immediate restart":
                self.server.restart(signal.SIGQUIT)
            case "killed backend":
                self.server.kill_a_backend(self.chance)
            case "killed worker":
                number = self.chance.randrange(len(workers))
                workers[number].kill()
                workers[number].wait()
                workers[number] = self.worker(number)

    def errors(self) -> Counter[str]:
        """Return how often which error was met."""
        file = self.folder / "went-wrong"
        lines = file.read_text().splitlines() if file.exists() else []
        return Counter(json.loads(line)[0] for line in lines)


@pytest.fixture
def storm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storm]:
    with MortalServer.running() as server:
        for name, value in {
            "ORCHESTRATOR_DATABASE_URL": server.url,
            "PYTHONPATH": os.pathsep.join([str(WORKERS_FOLDER), str(REPOSITORY)]),
            "CALLS": str(tmp_path / "calls"),
            "WENT_WRONG": str(tmp_path / "went-wrong"),
            "STOP": str(tmp_path / "stop"),
            "PAUSE_SECONDS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        yield Storm(tmp_path, server, random.Random(PROCESSES))  # noqa: S311 - nothing secret
        dispose_engine(server.url)


def prepare(engine: Engine) -> None:
    """Let a process of each shape run unharmed, as a measure, and say which others there are to be."""
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text(CREATE_EFFECTS))
        connection.execute(text(TABLES))
    clock = JumpingClock()
    with use_clock(clock), dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as wfo:
        for shape in SHAPES.values():
            Driver(wfo, clock).drive(shape, wfo.run(shape.name, {"mark": f"{UNHARMED} {shape.name}"}))
    shapes = list(SHAPES.values())
    with engine.begin() as connection:
        for number in range(PROCESSES):
            shape = shapes[number % len(shapes)]
            connection.execute(
                WANT,
                {
                    "number": number,
                    "mark": f"{number} {shape.name}",
                    "shape": shape.name,
                    "ends": shape.ends.value,
                    "children": len(shape.children),
                },
            )


def unended(url: str) -> int | None:
    """Return how many of those that are wanted have not ended, `None` while the server is away."""
    engine = create_engine(url, poolclass=NullPool)
    left = text("""
        SELECT count(*) FROM public.wanted
        WHERE NOT EXISTS (SELECT FROM public.marked
                          WHERE mark = wanted.mark AND parent_process_id IS NULL AND last_status = ends)
    """)
    try:
        with engine.connect() as connection:
            return int(connection.execute(left).scalar_one())
    except DBAPIError:
        return None


def quiet(storm: Storm, workers: "list[subprocess.Popen[bytes]]") -> None:
    """Wait until all processes have ended, or it has taken too long, while nothing happens."""
    deadline = time.monotonic() + MOST_SECONDS
    while unended(storm.server.url) != 0 and time.monotonic() < deadline:
        assert all(worker.poll() is None for worker in workers), "a worker gave up"
        time.sleep(0.2)


def end(storm: Storm, workers: "list[subprocess.Popen[bytes]]") -> None:
    (storm.folder / "stop").touch()
    for worker in workers:
        try:
            worker.wait(timeout=30)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def broken_invariants(engine: Engine) -> dict[str, list[Any]]:
    """Return what is not as it must be."""
    broken: dict[str, list[Any]] = {}
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL search_path = public"))
        for name, statement in INVARIANTS.items():
            if rows := connection.execute(text(statement)).all():
                broken[name] = [tuple(row) for row in rows[:10]]
    keys: dict[tuple[str, str], set[str]] = {}
    for call in calls():
        keys.setdefault((call["process_id"], call["label"]), set()).add(call["idempotency_key"])
    if several := {call: heard for call, heard in keys.items() if len(heard) > 1}:
        broken["called with several keys"] = list(several.items())[:10]
    return broken


@pytest.mark.timeout(120 + 6 * PROCESSES)
def test_nothing_is_lost_nothing_twice_and_nothing_stuck(storm: Storm) -> None:
    engine = engine_for(storm.server.url)
    prepare(engine)
    workers = [storm.worker(number) for number in range(WORKERS)]
    started = time.monotonic()
    try:
        blows = max(6, PROCESSES // 8)
        while sum(storm.blows.values()) < blows and unended(storm.server.url) != 0:
            time.sleep(storm.chance.uniform(*SECONDS_BETWEEN_BLOWS))
            storm.blow(workers)
        stormy = time.monotonic() - started
        quiet(storm, workers)
    finally:
        end(storm, workers)
    engine.dispose()
    summary = f"{PROCESSES} processes, {stormy:.0f} s of storm: {dict(storm.blows)}; errors met: {dict(storm.errors())}"
    print(summary)  # noqa: T201 - what `make chaos` shows
    assert broken_invariants(engine) == {}, summary
    assert sum(storm.blows.values()) >= 3, "it was no storm"
