"""What follows from the rows of a step log: the state, branch by branch, and which steps are finished."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_dagster.db.step_log import Memory, StepRow
from orchestrator_dagster.domain.branches import merged
from orchestrator_dagster.domain.process import StepStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)

FAN_OUT = {"items": ["x", "y", "z"], "key": "saps"}


def row(step: str, branch: str = "", status: StepStatus = StepStatus.SUCCESS, **more: Any) -> StepRow:
    return StepRow(step, step, status, "run", "me", NOW, NOW, branch=branch, **more)


def restart(group: str, round_: int = 1) -> StepRow:
    return row(f"{group}:restart", round=round_, detail={"restart": group})


def test_a_branch_sees_the_state_at_the_fork_and_what_it_changed_itself() -> None:
    memory = Memory({"a": 1}).after(
        row("first", changes={"b": 2}),
        row("left", "parallel[0]", changes={"a": 10}),
        row("right", "parallel[1]", changes={"c": 3}),
    )
    assert memory.state == {"a": 1, "b": 2}
    assert memory.state_in("parallel[0]") == {"a": 10, "b": 2}
    assert memory.state_in("parallel[1]") == {"a": 1, "b": 2, "c": 3}
    assert memory.state_in("parallel[2]") == {"a": 1, "b": 2}
    assert memory.state_in("") == memory.state


def test_a_branch_of_a_foreach_knows_its_item_and_index() -> None:
    memory = Memory({"saps": [], "item": "mine"}).after(row("foreach_saps", detail=FAN_OUT))
    assert memory.state_in("foreach_saps[1]") == {"saps": [], "item": "y", "index": 1}
    assert memory.state == {"saps": [], "item": "mine"}


def test_a_foreach_goes_through_the_items_that_were_there_when_it_was_reached() -> None:
    memory = Memory({"saps": ["x"]}).after(row("foreach_saps", detail=FAN_OUT), row("later", changes={"saps": []}))
    assert memory.items["foreach_saps"] == ["x", "y", "z"]
    assert memory.state_in("foreach_saps[2]")["item"] == "z"


def test_a_foreach_inside_a_branch_sees_what_that_branch_changed() -> None:
    memory = Memory({"a": 1}).after(
        row("left", "parallel[0]", changes={"a": 2}),
        row("foreach_saps", "parallel[0]", detail=FAN_OUT),
        row("configure[1]", "parallel[0]/foreach_saps[1]", changes={"vlan": 7}),
    )
    assert memory.state_in("parallel[0]/foreach_saps[1]") == {"a": 2, "item": "y", "index": 1, "vlan": 7}
    assert memory.state_in("parallel[0]/foreach_saps[0]") == {"a": 2, "item": "x", "index": 0}
    assert memory.state_in("parallel[0]") == {"a": 2}


def test_a_branch_that_edits_a_value_of_the_fork_leaves_that_of_the_others_alone() -> None:
    memory = Memory({"node": {"name": "a", "ports": 1}}).after(
        row("left", "parallel[0]", edits={"node": {"set": {"name": "b"}}}),
        row("left_again", "parallel[0]", edits={"node": {"set": {"ports": 2}}}),
    )
    assert memory.state_in("parallel[0]") == {"node": {"name": "b", "ports": 2}}
    assert memory.state_in("parallel[1]") == {"node": {"name": "a", "ports": 1}}


def test_a_value_that_is_replaced_while_branches_are_open_is_seen_by_those_that_did_not_write_it() -> None:
    memory = Memory({"a": 1}).after(
        row("left", "parallel[0]", changes={"a": 10}),
        row("right", "parallel[1]", changes={"b": 2}),
        row("replace_value[1]", changes={"a": 5}),
    )
    assert memory.state_in("parallel[0]")["a"] == 10
    assert memory.state_in("parallel[1]")["a"] == 5


def test_a_join_does_not_undo_what_was_replaced_while_its_branches_were_open() -> None:
    memory = Memory({"a": 1}).after(
        row("right", "parallel[1]", changes={"b": 2}),
        row("replace_value[1]", changes={"a": 5}),
    )
    assert merged(memory.state, memory.branches) == {"a": 5, "b": 2}


def test_branches_join_where_they_forked() -> None:
    memory = Memory({"a": 1}).after(
        row("left", "parallel[0]", changes={"a": 2}),
        row("foreach_saps", "parallel[0]", detail=FAN_OUT),
        row("configure[2]", "parallel[0]/foreach_saps[2]", changes={"vlan": 7}),
    )
    branches = [f"parallel[0]/foreach_saps[{index}]" for index in range(3)]
    changed = {branch: memory.branches.get(branch, {}) for branch in branches}
    after = merged(memory.state_in("parallel[0]"), changed, collect=True)
    assert after == {"a": 2, "vlan": [None, None, 7]}


def test_a_step_that_did_not_finish_changes_nothing_but_what_was_decided() -> None:
    memory = Memory({"a": 1}).after(row("left", status=StepStatus.FAILED, changes={"a": 2}, conditions={"if": True}))
    assert memory == Memory({"a": 1}, conditions={"if": True})


def test_the_steps_of_a_group_that_starts_again_are_not_finished_any_more() -> None:
    memory = Memory({}).after(
        row("first"),
        row("notify.create_endpoint"),
        row("notify.action"),
        row("notifying"),
        restart("notify"),
        row("notify.create_endpoint", round=2),
    )
    assert memory.finished == {"first", "notify.create_endpoint", "notifying", "notify:restart"}
    assert memory.round_of("notify") == 2
    assert memory.round_of("notify.action") == 2
    assert memory.round_of("notifying") == memory.round_of("first") == 1


def test_what_a_group_changed_before_it_started_again_stays_in_the_state() -> None:
    memory = Memory({}).after(row("notify.create_endpoint", changes={"route": "/1"}), restart("notify"))
    assert memory.state == {"route": "/1"}


def test_in_a_foreach_only_the_group_of_one_item_starts_again() -> None:
    rows = [row(f"notify.action[{index}]", f"foreach_saps[{index}]") for index in range(12)]
    memory = Memory({}).after(*rows, restart("notify[1]"))
    assert "notify.action[1]" not in memory.finished
    assert {"notify.action[0]", "notify.action[11]"} <= memory.finished
    assert memory.round_of("notify.action[1]") == 2
    assert memory.round_of("notify.action[11]") == 1


def test_a_group_may_start_many_times() -> None:
    memory = Memory({})
    for round_ in (1, 2, 3):
        memory = memory.after(row("a.notify.action", round=round_), restart("a.notify", round_))
        assert "a.notify.action" not in memory.finished
    assert memory.round_of("a.notify.action") == 4
    assert memory.after(row("a.notify.action", round=4), row("next")).finished >= {"a.notify.action", "next"}


@st.composite
def logs(draw: st.DrawFn) -> list[StepRow]:
    """Rows of a process with two branches, of which one goes through items, and a group that starts again."""
    rows, rounds = [row("foreach_saps", "parallel[1]", detail=FAN_OUT)], 1
    places = ["", "parallel[0]", "parallel[1]", "parallel[1]/foreach_saps[0]", "parallel[1]/foreach_saps[2]"]
    for number in range(draw(st.integers(0, 12))):
        if draw(st.integers(0, 4)) == 0:
            rows.append(restart("group", rounds))
            rounds += 1
        changes = draw(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=2))
        step = draw(st.sampled_from(["group.action", f"step_{number}"]))
        rows.append(row(step, draw(st.sampled_from(places)), changes=changes, round=rounds))
    return rows


@given(logs())
def test_a_log_read_at_once_says_the_same_as_one_read_row_by_row(rows: list[StepRow]) -> None:
    one_by_one = Memory({"a": 0})
    for each in rows:
        one_by_one = one_by_one.after(each)
    assert Memory({"a": 0}).after(*rows) == one_by_one


@given(logs(), st.randoms())
def test_it_makes_no_difference_in_which_order_branches_did_their_steps(rows: list[StepRow], random: Any) -> None:
    in_branches = [each for each in rows if each.branch and not each.detail]
    branches = sorted({each.branch for each in in_branches})
    random.shuffle(branches)
    by_branch = [each for branch in branches for each in in_branches if each.branch == branch]
    one, other = Memory({"a": 0}).after(rows[0], *in_branches), Memory({"a": 0}).after(rows[0], *by_branch)
    assert one == other
