"""A workflow of every shape, whose steps leave one row each in the database, and one line each with a system outside.

The table `effects` is written on the step's own connection, so it has a row for each step that was committed. The file
that `CALLS` names gets a line for each call, whatever becomes of the step: the outside gets at least one.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from orchestrator_dagster import (
    Assignee,
    FormGenerator,
    FormPage,
    Orchestrator,
    State,
    Step,
    StepList,
    Workflow,
    begin,
    callback_step,
    conditional,
    done,
    finally_,
    foreach,
    init,
    inputstep,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    wait_for,
    workflow,
)
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.repository import ambient_repository
from orchestrator_dagster.ops.step import StepKind

PAUSE = timedelta(seconds=float(os.environ.get("PAUSE_SECONDS", "3600")))
"""For how long timers rest, and between two attempts."""

ITEMS = ["red", "green"]

CREATE_EFFECTS = """
    CREATE TABLE public.effects (
        mark text NOT NULL, label text NOT NULL, process_id uuid NOT NULL, idempotency_key text NOT NULL
    )
"""
_LEAVE_EFFECT = text("INSERT INTO public.effects VALUES (:mark, :label, :process_id, :idempotency_key)")


class MarkPage(FormPage):
    """By its mark a process is found again, and all that it did."""

    mark: str


def calls() -> list[dict[str, str]]:
    """Return the calls that the system outside got."""
    file = Path(os.environ["CALLS"])
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def leave(mark: str, label: str, process_id: UUID, idempotency_key: str) -> None:
    """Do what a step does: call the system outside, and write on the step's connection."""
    left = {"mark": mark, "label": label, "process_id": str(process_id), "idempotency_key": idempotency_key}
    with Path(os.environ["CALLS"]).open("a") as file:
        file.write(json.dumps(left) + "\n")
    connection: Any = getattr(ambient_repository(), "connection", None)
    assert connection is not None, "a step has its transaction"
    connection.execute(_LEAVE_EFFECT, left)


def _effect(name: str) -> Callable[..., State]:
    def effect(mark: str, process_id: UUID, idempotency_key: str, index: int | None = None) -> State:
        leave(mark, name if index is None else f"{name}[{index}]", process_id, idempotency_key)
        return {name: idempotency_key != ""}

    effect.__name__ = effect.__qualname__ = name
    return effect


def work(name: str, **options: Any) -> Step:
    """Return a step of this name that leaves its effect."""
    return step(f"Do {name}", **options)(_effect(name))


def undoable(name: str) -> Step:
    """Return a step that leaves its effect, and another one when it is undone."""
    return work(name, compensate=_effect(f"undo_{name}"))


@retrystep("Do flaky", retry_every=PAUSE)
def flaky(mark: str, process_id: UUID, idempotency_key: str) -> State:
    leave(mark, "flaky", process_id, idempotency_key)
    if sum(call["mark"] == mark and call["label"] == "flaky" for call in calls()) == 1:
        raise ConnectionError("not at the first attempt")
    return {"flaky": True}


@inputstep("Ask", assignee=Assignee.NOC)
def ask() -> FormGenerator:
    class Answer(FormPage):
        words: str

    answer = yield Answer
    return answer.model_dump()


def childs_input(mark: str) -> dict[str, Any]:
    return {"mark": mark}


if_so = conditional(lambda state: state["mark"] != "")
if_not = conditional(lambda state: state["mark"] == "")


@workflow("Linear", initial_input_form=MarkPage)
def linear() -> StepList:
    return begin >> init >> work("a") >> work("b") >> done


@workflow("Group", initial_input_form=MarkPage)
def group() -> StepList:
    return begin >> init >> step_group("Both", begin >> work("a") >> work("b")) >> work("c") >> done


@workflow("Choice", initial_input_form=MarkPage)
def choice() -> StepList:
    return begin >> init >> if_so(begin >> work("a") >> work("b")) >> if_not(work("c")) >> done


@workflow("Side by side", initial_input_form=MarkPage)
def side_by_side() -> StepList:
    return begin >> init >> parallel(begin >> work("a") >> work("b"), begin >> work("c")) >> work("d") >> done


@step("Find items")
def find_items() -> State:
    return {"items": ITEMS}


@workflow("For each", initial_input_form=MarkPage)
def for_each() -> StepList:
    return begin >> init >> find_items >> foreach("items")(begin >> work("a") >> work("b")) >> work("c") >> done


@workflow("Question", initial_input_form=MarkPage)
def question() -> StepList:
    return begin >> init >> work("a") >> ask >> work("b") >> done


@workflow("Call", initial_input_form=MarkPage)
def call() -> StepList:
    return begin >> init >> callback_step("Call out", work("a"), work("b")) >> work("c") >> done


@workflow("Stubborn", initial_input_form=MarkPage)
def stubborn() -> StepList:
    return begin >> init >> flaky >> work("a") >> done


@workflow("Patient", initial_input_form=MarkPage)
def patient() -> StepList:
    return begin >> init >> work("a") >> wait_for(PAUSE) >> work("b") >> done


@workflow("Child", initial_input_form=MarkPage)
def child() -> StepList:
    return begin >> init >> work("of_child") >> done


@workflow("Parent", initial_input_form=MarkPage)
def parent() -> StepList:
    return begin >> init >> work("a") >> run_workflow("child", input=childs_input) >> work("b") >> done


@workflow("Undone", initial_input_form=MarkPage)
def undone() -> StepList:
    steps = begin >> init >> undoable("a") >> undoable("b") >> ask >> work("never")
    return steps >> finally_(begin >> work("tidy")) >> done


@workflow("Tidy", initial_input_form=MarkPage)
def tidy() -> StepList:
    return begin >> init >> work("a") >> finally_(begin >> work("tidy")) >> done


@workflow("Mixed", initial_input_form=MarkPage)
def mixed() -> StepList:
    colours = begin >> foreach("items")(begin >> work("a"))
    people = begin >> step_group("Desk", begin >> ask >> work("b"))
    return begin >> init >> find_items >> parallel(colours, people) >> work("c") >> done


@dataclass(frozen=True)
class Shape:
    """A workflow, and what becomes of it.

    Attributes:
        workflow: the workflow.
        ends: how its processes end.
        children: workflows that it starts.
    """

    workflow: Workflow
    ends: ProcessStatus = ProcessStatus.COMPLETED
    children: tuple[Workflow, ...] = ()

    @property
    def name(self) -> str:
        """That of the workflow."""
        return self.workflow.name

    @property
    def aborted(self) -> bool:
        """Whether it is aborted where it asks for input."""
        return self.ends is ProcessStatus.ABORTED


SHAPES = {
    shape.name: shape
    for shape in [
        *map(
            Shape,
            [linear, group, choice, side_by_side, for_each, question, call, stubborn, patient, tidy, mixed],
        ),
        Shape(parent, children=(child,)),
        Shape(undone, ends=ProcessStatus.ABORTED),
    ]
}


def steps_of(shape: Shape) -> Iterator[str]:
    """Yield the keys of all steps that a process of this shape comes by, as the engine knows them when it runs."""
    for planned in shape.workflow.plan.values():
        for index in range(len(ITEMS)) if planned.per_item else [None]:
            yield shape.workflow.plan.place(planned.key, index).key
        if shape.aborted and planned.step.kind is StepKind.INPUTSTEP:
            break
    for childs in shape.children:
        yield from steps_of(Shape(childs))


def steps_of_the_abort(shape: Shape) -> Iterator[str]:
    """Yield the keys of all that is done when a process of this shape is aborted, in one op."""
    if shape.aborted:
        plan = shape.workflow.plan.values()
        yield from (f"{planned.key}:undo" for planned in plan if planned.step.compensate)
        yield from (planned.key for planned in plan if planned.finally_)
        yield "abort"


orchestrator = Orchestrator([], workflows=[*(shape.workflow for shape in SHAPES.values()), child])
