"""What a run knows of its process: the step log's memory, what is waited for, and what it is to heed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator_dagster.db.step_log import Memory, StepRow
from orchestrator_dagster.domain.process import Concerned
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import Flags, Wait, WaitKind
from orchestrator_dagster.ops.plan import BranchEnd, Place, Plan
from orchestrator_dagster.ops.step import StepKind
from orchestrator_dagster.ops.work import Work


@dataclass
class Knowledge:
    """What a run knows of its process. It is read once, when the run begins, and kept up to date by what the run does.

    Attributes:
        memory: the fold of the step log.
        waits: what the steps wait for that were reached and are not finished, by key.
        flags: what is to be heeded before the next step.
        concerned: the subscriptions that the process is known to work on.
        has_children: whether it has started another process, and waits or waited for that in this run.
    """

    memory: Memory
    waits: dict[str, Wait] = field(default_factory=dict)
    flags: Flags = field(default_factory=Flags)
    concerned: Concerned = field(default_factory=Concerned)
    has_children: bool = False

    def __post_init__(self) -> None:
        self.has_children = any(wait.waits_for for wait in self.waits.values())

    def keep(self, row: StepRow, wait: Wait | None, saved: Concerned | None = None) -> None:
        """Remember what is committed."""
        self.memory = self.memory.after(row)
        self.waits.pop(row.step, None)
        if wait is not None:
            self.waits[row.step] = wait
            self.has_children |= wait.waits_for is not None
        self.concerned |= saved or Concerned()

    def keep_decisions(self, decided: Mapping[str, bool]) -> None:
        """Remember what conditions decided."""
        self.memory = replace(self.memory, conditions={**(self.memory.conditions or {}), **decided})

    def decided(self, condition_key: str) -> bool | None:
        """Return what a condition decided, `None` where it was not asked yet."""
        return (self.memory.conditions or {}).get(condition_key)

    def is_finished(self, key: str) -> bool:
        """Whether a step need not run any more."""
        return key in self.memory.finished

    def waits_in_vain(self, key: str) -> bool:
        """Whether a step was reached before, and cannot go on yet."""
        return key in self.waits and not self.waits[key].ready

    def is_to_be_tried_later(self, key: str) -> bool:
        """Whether a step failed, and the time of its next attempt has not come."""
        return self.waits_in_vain(key) and self.waits[key].kind is WaitKind.RETRY

    def state_of(self, work: Work) -> State:
        """Return what is known in the branch of a step."""
        return self.memory.state_in(work.branch)

    def round_of(self, work: Work) -> int:
        """Return how often the step's group was started."""
        return self.memory.round_of(work.key)

    def items_of(self, key: str) -> int:
        """Return for how many items a foreach has branches."""
        return len(self.memory.items.get(key, ()))

    def branches_of(self, work: Work) -> dict[str, State]:
        """Return what the branches changed that a step joins, by branch and in order."""
        if work.place is None or work.step.kind is not StepKind.JOIN:
            return {}
        return {end.branch: self.memory.branches.get(end.branch, {}) for end in self._ends(work.place)}

    def unfinished_before(self, place: Place) -> str | None:
        """Return a step that has to be finished before another one can run, and is not."""
        keys = [*place.before, *(end.last for end in self._ends(place))]
        return next((key for key in keys if not self.is_finished(key)), None)

    def unfinished_ahead_of(self, place: Place, plan: Plan) -> str | None:
        """Return a step that comes before another one, maybe long before, and is not finished."""
        ahead, seen = [place], {place.key}
        while ahead:
            one = ahead.pop()
            if earlier := self.unfinished_before(one):
                return earlier
            keys = {*one.before, *(end.last for end in self._ends(one))} - seen
            seen |= keys
            ahead += [found for key in keys if (found := plan.place_of(key))]
        return None

    def _ends(self, place: Place) -> tuple[BranchEnd, ...]:
        if place.planned.step.kind is not StepKind.JOIN or place.planned.fork is None:
            return ()
        return place.branches(self.items_of(place.planned.fork.key))
