"""From a list of steps to the plan of a workflow: every step gets its place and its key."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from orchestrator_dagster.domain.authorisation import Authorizer
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.ops.plan import Fork, Plan, PlannedGroup, PlannedStep, Scope
from orchestrator_dagster.ops.shapes import Foreach, Group, Parallel
from orchestrator_dagster.ops.step import Condition, Element, Step, StepKind, StepList, key_of_title


def plan(steps: StepList) -> Plan:
    """Give every step its place and its key.

    Args:
        steps: the steps of a workflow.

    Raises:
        DefinitionError: steps after those of the end, or former names that don't tell which step is meant.

    Example:
        >>> from orchestrator_dagster.ops.step import begin
        >>> from orchestrator_dagster.ops.step_decorators import step
        >>> ping = step("Ping")(lambda: {})
        >>> list(plan(begin >> ping >> ping))
        ['lambda', 'lambda_2']
    """
    require_end(steps)
    planner = _Planner()
    planner.chain(steps, _Around(_Names()), ())
    _require_distinct([*planner.groups, *planner.steps])
    return Plan(planner.steps, planner.groups)


def _nothing() -> State:
    return {}


@dataclass
class _Names:
    """The keys of one graph: of the job's own, or of a group's.

    Attributes:
        prefix: what the full keys begin with.
        former_prefixes: what they began with when groups had other names.
    """

    prefix: str = ""
    former_prefixes: tuple[str, ...] = ()
    _used: set[str] = field(default_factory=set)
    _claims: dict[str, Callable[..., object] | str] = field(default_factory=dict)
    _times: Counter[str] = field(default_factory=Counter)

    def claim(self, name: str) -> str:
        """Return a name that nothing else in the graph has."""
        candidate, count = name, 1
        while candidate in self._used:
            count += 1
            candidate = f"{name}_{count}"
        self._used.add(candidate)
        return candidate

    def former(self, name: str, renamed_from: Iterable[str], owner: Callable[..., object] | str) -> tuple[str, ...]:
        """Return the full keys that what is called `name` now had before."""
        earlier = [self._claim_former(former, owner) for former in renamed_from]
        here = [self.prefix + former for former in earlier]
        elsewhere = [prefix + former for prefix in self.former_prefixes for former in (name, *earlier)]
        return (*here, *elsewhere)

    def _claim_former(self, name: str, owner: Callable[..., object] | str) -> str:
        if self._claims.setdefault(name, owner) != owner:
            raise DefinitionError(f"Two steps are renamed from {self.prefix}{name}: only one can go on where it stood")
        self._times[name] += 1
        return name if self._times[name] == 1 else f"{name}_{self._times[name]}"


@dataclass(frozen=True)
class _Around:
    """What is around a step.

    Attributes:
        names: the keys of the graph that it is in.
        scope: the forks that it is behind.
        conditions: what decides about it, each with the keys of the conditions of its list.
        finally_: whether it runs at the end, whatever happened.
        retry_auth_callback: who may retry it, as the group says.
    """

    names: _Names
    scope: tuple[Scope, ...] = ()
    conditions: tuple[tuple[dict[Condition, str], Condition], ...] = ()
    finally_: bool = False
    retry_auth_callback: Authorizer | None = None

    def within(self, scope: Scope) -> "_Around":
        return replace(self, scope=(*self.scope, scope))


class _Planner:
    """Walks through a list of steps, the outer ones first.

    What comes directly before a step is handed on as a tuple of keys, so that a join can have several.
    """

    def __init__(self) -> None:
        self.steps: list[PlannedStep] = []
        self.groups: list[PlannedGroup] = []

    def chain(self, elements: StepList, around: _Around, before: tuple[str, ...]) -> tuple[str, ...]:
        """Plan steps in a row; return what comes directly before the step after them."""
        keys_of_conditions: dict[Condition, str] = {}
        for element in elements:
            own = tuple((keys_of_conditions, condition) for condition in element.conditions)
            inner = replace(around, conditions=(*around.conditions, *own), finally_=around.finally_ or element.finally_)
            before = self._element(element, inner, before)
        return before

    def _element(self, element: Element, around: _Around, before: tuple[str, ...]) -> tuple[str, ...]:
        match element:
            case Step():
                return self._step(element, around, before)
            case Group():
                return self._group(element, around, before)
            case Parallel():
                return self._parallel(element, around, before)
            case Foreach():
                return self._foreach(element, around, before)
        raise DefinitionError(f"{element!r} is no step")

    def _step(self, step: Step, around: _Around, before: tuple[str, ...], fork: Fork | None = None) -> tuple[str, ...]:
        names = around.names
        name = step.key if fork else names.claim(step.key)
        key = names.prefix + name
        if around.retry_auth_callback and not (step.retry_auth_callback or step.resume_auth_callback):
            step = replace(step, retry_auth_callback=around.retry_auth_callback)
        self.steps.append(
            PlannedStep(
                key,
                step,
                conditions={
                    keys.setdefault(condition, f"{key}:{depth}"): condition
                    for depth, (keys, condition) in enumerate(around.conditions)
                },
                before=before,
                scope=around.scope,
                restarts=names.prefix.removesuffix(".") if step.restarts_group else None,
                finally_=around.finally_,
                fork=fork,
                former_keys=names.former(name, step.renamed_from, step.function),
            )
        )
        return (key,)

    def _group(self, group: Group, around: _Around, before: tuple[str, ...]) -> tuple[str, ...]:
        outer = around.names
        name = outer.claim(group.key)
        key = outer.prefix + name
        former = outer.former(name, map(key_of_title, group.renamed_from), group.key)
        self.groups.append(PlannedGroup(key, group.name, former))
        inner = replace(
            around,
            names=_Names(f"{key}.", tuple(f"{former_key}." for former_key in former)),
            retry_auth_callback=group.retry_auth_callback or around.retry_auth_callback,
        )
        return self.chain(group.steps, inner, before)

    def _parallel(self, parallel: Parallel, around: _Around, before: tuple[str, ...]) -> tuple[str, ...]:
        names = around.names
        key = names.prefix + names.claim(parallel.key)
        ends = tuple(
            end
            for number, branch in enumerate(parallel.branches)
            for end in self.chain(branch, around.within(Scope(key, number)), before)
        )
        join = names.claim("join" if parallel.key == "parallel" else f"{parallel.key}_join")
        return self._step(_joining(parallel, join), around, ends, Fork(key, None, ends))

    def _foreach(self, foreach: Foreach, around: _Around, before: tuple[str, ...]) -> tuple[str, ...]:
        names = around.names
        name = names.claim(foreach.key)
        key = names.prefix + name
        position = len(self.steps)
        fan_out = Step(foreach.name, _nothing, StepKind.FAN_OUT, key=name)
        self._step(fan_out, around, before, Fork(key, foreach.over, ()))
        last = self.chain(foreach.steps, around.within(Scope(key)), (key,))
        fork = Fork(key, foreach.over, last)
        self.steps[position] = replace(self.steps[position], fork=fork)
        return self._step(_joining(foreach, names.claim(f"{name}_join")), around, (key, *last), fork)


def _joining(element: Element, key: str) -> Step:
    return Step(f"{element.name} - join", _nothing, StepKind.JOIN, key=key)


def require_end(steps: StepList) -> None:
    """Make sure that the steps of the end stand there: only the step that ends the process may follow.

    Args:
        steps: those of a workflow, or of a part of it.

    Raises:
        DefinitionError: one stands elsewhere.
    """
    at_the_end = False
    for element in steps:
        ends_process = isinstance(element, Step) and element.kind in (StepKind.DONE, StepKind.ABORT)
        if at_the_end and not element.finally_ and not ends_process:
            raise DefinitionError(f"finally_ steps stand at the end; {element.name} comes after them")
        at_the_end = at_the_end or element.finally_
        _require_no_end_within(element)


def _require_no_end_within(element: Element) -> None:
    inner: Iterable[Element] = ()
    if isinstance(element, Group | Foreach):
        inner = element.steps
    elif isinstance(element, Parallel):
        inner = (one for branch in element.branches for one in branch)
    for one in inner:
        if one.finally_ and not element.finally_:
            raise DefinitionError(f"finally_ steps stand at the end of a workflow, not within {element.name}")
        _require_no_end_within(one)


def _require_distinct(named: Sequence[PlannedStep | PlannedGroup]) -> None:
    """Make sure that a former key tells which step is meant."""
    taken = {one.key for one in named}
    for one in named:
        for former in one.former_keys:
            if former in taken:
                raise DefinitionError(f"{one.key} is renamed from {former}, which another step is called too")
            taken.add(former)
