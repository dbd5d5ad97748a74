"""The state of a process in the step log: small where steps change little, and the same when it is read again."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from orchestrator_dagster import Orchestrator, Process, Session, State, StepList, begin, done, init, step, workflow
from orchestrator_dagster.db import migrate
from orchestrator_dagster.db.step_log import recall, step_rows

STEPS = 30
MODEL_BYTES = 200_000
MOST_BYTES = 1_000_000

pytestmark = pytest.mark.usefixtures("orchestrator_database")


def large_model() -> dict[str, Any]:
    """Something like the dump of a subscription with many ports."""
    ports = [
        {"subscription_instance_id": str(UUID(int=number)), "name": f"xe-0/0/{number}", "vlans": [number, 1.0, True]}
        for number in range(2_000)
    ]
    return {"description": "A node", "node": {"name": "ams-core-1", "ports": ports, "counter": 0}}


def count_up(number: int, change: Callable[[Any, int], None], failing: set[int]) -> StepList:
    def count(model: Any) -> State:
        change(model, number)
        if number in failing:
            failing.discard(number)
            raise RuntimeError("no route")
        return {"model": model}

    return StepList([step(f"Count {number}")(count)])


def run_counting(change: Callable[[Any, int], None], failing: set[int]) -> tuple[Session, Process]:
    def form() -> Any:
        yield from ()
        return {"model": large_model()}

    @workflow("Count", initial_input_form=form)
    def counting() -> StepList:
        steps = begin >> init
        for number in range(STEPS):
            steps = steps >> count_up(number, change, failing)
        return steps >> done

    wfo: Session = Orchestrator([], workflows=[counting]).connect()  # type: ignore[assignment]
    with wfo:
        process = wfo.run("counting")
        if process.status == "failed":
            process.retry()
    return wfo, process


def change_a_field(model: Any, number: int) -> None:
    model["node"]["ports"][number * 60]["name"] = f"changed in {number}"
    model["node"]["counter"] += 1


def put_in_front(model: Any, number: int) -> None:
    model["node"]["ports"].insert(0, {"name": f"new in {number}"})


def stored_bytes(engine: Engine, process: Process) -> int:
    with engine.connect() as connection:
        statement = """
            SELECT sum(octet_length(CAST(log AS text)) + pg_column_size(log))
            FROM orchestrator.process_steps AS log WHERE process_id = :id
        """
        return int(connection.execute(text(statement), {"id": process.process_id}).scalar_one())


@pytest.mark.parametrize("change", [change_a_field, put_in_front])
@pytest.mark.parametrize("failing", [set(), {0}, {17}], ids=str)
def test_thirty_steps_on_a_large_model_store_little_and_give_back_the_whole(
    engine: Engine, change: Callable[[Any, int], None], failing: set[int]
) -> None:
    expected = large_model()
    assert len(json.dumps(expected)) > MODEL_BYTES
    for number in range(STEPS):
        change(expected, number)
    process = run_counting(change, set(failing))[1]
    assert process.status == "completed", process.traceback
    assert stored_bytes(engine, process) < MOST_BYTES
    with engine.connect() as connection:
        state = recall(connection, process.process_id).state
    assert json.dumps(state["model"]) == json.dumps(expected)


def test_a_row_names_what_its_step_changed(engine: Engine) -> None:
    @step("Give")
    def give() -> State:
        return {"model": large_model(), "colour": "blue", "shade": "warm"}

    @step("Change")
    def change(model: Any) -> State:
        model["node"]["name"] = "ams-core-2"
        return {"model": model, "colour": "red", "shade": "warm", "new": None}

    @workflow("Paint")
    def paint() -> StepList:
        return begin >> init >> give >> change >> done

    with Orchestrator([], workflows=[paint]).connect() as wfo:
        row = next(row for row in wfo.run("paint").steps if row.step == "change")
    assert row.changes == {"colour": "red", "new": None}
    assert row.edits == {"model": {"edit": {"node": {"set": {"name": "ams-core-2"}}}}}
    assert set(row.changed) == {"colour", "new", "model"}


def test_what_the_first_revision_stored_is_read_as_before_and_can_be_had_again(engine: Engine) -> None:
    """It had whole values only. Undoing the second revision writes those; doing it once more changes no row."""
    _, process = run_counting(change_a_field, {20})
    migrate.downgrade(engine, "0001")
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT changes FROM orchestrator.process_steps WHERE process_id = :id ORDER BY step_id"),
            {"id": process.process_id},
        )
        state = {key: value for (changes,) in rows for key, value in changes.items()}
    migrate.upgrade(engine)
    with engine.connect() as connection:
        again = recall(connection, process.process_id).state
        assert [row.edits for row in step_rows(connection, process.process_id)] == [None] * len(process.steps)
    assert json.dumps(state["model"]) == json.dumps(again["model"]) == json.dumps(process.state["model"])


def test_a_process_that_the_first_revision_knows_goes_on(engine: Engine) -> None:
    wfo, process = run_counting(change_a_field, {20, 21})
    assert process.status == "failed"
    migrate.downgrade(engine, "0001")
    migrate.upgrade(engine)
    with wfo:
        assert process.retry().status == "completed", process.traceback
    assert process.state["model"]["node"]["counter"] == STEPS
