"""What is put around steps: conditions, and lenses on the state."""

from collections.abc import Callable
from typing import TypeVar, overload

import dagster as dg

from orchestrator_dagster.domain.state import State
from orchestrator_dagster.ops.step import Chainable, Condition, Element, Lens, Predicate, StepList, element_of

_Element = TypeVar("_Element", bound=Element)


class _Around:
    """Changes every element that it is put around, and gives back what it was given."""

    def _change(self) -> Callable[[Element], Element]:
        raise NotImplementedError

    @overload
    def __call__(self, steps: _Element) -> _Element: ...
    @overload
    def __call__(self, steps: StepList) -> StepList: ...
    @overload
    def __call__(self, steps: dg.OpDefinition) -> Element: ...
    def __call__(self, steps: Chainable) -> Element | StepList:
        change = self._change()
        return StepList(map(change, steps)) if isinstance(steps, StepList) else change(element_of(steps))


class conditional(_Around):  # noqa: N801 - reads as a word of the workflow language
    """Run steps only where a predicate of the state holds.

    Over several steps the predicate is evaluated once, when the first is reached; the decision is recorded and kept
    when the process goes on later. Within a foreach it is evaluated once for each item.

    Args:
        predicate: takes the state.

    Example:
        >>> from orchestrator_dagster.ops.step import begin
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Notify customer")
        ... def notify() -> State: return {}
        >>> if_wanted = conditional(lambda state: state["notify"])
        >>> print(begin >> if_wanted(begin >> notify))
        StepList [Notify customer]
    """

    def __init__(self, predicate: Predicate) -> None:
        self._predicate = predicate

    def _change(self) -> Callable[[Element], Element]:
        condition = Condition(self._predicate)
        return lambda element: element.where(condition)


class steplens(_Around):  # noqa: N801 - reads as a word of the workflow language
    """Let steps see a part of the state as if it were all of it.

    Conditions and authorisation callbacks stay as they are: they see the whole state.

    Args:
        get: takes the state, returns the part.
        set: takes the state, and returns a function that takes the changed part and returns the changed state.

    Example:
        >>> from orchestrator_dagster.ops.step import begin
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Measure")
        ... def measure() -> State: return {"length": 3}
        >>> on_cable = steplens(lambda state: state["cable"], lambda state: lambda cable: {**state, "cable": cable})
        >>> print(begin >> on_cable(measure))
        StepList [Measure]
    """

    def __init__(
        self,
        get: Callable[[State], State],
        set: Callable[[State], Callable[[State], State]],  # noqa: A002 - the reference's name
    ) -> None:
        self._lens = Lens(get, set)

    def _change(self) -> Callable[[Element], Element]:
        return lambda element: element.through(self._lens)


def focussteps(key: str) -> steplens:
    """Let steps see what the state has under one key, or nothing where it has none.

    Args:
        key: the key.

    Example:
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> @step("Measure")
        ... def measure() -> State: return {"length": 3}
        >>> (lens,) = focussteps("cable")(measure).lenses
        >>> lens.set({"site": "Utrecht"})({"length": 3})
        {'site': 'Utrecht', 'cable': {'length': 3}}
    """
    return steplens(lambda state: state.get(key, {}), lambda state: lambda part: {**state, key: part})
