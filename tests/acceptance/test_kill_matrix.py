"""Workers killed at every point of every step of workflows of every shape.

Afterwards the process is gone on with until it ends. Then its log, its state and its effects are those of a process
whose workers lived, and the system outside heard the same idempotency key at every attempt.

The whole matrix takes minutes: `make kill-matrix`. Without `KILL_MATRIX=whole` each step is killed at one point only.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from driving import Driver
from golden_example import REPOSITORY
from places import Places, without_number
from shapes import CREATE_EFFECTS, SHAPES, Shape, calls, orchestrator, steps_of, steps_of_the_abort
from sqlalchemy import Engine, text

from orchestrator_dagster import Database, Process, Session
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.ops import commit_path
from orchestrator_dagster.ops.commit_path import CommitPoint
from orchestrator_dagster.testing import JumpingClock

WORKERS = REPOSITORY / "tests" / "workers"

WHOLE = os.environ.get("KILL_MATRIX") == "whole"
POINTS = list(CommitPoint)
DAGSTER_HEARS = CommitPoint.AFTER_COMMIT_BEFORE_DAGSTER
DIFFERS = {"mark", "process_id", "callback_route"}
"""What the states of two processes of the same shape don't have in common."""


def places(shape: Shape) -> list[str]:
    """Return the places that a process of a shape comes by, those of its children after its own.

    Of a step that is skipped there is no effect, and of what an abort does Dagster hears once, at its end.
    """
    skipped = {"c"} if shape.name == "choice" else set()
    found = [(point, key) for key in steps_of(shape) for point in POINTS]
    found += [(point, key) for key in steps_of_the_abort(shape) for point in POINTS if point is not DAGSTER_HEARS]
    name = Places()
    return [name(point, key) for point, key in found if point is not CommitPoint.BEFORE_EFFECT or key not in skipped]


def matrix() -> list[tuple[str, str]]:
    """Return shapes with the places where their workers are killed."""
    cases = []
    for shape in SHAPES.values():
        by_step: dict[str, list[str]] = {}
        for place in places(shape):
            by_step.setdefault(place.partition("/")[2], []).append(place)
        for number, of_step in enumerate(by_step.values()):
            cases += [(shape.name, place) for place in (of_step if WHOLE else [of_step[number % len(of_step)]])]
    return cases


@dataclass(frozen=True)
class Workers:
    """The process that forks workers.

    Attributes:
        process: the process.
        folder: where notes are left.
    """

    process: "subprocess.Popen[str]"
    folder: Path

    def kill(self, shape: str, mark: str, place: str) -> None:
        """Have a worker work on a process of a shape until it is killed; fail if it isn't."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        note = self.folder / "died-at"
        note.unlink(missing_ok=True)
        self.process.stdin.write(json.dumps([shape, mark, place]) + "\n")
        self.process.stdin.flush()
        status = self.process.stdout.readline().strip()
        output = (self.folder / "output").read_text()[-3000:]
        assert status == str(-signal.SIGKILL), f"the worker ended with {status!r} and was not killed:\n{output}"
        assert note.read_text() == place


@pytest.fixture(scope="module")
def environment(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATOR_DATABASE_URL", module_database_url)
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setenv("CALLS", str(folder / "calls"))
        patch.setenv("DIED_AT", str(folder / "died-at"))
        patch.setenv("WORKERS_OUTPUT", str(folder / "output"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(WORKERS), str(REPOSITORY)]))
        with engine_for(Database().address).begin() as connection:
            connection.execute(text(CREATE_EFFECTS))
        yield folder


@pytest.fixture(scope="module")
def workers(environment: Path) -> Iterator[Workers]:
    command = [sys.executable, "-m", "mortal_shapes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Workers(process, environment)


@dataclass(frozen=True)
class Survivor:
    """What goes on with processes whose workers died.

    Attributes:
        session: by which it does.
        engine: the database.
        clock: the engine's.
    """

    session: Session
    engine: Engine
    clock: JumpingClock

    def find(self, mark: str) -> Process | None:
        """Return the process with a mark, children aside."""
        found = text("""
            SELECT process_id FROM orchestrator.processes JOIN orchestrator.process_inputs USING (process_id)
            WHERE parent_process_id IS NULL AND input_type = 'initial_state' AND state ->> 'mark' = :mark
        """)
        with self.engine.connect() as connection:
            process_id = connection.execute(found, {"mark": mark}).scalar_one_or_none()
        return None if process_id is None else self.session.process(process_id)

    def go_on(self, shape: Shape, mark: str) -> Process:
        """Go on with the process until it ends; start it where nothing of it is left."""
        process = self.find(mark) or self.session.run(shape.name, {"mark": mark})
        return Driver(self.session, self.clock).drive(shape, process)

    def traces(self, process: Process, mark: str) -> dict[str, Any]:
        """Return all that a process has left, but for what differs from one process to the next."""
        with self.engine.connect() as connection:
            effects = connection.execute(text("SELECT * FROM public.effects WHERE mark = :mark"), {"mark": mark}).all()
        return {
            "status": process.status,
            "finished": Counter((row.step, row.branch, row.round, row.status) for row in finished(process)),
            "state": {key: value for key, value in process.state.items() if key not in DIFFERS},
            "effects": Counter(effect.label for effect in effects),
            "called": {call["label"] for call in calls() if call["mark"] == mark},
            "open": self.open_rows(process.process_id),
        }

    def open_rows(self, process_id: UUID) -> int:
        """Return how many waits and unused tokens a process has."""
        statement = text("""
            SELECT (SELECT count(*) FROM orchestrator.process_waits WHERE process_id = :process_id)
                 + (SELECT count(*) FROM orchestrator.subscriptions WHERE held_by = :process_id)
        """)
        with self.engine.connect() as connection:
            return int(connection.execute(statement, {"process_id": process_id}).scalar_one())


def finished(process: Process) -> list[Any]:
    """Return the rows of the log that say that a step need not run again."""
    return [row for row in process.steps if row.status.finished or row.status == "abort"]


@pytest.fixture(scope="module")
def survivor(environment: Path) -> Iterator[Survivor]:
    clock = JumpingClock()
    with use_clock(clock), dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as wfo:
        yield Survivor(wfo, engine_for(Database().address), clock)


@pytest.fixture(scope="module")
def unharmed(survivor: Survivor) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """What a process of each shape leaves whose workers live, and the places that it comes by."""
    left = {}
    for shape in SHAPES.values():
        passed: set[str] = set()

        def note(point: CommitPoint, step: str, passed: set[str] = passed, name: Places = Places()) -> None:  # noqa: B008
            passed.add(name(point, step))

        commit_path.listeners.append(note)
        mark = f"{shape.name} unharmed"
        try:
            process = survivor.go_on(shape, mark)
        finally:
            commit_path.listeners.remove(note)
        left[shape.name] = survivor.traces(process, mark), passed
    return left


@pytest.mark.parametrize("name", SHAPES)
def test_the_matrix_has_every_point_that_a_process_comes_by(
    name: str, unharmed: dict[str, tuple[dict[str, Any], set[str]]]
) -> None:
    traces, passed = unharmed[name]
    assert traces["status"] == SHAPES[name].ends
    generated = set(places(SHAPES[name]))
    assert generated <= passed
    assert set(map(without_number, generated)) == set(map(without_number, passed))


@pytest.mark.parametrize(("name", "place"), matrix())
def test_a_process_whose_worker_was_killed_leaves_what_an_unharmed_one_leaves(
    name: str,
    place: str,
    workers: Workers,
    survivor: Survivor,
    unharmed: dict[str, tuple[dict[str, Any], set[str]]],
) -> None:
    mark = f"{name} {place}"
    workers.kill(name, mark, place)
    process = survivor.go_on(SHAPES[name], mark)
    assert survivor.traces(process, mark) == unharmed[name][0]
    attempts: dict[tuple[str, int], list[int]] = {}
    for row in process.steps:
        attempts.setdefault((row.step, row.round), []).append(row.attempt)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in attempts.values()), "no gap, no duplicate"
    keys: dict[tuple[str, str], set[str]] = {}
    for call in calls():
        if call["mark"] == mark:
            keys.setdefault((call["process_id"], call["label"]), set()).add(call["idempotency_key"])
    assert all(len(heard) == 1 for heard in keys.values()), "the key is the same at every attempt"
