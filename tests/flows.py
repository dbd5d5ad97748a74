"""Workflows of a few steps, for tests that say in their own words what a process is to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import uuid4

from orchestrator_dagster import (
    Assignee,
    Database,
    FormGenerator,
    FormPage,
    Orchestrator,
    Process,
    State,
    Step,
    Workflow,
    begin,
    done,
    init,
    inputstep,
    step,
    workflow,
)
from orchestrator_dagster.testing import Workbench

_numbers = count(1)


class Outside:
    """The world outside: what was asked of it, in order, and what of it does not work now.

    Attributes:
        calls: the names of what was asked for.
        broken: the names of what raises an error when it is asked for.
        keys: the idempotency keys that came with each name.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken: set[str] = set()
        self.keys: dict[str, list[str]] = {}

    def call(self, name: str, idempotency_key: object = None) -> None:
        """Ask for something."""
        self.calls.append(name)
        self.keys.setdefault(name, []).append(str(idempotency_key))
        if name in self.broken:
            raise ConnectionError(f"{name} does not answer")

    def step(
        self,
        name: str,
        make: Callable[..., Any] = step,
        *,
        undone: bool = False,
        gives: State | None = None,
        **options: Any,
    ) -> Step:
        """Return a step that asks for its own name; where it is `undone`, with a function that undoes it."""

        def body(idempotency_key: str) -> State:
            self.call(name, idempotency_key)
            return gives or {}

        def undo(idempotency_key: str) -> None:
            self.call(f"undo {name}", idempotency_key)

        undoing = {"compensate": called(undo, f"undo_{name}")} if undone else {}
        made: Step = make(name.capitalize(), **undoing, **options)(called(body, name))
        return made


def called(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give a function another name, from which a step has its key."""
    function.__name__ = function.__qualname__ = name
    return function


def asks(field: str, *, name: str | None = None, assignee: Assignee = Assignee.NOC, **options: Any) -> Step:
    """Return a step that asks for one text, and puts it in the state under its name."""

    def form() -> FormGenerator:
        page = type("Page", (FormPage,), {"__annotations__": {field: str}, "__module__": __name__})
        answer = yield page
        return answer.model_dump()

    made: Step = inputstep(f"Ask for {field}", assignee, **options)(called(form, name or f"ask_{field}"))
    return made


def flow(*elements: Any, name: str | None = None, last: Any = done, **options: Any) -> Workflow:
    """Return a workflow of these steps, by default under a name that no other has."""

    def steps() -> Any:
        chain = begin >> init
        for element in elements:
            chain = chain >> element
        return chain >> last if last is not None else chain

    made: Workflow = workflow(**options)(called(steps, name or f"flow_{next(_numbers)}_{uuid4().hex[:6]}"))
    return made


def working(steps: Any, given: State | None = None, **options: Any) -> Workflow:
    """Return a workflow `work` of these steps, which starts with a state and asks for nothing."""

    def form() -> Any:
        yield from ()
        return given or {}

    return flow(steps, name="work", description="Work", initial_input_form=form, **options)


class Benches:
    """Opens workbenches on one database."""

    def __init__(self, database_url: str) -> None:
        self.database = Database(url=database_url)

    @contextmanager
    def open(self, *workflows: Workflow, user: str = "ada", **options: Any) -> Iterator[Workbench]:
        """Open a workbench with workflows."""
        with Workbench(Orchestrator([], workflows=workflows, **options), database=self.database, user=user) as bench:
            yield bench


def rows(process: Process, *, without: tuple[str, ...] = ("init", "done")) -> list[tuple[str, str]]:
    """Return step and status of the rows of the step log."""
    return [(row.step, str(row.status)) for row in process.steps if row.step not in without]
