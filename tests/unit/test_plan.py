"""The plan of a workflow: where its steps stand, and how the step log knows them."""

from typing import Any

import pytest

from orchestrator_dagster import (
    DefinitionError,
    State,
    Workflow,
    begin,
    callback_step,
    conditional,
    foreach,
    parallel,
    step,
    step_group,
    workflow,
)
from orchestrator_dagster.ops.plan import BranchEnd, Plan, Scope
from orchestrator_dagster.ops.planning import plan
from orchestrator_dagster.ops.step import Chainable, Step


def made(name: str, **options: Any) -> Step:
    def nothing() -> State:
        return {}

    nothing.__name__ = name
    return step(name.capitalize(), **options)(nothing)


a, b, c, d, e = map(made, "abcde")

NESTED = begin >> a >> parallel(begin >> b >> foreach("saps")(begin >> c >> parallel(d, e)), step_group("Lay", d)) >> e


def before(planned: Plan) -> dict[str, tuple[str, ...]]:
    return {key: step.before for key, step in planned.items()}


def conditions(planned: Plan) -> dict[str, list[str]]:
    return {key: list(step.conditions) for key, step in planned.items()}


def test_branches_and_items_have_flat_keys_and_groups_have_dotted_ones() -> None:
    assert list(plan(NESTED)) == [
        "a",
        "b",
        "foreach_saps",
        "c",
        "d",
        "e",
        "join",
        "foreach_saps_join",
        "lay.d",
        "join_2",
        "e_2",
    ]


def test_a_step_keeps_its_key_when_it_moves_into_a_branch() -> None:
    assert {"a", "b"} <= set(plan(begin >> a >> b)) & set(plan(begin >> parallel(a, b)))


def test_groups_of_one_title_get_numbers_and_each_has_keys_of_its_own() -> None:
    dig = step_group("Dig", begin >> a >> a)
    planned = plan(begin >> dig >> made("dig") >> dig)
    assert list(planned) == ["dig.a", "dig.a_2", "dig_2", "dig_3.a", "dig_3.a_2"]
    assert {key: group.name for key, group in planned.groups.items()} == {"dig": "Dig", "dig_3": "Dig"}


def test_branches_with_a_title_have_their_keys_from_it() -> None:
    planned = plan(begin >> parallel(a, b, name="Both ends") >> parallel(a, b))
    assert [key for key in planned if "join" in key] == ["both_ends_join", "join"]
    assert planned.place("a").branch == "both_ends[0]"


def test_every_step_knows_the_ones_directly_before_it() -> None:
    assert before(plan(NESTED)) == {
        "a": (),
        "b": ("a",),
        "foreach_saps": ("b",),
        "c": ("foreach_saps",),
        "d": ("c",),
        "e": ("c",),
        "join": ("d", "e"),
        "foreach_saps_join": ("foreach_saps", "join"),
        "lay.d": ("a",),
        "join_2": ("foreach_saps_join", "lay.d"),
        "e_2": ("join_2",),
    }


def test_every_step_knows_the_forks_around_it() -> None:
    planned = plan(NESTED)
    outer, sap = Scope("parallel", 0), Scope("foreach_saps")
    assert planned["a"].scope == planned["join_2"].scope == ()
    assert planned["foreach_saps"].scope == planned["foreach_saps_join"].scope == (outer,)
    assert planned["e"].scope == (outer, sap, Scope("parallel_2", 1))
    assert planned["lay.d"].scope == (Scope("parallel", 1),)


def test_a_place_has_the_key_the_branch_and_the_title_that_the_log_has() -> None:
    place = plan(NESTED).place("e", 3)
    assert (place.key, place.branch, place.title) == ("e[3]", "parallel[0]/foreach_saps[3]/parallel_2[1]", "E [3]")
    assert place.before == ("c[3]",)
    outside = plan(NESTED).place("e_2")
    assert (outside.key, outside.branch, outside.title, outside.before) == ("e_2", "", "E", ("join_2",))


def test_the_first_step_of_an_item_comes_after_the_one_that_fans_out() -> None:
    assert plan(NESTED).place("c", 2).before == ("foreach_saps",)


def test_a_join_knows_its_branches() -> None:
    planned = plan(NESTED)
    assert planned.place("join_2").branches() == (
        BranchEnd("parallel[0]", "foreach_saps_join"),
        BranchEnd("parallel[1]", "lay.d"),
    )
    assert planned.place("foreach_saps_join").branches(items=2) == (
        BranchEnd("parallel[0]/foreach_saps[0]", "join[0]"),
        BranchEnd("parallel[0]/foreach_saps[1]", "join[1]"),
    )
    assert planned.place("foreach_saps_join").branches(items=0) == ()
    assert planned.place("foreach_saps_join").before == ("foreach_saps",)
    assert planned.place("join", 4).branches() == (
        BranchEnd("parallel[0]/foreach_saps[4]/parallel_2[0]", "d[4]"),
        BranchEnd("parallel[0]/foreach_saps[4]/parallel_2[1]", "e[4]"),
    )
    assert planned.place("a").branches() == ()


def test_what_fans_out_and_what_joins_know_the_list() -> None:
    planned = plan(NESTED)
    forks = [planned[key].fork for key in ("foreach_saps", "foreach_saps_join")]
    assert [(fork.key, fork.over, fork.ends) for fork in forks if fork] == [("foreach_saps", "saps", ("join",))] * 2


@pytest.mark.parametrize("key", ["a", "lay.d", "c[0]", "join[12]", "foreach_saps", "foreach_saps_join"])
def test_a_key_of_the_log_leads_to_its_place(key: str) -> None:
    place = plan(NESTED).place_of(key)
    assert place is not None
    assert place.key == key


@pytest.mark.parametrize("key", ["z", "a[0]", "c", "lay", "a:undo", "start of it", ""])
def test_a_key_that_the_workflow_does_not_have_leads_nowhere(key: str) -> None:
    assert plan(NESTED).place_of(key) is None


def test_a_condition_around_a_shape_is_decided_once_at_its_first_step() -> None:
    shapes = begin >> step_group("G", begin >> a >> b) >> parallel(c, d) >> foreach("saps")(e)
    planned = plan(begin >> conditional(bool)(shapes))
    assert {tuple(keys) for keys in conditions(planned).values()} == {("g.a:0",)}


def test_each_shape_with_a_condition_of_its_own_decides_for_itself() -> None:
    only = conditional(bool)
    planned = plan(begin >> only(parallel(a, b)) >> only(foreach("saps")(c)))
    assert conditions(planned) == {
        "a": ["a:0"],
        "b": ["a:0"],
        "join": ["a:0"],
        "foreach_saps": ["foreach_saps:0"],
        "c": ["foreach_saps:0"],
        "foreach_saps_join": ["foreach_saps:0"],
    }


def test_conditions_of_an_outer_shape_come_first() -> None:
    inner = conditional(lambda state: state["inner"])
    outer = conditional(lambda state: state["outer"])
    planned = plan(begin >> outer(step_group("G", begin >> a >> inner(begin >> b >> c))))
    assert conditions(planned) == {"g.a": ["g.a:0"], "g.b": ["g.a:0", "g.b:1"], "g.c": ["g.a:0", "g.b:1"]}
    outermost, innermost = planned["g.b"].conditions.values()
    assert outermost.predicate({"outer": True})
    assert innermost.predicate({"inner": True})


def test_a_shape_that_occurs_twice_decides_each_time() -> None:
    group = step_group("G", conditional(bool)(begin >> a >> b))
    assert conditions(plan(begin >> group >> group)) == {
        "g.a": ["g.a:0"],
        "g.b": ["g.a:0"],
        "g_2.a": ["g_2.a:0"],
        "g_2.b": ["g_2.a:0"],
    }


def test_within_a_foreach_conditions_are_decided_for_each_item() -> None:
    only = conditional(bool)
    planned = plan(begin >> only(foreach("saps")(begin >> a >> only(begin >> b >> c))))
    assert list(planned.place("c", 2).conditions) == ["foreach_saps:0", "b[2]:1"]
    assert list(planned.place("a", 2).conditions) == ["foreach_saps:0"]


def test_the_plan_is_stored_with_what_recognises_its_steps() -> None:
    assert plan(begin >> conditional(bool)(a) >> parallel(b, step_group("G", foreach("saps")(c)))).record() == [
        {"step": "a", "name": "a", "conditions": ["a:0"]},
        {"step": "b", "name": "b", "conditions": [], "scope": ["parallel[0]"]},
        {"step": "g.foreach_saps", "name": "foreach_saps", "conditions": [], "scope": ["parallel[1]"]},
        {"step": "g.c", "name": "c", "conditions": [], "scope": ["parallel[1]", "g.foreach_saps"]},
        {"step": "g.foreach_saps_join", "name": "foreach_saps_join", "conditions": [], "scope": ["parallel[1]"]},
        {"step": "join", "name": "join", "conditions": []},
    ]


def test_a_renamed_step_is_found_by_its_former_name() -> None:
    renamed = made("reserve", renamed_from=("book", "claim"))
    planned = plan(begin >> a >> foreach("saps")(step_group("G", begin >> renamed >> renamed)))
    found = {
        "a": "a",
        "g.book[2]": "g.reserve[2]",
        "g.claim_2[0]": "g.reserve_2[0]",
        "g.reserve[1]": "g.reserve[1]",
        "g.book[2]:undo": "g.reserve[2]:undo",
        "g.book:0": "g.reserve:0",
        "book": None,
        "z": None,
    }
    assert {key: planned.current_key(key) for key in found} == found


def test_the_steps_of_a_renamed_group_are_found_by_its_former_title() -> None:
    inner = callback_step("Order", made("send", renamed_from="post"))
    planned = plan(begin >> step_group("Provision", begin >> a >> inner, renamed_from="Make ready"))
    found = {
        "make_ready.a": "provision.a",
        "make_ready.order.post": "provision.order.send",
        "provision.order.post": "provision.order.send",
        "make_ready.order:restart": "provision.order:restart",
        "make_ready": "provision",
    }
    assert {key: planned.current_key(key) for key in found} == found


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (begin >> a >> made("x", renamed_from="a"), "x is renamed from a, which another step is called too"),
        (begin >> made("x", renamed_from="z") >> made("y", renamed_from="z"), "Two steps are renamed from z"),
        (step_group("G", begin >> a >> made("x", renamed_from="a")), "g.x is renamed from g.a"),
        (
            begin >> step_group("G", made("x", renamed_from="z")) >> step_group("H", made("y"), renamed_from="G"),
            "h is renamed from g, which another step is called too",
        ),
    ],
    ids=["a step's name of today", "claimed twice", "in a group", "a group's title of today"],
)
def test_a_former_name_that_tells_of_two_steps_is_refused(steps: Chainable, message: str) -> None:
    with pytest.raises(DefinitionError, match=f"Workflow shapes: {message}"):
        of(steps)


def test_a_former_name_may_be_another_group_s() -> None:
    planned = plan(begin >> step_group("G", made("x", renamed_from="a")) >> a)
    assert [planned.current_key(key) for key in ("g.a", "a")] == ["g.x", "a"]


def of(steps: Chainable) -> Workflow:
    def shapes() -> Chainable:
        return steps

    return workflow("Shapes")(shapes)


def test_only_the_last_step_of_all_completes_the_process() -> None:
    planned = plan(begin >> a >> parallel(b, c))
    assert [key for key, step in planned.items() if step.last] == ["join"]


def test_a_plan_can_be_read_as_a_mapping() -> None:
    planned = of(begin >> a >> b).plan
    assert (len(planned), list(planned), planned["b"].step.name, planned.get("z")) == (2, ["a", "b"], "B", None)
