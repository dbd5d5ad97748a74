"""Steps, and how they are put in a row."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from functools import cached_property
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Self, SupportsIndex, overload

import dagster as dg

from orchestrator_dagster.domain.authorisation import Authorizer
from orchestrator_dagster.domain.process import Assignee
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import RetrySchedule
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.ops.awaited import Awaited
from orchestrator_dagster.ops.dagster_op import DagsterOp
from orchestrator_dagster.ops.injection import Signature, name_of, plain_function

StepFunction = Callable[..., State | None]
Predicate = Callable[[State], bool]


class StepKind(Enum):
    """What a step is for."""

    STEP = "step"
    RETRYSTEP = "retrystep"
    INPUTSTEP = "inputstep"
    CALLBACK = "callback"
    TIMER = "timer"
    PROCESS = "process"
    INIT = "init"
    DONE = "done"
    ABORT = "abort"
    FAN_OUT = "fan out"
    JOIN = "join"


@dataclass(frozen=True, eq=False)
class Condition:
    """What decides whether the steps below it run; decided once, when the first of them is reached."""

    predicate: Predicate


@dataclass(frozen=True, eq=False)
class Lens:
    """Which part of the state a step sees, and where what it makes of that is put back.

    Attributes:
        get: takes the state, returns the part.
        set: takes the state, and returns what takes the changed part and returns the changed state.
    """

    get: Callable[[State], State]
    set: Callable[[State], Callable[[State], State]]


@dataclass(frozen=True, eq=False)
class Element:
    """What can stand in a list of steps: a step, or several that belong together.

    Attributes:
        name: the title.
        key: its name in the job.
        conditions: what decides whether it runs, the outermost first.
        finally_: whether it runs at the end of the process, whatever happened.
    """

    name: str
    key: str = field(default="", kw_only=True)
    conditions: tuple[Condition, ...] = field(default=(), kw_only=True)
    finally_: bool = field(default=False, kw_only=True)

    def where(self, condition: Condition) -> Self:
        """Return the element with a condition around it."""
        return replace(self, conditions=(condition, *self.conditions))

    def through(self, lens: Lens) -> Self:
        """Return the element with a lens before each of its steps."""
        raise NotImplementedError

    def map(self, change: "Callable[[Step], Step]") -> "Element":
        """Return the element with each of its steps changed by `change`."""
        raise NotImplementedError

    def __rshift__(self, other: "Chainable") -> "StepList":
        return StepList([self]) >> other

    def __rrshift__(self, other: dg.OpDefinition) -> "StepList":
        return StepList([element_of(other)]) >> self


@dataclass(frozen=True, eq=False)
class Step(Element):
    """One piece of work of a workflow: an op of its job.

    Attributes:
        function: what it does; for an inputstep the form; for one that waits, what says for what.
        kind: what it is for.
        assignee: who is asked to act when it waits.
        lenses: which part of the state it sees, the outermost first.
        timeout: how long it may take.
        retry: when it is tried again by itself.
        compensate: the step that undoes it.
        renamed_from: the names that its function had before.
        resume_auth_callback: says who may answer it.
        retry_auth_callback: says who may retry it.
        waiting: what it waits for, where that is not a person.
        restarts_group: whether a retry of it does the group around it again from the start.
    """

    function: Callable[..., Any]
    kind: StepKind = StepKind.STEP
    assignee: Assignee = Assignee.SYSTEM
    lenses: tuple[Lens, ...] = ()
    timeout: timedelta | None = None
    retry: RetrySchedule | None = None
    compensate: "Step | None" = None
    renamed_from: tuple[str, ...] = ()
    resume_auth_callback: Authorizer | None = None
    retry_auth_callback: Authorizer | None = None
    waiting: Awaited | None = None
    restarts_group: bool = False

    def __post_init__(self) -> None:
        if self.kind is not StepKind.INPUTSTEP and any(
            kind(self.function) for kind in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)
        ):
            raise DefinitionError(f"Step {self.name}: a step is a plain function, neither async nor a generator")
        if self.timeout is not None and self.timeout <= timedelta():
            raise DefinitionError(f"Step {self.name}: a timeout is longer than nothing, not {self.timeout}")
        if not self.key:
            object.__setattr__(self, "key", _function_key(self.function))

    @cached_property
    def signature(self) -> Signature:
        """How the function's parameters are filled."""
        return Signature(self.function)

    @cached_property
    def resource_keys(self) -> frozenset[str]:
        """The Dagster resources that the step uses. A form is shown where there are none."""
        if self.kind is StepKind.INPUTSTEP:
            return frozenset()
        of_op = self.function.resource_keys if isinstance(self.function, DagsterOp) else frozenset[str]()
        return of_op | self.signature.resource_keys

    @property
    def is_made(self) -> bool:
        """Whether another function made it, so that its name does not say what it was made with."""
        return "<locals>" in name_of(self.function)

    def through(self, lens: Lens) -> Self:
        """Return the step with a lens before it."""
        return replace(self, lenses=(lens, *self.lenses))

    def map(self, change: "Callable[[Step], Step]") -> "Step":
        """Return the step changed by `change`."""
        return change(self)

    def __repr__(self) -> str:
        return f"<Step {self.key}: {self.name}>"


def _function_key(function: Callable[..., Any]) -> str:
    called = plain_function(function)
    name = type(function).__name__ if called.__name__ == "__call__" else called.__name__
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_") or "step"


def key_of_title(title: str) -> str:
    """Return a name for the job, made of a title.

    Example:
        >>> key_of_title("Provision line (both ends)")
        'provision_line_both_ends'
    """
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in title.lower()).split()
    return "_".join(words) or "steps"


class StepList(tuple[Element, ...]):
    """Steps in the order in which they run. `begin` is the empty one.

    Example:
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Say hello")
        ... def hello() -> State: return {"said": "hello"}
        >>> print(begin >> hello >> hello)
        StepList [Say hello, Say hello]
    """

    __slots__ = ()

    def __rshift__(self, other: "Chainable") -> "StepList":
        added = other if isinstance(other, StepList) else [element_of(other)]
        return StepList([*self, *_with_own_conditions(added)])

    def __rrshift__(self, other: dg.OpDefinition) -> "StepList":
        return StepList([element_of(other), *self])

    @overload
    def __getitem__(self, index: SupportsIndex) -> Element: ...
    @overload
    def __getitem__(self, index: slice) -> "StepList": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Element | StepList":
        return StepList(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def map(self, change: Callable[[Step], Step]) -> "StepList":
        """Return the list with every step changed by `change`, those within groups and branches too."""
        return StepList(element.map(change) for element in self)

    def __str__(self) -> str:
        return f"StepList [{', '.join(element.name for element in self)}]"


Chainable = Element | StepList | dg.OpDefinition
"""What `>>` puts in a row."""


def element_of(given: object) -> Element:
    """Return a step, a group or a Dagster op as what stands in a list of steps.

    Args:
        given: what was put in a row.

    Raises:
        DefinitionError: it is none of these, or an op that cannot be a step.
    """
    if isinstance(given, Element):
        return given
    if isinstance(given, dg.OpDefinition):
        op = DagsterOp(given)
        return Step(op.title, op, key=given.name)
    name = getattr(given, "__name__", given)
    raise DefinitionError(
        f"Expected @step decorated function or type Step or StepList, got {type(given)} with name {name} instead."
    )


def steps_of(given: Chainable) -> StepList:
    """Return one step, or several, as a list."""
    return begin >> given


def _with_own_conditions(elements: Iterable[Element]) -> Iterator[Element]:
    """Give a list its own conditions where it is put in a row, so that each of its occurrences decides for itself."""
    own: dict[Condition, Condition] = {}
    for element in elements:
        conditions = tuple(own.setdefault(condition, replace(condition)) for condition in element.conditions)
        yield replace(element, conditions=conditions) if conditions else element


begin = StepList()
