"""Forks that a process has reached, in a workflow that was edited since: whether they are still the same."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from orchestrator_dagster.ops.plan import PlannedStep
from orchestrator_dagster.ops.recorded_plan import RecordedStep, TodaysSteps


@dataclass(frozen=True)
class RecordedFork:
    """A fork as it was when a run last went on with the process.

    While its branches are under way it has to stay as it is, but for the names of its steps. Once they have joined, it
    is finished as a whole: it may be gone, and steps that were added to it are passed by.

    Attributes:
        key: its key.
        today: which steps of today those of the process are.
        finished: the steps on record that are finished, by key.
        reached: these, and those that wait.
    """

    key: str
    today: TodaysSteps
    finished: Collection[str]
    reached: Collection[str]

    def changes(self) -> list[str]:
        """Return the keys of the steps because of which the process cannot go on; none where it can."""
        if not self._is_reached:
            return []
        if self._has_joined:
            return [] if self._is_no_other_one else sorted({self.key, *(step.key for step in self._within_now)})
        return sorted({key for key, _ in self._placed ^ self._placed_now})

    @property
    def _is_reached(self) -> bool:
        keys = {self._join.key, *(step.key for step in self._within)}
        return self.key in self.finished or not keys.isdisjoint(self.reached)

    @property
    def _has_joined(self) -> bool:
        around = (replace(self, key=fork) for fork in self._join.forks)
        return self._join.key in self.finished or any(fork._has_joined for fork in around)

    @property
    def _is_no_other_one(self) -> bool:
        """Whether its keys are not those of another fork, or step, of today."""
        if self._key_now is None:
            return self.today.planned(self._join) is None
        known = {planned.key for step in self._within if (planned := self.today.planned(step))}
        return not known.isdisjoint(step.key for step in self._within_now)

    @property
    def _join(self) -> RecordedStep:
        return self.today.recorded.join_of(self.key)

    @property
    def _within(self) -> list[RecordedStep]:
        return self.today.recorded.within(self.key)

    @property
    def _placed(self) -> set[tuple[str, tuple[str, ...]]]:
        known = {step: self.today.planned(step) for step in self._within}
        return {(planned.key if planned else step.key, step.scope) for step, planned in known.items()}

    @property
    def _key_now(self) -> str | None:
        return self.today.fork_of(self.key)

    @property
    def _within_now(self) -> list[PlannedStep]:
        plan = self.today.plan
        return [planned for planned in plan.values() if any(scope.fork == self._key_now for scope in planned.scope)]

    @property
    def _placed_now(self) -> set[tuple[str, tuple[str, ...]]]:
        return {(planned.key, tuple(map(str, planned.scope))) for planned in self._within_now}
