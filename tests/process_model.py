"""A pure model of where a process stands: what the engine must agree with, whatever happens in whatever order.

A workflow is a list of pieces, each a step of some kind, or branches side by side of such steps. What the steps do is
decided by the weather: whether things are broken, whether the line is up, and what happens to the process meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.waiting import WaitKind


class Kind(StrEnum):
    """What a step of a modelled workflow does."""

    WORK = "work"
    RING = "ring"
    ASK = "ask"
    CALL = "call"
    REST = "rest"


WAITS = {
    Kind.WORK: WaitKind.FAILURE,
    Kind.RING: WaitKind.RETRY,
    Kind.ASK: WaitKind.INPUT,
    Kind.CALL: WaitKind.CALLBACK,
    Kind.REST: WaitKind.TIME,
}
DUE_LATER = (WaitKind.TIME, WaitKind.RETRY)
RETRIED = (WaitKind.FAILURE, WaitKind.RETRY)

_PRIORITY = [
    (WaitKind.FAILURE, ProcessStatus.FAILED),
    (WaitKind.INPUT, ProcessStatus.SUSPENDED),
    (WaitKind.CALLBACK, ProcessStatus.AWAITING_CALLBACK),
    (WaitKind.TIME, ProcessStatus.WAITING),
    (WaitKind.RETRY, ProcessStatus.WAITING),
]

ALLOWED = {
    (None, ProcessStatus.CREATED),
    (None, ProcessStatus.RUNNING),
    (ProcessStatus.CREATED, ProcessStatus.RUNNING),
    (ProcessStatus.CREATED, ProcessStatus.ABORTED),
    *(
        (ProcessStatus.RUNNING, after)
        for after in ProcessStatus
        if after not in (ProcessStatus.CREATED, ProcessStatus.RUNNING)
    ),
    *((halted, ProcessStatus.RESUMED) for halted in ProcessStatus if halted.halted),
    *((halted, ProcessStatus.ABORTED) for halted in ProcessStatus if halted.halted),
    (ProcessStatus.RESUMED, ProcessStatus.RUNNING),
    (ProcessStatus.RESUMED, ProcessStatus.ABORTED),
    (ProcessStatus.RESUMED, ProcessStatus.FAILED),
}
"""The transitions that there may be, from a status to another one; `None` is before there was a process."""


@dataclass(frozen=True)
class Piece:
    """A step; its key occurs once in a workflow."""

    kind: Kind
    key: str


@dataclass(frozen=True)
class Branches:
    """Steps side by side."""

    sides: tuple[tuple[Piece, ...], ...]


Workflow = Sequence[Piece | Branches]


def pieces(workflow: Workflow) -> Iterator[Piece]:
    """Yield all steps of a workflow."""
    for part in workflow:
        yield from [part] if isinstance(part, Piece) else [piece for side in part.sides for piece in side]


@dataclass
class Weather:
    """What decides how steps end.

    Attributes:
        broken: whether steps that work fail.
        line_up: whether steps that ring get through.
        meanwhile: what happens while the next step works: the engine is paused, or the process is to be aborted.
        paused: whether the engine is paused.
    """

    broken: bool = False
    line_up: bool = True
    meanwhile: str | None = None
    paused: bool = False


@dataclass
class Life:
    """A process as it must stand.

    Attributes:
        workflow: its steps.
        done: the keys of those that are finished, in order.
        waits: what the steps wait for that were reached and are not finished.
        aborted: whether it is aborted.
    """

    workflow: Workflow
    done: list[str] = field(default_factory=list)
    waits: dict[str, WaitKind] = field(default_factory=dict)
    aborted: bool = False
    _stopped: bool = False

    @property
    def status(self) -> ProcessStatus:
        """Where it stands while no run works on it."""
        if self.aborted:
            return ProcessStatus.ABORTED
        if self._stopped:
            return ProcessStatus.RESUMED
        for kind, status in _PRIORITY:
            if kind in self.waits.values():
                return status
        return ProcessStatus.COMPLETED

    @property
    def ended(self) -> bool:
        """Whether it is completed or aborted."""
        return self.status.ended

    def waiting(self, *kinds: WaitKind) -> list[str]:
        """Return the keys of the steps that wait for something of these kinds, in their order in the workflow."""
        return [piece.key for piece in pieces(self.workflow) if self.waits.get(piece.key) in kinds]

    def run(self, weather: Weather, ready: Sequence[str] = ()) -> None:
        """Do what a run does, for which what some steps wait for is there."""
        self._stopped = False
        self._all(self.workflow, weather, set(ready))

    def skip(self, key: str) -> None:
        """Pass a step by."""
        del self.waits[key]
        self.done.append(key)

    def abort(self) -> None:
        """End it before its end."""
        self.waits.clear()
        self.aborted = True

    def _all(self, workflow: Workflow, weather: Weather, ready: set[str]) -> bool:
        for part in workflow:
            if isinstance(part, Piece):
                finished = self._finishes(part, weather, ready)
            else:
                # one that halts doesn't keep the others from running
                sides = [self._all(side, weather, ready) for side in part.sides]
                finished = all(sides)
            if not finished:
                return False
        return not self._stopped

    def _finishes(self, piece: Piece, weather: Weather, ready: set[str]) -> bool:
        if piece.key in self.done:
            return True
        waits_still = piece.key in self.waits and piece.key not in ready
        if self._stopped or self.aborted or waits_still:
            return False
        if not self._succeeds(piece, weather, piece.key in ready):
            self.waits[piece.key] = WAITS[piece.kind]
            return False
        self.waits.pop(piece.key, None)
        self.done.append(piece.key)
        if piece.kind is Kind.WORK:
            self._meanwhile(weather)
        return True

    def _succeeds(self, piece: Piece, weather: Weather, ready: bool) -> bool:
        if piece.kind is Kind.WORK:
            return not weather.broken
        return weather.line_up if piece.kind is Kind.RING else ready

    def _meanwhile(self, weather: Weather) -> None:
        happened, weather.meanwhile = weather.meanwhile, None
        if happened == "abort":
            self.abort()
        elif happened == "pause":
            weather.paused = True
            self._stopped = True
