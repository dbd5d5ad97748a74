"""The steps of a workflow in their places, with the keys by which the step log knows them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from orchestrator_dagster.ops.step import Condition, Step, StepKind

_RUNTIME_KEY = re.compile(r"(?P<key>[\w.]+)(\[(?P<index>\d+)\])?(?P<suffix>:.*)?")


@dataclass(frozen=True)
class Scope:
    """A fork that a step stands behind.

    Attributes:
        fork: the key of the fork.
        number: which of its branches, from 0; `None` where there is one for each item.
    """

    fork: str
    number: int | None = None

    def __str__(self) -> str:
        return _indexed(self.fork, self.number)


@dataclass(frozen=True)
class Fork:
    """Where the process branches, for the step that fans out and the one that joins.

    Attributes:
        key: the fork's own key; of a foreach that is the step that fans out.
        over: the state's key of the list; `None` for branches beside each other.
        ends: the last step of each branch; of a foreach the last step, once.
    """

    key: str
    over: str | None
    ends: tuple[str, ...]


@dataclass(frozen=True)
class PlannedGroup:
    """A group in its place in a workflow.

    Attributes:
        key: the handle of its graph in the job, dotted where it stands in another one.
        name: the title.
        former_keys: the keys that it had before.
    """

    key: str
    name: str
    former_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedStep:
    """A step in its place in a workflow.

    Attributes:
        key: the op's handle in the job, dotted through groups. It stays the same when steps are added or moved around
            it.
        step: what happens there, with the lenses and the rights of the groups around it.
        conditions: the conditions that decide whether it runs, by the key under which the decision is recorded.
        last: whether the process is complete after it.
        before: the keys of the steps directly before it: several for one that joins, none for the first.
        scope: the forks around it, the outermost first.
        restarts: the key of the group that is done again from its start when the step is retried.
        finally_: whether it runs at the end of the process, whatever happened.
        fork: what it opens or closes, where it fans out or joins.
        former_keys: the keys that it had before.
    """

    key: str
    step: Step
    conditions: dict[str, Condition]
    last: bool = False
    before: tuple[str, ...] = ()
    scope: tuple[Scope, ...] = ()
    restarts: str | None = None
    finally_: bool = False
    fork: Fork | None = None
    former_keys: tuple[str, ...] = ()

    @property
    def per_item(self) -> bool:
        """Whether it runs once for each item of a list."""
        return any(scope.number is None for scope in self.scope)


@dataclass(frozen=True)
class BranchEnd:
    """A branch as its join sees it.

    Attributes:
        branch: its path.
        last: the last step's key in the step log.
    """

    branch: str
    last: str


@dataclass(frozen=True)
class Place:
    """A planned step, and within a foreach the item that it is about.

    Attributes:
        planned: the step.
        index: the item's place in the list, from 0; `None` outside of a foreach.
        before: the keys in the step log of the steps directly before it. For the join of a foreach only that of the
            step that fans out: see `branches`.
        conditions: the conditions that decide whether it runs, by the key under which the decision is recorded: those
            within a foreach are decided for each item.
    """

    planned: PlannedStep
    index: int | None
    before: tuple[str, ...]
    conditions: dict[str, Condition]

    @property
    def key(self) -> str:
        """The step's key in the step log."""
        return _indexed(self.planned.key, self.index)

    @property
    def branch(self) -> str:
        """The path of the branch that it is in, empty outside of branches."""
        return _path(self.planned.scope, self.index)

    @property
    def title(self) -> str:
        """The step's name, with the item's place where it runs once for each."""
        return _indexed(self.planned.step.name, self.index, space=" ")

    @property
    def restarts(self) -> str | None:
        """The key in the step log of the group that is done again from its start when the step is retried."""
        return None if self.planned.restarts is None else _indexed(self.planned.restarts, self.index)

    def branches(self, items: int = 0) -> tuple[BranchEnd, ...]:
        """Return the branches that the step joins, in order.

        Args:
            items: how many items there are, for the join of a foreach.
        """
        fork = self.planned.fork
        if fork is None:
            return ()
        around = f"{self.branch}/" if self.branch else ""
        if fork.over is None:
            return tuple(
                BranchEnd(f"{around}{fork.key}[{number}]", _indexed(end, self.index))
                for number, end in enumerate(fork.ends)
            )
        return tuple(BranchEnd(f"{around}{fork.key}[{item}]", _indexed(fork.ends[0], item)) for item in range(items))


class Plan(Mapping[str, PlannedStep]):
    """The steps of a workflow by their key, in order.

    Args:
        steps: the steps.
        groups: the groups around them.
    """

    def __init__(self, steps: Sequence[PlannedStep], groups: Sequence[PlannedGroup] = ()) -> None:
        complete = [replace(planned, last=planned is steps[-1]) for planned in steps]
        self._steps = {planned.key: planned for planned in complete}
        self.groups: Mapping[str, PlannedGroup] = {group.key: group for group in groups}

    def __getitem__(self, key: str) -> PlannedStep:
        return self._steps[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def place(self, key: str, index: int | None = None) -> Place:
        """Return the place of a step.

        Args:
            key: the step's key in the plan.
            index: the item's place in the list, for a step within a foreach.

        Raises:
            KeyError: there is no such step.
        """
        planned = self._steps[key]
        index = index if planned.per_item else None
        before = planned.before
        if planned.fork and planned.fork.over and planned.step.kind is StepKind.JOIN:
            before = (planned.fork.key,)
        return Place(
            planned,
            index,
            tuple(self._of_item(earlier, index) for earlier in before),
            {
                self._of_item(condition_key, index): planned.conditions[condition_key]
                for condition_key in planned.conditions
            },
        )

    def place_of(self, runtime_key: str) -> Place | None:
        """Return the place of a key of the step log; `None` where the workflow has no such step.

        Args:
            runtime_key: as in `configure`, or `configure[3]` within a foreach.
        """
        match = _RUNTIME_KEY.fullmatch(runtime_key)
        if match is None or match["suffix"] or match["key"] not in self._steps:
            return None
        index = int(match["index"]) if match["index"] else None
        return self.place(match["key"], index) if self._steps[match["key"]].per_item is (index is not None) else None

    def current_key(self, logged_key: str) -> str | None:
        """Return today's key of a logged step: its own, or that of the step that was renamed from it.

        Args:
            logged_key: a key of the step log, with an item's index or an ending such as `:undo` or not.

        Returns:
            The key with the same index and ending; `None` where the workflow has the step no more.
        """
        key, ending = split_key(logged_key)
        today = self._today(key)
        return None if today is None else today + ending

    def record(self) -> list[dict[str, Any]]:
        """Return the plan as it is stored with a process that starts."""
        return [_record(planned) for planned in self._steps.values()]

    @cached_property
    def resource_keys(self) -> frozenset[str]:
        """The Dagster resources that carrying out an abort may need: it happens in whichever op notices it."""
        at_the_end = [planned.step for planned in self._steps.values() if planned.finally_]
        undo = [planned.step.compensate for planned in self._steps.values() if planned.step.compensate]
        return frozenset[str]().union(*(step.resource_keys for step in [*at_the_end, *undo]))

    def _today(self, key: str) -> str | None:
        if key in self._steps or key in self.groups:
            return key
        return self._former.get(key)

    @cached_property
    def _former(self) -> dict[str, str]:
        named: list[PlannedGroup | PlannedStep] = [*self.groups.values(), *self._steps.values()]
        return {former: one.key for one in named for former in one.former_keys}

    def _of_item(self, key: str, index: int | None) -> str:
        """Return a step's or a condition's key as the log has it, seen from a step of an item."""
        step_key, colon, depth = key.partition(":")
        return _indexed(step_key, index if self._steps[step_key].per_item else None) + colon + depth


def split_key(logged_key: str) -> tuple[str, str]:
    """Split a key of the step log from the item's index, and an ending such as `:undo`.

    Example:
        >>> split_key("provision.configure[3]:undo")
        ('provision.configure', '[3]:undo')
    """
    match = _RUNTIME_KEY.fullmatch(logged_key)
    key = match["key"] if match else logged_key
    return key, logged_key[len(key) :]


def _indexed(text: str, index: int | None, space: str = "") -> str:
    return text if index is None else f"{text}{space}[{index}]"


def _path(scopes: Sequence[Scope], index: int | None) -> str:
    return "/".join(f"{scope.fork}[{index if scope.number is None else scope.number}]" for scope in scopes)


def _record(planned: PlannedStep) -> dict[str, Any]:
    record: dict[str, Any] = {
        "step": planned.key,
        "name": planned.step.key,
        "conditions": list(planned.conditions),
    }
    if planned.scope:
        record["scope"] = list(map(str, planned.scope))
    return record
