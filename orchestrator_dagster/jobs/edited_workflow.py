"""Whether a process can go on with its workflow, which may have been edited since the process was started."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator_dagster.db.processes import ProcessRow
from orchestrator_dagster.db.step_log import Memory, StepRow
from orchestrator_dagster.domain.waiting import Wait
from orchestrator_dagster.errors import WorkflowEditedError
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.plan import Plan
from orchestrator_dagster.ops.step import StepKind

_SCOPE = "scope"


@dataclass(frozen=True)
class EditedWorkflow:
    """A workflow as it is, and a process as it was when it was started and as far as it came.

    Attributes:
        workflow: the workflow as it is.
        process: the process; its plan is that of the workflow when it was started.
        rows: its step log, with today's keys.
        memory: the fold of that.
        waits: the steps that were reached and are not finished.
    """

    workflow: Workflow
    process: ProcessRow
    rows: Sequence[StepRow]
    memory: Memory
    waits: Mapping[str, Wait]

    def require_matching(self) -> None:
        """Make sure that what the process knows still means the same.

        Raises:
            WorkflowEditedError: it doesn't, or there is no telling; the message says which step is the trouble.
        """
        self._require_same_steps()
        self._require_steps_that_wait()
        self._require_same_conditions()
        self._require_same_branches()

    def _require_same_steps(self) -> None:
        """Make sure that the log's rows still mean the steps that have their keys.

        A step is known by its function's name. Where that does not say which one it is, since a workflow has several of
        them or the step was made by another function, there must be as many as when the process was started, under the
        same titles.
        """
        before = Counter(self._name_today(step) for step in self.process.plan)
        now = Counter(planned.step.key for planned in self.workflow.plan.values())
        repeated = {name for name in before | now if max(before[name], now[name]) > 1}
        for name in sorted(repeated):
            if before[name] != now[name]:
                raise self._refusal(
                    f"step {name} occurs {now[name]} times in {self.workflow.name}, and occurred {before[name]} times "
                    "when the process was started; nothing tells which of them are done"
                )
        for row in self.rows:
            self._require_same_title(row, repeated)

    def _name_today(self, recorded: Mapping[str, Any]) -> str:
        planned = self.workflow.plan.get(self._today(recorded["step"]))
        renamed = planned is not None and recorded["name"] in planned.step.renamed_from
        return planned.step.key if planned is not None and renamed else str(recorded["name"])

    def _require_same_title(self, row: StepRow, repeated: Collection[str]) -> None:
        place = self.workflow.plan.place_of(row.step)
        if place is None or not row.status.finished:
            return
        step = place.planned.step
        is_own = step.kind in (StepKind.FAN_OUT, StepKind.JOIN)
        if not is_own and (step.key in repeated or step.is_made) and place.title != row.name:
            raise self._refusal(f"step {row.step} was '{row.name}' when it was done, and is now '{place.title}'")

    def _require_steps_that_wait(self) -> None:
        for key, wait in self.waits.items():
            if self.workflow.plan.place_of(key.partition(":")[0]) is None:
                raise self._refusal(
                    f"it waits at step {key} ('{wait.name}'), which {self.workflow.name} does not have any more. Bring "
                    "the step back, name it in `renamed_from` of the step that it became, or abort the process"
                )

    def _require_same_conditions(self) -> None:
        """Make sure that what conditionals decided still concerns the steps that it was decided for."""
        decided = {_without_index(key) for key in self.memory.conditions or ()}
        for recorded in self.process.plan:
            planned = self.workflow.plan.get(self._today(recorded["step"]))
            if planned is None:
                continue
            before, now = list(map(self._today, recorded["conditions"])), list(planned.conditions)
            if before != now and decided.intersection(before + now):
                raise self._refusal(f"the conditionals around step {planned.key} have changed since they were decided")

    def _require_same_branches(self) -> None:
        """Make sure that a fork whose branches are under way has the same branches."""
        for fork in self._forks_under_way():
            if self._branches_before(fork) != self._branches_now(fork):
                raise self._refusal(
                    f"the branches of {fork} have changed while they were under way. Bring them back until they have "
                    "joined, or abort the process"
                )

    def _forks_under_way(self) -> list[str]:
        begun = {_without_index(segment) for row in self.rows for segment in row.branch.split("/") if segment}
        joined = {
            planned.fork.key
            for planned in self.workflow.plan.values()
            if planned.step.kind is StepKind.JOIN and planned.fork and planned.key in self.memory.finished
        }
        return sorted(begun - joined)

    def _branches_before(self, fork: str) -> set[tuple[str, str]]:
        return {
            (self._today(recorded["step"]), scope)
            for recorded in self.process.plan
            for scope in recorded.get(_SCOPE, ())
            if _without_index(scope) == fork
        }

    def _branches_now(self, fork: str) -> set[tuple[str, str]]:
        return {
            (recorded["step"], scope)
            for recorded in self.workflow.plan.record()
            for scope in recorded.get(_SCOPE, ())
            if _without_index(scope) == fork
        }

    def _today(self, key: str) -> str:
        return self.workflow.plan.current_key(key) or key

    def _refusal(self, why: str) -> WorkflowEditedError:
        return WorkflowEditedError(process_id=self.process.process_id, why=why)


def with_todays_keys(rows: Sequence[StepRow], plan: Plan) -> list[StepRow]:
    """Return the rows of a step log under the keys that their steps have today.

    Args:
        rows: the step log.
        plan: the steps of the workflow as it is.
    """

    def today(key: str) -> str:
        return plan.current_key(key) or key

    return [
        replace(
            row,
            step=today(row.step),
            branch=place.branch if (place := plan.place_of(today(row.step))) else row.branch,
            conditions=row.conditions and {today(key): decided for key, decided in row.conditions.items()},
        )
        for row in rows
    ]


def _without_index(key: str) -> str:
    """Return a key without the number of a branch or an item."""
    name, _, rest = key.partition("[")
    return name + rest.partition("]")[2]
