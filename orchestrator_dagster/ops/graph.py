"""From a plan to Dagster's graph.

An op waits for those before it by inputs without a value; one that yields nothing has everything behind it skipped.
Where branches meet, there is an input for each of them: a single input for all would not wait for a branch that halted.
After a foreach such inputs are not possible, since nobody knows how many items there are: its join also runs where a
part of the branches halted, and asks the step log. It has an input from the op that fans out as well, without which it
would run where that halted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import zip_longest

import dagster as dg
from dagster._core.definitions.dependency import DynamicCollectDependencyDefinition

from orchestrator_dagster.ops.op import AFTER, ITEMS, RESULT, input_names, op_for
from orchestrator_dagster.ops.plan import Plan, PlannedStep
from orchestrator_dagster.ops.step import StepKind

_PRIORITY = "dagster/priority"
_Dependency = dg.DependencyDefinition | DynamicCollectDependencyDefinition


def graph_of(plan: Plan, *, name: str, description: str, title_tag: str) -> dg.GraphDefinition:
    """Return the graph of a workflow.

    Args:
        plan: its steps.
        name: its name.
        description: one line for people.
        title_tag: the tag of an op that has its step's title.
    """
    return _Graphs(plan, name, title_tag).graph("", name, description)


@dataclass(frozen=True)
class _Edge:
    """One op that waits for another.

    Attributes:
        source: key of the one that is waited for.
        output: which output of it.
        target: key of the one that waits.
        input: which input of it.
        collects: whether it waits for the branches of all items.
    """

    source: str
    output: str
    target: str
    input: str
    collects: bool


class _Graphs:
    """Makes the graph of a workflow and those of its groups."""

    def __init__(self, plan: Plan, workflow: str, title_tag: str) -> None:
        self._plan = plan
        self._workflow = workflow
        self._title_tag = title_tag
        self._edges = [edge for planned in plan.values() for edge in _edges_to(planned, plan)]
        self._priorities = _priorities(plan)

    def graph(self, group: str, name: str, description: str) -> dg.GraphDefinition:
        """Return the graph of a group, or of the whole workflow where its key is empty."""
        prefix = f"{group}." if group else ""
        children = list(dict.fromkeys(_child(key, prefix) for key in self._plan if key.startswith(prefix)))
        nodes = {child: self._node(prefix + child) for child in children}
        return dg.GraphDefinition(
            name=name,
            description=description,
            node_defs=list({id(node): node for node in nodes.values()}.values()),
            dependencies={
                self._invocation(prefix + child, child, nodes[child].name): self._dependencies(prefix, child)
                for child in children
            },
            input_mappings=list(self._input_mappings(prefix)),
            output_mappings=list(self._output_mappings(prefix)),
        )

    def _node(self, key: str) -> dg.OpDefinition | dg.GraphDefinition:
        if planned := self._plan.get(key):
            inputs = len(planned.before)
            return op_for(planned.step, inputs=inputs, resource_keys=self._plan.resource_keys)
        name = f"{self._workflow}__{key.replace('.', '__')}__group"
        return self.graph(key, name, self._plan.groups[key].name)

    def _invocation(self, key: str, alias: str, definition: str) -> dg.NodeInvocation:
        planned = self._plan.get(key)
        title = planned.step.name if planned else self._plan.groups[key].name
        priority = {_PRIORITY: str(self._priorities[key])} if key in self._priorities else {}
        return dg.NodeInvocation(definition, alias=alias, tags={self._title_tag: title, **priority})

    def _dependencies(self, prefix: str, child: str) -> dict[str, _Dependency]:
        found: dict[str, _Dependency] = {}
        for edge in self._edges:
            if not edge.source.startswith(prefix) or not edge.target.startswith(prefix):
                continue
            source, target = _child(edge.source, prefix), _child(edge.target, prefix)
            if target == child and source != child:
                kind: type[_Dependency] = (
                    DynamicCollectDependencyDefinition if edge.collects else dg.DependencyDefinition
                )
                found[_input(edge, prefix)] = kind(source, edge.output)
        return found

    def _input_mappings(self, prefix: str) -> Iterator[dg.InputMapping]:
        entering = {
            (_child(edge.target, prefix), _input(edge, prefix)): None
            for edge in self._edges
            if edge.target.startswith(prefix) and not edge.source.startswith(prefix)
        }
        for child, name in entering:
            yield dg.InputMapping(graph_input_name=AFTER, mapped_node_name=child, mapped_node_input_name=name)

    def _output_mappings(self, prefix: str) -> Iterator[dg.OutputMapping]:
        leaving = {
            _child(edge.source, prefix): None
            for edge in self._edges
            if edge.source.startswith(prefix) and not edge.target.startswith(prefix)
        }
        for child in leaving:
            yield dg.OutputMapping(graph_output_name=RESULT, mapped_node_name=child, mapped_node_output_name=RESULT)


def _edges_to(planned: PlannedStep, plan: Mapping[str, PlannedStep]) -> Iterator[_Edge]:
    joins_items = planned.step.kind is StepKind.JOIN and planned.fork is not None and planned.fork.over is not None
    for name, source in zip(input_names(len(planned.before)), planned.before, strict=False):
        fans_out = plan[source].step.kind is StepKind.FAN_OUT
        output = ITEMS if fans_out and not joins_items else RESULT
        yield _Edge(source, output, planned.key, name, collects=joins_items and not fans_out)


def _child(key: str, prefix: str) -> str:
    return key.removeprefix(prefix).split(".")[0]


def _input(edge: _Edge, prefix: str) -> str:
    """Return the input of a graph's node by which an edge arrives: its op's own, or that of the group around it."""
    return edge.input if "." not in edge.target.removeprefix(prefix) else AFTER


def _priorities(plan: Plan) -> dict[str, int]:
    """Return which of the ops goes first where several can, for plans that branch: a branch as far as it gets.

    Without it Dagster would do the first steps of all branches, then the second ones.
    """
    if not any(planned.scope for planned in plan.values()):
        return {}
    positions = {key: position for position, key in enumerate(plan)}

    def compare(one: PlannedStep, other: PlannedStep) -> int:
        for mine, others in zip_longest(one.scope, other.scope):
            if mine == others:
                continue
            if mine and others and mine.fork == others.fork:
                return (mine.number or 0) - (others.number or 0)
            break
        return positions[other.key] - positions[one.key]

    first_to_last = sorted(plan.values(), key=cmp_to_key(compare))
    return {planned.key: -rank for rank, planned in enumerate(first_to_last)}
