"""Several steps as one: groups, branches beside each other, one branch for each item."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from orchestrator_dagster.domain.authorisation import Authorizer
from orchestrator_dagster.domain.stored import Names, earlier_names
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.ops.step import Chainable, Element, Lens, Step, StepKind, StepList, key_of_title, steps_of

_AT_THE_END = (StepKind.STEP, StepKind.RETRYSTEP)


@dataclass(frozen=True, eq=False)
class Group(Element):
    """Steps that belong together: a graph of its own in the job.

    Attributes:
        steps: the steps, in order.
        retry_auth_callback: says who may retry those of its steps that don't say it themselves.
        renamed_from: the titles that it had before.
    """

    steps: StepList
    retry_auth_callback: Authorizer | None = None
    renamed_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.steps:
            raise DefinitionError(f"Group {self.name} has no steps")
        if not self.key:
            object.__setattr__(self, "key", key_of_title(self.name))

    def through(self, lens: Lens) -> Self:
        """Return the group with a lens before each of its steps."""
        return replace(self, steps=StepList(element.through(lens) for element in self.steps))

    def map(self, change: Callable[[Step], Step]) -> "Group":
        """Return the group with each of its steps changed by `change`."""
        return replace(self, steps=self.steps.map(change))


@dataclass(frozen=True, eq=False)
class Parallel(Element):
    """Branches that don't see each other, and whose changes are put together where they meet.

    Attributes:
        branches: the steps of each branch.
    """

    branches: tuple[StepList, ...]

    def __post_init__(self) -> None:
        if len(self.branches) < 2:
            raise DefinitionError(f"parallel takes two branches or more, not {len(self.branches)}")
        for number, branch in enumerate(self.branches, 1):
            if not branch:
                raise DefinitionError(f"parallel: branch {number} has no steps")

    def through(self, lens: Lens) -> Self:  # noqa: ARG002 - there is none for this
        """Refuse: the branches would all change the same part of the state."""
        raise DefinitionError(f"A lens cannot be put around {self.name}: put it around the steps of a branch")

    def map(self, change: Callable[[Step], Step]) -> "Parallel":
        """Return the branches with each of their steps changed by `change`."""
        return replace(self, branches=tuple(branch.map(change) for branch in self.branches))


@dataclass(frozen=True, eq=False)
class Foreach(Element):
    """Steps that run once for each item of a list in the state.

    Attributes:
        over: the key of the list in the state.
        steps: what is done with each item.
    """

    over: str
    steps: StepList

    def __post_init__(self) -> None:
        if not self.steps:
            raise DefinitionError(f"foreach('{self.over}') has no steps")
        if any(_has_foreach(element) for element in self.steps):
            raise DefinitionError(
                f"foreach('{self.over}') has a foreach within it: start a workflow for each item with run_workflow, "
                "or make one list of all items first"
            )

    def through(self, lens: Lens) -> Self:  # noqa: ARG002 - there is none for this
        """Refuse: the items' branches would all change the same part of the state."""
        raise DefinitionError(f"A lens cannot be put around {self.name}: put it around the steps within it")

    def map(self, change: Callable[[Step], Step]) -> "Foreach":
        """Return the same for each item, with each of the steps changed by `change`."""
        return replace(self, steps=self.steps.map(change))


def _has_foreach(element: Element) -> bool:
    if isinstance(element, Group):
        return any(map(_has_foreach, element.steps))
    if isinstance(element, Parallel):
        return any(_has_foreach(inner) for branch in element.branches for inner in branch)
    return isinstance(element, Foreach)


def step_group(
    name: str,
    steps: Chainable,
    extract_form: bool = True,  # noqa: ARG001 - kept for ports
    retry_auth_callback: Authorizer | None = None,
    *,
    renamed_from: Names = (),
) -> Group:
    """Make one of several steps: a graph within the job's graph.

    Each of the steps is on record, and a process that stops in the group goes on where it stopped.

    Args:
        name: the title; the group's key is made of it.
        steps: the steps.
        extract_form: ignored: every form in the group can be answered.
        retry_auth_callback: says who may retry those of the steps that don't say it themselves.
        renamed_from: the title that it had before, or several.

    Example:
        >>> from orchestrator_dagster.ops.step import begin
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Dig")
        ... def dig() -> dict: return {}
        >>> print(begin >> step_group("Lay the cable", begin >> dig >> dig))
        StepList [Lay the cable]
    """
    renamed = earlier_names(f"Group {name}", renamed_from)
    return Group(name, steps_of(steps), retry_auth_callback=retry_auth_callback, renamed_from=renamed)


def parallel(*branches: Chainable, name: str = "Parallel") -> Parallel:
    """Put steps beside each other instead of in a row.

    The branches don't see each other's changes. After them the process goes on with the changes of all; two branches
    that gave the same key different values are an error. One branch may wait or fail while the others go on.

    Args:
        branches: a step or several, for each branch.
        name: the title; where it is given, the key is made of it.

    Raises:
        DefinitionError: fewer than two branches, or an empty one.

    Example:
        >>> from orchestrator_dagster.ops.step import begin
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Dig")
        ... def dig() -> dict: return {}
        >>> print(begin >> parallel(dig, begin >> dig >> dig))
        StepList [Parallel]
    """
    return Parallel(name, tuple(map(steps_of, branches)), key=key_of_title(name))


def foreach(key: str) -> Callable[[Chainable], Foreach]:
    """Run steps once for each item of a list in the state.

    Each item's steps see the state with the item as `item` and its place as `index`. What they add to the state is
    collected: one list under each key, in the order of the items. An empty list is passed by.

    Args:
        key: where the state has the list.

    Raises:
        DefinitionError: a foreach in a foreach, or no steps.

    Example:
        >>> from orchestrator_dagster.ops.step import begin
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Plug in")
        ... def plug_in(item: str) -> dict: return {"plugged": item}
        >>> print(begin >> foreach("ports")(plug_in))
        StepList [For each of ports]
    """
    return lambda steps: Foreach(f"For each of {key}", key, steps_of(steps), key=f"foreach_{key_of_title(key)}")


def finally_(steps: Chainable) -> StepList:
    """Run steps at the end of the process, whether it is completed or aborted.

    They stand at the end of a workflow. An aborted process runs them after what its steps did was undone.

    Args:
        steps: plain steps, also conditional ones and groups of them.

    Raises:
        DefinitionError: steps that wait for something, or branch.
    """
    return StepList(map(_at_the_end, steps_of(steps)))


def _at_the_end(element: Element) -> Element:
    if isinstance(element, Group):
        return replace(element, finally_=True, steps=StepList(map(_at_the_end, element.steps)))
    if isinstance(element, Step) and element.kind in _AT_THE_END:
        return replace(element, finally_=True)
    raise DefinitionError(f"finally_ takes plain steps and groups of them; {element.name} waits or branches")
