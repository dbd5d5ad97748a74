"""What a run does in one transaction: a step in its place, or the undoing of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection

from orchestrator_dagster.domain.difference import Difference, difference
from orchestrator_dagster.domain.process import StepStatus
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import Wait
from orchestrator_dagster.ops.injection import Ambient
from orchestrator_dagster.ops.plan import Place
from orchestrator_dagster.ops.step import Condition, Step, StepKind
from orchestrator_dagster.ops.transaction import StepTransaction

UNDO = ":undo"
"""How the key ends under which the undoing of a step is logged."""


@dataclass(frozen=True)
class Work:
    """What a run does in one transaction.

    Attributes:
        key: the key under which it is logged.
        title: the title under which it is logged.
        step: what is done.
        place: the step's place in the workflow; of the step that is undone, where it is that. `None` for the abort
            itself.
        conditions: what decides whether it is done, by the key under which the decision is recorded.
        branch: the branch whose state it sees and changes.
    """

    key: str
    title: str
    step: Step
    place: Place | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    branch: str = ""

    @classmethod
    def at(cls, place: Place) -> "Work":
        """Return the work of a step."""
        return cls(place.key, place.title, place.planned.step, place, place.conditions, place.branch)

    @classmethod
    def undoing(cls, place: Place, undo: Step, branch: str) -> "Work":
        """Return the work of undoing a step, which sees the part of the state that the step saw.

        Args:
            place: the step.
            undo: what undoes it.
            branch: the branch in which it was done.
        """
        step = replace(undo, lenses=place.planned.step.lenses)
        return cls(f"{place.key}{UNDO}", f"Undo {place.title}", step, place, branch=branch)

    @property
    def goes_forward(self) -> bool:
        """Whether it is a step of the workflow, and nothing that an abort does."""
        return self.place is not None and self.key == self.place.key

    @property
    def last(self) -> bool:
        """Whether the process is complete after it."""
        return self.goes_forward and self.place is not None and self.place.planned.last

    @property
    def halts_process(self) -> bool:
        """Whether the process stands still when it waits or fails; other branches may go on."""
        return not (self.goes_forward and self.branch)

    @property
    def tries_again(self) -> bool:
        """Whether it is done again by itself where it failed."""
        return self.step.kind is StepKind.RETRYSTEP

    def idempotency_key(self, process_id: UUID, round_: int) -> str:
        """Return the text that is the same on every attempt, and no other's."""
        return str(uuid5(process_id, self.key if round_ == 1 else f"{self.key}#{round_}"))


@dataclass(frozen=True)
class Environment:
    """What the engine asks of those above it.

    Attributes:
        describe_form: returns the JSON schema of the first page of a step's form.
        start_child: writes a process of the workflow of that name with that input, as part of a process and in the
            transaction of its step; returns its id.
        is_terminated: whether somebody terminated the Dagster run.
    """

    describe_form: Callable[[Step, State, UUID], Mapping[str, Any] | None]
    start_child: Callable[[Connection, str, Mapping[str, Any], UUID], UUID]
    is_terminated: Callable[[], bool]


@dataclass(frozen=True)
class Circumstances:
    """What an effect depends on, beside the work.

    Attributes:
        state: what is known in the branch.
        branches: of a step that joins, what each of its branches changed, by branch.
        ambient: what a step may ask for by name.
        transaction: the step's transaction.
        wait: what the step waited for when the run began, if it did.
        environment: what is asked of others.
        user: on whose behalf the run goes on.
        now: when the step was reached.
    """

    state: State
    branches: Mapping[str, State]
    ambient: Ambient
    transaction: StepTransaction
    wait: Wait | None
    environment: Environment
    user: str
    now: datetime


@dataclass(frozen=True)
class Effect:
    """What a step did, or what it waits for.

    Attributes:
        changed: what it changed in the state.
        status: what the step log says of it.
        wait: what it waits for from now on.
        detail: what else the step log keeps.
        done_by: who did it, where that is not the run's user.
    """

    changed: Difference = field(default_factory=Difference)
    status: StepStatus = StepStatus.SUCCESS
    wait: Wait | None = None
    detail: Mapping[str, Any] | None = None
    done_by: str | None = None


def seen_by(step: Step, state: State) -> State:
    """Return the part of the state that a step sees."""
    for lens in step.lenses:
        state = lens.get(state)
    return state


def put_back(step: Step, state: State, part: State) -> Difference:
    """Return what changes in the state when the part that a step saw becomes another one."""
    around = [state]
    for lens in step.lenses:
        around.append(lens.get(around[-1]))
    for lens, whole in zip(reversed(step.lenses), reversed(around[:-1]), strict=True):
        part = lens.set(whole)(part)
    return difference(state, part)
