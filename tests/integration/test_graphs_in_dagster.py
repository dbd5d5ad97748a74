"""What Dagster makes of a workflow's graph: which ops run, and which are skipped, when one of them yields nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from orchestrator_dagster import (
    State,
    Workflow,
    begin,
    conditional,
    done,
    finally_,
    foreach,
    init,
    parallel,
    step,
    step_group,
    workflow,
)
from orchestrator_dagster.ops.graph import graph_of
from orchestrator_dagster.ops.op import WORKFLOW_RUN, outputs_of, place_of_op
from orchestrator_dagster.ops.plan import Plan
from orchestrator_dagster.ops.step import Chainable, Step

ITEMS = 3


@dataclass
class Halting:
    """Runs no step: it lets the ops yield as they do when a step is finished, or halts."""

    plan: Plan
    halts: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()
    items: int = ITEMS
    reached: list[str] = field(default_factory=list)

    def run_step(self, context: dg.OpExecutionContext) -> Iterator[dg.Output[None] | dg.DynamicOutput[None]]:
        key, index = place_of_op(context)
        place = self.plan.place(key, index)
        self.reached.append(place.key)
        if place.key in self.fails:
            raise dg.Failure(description="it failed")
        if place.key not in self.halts:
            yield from outputs_of(place.planned.step, {}, self.items)


def made(name: str) -> Step:
    def nothing() -> State:
        return {}

    nothing.__name__ = name
    return step(name.capitalize())(nothing)


a, b, c, d, e, last = map(made, ("a", "b", "c", "d", "e", "last"))


def workflow_of(steps: Chainable) -> Workflow:
    def shapes() -> Chainable:
        return steps

    return workflow("Shapes")(shapes)


def graph(shapes: Workflow) -> dg.GraphDefinition:
    return graph_of(shapes.plan, name=shapes.name, description=shapes.description, title_tag="title")


def job_of(shapes: Workflow, runs_steps: Any, **resources: Any) -> dg.JobDefinition:
    running = dg.ResourceDefinition.hardcoded_resource(runs_steps)
    return graph(shapes).to_job(resource_defs={WORKFLOW_RUN: running, **resources}, executor_def=dg.in_process_executor)


def run(steps: Chainable, **behaviour: Any) -> list[str]:
    """Run the job of a workflow; return the steps that were reached, in order."""
    shapes = workflow_of(steps)
    halting = Halting(shapes.plan, **behaviour)
    result = job_of(shapes, halting).execute_in_process(raise_on_error=False)
    assert result.success is not bool(halting.fails)
    skipped = {event.step_key for event in result.all_events if event.event_type_value == "STEP_SKIPPED"}
    assert skipped.isdisjoint(halting.reached)
    return halting.reached


TWO_BRANCHES = begin >> init >> parallel(begin >> a >> b, begin >> c >> d) >> last
EACH = begin >> init >> foreach("saps")(begin >> a >> b) >> last


def test_behind_a_step_that_halts_everything_is_skipped() -> None:
    assert run(begin >> a >> b >> c, halts=("b",)) == ["a", "b"]


def test_branches_run_one_after_the_other_and_then_their_join() -> None:
    assert run(TWO_BRANCHES) == ["init", "a", "b", "c", "d", "join", "last"]


@pytest.mark.parametrize(
    ("halts", "reached"),
    [
        ("a", ["init", "a", "c", "d"]),
        ("b", ["init", "a", "b", "c", "d"]),
        ("d", ["init", "a", "b", "c", "d"]),
        ("init", ["init"]),
        ("join", ["init", "a", "b", "c", "d", "join"]),
    ],
)
def test_a_branch_that_halts_keeps_the_join_from_running_and_no_other_branch(halts: str, reached: list[str]) -> None:
    assert run(TWO_BRANCHES, halts=(halts,)) == reached


def test_a_branch_that_fails_keeps_the_join_from_running_and_no_other_branch() -> None:
    assert run(TWO_BRANCHES, fails=("a",)) == ["init", "a", "c", "d"]


def test_items_are_done_one_after_the_other_and_then_their_join() -> None:
    items = [f"{key}[{index}]" for index in range(ITEMS) for key in "ab"]
    assert run(EACH) == ["init", "foreach_saps", *items, "foreach_saps_join", "last"]


def test_behind_an_empty_list_the_rest_runs() -> None:
    assert run(EACH, items=0) == ["init", "foreach_saps", "foreach_saps_join", "last"]


def test_a_fan_out_that_halts_has_its_join_skipped() -> None:
    assert run(EACH, halts=("foreach_saps",)) == ["init", "foreach_saps"]


def test_a_fan_out_that_is_not_reached_has_its_join_skipped() -> None:
    assert run(EACH, halts=("init",)) == ["init"]


def test_an_item_that_halts_keeps_no_other_from_going_on_and_the_join_is_reached() -> None:
    """It has to ask the step log: Dagster doesn't wait for all of the items."""
    reached = run(EACH, halts=("a[1]",))
    assert reached[2:] == ["a[0]", "b[0]", "a[1]", "a[2]", "b[2]", "foreach_saps_join", "last"]


def test_a_join_is_skipped_where_all_items_halt() -> None:
    assert run(EACH, halts=("b[0]", "b[1]", "b[2]"))[-1] == "b[2]"


def test_an_item_that_fails_keeps_the_join_from_running_and_no_other_item() -> None:
    assert run(EACH, fails=("a[0]",))[2:] == ["a[0]", "a[1]", "b[1]", "a[2]", "b[2]"]


def test_a_group_is_a_graph_in_the_graph() -> None:
    shapes = workflow_of(begin >> a >> step_group("Lay the cable", begin >> b >> step_group("Dig", c)) >> d)
    assert graph(shapes).node_named("lay_the_cable").definition.name == "shapes__lay_the_cable__group"
    steps = begin >> a >> step_group("Lay the cable", begin >> b >> step_group("Dig", c)) >> d
    assert run(steps) == ["a", "lay_the_cable.b", "lay_the_cable.dig.c", "d"]
    assert run(steps, halts=("lay_the_cable.b",)) == ["a", "lay_the_cable.b"]


def test_a_group_may_begin_and_end_with_branches() -> None:
    steps = begin >> step_group("Both", parallel(a, b)) >> step_group("Again", parallel(c, d)) >> last
    both, again = ["both.a", "both.b", "both.join"], ["again.c", "again.d", "again.join"]
    assert run(steps) == [*both, *again, "last"]
    assert run(steps, halts=("both.a",)) == ["both.a", "both.b"]
    assert run(steps, halts=("again.c",)) == [*both, "again.c", "again.d"]


def test_branches_may_be_groups_and_foreaches_and_branch_again() -> None:
    inner = parallel(a, begin >> b >> step_group("Lay", foreach("cables")(c)))
    reached = run(begin >> parallel(inner, foreach("saps")(d)) >> last, items=1)
    laying = ["lay.foreach_cables", "lay.c[0]", "lay.foreach_cables_join"]
    assert reached == ["a", "b", *laying, "join", "foreach_saps", "d[0]", "foreach_saps_join", "join_2", "last"]


def test_an_item_may_branch_and_have_groups() -> None:
    steps = foreach("saps")(begin >> e >> parallel(a, step_group("Lay", begin >> b >> c)) >> d) >> last
    one = ["e[{}]", "a[{}]", "lay.b[{}]", "lay.c[{}]", "join[{}]", "d[{}]"]
    reached = [key.format(index) for index in range(ITEMS) for key in one]
    assert run(steps) == ["foreach_saps", *reached, "foreach_saps_join", "last"]
    halted = run(steps, halts=("lay.b[1]",))
    assert [key for key in halted if "[1]" in key] == ["e[1]", "a[1]", "lay.b[1]"]
    assert halted[-4:] == ["join[2]", "d[2]", "foreach_saps_join", "last"]


def test_an_item_may_begin_with_branches() -> None:
    reached = run(foreach("saps")(parallel(a, b)) >> last, items=2, halts=("a[0]",))
    assert set(reached[1:-3]) == {"a[0]", "b[0]", "a[1]", "b[1]"}
    assert reached[-3:] == ["join[1]", "foreach_saps_join", "last"]


def test_a_group_runs_for_each_item() -> None:
    steps = foreach("saps")(step_group("Lay", begin >> a >> b)) >> last
    assert run(steps, items=2)[1:] == ["lay.a[0]", "lay.b[0]", "lay.a[1]", "lay.b[1]", "foreach_saps_join", "last"]


def test_steps_of_the_end_are_ops_before_the_last_one() -> None:
    assert run(begin >> init >> a >> finally_(begin >> b >> step_group("Tidy", c)) >> done)[-3:] == [
        "b",
        "tidy.c",
        "done",
    ]


def test_a_workflow_may_begin_with_branches() -> None:
    assert run(begin >> parallel(a, b)) == ["a", "b", "join"]


def test_a_step_that_is_used_in_several_shapes_has_one_op_definition() -> None:
    shapes = workflow_of(begin >> a >> parallel(a, b) >> step_group("Again", a) >> conditional(bool)(a))
    made_graph = graph(shapes)
    nodes = [made_graph.node_named(name).definition for name in ("a", "a_2", "a_3")]
    assert {id(node) for node in nodes} == {id(nodes[0])}


class Controller(dg.ConfigurableResource):
    """Something outside."""


def test_every_op_has_the_resources_of_what_undoes_and_of_the_end() -> None:
    """An abort is carried out in whichever op notices it."""

    def undo(controller: Controller) -> State:
        return {}

    @step("Tell", compensate=undo)
    def tell() -> State:
        return {}

    @step("Tidy")
    def tidy(printer: Controller) -> State:
        return {}

    shapes = workflow_of(begin >> a >> step_group("Talk", tell) >> finally_(tidy) >> done)
    assert shapes.plan.resource_keys == {"controller", "printer"}
    made_graph = graph(shapes)
    wanted = {"controller", "printer", WORKFLOW_RUN}
    ops = [
        made_graph.node_named("a"),
        made_graph.node_named("done"),
        made_graph.node_named("talk").definition.node_named("tell"),
    ]
    assert [node.definition.required_resource_keys for node in ops] == [wanted] * 3
    names = {node.definition.name for node in ops} | {graph(workflow_of(begin >> a)).node_named("a").definition.name}
    assert len(names) == 4


def test_jobs_with_the_same_steps_and_groups_load_together() -> None:
    def of_name(name: str) -> Workflow:
        def shapes() -> Chainable:
            return begin >> a >> step_group("Lay", begin >> a >> b) >> foreach("saps")(step_group("Lay", c))

        shapes.__name__ = name
        return workflow("Shapes")(shapes)

    definitions = dg.Definitions(jobs=[job_of(of_name(name), None) for name in ("lay", "shapes", "a")])
    dg.Definitions.validate_loadable(definitions)


def run_op(op: dg.OpDefinition, state: State, **resources: Any) -> Any:
    """Call the step that an op became with the real context of its op."""
    got: list[Any] = []

    class Calling:
        def run_step(self, context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
            (planned,) = shapes.plan.values()
            got.append(planned.step.function(state=state, context=context))
            yield dg.Output(None)

    shapes = workflow_of(begin >> op)
    result = job_of(shapes, Calling(), **resources).execute_in_process()
    assert result.success
    return got[0]


@dg.op
def plain(state: dict[str, Any]) -> dict[str, Any]:
    """Adds one."""
    return {"n": state["n"] + 1}


@dg.op(config_schema={"by": dg.Field(int, default_value=5)})
def with_context(context: dg.OpExecutionContext, state: dict) -> dict:
    return {"n": state["n"] + context.op_config["by"], "op": context.op.name}


@dg.op
def yielding(state: dict) -> Iterator[Any]:
    yield dg.AssetMaterialization("counted")
    yield dg.Output({"n": state["n"] + 1})


@dg.op
async def waiting(state: dict) -> dict:
    return {"n": state["n"] + 1}


@dg.op
async def waiting_and_yielding(state: dict):  # type: ignore[no-untyped-def]
    yield dg.Output({"n": state["n"] + 1})


@dg.op
def without_input(context: dg.OpExecutionContext) -> dg.Output[dict]:
    return dg.Output({"n": 2})


class By(dg.Config):
    """How much."""

    by: int = 1


@dg.op
def with_config(config: By, state: dict) -> dict:
    return {"n": state["n"] + config.by}


@dg.op
def without_output(state: dict) -> None:
    return None


class Counter(dg.ConfigurableResource):
    """Counts."""

    start: int

    def next(self, number: int) -> int:
        return self.start + number


@dg.op
def with_resource(state: dict, counter: Counter) -> dict:
    return {"n": counter.next(state["n"])}


@dg.op(required_resource_keys={"counter"})
def with_required_resource(context: dg.OpExecutionContext, state: dict) -> dict:
    return {"n": context.resources.counter.next(state["n"])}


@pytest.mark.parametrize(
    "op",
    [plain, yielding, waiting, waiting_and_yielding, without_input, with_config, with_resource, with_required_resource],
    ids=lambda op: op.name,
)
def test_an_op_of_dagster_gets_the_state_and_returns_what_it_changes(op: dg.OpDefinition) -> None:
    assert run_op(op, {"n": 1}, counter=Counter(start=1)) == {"n": 2}


def test_an_op_of_dagster_gets_the_context_and_its_default_config() -> None:
    assert run_op(with_context, {"n": 1}) == {"n": 6, "op": "with_context"}


def test_an_op_of_dagster_may_change_nothing() -> None:
    assert run_op(without_output, {}) is None


def test_what_an_op_of_dagster_yields_besides_its_output_is_in_dagster_s_log() -> None:
    shapes = workflow_of(yielding)

    class Calling:
        def run_step(self, context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
            shapes.plan["yielding"].step.function(state={"n": 1}, context=context)
            yield dg.Output(None)

    result = job_of(shapes, Calling()).execute_in_process()
    assert [event.asset_key.path for event in result.get_asset_materialization_events() if event.asset_key] == [
        ["counted"]
    ]


def test_an_op_of_dagster_keeps_its_name_its_description_and_its_resources() -> None:
    shapes = workflow_of(begin >> plain >> with_resource >> plain)
    assert list(shapes.plan) == ["plain", "with_resource", "plain_2"]
    first, second, third = (graph(shapes).node_named(name).definition for name in shapes.plan)
    assert first.description == "Plain\n\nAdds one."
    assert first is third
    assert second.required_resource_keys == {"counter", WORKFLOW_RUN}
