"""The steps of a workflow with the keys by which the step log knows them."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator_dagster.ops.step import Condition, Step, StepList


@dataclass(frozen=True)
class PlannedStep:
    """A step in its place in a workflow.

    Attributes:
        key: the op's handle in the job. It stays the same when steps are added or moved around it.
        step: what happens there.
        conditions: the conditions that decide whether it runs, by the key under which the decision is recorded.
        last: whether the process is complete after it.
    """

    key: str
    step: Step
    conditions: dict[str, Condition]
    last: bool


def plan(steps: StepList) -> tuple[PlannedStep, ...]:
    """Give every step its key.

    Example:
        >>> from orchestrator_dagster.ops.step import begin, step
        >>> ping = step("Ping")(lambda: {})
        >>> [planned.key for planned in plan(begin >> ping >> ping)]
        ['lambda', 'lambda_2']
    """
    keys = _unique(step.key for step in steps)
    condition_keys: dict[Condition, str] = {}
    planned = []
    for index, (key, step) in enumerate(zip(keys, steps, strict=True)):
        for depth, condition in enumerate(step.conditions):
            condition_keys.setdefault(condition, f"{key}:{depth}")
        conditions = {condition_keys[condition]: condition for condition in step.conditions}
        planned.append(PlannedStep(key, step, conditions, last=index == len(steps) - 1))
    return tuple(planned)


def _unique(names: Iterable[str]) -> list[str]:
    used: dict[str, None] = {}
    for name in names:
        candidate, count = name, 1
        while candidate in used:
            count += 1
            candidate = f"{name}_{count}"
        used[candidate] = None
    return list(used)
