"""What a workflow can be made of: groups, conditions, lenses, branches, other workflows, ops of Dagster's own."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from flows import Benches, Outside, asks, called, flow, rows

from orchestrator_dagster import (
    Assignee,
    DefinitionError,
    FormGenerator,
    FormPage,
    ProcessStateError,
    State,
    StepList,
    abort,
    begin,
    callback_step,
    conditional,
    focussteps,
    foreach,
    inputstep,
    obsolete_step,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    steplens,
    wait_for,
)
from orchestrator_dagster.testing import (
    assert_aborted,
    assert_awaiting_callback,
    assert_complete,
    assert_failed,
    assert_state,
    assert_suspended,
    assert_waiting,
)

HOUR = timedelta(hours=1)


class Sites(FormPage):
    """What the workflows of these tests begin with."""

    sites: list[str]


def gives(name: str, **values: Any) -> Any:
    """Return a step that puts values into the state."""
    return step(name.capitalize())(called(lambda: dict(values), name))


class TestGroups:
    def test_a_group_is_a_graph_within_the_graph_and_each_of_its_steps_is_on_record(
        self, benches: Benches, outside: Outside
    ) -> None:
        grouped = flow(
            step_group("Lay cable", begin >> outside.step("dig") >> outside.step("lay")), outside.step("test")
        )
        with benches.open(grouped) as bench:
            job = bench.session.orchestrator.job(grouped.name)
            assert isinstance(job.graph.node_named("lay_cable").definition, dg.GraphDefinition)
            process = bench.run(grouped.name)
            assert_complete(process)
            assert rows(process) == [("lay_cable.dig", "success"), ("lay_cable.lay", "success"), ("test", "success")]

    def test_each_of_its_forms_is_the_one_that_is_asked(self, benches: Benches) -> None:
        grouped = flow(step_group("Ask", begin >> asks("one") >> asks("two")))
        with benches.open(grouped) as bench:
            process = bench.run(grouped.name)
            assert_suspended(process, "ask.ask_one")
            assert process.form["properties"].keys() == {"one"}
            process.resume({"one": "x"})
            assert_suspended(process, "ask.ask_two")
            assert process.form["properties"].keys() == {"two"}
            assert_complete(process.resume({"two": "y"}))
            assert_state(process, {"one": "x", "two": "y"})

    def test_a_failed_step_in_it_is_retried_and_those_before_it_are_not_done_again(
        self, benches: Benches, outside: Outside
    ) -> None:
        inner = step_group("Inner", begin >> outside.step("b") >> outside.step("c"))
        grouped = flow(step_group("Outer", begin >> outside.step("a") >> inner >> outside.step("d")))
        with benches.open(grouped) as bench:
            outside.broken.add("c")
            process = bench.run(grouped.name)
            assert_failed(process, step="outer.inner.c")
            outside.broken.clear()
            assert_complete(process.retry())
            assert outside.calls == ["a", "b", "c", "c", "d"]

    def test_the_same_step_may_stand_in_a_workflow_more_than_once(self, benches: Benches, outside: Outside) -> None:
        dig = outside.step("dig")
        grouped = flow(dig, dig, step_group("Again", begin >> dig >> dig), step_group("Again", begin >> dig))
        with benches.open(grouped) as bench:
            process = bench.run(grouped.name)
            assert_complete(process)
            assert len(outside.calls) == 5
            assert len(set(outside.keys["dig"])) == 5
            assert len({row.step for row in process.steps}) == 7


class TestConditions:
    def test_a_step_whose_condition_does_not_hold_is_skipped_and_on_record(
        self, benches: Benches, outside: Outside
    ) -> None:
        if_wanted = conditional(lambda state: state["wanted"])
        chosen = flow(gives("decide", wanted=False), if_wanted(outside.step("a")), outside.step("b"))
        with benches.open(chosen) as bench:
            process = bench.run(chosen.name)
            assert_complete(process)
            assert ("a", "skipped") in rows(process)
            assert outside.calls == ["b"]

    def test_a_condition_over_a_list_is_evaluated_once(self, benches: Benches, outside: Outside) -> None:
        asked: list[bool] = []

        def wanted(state: State) -> bool:
            asked.append(state["wanted"])
            return bool(state["wanted"])

        unwanted = gives("change_mind", wanted=False)
        listed = begin >> outside.step("a") >> unwanted >> asks("one") >> outside.step("b")
        chosen = flow(gives("decide", wanted=True), conditional(wanted)(listed))
        with benches.open(chosen) as bench:
            process = bench.run(chosen.name)
            assert_suspended(process, "ask_one")
            assert_complete(process.resume({"one": "x"}))
            assert outside.calls == ["a", "b"]
            assert asked == [True]

    def test_a_condition_over_a_group_is_evaluated_once_and_kept_after_a_failure(
        self, benches: Benches, outside: Outside
    ) -> None:
        asked: list[bool] = []

        def wanted(state: State) -> bool:
            asked.append(state["wanted"])
            return bool(state["wanted"])

        group = step_group("Work", begin >> gives("change_mind", wanted=False) >> outside.step("a"))
        chosen = flow(gives("decide", wanted=True), conditional(wanted)(group), outside.step("b"))
        with benches.open(chosen) as bench:
            outside.broken.add("a")
            process = bench.run(chosen.name)
            outside.broken.clear()
            assert_complete(process.retry())
            assert outside.calls == ["a", "a", "b"]
            assert asked == [True]

    @pytest.mark.parametrize("wanted", [True, False])
    def test_conditions_stand_over_everything(self, benches: Benches, outside: Outside, wanted: bool) -> None:
        if_wanted = conditional(lambda state: state["wanted"])
        child = flow(outside.step("child"))
        chosen = flow(
            gives("decide", wanted=wanted, sites=["ams"]),
            if_wanted(parallel(outside.step("a"), outside.step("b"))),
            if_wanted(foreach("sites")(outside.step("c"))),
            if_wanted(run_workflow(child.name)),
            if_wanted(wait_for(timedelta())),
            if_wanted(step_group("Group", begin >> outside.step("d"))),
            outside.step("always"),
        )
        with benches.open(chosen, child) as bench:
            process = bench.run(chosen.name)
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == (["a", "b", "c", "child", "d"] if wanted else []) + ["always"]

    def test_a_condition_may_stand_over_a_form_and_a_callback(self, benches: Benches, outside: Outside) -> None:
        if_wanted = conditional(lambda state: state["wanted"])
        chosen = flow(
            gives("decide", wanted=False),
            if_wanted(asks("one")),
            if_wanted(callback_step("Call", outside.step("call"))),
        )
        with benches.open(chosen) as bench:
            assert_complete(bench.run(chosen.name))
            assert outside.calls == []

    def test_a_condition_keeps_who_may_answer(self, benches: Benches) -> None:
        guarded = asks("one", resume_auth_callback=lambda context: context.user == "grace")
        chosen = flow(conditional(lambda state: True)(focussteps("part")(guarded)))
        with benches.open(chosen, user="ada") as bench:
            process = bench.run(chosen.name)
            with pytest.raises(Exception, match="ada"):
                process.resume({"one": "x"})

    def test_a_condition_that_raises_makes_the_process_fail_and_can_be_retried(
        self, benches: Benches, outside: Outside
    ) -> None:
        chosen = flow(conditional(lambda state: state["never_said"])(outside.step("a")))
        with benches.open(chosen) as bench:
            process = bench.run(chosen.name)
            assert_failed(process, "never_said", step="a")
            process.replace_value("never_said", True, "It was forgotten")
            assert_complete(process.retry())
            assert outside.calls == ["a"]


@step("Measure")
def measure(state: State) -> State:
    return {"seen": sorted(state), "length": state.get("length", 0) + 1}


class TestLenses:
    def test_a_focussed_step_sees_and_changes_what_is_under_a_key_only(self, benches: Benches) -> None:
        seen = flow(gives("begin_with", cable={"length": 2}, other=1), focussteps("cable")(measure))
        with benches.open(seen) as bench:
            process = bench.run(seen.name)
            assert_complete(process)
            assert_state(process, {"cable": {"length": 3, "seen": ["length"]}, "other": 1})
            assert "length" not in process.state

    def test_a_focussed_step_may_be_the_first_to_write_there(self, benches: Benches) -> None:
        seen = flow(focussteps("cable")(begin >> measure >> measure))
        with benches.open(seen) as bench:
            process = bench.run(seen.name)
            assert_complete(process)
            assert process.state["cable"]["length"] == 2

    def test_a_lens_is_two_functions(self, benches: Benches) -> None:
        on_first = steplens(
            lambda state: state["cables"][0],
            lambda state: lambda cable: {**state, "cables": [cable, *state["cables"][1:]]},
        )
        seen = flow(gives("begin_with", cables=[{"length": 5}, {"length": 7}]), on_first(measure))
        with benches.open(seen) as bench:
            process = bench.run(seen.name)
            assert_complete(process)
            assert [cable["length"] for cable in process.state["cables"]] == [6, 7]

    def test_a_form_in_a_focus_sees_the_part_and_answers_into_it(self, benches: Benches) -> None:
        @inputstep("Shorten", assignee=Assignee.NOC)
        def shorten(length: int) -> FormGenerator:
            class Page(FormPage):
                by: int = length

            page = yield Page
            return {"length": length - page.by}

        seen = flow(
            gives("begin_with", cable={"length": 5}, length=99),
            focussteps("cable")(step_group("Work", begin >> shorten >> measure)),
        )
        with benches.open(seen) as bench:
            process = bench.run(seen.name)
            assert process.form["properties"]["by"]["default"] == 5
            assert_complete(process.resume({"by": 2}))
            assert process.state["cable"]["length"] == 4
            assert process.state["length"] == 99

    def test_a_callback_in_a_focus_answers_into_it(self, benches: Benches, outside: Outside) -> None:
        routes: list[str] = []

        @step("Call")
        def call(callback_route: str) -> None:
            routes.append(callback_route)

        seen = flow(
            gives("begin_with", cable={"length": 5}),
            focussteps("cable")(begin >> callback_step("Call out", call, result_key="said") >> measure),
        )
        with benches.open(seen) as bench:
            process = bench.run(seen.name)
            assert_awaiting_callback(process)
            assert_complete(bench.callback(process, {"up": True}, route=routes[0]))
            assert process.state["cable"]["said"] == {"up": True}
            assert "said" not in process.state

    def test_timers_and_children_in_a_focus_see_the_part(self, benches: Benches) -> None:
        child = flow(gives("nothing"), initial_input_form=PortPage)
        made = run_workflow(child.name, lambda speed: {"speed": speed}, result_key="made")
        seen = flow(
            gives("begin_with", cable={"speed": 10, "rest": 0}),
            focussteps("cable")(step_group("Work", begin >> wait_for("rest") >> made)),
        )
        with benches.open(seen, child) as bench:
            process = bench.run(seen.name)
            bench.go_on()
            assert_complete(process.refresh())
            assert process.state["cable"]["made"]["speed"] == 10

    @pytest.mark.parametrize(
        "branching", [foreach("ports")(measure), parallel(measure, measure)], ids=["foreach", "parallel"]
    )
    def test_a_focus_around_branches_is_refused_at_definition(self, branching: Any) -> None:
        with pytest.raises(DefinitionError, match="lens"):
            flow(focussteps("cable")(branching))

    def test_a_step_in_a_focus_is_undone_in_it(self, benches: Benches) -> None:
        undone: list[State] = []

        def shorten(state: State) -> State:
            undone.append(dict(state))
            return {"length": 0}

        @step("Lengthen", compensate=shorten)
        def lengthen() -> State:
            return {"length": 7}

        seen = flow(focussteps("cable")(lengthen), asks("one"))
        with benches.open(seen) as bench:
            process = bench.run(seen.name).abort("Enough")
            assert_aborted(process)
            assert undone == [{"length": 7}]
            assert process.state["cable"] == {"length": 0}

    def test_a_failure_in_a_focus_is_a_failure(self, benches: Benches, outside: Outside) -> None:
        seen = flow(focussteps("cable")(begin >> outside.step("a") >> outside.step("ring", retrystep)))
        with benches.open(seen) as bench:
            outside.broken.update({"a", "ring"})
            process = bench.run(seen.name)
            assert_failed(process, "a does not answer")
            outside.broken.discard("a")
            assert_waiting(process.retry(), "ring")


class TestParallel:
    def test_branches_run_in_order_and_what_they_found_is_together_afterwards(
        self, benches: Benches, outside: Outside
    ) -> None:
        branched = flow(
            parallel(
                begin >> outside.step("a1") >> outside.step("a2", gives={"a": 1}),
                begin >> outside.step("b1") >> outside.step("b2", gives={"b": 2}),
                outside.step("c", gives={"c": 3}),
            ),
            outside.step("after"),
        )
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            assert_complete(process)
            assert outside.calls == ["a1", "a2", "b1", "b2", "c", "after"]
            assert_state(process, {"a": 1, "b": 2, "c": 3})

    def test_branches_do_not_see_each_other(self, benches: Benches) -> None:
        @step("Look")
        def look(state: State) -> State:
            return {"second_saw": "a" in state}

        branched = flow(parallel(gives("first", a=1), look))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            assert_state(process, {"a": 1, "second_saw": False})

    def test_branches_that_write_a_key_differently_fail_and_name_it(self, benches: Benches, outside: Outside) -> None:
        branched = flow(parallel(gives("first", vlan=1), gives("second", vlan=2)), outside.step("after"))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            assert_failed(process, "vlan")
            assert outside.calls == []

    def test_branches_that_write_a_key_alike_are_no_conflict(self, benches: Benches) -> None:
        branched = flow(parallel(gives("first", vlan=1), gives("second", vlan=1)))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            assert_complete(process)
            assert_state(process, {"vlan": 1})

    def test_one_that_is_suspended_is_answered_while_another_one_failed(
        self, benches: Benches, outside: Outside
    ) -> None:
        branched = flow(
            parallel(
                begin >> asks("one") >> outside.step("a"),
                begin >> outside.step("b") >> outside.step("c"),
                begin >> outside.step("d"),
            ),
            outside.step("after"),
        )
        with benches.open(branched) as bench:
            outside.broken.add("b")
            process = bench.run(branched.name)
            assert_failed(process, "b does not answer")
            assert outside.calls == ["b", "d"]
            process.resume({"one": "x"})
            assert_failed(process, "b does not answer")
            assert outside.calls == ["b", "d", "a"], "an answer is no retry of what failed elsewhere"
            outside.broken.clear()
            assert_complete(process.retry())
            assert outside.calls == ["b", "d", "a", "b", "c", "after"]
            assert_state(process, {"one": "x"})

    def test_one_that_failed_is_retried_while_another_one_is_suspended(
        self, benches: Benches, outside: Outside
    ) -> None:
        branched = flow(parallel(asks("one"), outside.step("b")), outside.step("after"))
        with benches.open(branched) as bench:
            outside.broken.add("b")
            process = bench.run(branched.name)
            outside.broken.clear()
            process.retry()
            assert_suspended(process)
            assert outside.calls == ["b", "b"]
            assert_complete(process.resume({"one": "x"}))

    def test_several_may_ask_at_once_and_are_answered_in_any_order(self, benches: Benches) -> None:
        branched = flow(parallel(asks("one"), asks("two", assignee=Assignee.CHANGES)), asks("three"))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            forms = process.forms
            two, one = (next(key for key in forms if name in forms[key]["properties"]) for name in ("two", "one"))
            process.resume({"two": "y"}, step=two)
            assert_suspended(process)
            process.resume({"one": "x"}, step=one)
            assert_suspended(process, "ask_three")
            assert_complete(process.resume({"three": "z"}))
            assert_state(process, {"one": "x", "two": "y", "three": "z"})

    def test_waiting_of_every_kind_beside_each_other(self, benches: Benches, outside: Outside) -> None:
        branched = flow(
            parallel(
                begin >> wait_for(HOUR) >> outside.step("a"),
                begin >> callback_step("Call", outside.step("call"), result_key="said") >> outside.step("b"),
                begin >> outside.step("ring", retrystep, retry_every=2 * HOUR) >> outside.step("c"),
                begin >> asks("one") >> outside.step("d"),
            ),
            outside.step("after"),
        )
        with benches.open(branched) as bench:
            outside.broken.add("ring")
            process = bench.run(branched.name)
            assert_suspended(process)
            process.resume({"one": "x"})
            assert_awaiting_callback(process)
            (route,) = {part for part in _texts(process, bench) if "/callback/" in part}
            bench.callback(process, {"up": True}, route=route)
            assert_waiting(process)
            bench.clock.jump(HOUR)
            bench.go_on()
            assert_waiting(process.refresh())
            outside.broken.clear()
            bench.clock.jump(HOUR)
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["call", "ring", "d", "b", "a", "ring", "c", "after"]
            assert_state(process, {"said": {"up": True}, "one": "x"})

    def test_of_two_that_failed_one_can_be_retried_alone(self, benches: Benches, outside: Outside) -> None:
        branched = flow(parallel(outside.step("a"), outside.step("b")), outside.step("after"))
        with benches.open(branched) as bench:
            outside.broken.update({"a", "b"})
            process = bench.run(branched.name)
            assert {wait.name for wait in process.waits} == {"A", "B"}
            (b,) = [wait.step for wait in process.waits if wait.name == "B"]
            outside.broken.clear()
            assert_failed(process.retry(b))
            assert outside.calls == ["a", "b", "b"]
            assert_complete(process.retry())
            assert outside.calls == ["a", "b", "b", "a", "after"]

    def test_where_several_ask_an_answer_must_say_whom_it_is_for(self, benches: Benches) -> None:
        branched = flow(parallel(asks("one"), asks("two")))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            with pytest.raises(ProcessStateError) as refused:
                process.resume({"one": "x"})
            assert all(step_key in str(refused.value) for step_key in process.forms)

    def test_a_conflict_can_be_settled_by_a_person(self, benches: Benches, outside: Outside) -> None:
        branched = flow(parallel(gives("first", vlan=1), gives("second", vlan=2)), outside.step("after"))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            assert_failed(process, "vlan")
            process.skip(process.current_step, "Whichever")
            assert_complete(process)
            assert outside.calls == ["after"]

    def test_a_condition_in_a_branch(self, benches: Benches, outside: Outside) -> None:
        never = conditional(lambda state: False)
        branched = flow(parallel(begin >> never(outside.step("a")), never(begin >> asks("one")), outside.step("b")))
        with benches.open(branched) as bench:
            assert_complete(bench.run(branched.name))
            assert outside.calls == ["b"]

    def test_a_branch_may_abort_all(self, benches: Benches, outside: Outside) -> None:
        branched = flow(
            parallel(begin >> outside.step("a", undone=True) >> asks("one"), begin >> abort), outside.step("after")
        )
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            bench.go_on()
            assert_aborted(process.refresh())
            assert outside.calls == ["a", "undo a"]

    def test_children_in_branches(self, benches: Benches, outside: Outside) -> None:
        slow, quick = flow(asks("one")), flow(outside.step("quick"))
        branched = flow(parallel(run_workflow(slow.name), run_workflow(quick.name)), outside.step("after"))
        with benches.open(branched, slow, quick) as bench:
            process = bench.run(branched.name)
            bench.go_on()
            assert_waiting(process.refresh())
            next(child for child in process.children if child.workflow == slow.name).resume({"one": "x"})
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["quick", "after"]

    def test_parallel_in_a_branch_of_a_parallel(self, benches: Benches, outside: Outside) -> None:
        inner = parallel(outside.step("a", gives={"a": 1}), asks("one"))
        branched = flow(parallel(begin >> inner >> outside.step("b"), outside.step("c")), outside.step("after"))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            assert outside.calls == ["a", "c"]
            assert_complete(process.resume({"one": "x"}))
            assert outside.calls == ["a", "c", "b", "after"]
            assert_state(process, {"a": 1, "one": "x"})

    def test_a_group_as_a_branch_and_a_parallel_in_a_group(self, benches: Benches, outside: Outside) -> None:
        group = step_group("Work", begin >> outside.step("a") >> parallel(asks("one"), asks("two")))
        branched = flow(parallel(group, outside.step("b")))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            for step_key, form in process.forms.items():
                process.resume(dict.fromkeys(form["properties"], "x"), step=step_key)
            assert_complete(process)


def _texts(process: Any, bench: Any) -> list[str]:
    rows_of = bench.process(process.process_id).steps
    return [value for row in rows_of for value in (row.changes or {}).values() if isinstance(value, str)]


@step("Plug in")
def plug_in(item: str, index: int) -> State:
    return {"plugged": f"{index}:{item}"}


class TestForeach:
    def test_what_the_branches_found_is_a_list_in_the_order_of_the_items(self, benches: Benches) -> None:
        branched = flow(foreach("sites")(plug_in), initial_input_form=Sites)
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": ["ams", "utr", "dlf"]})
            assert_complete(process)
            assert_state(process, {"plugged": ["0:ams", "1:utr", "2:dlf"]})
            assert not {"item", "index"} & set(process.state)

    def test_an_empty_list_runs_the_rest(self, benches: Benches, outside: Outside) -> None:
        branched = flow(
            foreach("sites")(begin >> plug_in >> asks("one")), outside.step("after"), initial_input_form=Sites
        )
        with benches.open(branched) as bench:
            assert_complete(bench.run(branched.name, {"sites": []}))
            assert outside.calls == ["after"]

    def test_after_an_empty_list_a_step_may_have_a_default_for_what_nobody_found(self, benches: Benches) -> None:
        @step("Count")
        def count(plugged: list[str] | None = None) -> State:
            return {"number": len(plugged or [])}

        branched = flow(foreach("sites")(plug_in), count, initial_input_form=Sites)
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": []})
            assert_complete(process)
            assert_state(process, {"number": 0})

    def test_one_in_another_is_refused_at_definition(self) -> None:
        with pytest.raises(DefinitionError, match="foreach"):
            flow(foreach("sites")(begin >> foreach("ports")(plug_in)))
        with pytest.raises(DefinitionError, match="foreach"):
            flow(foreach("sites")(step_group("Work", begin >> parallel(plug_in, foreach("ports")(plug_in)))))

    def test_branches_suspend_and_fail_one_by_one_and_the_join_waits_for_all(
        self, benches: Benches, outside: Outside
    ) -> None:
        @inputstep("Confirm site", assignee=Assignee.NOC)
        def confirm_site(item: str) -> FormGenerator:
            class Page(FormPage):
                ticket: str = f"CHG-{item}"

            page = yield Page
            return page.model_dump()

        @step("Visit")
        def visit(item: str, ticket: str) -> State:
            outside.call(f"visit {item}")
            return {"visited": f"{item} by {ticket}"}

        branched = flow(
            foreach("sites")(begin >> confirm_site >> visit), outside.step("after"), initial_input_form=Sites
        )
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": ["ams", "utr", "dlf"]})
            assert_suspended(process)
            defaults = [form["properties"]["ticket"]["default"] for form in process.forms.values()]
            assert defaults == ["CHG-ams", "CHG-utr", "CHG-dlf"]
            ams, utr, dlf = process.forms
            outside.broken.add("visit utr")
            process.resume({"ticket": "1"}, step=utr)
            assert_failed(process, "visit utr does not answer")
            process.resume({"ticket": "2"}, step=dlf)
            assert outside.calls == ["visit utr", "visit dlf"]
            assert_failed(process)
            outside.broken.clear()
            process.retry()
            assert_suspended(process)
            assert outside.calls == ["visit utr", "visit dlf", "visit utr"]
            assert_complete(process.resume({"ticket": "3"}, step=ams))
            assert outside.calls[3:] == ["visit ams", "after"]
            assert_state(process, {"visited": ["ams by 3", "utr by 1", "dlf by 2"], "ticket": ["3", "1", "2"]})

    def test_branches_await_callbacks_of_their_own(self, benches: Benches, outside: Outside) -> None:
        routes: dict[str, str] = {}

        @step("Call")
        def call(item: str, callback_route: str) -> None:
            routes[item] = callback_route

        branched = flow(foreach("sites")(callback_step("Call out", call, result_key="said")), initial_input_form=Sites)
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": ["ams", "utr"]})
            assert_awaiting_callback(process)
            bench.callback(process, "second", route=routes["utr"])
            assert_awaiting_callback(process)
            assert_complete(bench.callback(process, "first", route=routes["ams"]))
            assert_state(process, {"said": ["first", "second"]})

    def test_each_branch_has_an_idempotency_key_of_its_own(self, benches: Benches, outside: Outside) -> None:
        branched = flow(foreach("sites")(outside.step("a")), initial_input_form=Sites)
        with benches.open(branched) as bench:
            bench.run(branched.name, {"sites": ["ams", "utr", "dlf"]})
            assert len(set(outside.keys["a"])) == 3

    def test_a_condition_in_it_is_about_the_item(self, benches: Benches) -> None:
        if_ams = conditional(lambda state: state["item"] == "ams")
        branched = flow(foreach("sites")(begin >> if_ams(plug_in)), initial_input_form=Sites)
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": ["ams", "utr", "ams"]})
            assert_complete(process)
            assert_state(process, {"plugged": ["0:ams", None, "2:ams"]})

    def test_a_list_that_is_not_there_makes_the_process_fail_and_can_be_put_there(
        self, benches: Benches, outside: Outside
    ) -> None:
        branched = flow(foreach("sites")(outside.step("a")))
        with benches.open(branched) as bench:
            process = bench.run(branched.name)
            assert_failed(process, "sites")
            process.replace_value("sites", ["ams", "utr"], "It was forgotten")
            assert_complete(process.retry())
            assert outside.calls == ["a", "a"]

    def test_a_step_of_one_item_can_be_skipped(self, benches: Benches, outside: Outside) -> None:
        @step("Visit")
        def visit(item: str) -> State:
            outside.call(item)
            return {"visited": item}

        branched = flow(foreach("sites")(visit), outside.step("after"), initial_input_form=Sites)
        with benches.open(branched) as bench:
            outside.broken.add("utr")
            process = bench.run(branched.name, {"sites": ["ams", "utr"]})
            assert_failed(process, "utr")
            assert_complete(process.skip(process.current_step, "There is no such site"))
            assert_state(process, {"visited": ["ams", None]})

    def test_a_value_is_replaced_in_the_branch_of_one_item(self, benches: Benches) -> None:
        @step("Choose")
        def choose(index: int) -> State:
            return {"vlan": 5000 + index}

        @step("Use")
        def use(vlan: int, index: int) -> None:
            if vlan > 4094 and index == 1:
                raise ValueError("no such VLAN")

        branched = flow(foreach("sites")(begin >> choose >> use), initial_input_form=Sites)
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": ["ams", "utr"]})
            assert_failed(process, "no such VLAN")
            process.replace_value("vlan", 400, "A slip of the pen", step=process.current_step)
            assert_complete(process.retry())
            assert_state(process, {"vlan": [5000, 400]})

    def test_the_items_are_those_there_were_when_it_began(self, benches: Benches, outside: Outside) -> None:
        @step("Visit")
        def visit(item: str) -> None:
            outside.call(item)

        branched = flow(foreach("sites")(visit), initial_input_form=Sites)
        with benches.open(branched) as bench:
            outside.broken.add("utr")
            process = bench.run(branched.name, {"sites": ["ams", "utr"]})
            process.replace_value("sites", ["dlf"], "Another plan")
            outside.broken.clear()
            assert_complete(process.retry())
            assert outside.calls == ["ams", "utr", "utr"]

    def test_what_is_no_list_makes_the_process_fail(self, benches: Benches) -> None:
        branched = flow(gives("decide", sites={"a": 1}), foreach("sites")(plug_in))
        with benches.open(branched) as bench:
            assert_failed(bench.run(branched.name), "sites")

    def test_a_list_after_another(self, benches: Benches) -> None:
        second = foreach("plugged")(step("Count")(called(lambda item: {"length": len(item)}, "count")))
        branched = flow(foreach("sites")(plug_in), second, initial_input_form=Sites)
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": ["ams", "utrecht"]})
            assert_complete(process)
            assert_state(process, {"length": [5, 9]})

    def test_fifty_items(self, benches: Benches) -> None:
        branched = flow(foreach("sites")(begin >> plug_in), initial_input_form=Sites)
        with benches.open(branched) as bench:
            process = bench.run(branched.name, {"sites": [f"site{number}" for number in range(50)]})
            assert_complete(process)
            assert process.state["plugged"][49] == "49:site49"


class PortPage(FormPage):
    speed: int


class TestOtherWorkflows:
    def test_a_step_starts_another_process_and_waits_for_it(self, benches: Benches, outside: Outside) -> None:
        child = flow(asks("one"), outside.step("make_port", gives={"port": 7}), initial_input_form=PortPage)
        parent = flow(run_workflow(child.name, input={"speed": 10}, result_key="made"), outside.step("after"))
        with benches.open(parent, child) as bench:
            process = bench.run(parent.name)
            assert_waiting(process)
            (made,) = process.children
            assert_suspended(made, "ask_one")
            assert made.parent is not None
            assert made.parent.process_id == process.process_id
            made.resume({"one": "x"})
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["make_port", "after"]
            assert process.state["made"]["port"] == 7
            assert process.state["made"]["speed"] == 10

    def test_its_input_is_made_of_the_state(self, benches: Benches) -> None:
        child = flow(gives("nothing"), initial_input_form=PortPage)
        parent = flow(
            gives("decide", megabits=10000),
            run_workflow(child.name, input=lambda megabits: {"speed": megabits // 1000}, result_key="made"),
        )
        with benches.open(parent, child) as bench:
            process = bench.run(parent.name)
            bench.go_on()
            assert_complete(process.refresh())
            assert process.state["made"]["speed"] == 10

    def test_wrong_input_fails_the_step_and_leaves_no_process(self, benches: Benches) -> None:
        child = flow(gives("nothing"), initial_input_form=PortPage)
        parent = flow(run_workflow(child.name, input={"speed": "fast"}))
        with benches.open(parent, child) as bench:
            process = bench.run(parent.name)
            assert_failed(process, "speed")
            assert bench.session.processes(workflow=child.name) == []

    def test_a_child_that_fails_and_is_retried_lets_the_parent_go_on(self, benches: Benches, outside: Outside) -> None:
        child, parent_after = flow(outside.step("a")), outside.step("after")
        parent = flow(run_workflow(child.name), parent_after)
        with benches.open(parent, child) as bench:
            outside.broken.add("a")
            process = bench.run(parent.name)
            bench.go_on()
            assert_waiting(process.refresh())
            (failed,) = process.children
            assert_failed(failed)
            outside.broken.clear()
            assert_complete(failed.retry())
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["a", "a", "after"]

    def test_a_child_that_is_aborted_fails_the_step_and_a_retry_starts_another(
        self, benches: Benches, outside: Outside
    ) -> None:
        child = flow(asks("one"))
        parent = flow(run_workflow(child.name))
        with benches.open(parent, child) as bench:
            process = bench.run(parent.name)
            process.children[0].abort("Not wanted")
            bench.go_on()
            assert_failed(process.refresh())
            process.retry()
            bench.go_on()
            assert_waiting(process.refresh())
            first, second = process.children
            assert_aborted(first)
            second.resume({"one": "x"})
            bench.go_on()
            assert_complete(process.refresh())

    def test_a_parent_that_is_aborted_aborts_its_child(self, benches: Benches, outside: Outside) -> None:
        child = flow(outside.step("a", undone=True), asks("one"))
        parent = flow(outside.step("p", undone=True), run_workflow(child.name))
        with benches.open(parent, child) as bench:
            process = bench.run(parent.name)
            process.abort("Not wanted")
            bench.go_on()
            assert_aborted(process.refresh())
            assert_aborted(process.children[0])
            assert sorted(outside.calls[2:]) == ["undo a", "undo p"]

    def test_children_of_a_foreach(self, benches: Benches) -> None:
        child = flow(gives("nothing", done_by="child"), initial_input_form=PortPage)
        parent = flow(
            gives("decide", speeds=[1, 10, 100]),
            foreach("speeds")(run_workflow(child.name, input=lambda item: {"speed": item}, result_key="made")),
        )
        with benches.open(parent, child) as bench:
            process = bench.run(parent.name)
            bench.go_on()
            assert_complete(process.refresh())
            assert [made["speed"] for made in process.state["made"]] == [1, 10, 100]
            assert len(process.children) == 3

    def test_a_workflow_that_does_not_exist(self, benches: Benches) -> None:
        parent = flow(run_workflow("no_such_workflow"))
        with benches.open(parent) as bench:
            assert_failed(bench.run(parent.name), "no_such_workflow")


@dg.op
def measure_light(state: dict[str, Any]) -> dict[str, Any]:
    return {"light": state["expected"] + 1}


@dg.op
def broken_op(context: dg.OpExecutionContext, state: dict[str, Any]) -> dict[str, Any]:
    context.log.info("about to break")
    raise ValueError("no light")


class TestOpsOfDagster:
    def test_an_op_that_takes_and_returns_a_dict_stands_in_a_chain(self, benches: Benches) -> None:
        mixed = flow(gives("decide", expected=4), measure_light, asks("one"))
        with benches.open(mixed) as bench:
            process = bench.run(mixed.name)
            assert_suspended(process)
            assert_state(process, {"light": 5, "expected": 4})
            assert ("measure_light", "success") in rows(process)
            assert_complete(process.resume({"one": "x"}))

    def test_it_stands_in_groups_conditions_and_branches(self, benches: Benches) -> None:
        mixed = flow(
            gives("decide", expected=4, sites=["ams"]),
            step_group("Measure", begin >> measure_light),
            conditional(lambda state: False)(measure_light),
            parallel(measure_light, gives("other", other=1)),
            foreach("sites")(measure_light),
        )
        with benches.open(mixed) as bench:
            assert_complete(bench.run(mixed.name))

    def test_one_that_fails_makes_the_process_fail(self, benches: Benches) -> None:
        mixed = flow(broken_op)
        with benches.open(mixed) as bench:
            assert_failed(bench.run(mixed.name), "no light", step="broken_op")

    def test_something_else_does_not_stand_in_a_chain(self) -> None:
        with pytest.raises((DefinitionError, TypeError, ValueError)):
            flow(dict)


class TestAbortAndObsoleteStep:
    def test_a_workflow_may_abort_itself(self, benches: Benches, outside: Outside) -> None:
        hopeless = conditional(lambda state: state["hopeless"])
        ending = flow(
            gives("decide", hopeless=True), outside.step("a", undone=True), hopeless(begin >> abort), outside.step("b")
        )
        with benches.open(ending) as bench:
            process = bench.run(ending.name)
            assert_aborted(process)
            assert outside.calls == ["a", "undo a"]

    def test_it_does_not_where_the_condition_does_not_hold(self, benches: Benches, outside: Outside) -> None:
        hopeless = conditional(lambda state: state["hopeless"])
        ending = flow(gives("decide", hopeless=False), hopeless(begin >> abort), outside.step("b"))
        with benches.open(ending) as bench:
            assert_complete(bench.run(ending.name))
            assert outside.calls == ["b"]

    def test_an_obsolete_step_does_nothing(self, benches: Benches, outside: Outside) -> None:
        ending = flow(outside.step("a"), obsolete_step, outside.step("b"), obsolete_step)
        with benches.open(ending) as bench:
            assert_complete(bench.run(ending.name))
            assert outside.calls == ["a", "b"]


def test_a_chain_is_made_of_lists_and_steps_alike() -> None:
    a, b = gives("a"), gives("b")
    assert str(begin >> a >> (begin >> b)) == str((begin >> a) >> b) == str(StepList([a, b]))
