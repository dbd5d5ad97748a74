"""However many processes are suspended, going on with one asks the database as many questions, answered by index."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from benchmarks.suspended.data import copy_process
from benchmarks.suspended.standing import Held, Standing
from orchestrator_dagster.db.engine import engine_for

MANY = 2_000
LARGE = "processes|process_waits|process_steps|process_inputs|process_runs"


@pytest.fixture(scope="module")
def standing(module_database_url: str) -> Iterator[Standing]:
    with Standing.of(module_database_url, MANY) as standing:
        yield standing


@contextmanager
def noting(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Note the statements that run, with their parameters."""
    ran: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        ran.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(engine, "before_cursor_execute", note)


def sequential_scans(engine: Engine, ran: list[tuple[str, Any]]) -> list[str]:
    """Return where the plans of statements read a large table from beginning to end."""
    found = []
    with engine.connect() as connection:
        for statement, parameters in ran:
            if re.match(r"\s*(WITH|SELECT|UPDATE|INSERT|DELETE)\b", statement):
                plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
                found += [f"{scan}\n{statement}" for scan in re.findall(rf"Seq Scan on (?:{LARGE})\b.*", plan)]
    return found


def test_many_are_suspended_and_hold_nothing(standing: Standing) -> None:
    assert standing.suspended == MANY
    assert standing.held() == Held(threads=0, connections=0, locks=0, runs=0)


def test_a_copy_is_a_process_like_any_other(standing: Standing) -> None:
    for process in standing.session.processes(status="suspended", limit=3):
        assert process.current_step == "approve"
        assert process.form["properties"].keys() == {"approved"}


def test_going_on_with_one_of_many_reads_no_table_from_beginning_to_end(standing: Standing) -> None:
    with noting(standing.engine) as ran:
        standing.resume_one()
    assert len(ran) > 10
    assert sequential_scans(standing.engine, ran) == []


def test_the_sensor_looks_at_none_of_them(standing: Standing) -> None:
    standing.tick()
    with noting(standing.engine) as ran:
        standing.tick()
    assert 0 < len(ran) <= 10, [statement for statement, _ in ran]
    assert sequential_scans(standing.engine, ran) == []


def test_going_on_takes_as_many_statements_with_many_as_with_few(standing: Standing, new_database: Any) -> None:
    with Standing.of(new_database(), 2) as few:
        for each in (few, standing):
            # what is done once in a process is done then
            each.resume_one()
        counts = []
        for each in (few, standing):
            with noting(each.engine) as ran:
                each.resume_one()
            counts.append(len(ran))
    assert counts[0] == counts[1]


def test_copies_have_all_that_the_original_has(standing: Standing) -> None:
    (one,) = standing.session.processes(status="suspended", limit=1)
    copy_process(standing.engine, one.process_id, 1)
    with engine_for(str(standing.session.orchestrator.database.address)).connect() as connection:
        rows = text("""
            SELECT count(*), count(DISTINCT process_id) FROM orchestrator.process_waits WHERE kind = 'input'
        """)
        waits, processes = connection.execute(rows).one()
    assert waits == processes == standing.suspended
