"""The steps of a workflow as a process has them on record, and which of the steps of today they are."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from orchestrator_dagster.db.step_log import Memory, StepRow
from orchestrator_dagster.domain.branches import indexed
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.ops.plan import Plan, PlannedStep, split_key
from orchestrator_dagster.ops.step import StepKind


@dataclass(frozen=True)
class RecordedStep:
    """A step as it was when a run last went on with the process.

    Attributes:
        key: its key.
        name: the name of its function.
        conditions: the keys of the conditions around it.
        scope: the forks around it, with the number of the branch, the outermost first.
        formerly: other keys under which the step log has it, from versions before that.
    """

    key: str
    name: str
    conditions: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    formerly: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the step of an entry of a stored plan."""
        return cls(
            record["step"],
            record["name"],
            tuple(record["conditions"]),
            tuple(record.get("scope", ())),
            tuple(record.get("formerly", ())),
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys under which the step log may have it."""
        return (*self.formerly, self.key)

    @property
    def forks(self) -> tuple[str, ...]:
        """The keys of the forks around it."""
        return tuple(indexed(segment)[0] for segment in self.scope)


class RecordedPlan:
    """The steps of a workflow as they were when a run last went on with a process, in their order.

    Args:
        records: the stored plan.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.steps = tuple(map(RecordedStep.of, records))
        self.names = Counter(step.name for step in self.steps)
        self._uses = Counter((_graph_of(step.key), step.name) for step in self.steps)
        self._by_key = {key: step for step in self.steps for key in step.keys}

    def uses(self, step: RecordedStep) -> int:
        """Return how often the name of a step occurs in the graph that it is in: a group, or what is around them."""
        return self._uses[_graph_of(step.key), step.name]

    @property
    def forks(self) -> tuple[str, ...]:
        """The keys of all forks."""
        return tuple(dict.fromkeys(fork for step in self.steps for fork in step.forks))

    def step_of(self, logged_key: str) -> RecordedStep | None:
        """Return the step that the step log has under a key, with an item's index or not."""
        return self._by_key.get(split_key(logged_key)[0])

    def keys_of(self, key: str) -> frozenset[str]:
        """Return the keys under which the step log may have a step, with an item's index or not, and this one."""
        ending = split_key(key)[1]
        step = self.step_of(key)
        return frozenset((key, *(each + ending for each in step.keys))) if step else frozenset((key,))

    def within(self, fork: str) -> list[RecordedStep]:
        """Return the steps in the branches of a fork."""
        return [step for step in self.steps if fork in step.forks]

    def join_of(self, fork: str) -> RecordedStep:
        """Return the step that joins the branches of a fork: that which comes after the last one within."""
        last = max(number for number, step in enumerate(self.steps) if fork in step.forks)
        return self.steps[last + 1]


class TodaysSteps:
    """Which steps of a workflow as it is the steps are that a process has on record.

    A step is known by its key: its function's name, in the groups around it. One that was renamed says so itself. One
    that was moved into a group, or out of it, is known by its name where that occurs once before and once now.

    Args:
        plan: the workflow as it is.
        records: the plan that is stored with the process.
    """

    def __init__(self, plan: Plan, records: Sequence[Mapping[str, Any]]) -> None:
        self.plan = plan
        self.recorded = RecordedPlan(records)
        self.unchanged = list(records) == plan.record()
        self._keys = {step.key: self._find(step) for step in self.recorded.steps}

    def key_of(self, logged_key: str) -> str | None:
        """Return today's key of a step of the log, with the same index and ending; `None` where it is no more.

        Args:
            logged_key: a key of the step log, or of what a step waits for.
        """
        recorded = self.recorded.step_of(logged_key)
        if recorded is None:
            return self.plan.current_key(logged_key)
        today = self._keys[recorded.key]
        return None if today is None else today + split_key(logged_key)[1]

    def planned(self, step: RecordedStep) -> PlannedStep | None:
        """Return what a recorded step is today."""
        key = self._keys[step.key]
        return None if key is None else self.plan[key]

    def is_moved(self, step: RecordedStep) -> bool:
        """Whether a step is known by nothing but its name: it is in another group now, and does not say so."""
        return self._keys[step.key] not in (None, self.plan.current_key(step.key))

    def unclaimed(self, name: str) -> list[str]:
        """Return today's keys of the steps of a name that are none of those on record."""
        known = set(self._keys.values())
        return [key for key, planned in self.plan.items() if planned.step.key == name and key not in known]

    def fork_of(self, fork: str) -> str | None:
        """Return today's key of a fork on record: it is that which the step joins that joined it."""
        joining = self.planned(self.recorded.join_of(fork))
        is_join = joining is not None and joining.step.kind is StepKind.JOIN
        return joining.fork.key if joining is not None and is_join and joining.fork else None

    def uses(self, planned: PlannedStep) -> int:
        """Return how often the name of a step of today occurs in the graph that it is in."""
        return self._uses[_graph_of(planned.key), planned.step.key]

    @cached_property
    def _uses(self) -> Counter[tuple[str, str]]:
        return Counter((_graph_of(key), planned.step.key) for key, planned in self.plan.items())

    def rows(self, rows: Sequence[StepRow]) -> list[StepRow]:
        """Return the step log under today's keys. Branches keep their names."""
        return list(rows) if self.unchanged else [self._row(row) for row in rows]

    def memory(self, initial: State, rows: Sequence[StepRow]) -> Memory:
        """Return what a process knows, under today's keys.

        Args:
            initial: the state that it started with.
            rows: its step log as it was written.
        """
        # a branch has the name that its fork had when it was begun
        items = {row.step: row.detail["items"] for row in rows if row.detail and "items" in row.detail}
        memory = Memory(initial, items=items).after(*self.rows(rows))
        return replace(memory, finished=memory.finished | _finished_with_their_fork(self.plan, memory))

    def record(self) -> list[dict[str, Any]]:
        """Return the plan as it is stored when a run goes on with the process: with the keys that the log has."""
        formerly: dict[str, list[str]] = {}
        for step in self.recorded.steps:
            today = self._keys[step.key]
            if today and (others := [key for key in step.keys if key != today]):
                formerly[today] = others
        return [
            {**entry, "formerly": formerly[entry["step"]]} if entry["step"] in formerly else entry
            for entry in self.plan.record()
        ]

    def _find(self, step: RecordedStep) -> str | None:
        key = self.plan.current_key(step.key)
        there = self.plan.get(key) if key else None
        if there and step.name in (there.step.key, *there.step.renamed_from):
            return key
        elsewhere = [key for key, planned in self.plan.items() if step.name in self._names_of(planned)]
        return elsewhere[0] if len(elsewhere) == 1 == self.recorded.names[step.name] else None

    def _names_of(self, planned: PlannedStep) -> tuple[str, ...]:
        name = planned.step.key
        return (name,) if name in self.recorded.names else (name, *planned.step.renamed_from)

    def _row(self, row: StepRow) -> StepRow:
        detail = row.detail
        if detail and "restart" in detail:
            detail = {**detail, "restart": self._group_of(detail["restart"])}
        decided = {self.key_of(key) or key: holds for key, holds in (row.conditions or {}).items()}
        return replace(row, step=self.key_of(row.step) or row.step, conditions=decided, detail=detail)

    def _group_of(self, logged_group: str) -> str:
        """Return today's key of a group that starts again when some of its steps are retried."""
        group, ending = split_key(logged_group)
        planned = [self.planned(step) for step in self.recorded.steps if group in map(_graph_of, step.keys)]
        return next((one.restarts for one in planned if one and one.restarts), group) + ending


def _graph_of(key: str) -> str:
    return key.rpartition(".")[0]


def _finished_with_their_fork(plan: Plan, memory: Memory) -> frozenset[str]:
    """Return the keys of the steps in branches that have joined; those that were added since are never done."""
    joins = {
        planned.fork.key: key for key, planned in plan.items() if planned.step.kind is StepKind.JOIN and planned.fork
    }
    return frozenset(
        plan.place(key, index).key
        for key, planned in plan.items()
        for scope in planned.scope
        for index in range(_items_around(planned, memory) if planned.per_item else 1)
        if plan.place(joins[scope.fork], index).key in memory.finished
    )


def _items_around(planned: PlannedStep, memory: Memory) -> int:
    return max(len(memory.items.get(scope.fork, ())) for scope in planned.scope)
