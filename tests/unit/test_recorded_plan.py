"""Which of the steps of today those are that a process has on record."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator_dagster import begin, callback_step, conditional, foreach, parallel, step, step_group
from orchestrator_dagster.db.step_log import StepRow
from orchestrator_dagster.domain.process import StepStatus
from orchestrator_dagster.ops.plan import Plan
from orchestrator_dagster.ops.planning import plan
from orchestrator_dagster.ops.recorded_plan import RecordedPlan, TodaysSteps
from orchestrator_dagster.ops.step import Chainable


def named(name: str, **options: Any) -> Any:
    def do() -> dict[str, Any]:
        return {}

    do.__name__ = name
    return step(name, **options)(do)


A, B, C = named("a"), named("b"), named("c")


def of(steps: Chainable) -> Plan:
    return plan(begin >> steps)


def row(key: str, **facts: Any) -> StepRow:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    return StepRow(key, key, StepStatus.SUCCESS, "run", "alice", now, now, **facts)


@pytest.mark.parametrize(
    ("before", "now", "keys"),
    [
        pytest.param(A >> B, B >> A, {"a": "a", "b": "b"}, id="in another order"),
        pytest.param(A >> B, step_group("G", A) >> B, {"a": "g.a", "a:undo": "g.a:undo"}, id="into a group"),
        pytest.param(step_group("G", A), begin >> A, {"g.a": "a"}, id="out of a group"),
        pytest.param(step_group("G", A), step_group("H", A), {"g.a": "h.a"}, id="into another group"),
        pytest.param(foreach("x")(A), step_group("G", foreach("x")(A)), {"a[3]": "g.a[3]"}, id="with its fork"),
        pytest.param(begin >> A, step_group("G", named("z", renamed_from="a")), {"a": "g.z"}, id="and renamed"),
        pytest.param(A >> B, step_group("G", named("b", renamed_from="a")), {"a": None, "b": "g.b"}, id="one of two"),
        pytest.param(begin >> A, step_group("G", A >> A), {"a": None}, id="used twice now"),
        pytest.param(A >> A, step_group("G", A), {"a": None, "a_2": None}, id="used twice before"),
        pytest.param(A >> A, A >> named("a_2"), {"a_2": None}, id="another one that has its key"),
        pytest.param(A >> B, begin >> B, {"a": None}, id="removed"),
    ],
)
def test_a_step_is_known_by_its_key_or_by_its_name(
    before: Chainable, now: Chainable, keys: dict[str, str | None]
) -> None:
    today = TodaysSteps(of(now), of(before).record())
    assert {key: today.key_of(key) for key in keys} == keys


def test_a_step_is_known_by_the_keys_that_it_had_in_every_version() -> None:
    first, second, third = of(begin >> A), of(step_group("G", A)), of(step_group("H", step_group("G", A)))
    in_second = TodaysSteps(second, first.record()).record()
    in_third = TodaysSteps(third, in_second)
    assert [in_third.key_of(key) for key in ("a", "g.a")] == ["h.g.a", "h.g.a"]
    assert [entry["formerly"] for entry in in_third.record()] == [["a", "g.a"]]
    assert TodaysSteps(first, in_third.record()).key_of("h.g.a") == "a", "back again"


def test_what_a_condition_decided_is_known_by_the_step_that_it_was_asked_for() -> None:
    before, now = of(conditional(bool)(begin >> A)), of(conditional(bool)(step_group("G", A)))
    [moved] = TodaysSteps(now, before.record()).rows([row("a", conditions={"a:0": True})])
    assert (moved.step, moved.conditions) == ("g.a", {"g.a:0": True})


def test_a_group_that_starts_again_is_known_by_its_steps() -> None:
    before, now = of(callback_step("Cable", A, B)), of(step_group("G", callback_step("Cable", A, B)))
    [moved] = TodaysSteps(now, before.record()).rows([row("cable:restart", detail={"restart": "cable"})])
    assert moved.detail == {"restart": "g.cable"}


def test_a_fork_is_known_by_the_step_that_joins_it() -> None:
    before = of(parallel(begin >> A, parallel(B, C), name="Outer"))
    recorded = RecordedPlan(before.record())
    assert {fork: recorded.join_of(fork).key for fork in recorded.forks} == {"outer": "outer_join", "parallel": "join"}
    today = TodaysSteps(of(step_group("G", parallel(begin >> A, parallel(B, C), name="Outer"))), before.record())
    assert [today.fork_of(fork) for fork in recorded.forks] == ["g.outer", "g.parallel"]


def test_a_step_that_was_added_to_branches_that_have_joined_is_passed_by() -> None:
    before, now = of(foreach("x")(A) >> B), of(foreach("x")(A >> C) >> B)
    log = [row("foreach_x", detail={"items": [1, 2]}), row("a[0]"), row("a[1]"), row("foreach_x_join")]
    today = TodaysSteps(now, before.record())
    assert today.memory({}, log).finished >= {"c[0]", "c[1]"}
    assert today.memory({}, log[:-1]).finished.isdisjoint({"c[0]", "c[1]"}), "not before they have"
