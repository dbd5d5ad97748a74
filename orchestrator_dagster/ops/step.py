"""Steps, and how they are put in a row."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, SupportsIndex, overload

from orchestrator_dagster.domain.process import Assignee
from orchestrator_dagster.domain.state import FormGenerator, InputForm, State
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.ops.injection import Signature, name_of, plain_function

StepFunction = Callable[..., State | None]
Predicate = Callable[[State], bool]


class StepKind(Enum):
    """What a step is for."""

    STEP = "step"
    RETRYSTEP = "retrystep"
    INPUTSTEP = "inputstep"
    INIT = "init"
    DONE = "done"


@dataclass(frozen=True, eq=False)
class Condition:
    """What decides whether the steps below it run; decided once, when the first of them is reached."""

    predicate: Predicate


@dataclass(frozen=True, eq=False)
class Step:
    """One piece of work of a workflow: an op of its job.

    Attributes:
        name: the title.
        function: what it does; for an inputstep the form.
        kind: what it is for.
        key: the function's name; the op's name in the job.
        assignee: who is asked to act when it waits.
        conditions: what decides whether it runs, the outermost first.
    """

    name: str
    function: Callable[..., Any]
    kind: StepKind = StepKind.STEP
    key: str = ""
    assignee: Assignee = Assignee.SYSTEM
    conditions: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is not StepKind.INPUTSTEP and any(
            kind(self.function) for kind in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)
        ):
            raise DefinitionError(f"Step {self.name}: a step is a plain function, neither async nor a generator")
        if not self.key:
            object.__setattr__(self, "key", _identifier(self.function))

    @cached_property
    def signature(self) -> Signature:
        """How the function's parameters are filled."""
        return Signature(self.function)

    @property
    def is_made(self) -> bool:
        """Whether another function made it, so that its name does not say what it was made with."""
        return "<locals>" in name_of(self.function)

    def __rshift__(self, other: "Step | StepList") -> "StepList":
        return StepList([self]) >> other

    def __repr__(self) -> str:
        return f"<Step {self.key}: {self.name}>"


def _identifier(function: Callable[..., Any]) -> str:
    called = plain_function(function)
    name = type(function).__name__ if called.__name__ == "__call__" else called.__name__
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_") or "step"


class StepList(tuple[Step, ...]):
    """Steps in the order in which they run. `begin` is the empty one.

    Example:
        >>> @step("Say hello")
        ... def hello() -> State: return {"said": "hello"}
        >>> print(begin >> hello >> hello)
        StepList [Say hello, Say hello]
    """

    __slots__ = ()

    def __rshift__(self, other: "Step | StepList") -> "StepList":
        if isinstance(other, Step):
            return StepList([*self, *_with_own_conditions([other])])
        if isinstance(other, StepList):
            return StepList([*self, *_with_own_conditions(other)])
        name = getattr(other, "__name__", other)
        raise DefinitionError(
            f"Expected @step decorated function or type Step or StepList, got {type(other)} with name {name} instead."
        )

    @overload
    def __getitem__(self, index: SupportsIndex) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> "StepList": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Step | StepList":
        return StepList(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def map(self, change: Callable[[Step], Step]) -> "StepList":
        """Return the list with every step changed by `change`."""
        return StepList(map(change, self))

    def __str__(self) -> str:
        return f"StepList [{', '.join(step.name for step in self)}]"


def _with_own_conditions(steps: Iterable[Step]) -> Iterator[Step]:
    """Give a list its own conditions where it is put in a row, so that each of its occurrences decides for itself."""
    own: dict[Condition, Condition] = {}
    for step in steps:
        conditions = tuple(own.setdefault(condition, replace(condition)) for condition in step.conditions)
        yield replace(step, conditions=conditions) if conditions else step


begin = StepList()


def step(name: str) -> Callable[[StepFunction], Step]:
    """Make a function a step.

    The function's parameters are filled from the state by name; what it returns is merged into the state, and
    subscriptions in it are saved. The step's changes, its row in the step log and the new state are one transaction.

    Args:
        name: the step's title.

    Example:
        >>> @step("Reserve address")
        ... def reserve_address(site: str) -> State:
        ...     return {"address": f"10.0.0.1 at {site}"}
        >>> reserve_address
        <Step reserve_address: Reserve address>
    """
    return lambda function: Step(name, function)


def retrystep(name: str) -> Callable[[StepFunction], Step]:
    """Make a function a step that depends on something outside: a failure is worth another attempt.

    Args:
        name: the step's title.
    """
    return lambda function: Step(name, function, StepKind.RETRYSTEP)


def inputstep(name: str, assignee: Assignee) -> Callable[[Callable[..., FormGenerator] | InputForm], Step]:
    """Make a form a step: the process asks for input there.

    Args:
        name: the step's title.
        assignee: who is asked.
    """
    return lambda form: Step(name, form, StepKind.INPUTSTEP, assignee=assignee)


class conditional:  # noqa: N801 - reads as a word of the workflow language
    """Run steps only where a predicate of the state holds.

    Over a list the predicate is evaluated once, when the list is reached; the decision is recorded and kept when the
    process goes on later.

    Args:
        predicate: takes the state.

    Example:
        >>> @step("Notify customer")
        ... def notify() -> State: return {}
        >>> if_wanted = conditional(lambda state: state["notify"])
        >>> print(begin >> if_wanted(begin >> notify))
        StepList [Notify customer]
    """

    def __init__(self, predicate: Predicate) -> None:
        self._predicate = predicate

    @overload
    def __call__(self, steps: Step) -> Step: ...
    @overload
    def __call__(self, steps: StepList) -> StepList: ...
    def __call__(self, steps: Step | StepList) -> Step | StepList:
        condition = Condition(self._predicate)

        def add(step: Step) -> Step:
            return replace(step, conditions=(condition, *step.conditions))

        return add(steps) if isinstance(steps, Step) else steps.map(add)
