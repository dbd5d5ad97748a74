"""Whether a process can go on with its workflow, which may have been edited while the process was under way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection

from orchestrator_dagster.db.callbacks import callbacks_of, give_to_step
from orchestrator_dagster.db.processes import ProcessRow, record_plan
from orchestrator_dagster.db.step_log import StepRow
from orchestrator_dagster.db.waits import close_wait, open_wait
from orchestrator_dagster.domain.waiting import Wait, WaitKind
from orchestrator_dagster.errors import WorkflowEditedError
from orchestrator_dagster.jobs.edited_forks import RecordedFork
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.plan import split_key
from orchestrator_dagster.ops.recorded_plan import RecordedStep, TodaysSteps
from orchestrator_dagster.ops.step import StepKind

_WAITS_SO = {
    WaitKind.INPUT: StepKind.INPUTSTEP,
    WaitKind.CALLBACK: StepKind.CALLBACK,
    WaitKind.TIME: StepKind.TIMER,
    WaitKind.PROCESS: StepKind.PROCESS,
}
"""What a step is that waits so. One that failed, or is tried again, is done anew, whatever it is."""

_HAVE_KEYS_OF_THEIR_OWN = (StepKind.FAN_OUT, StepKind.JOIN, *_WAITS_SO.values())
_BACK = "Put the code back as it was, or abort the process"
_NAMED = "Put the step back, name it in `renamed_from` of the step that it became, skip it, or abort the process"


@dataclass(frozen=True)
class EditedWorkflow:
    """A workflow as it is, and a process as far as it came with the workflow as it was.

    Attributes:
        workflow: the workflow as it is.
        process: the process, with the plan on record.
        rows: its step log as it was written.
        waits: the steps that were reached and are not finished, by the keys that they had then.
    """

    workflow: Workflow
    process: ProcessRow
    rows: Sequence[StepRow]
    waits: Mapping[str, Wait]

    @cached_property
    def today(self) -> TodaysSteps:
        """Which of the workflow's steps those of the process are."""
        return TodaysSteps(self.workflow.plan, self.process.plan)

    def require_matching(self) -> None:
        """Make sure that what the process knows still means the same.

        Raises:
            WorkflowEditedError: it doesn't, or there is no telling; the message says because of which step, and what to
                do.
        """
        self._require_steps_that_wait()
        self._require_same_steps()
        self._require_same_titles()
        if not self.today.unchanged:
            self._require_same_conditions()
            self._require_same_forks()

    def _require_steps_that_wait(self) -> None:
        """Make sure that the steps that wait are still there, and what came for them is what they wait for."""
        for key, wait in self.waits.items():
            name, today = f"step {key} ({wait.name})", self.today.key_of(key)
            place = self.workflow.plan.place_of(today) if today else None
            if place is None:
                raise self._refusal(f"it stands at {name}, which {self.workflow.name} does not have any more. {_NAMED}")
            kind = place.planned.step.kind
            if kind is not _WAITS_SO.get(wait.kind, kind):
                raise self._refusal(f"{name} waited for {wait.kind.value}, and is a {kind.value} now. {_BACK}")

    def _require_same_steps(self) -> None:
        """Make sure that there is no doubt which steps are done, or wait."""
        for key, step in self._reached():
            today = self.today.key_of(key)
            if today is None:
                self._require_gone(step)
                continue
            if self.workflow.plan.place_of(today) is None:
                raise self._refusal(f"step {key} was done for each item of a list, or is now, and not both times. {_BACK}")
            before, now = self._uses(step)
            if before != now:
                raise self._refusal(
                    f"step {step.name} occurs {now} times in {self.workflow.name}, and occurred {before} times when "
                    f"step {key} was reached; nothing tells which of them that is. Give the others another name, put the "
                    "code back as it was, or abort the process"
                )

    def _require_gone(self, step: RecordedStep) -> None:
        elsewhere = self.today.unclaimed(step.name)
        if step.key in self.workflow.plan:
            elsewhere.append(step.key)
        if elsewhere:
            raise self._refusal(
                f"step {step.key} is not where it was, and nothing tells whether it is {' or '.join(elsewhere)} now. "
                f"{_BACK}"
            )

    def _require_same_titles(self) -> None:
        """Make sure that steps of one name, or made by one function, are still made with the same: titles tell."""
        logged = [(row.step, row.name) for row in self.rows if row.status.finished]
        for key, title in (*logged, *((wait.step, wait.name) for wait in self.waits.values())):
            today, step = self.today.key_of(key), self.today.recorded.step_of(key)
            place = self.workflow.plan.place_of(today) if today and step else None
            if place is None or step is None or place.title == title:
                continue
            planned, made = place.planned.step, key not in self.waits and place.planned.step.is_made
            if planned.kind in _HAVE_KEYS_OF_THEIR_OWN or planned.key != step.name:
                made = False
            if made or self._uses(step)[0] > 1:
                raise self._refusal(
                    f"step {key} was '{title}' when it was reached, and is '{place.title}' now. Put the title back, give "
                    "the step another name if it is another one, or abort the process"
                )

    def _require_same_conditions(self) -> None:
        """Make sure that what conditionals decided still concerns the steps that it was decided for."""
        decided = {_without_item(self._key(key)) for row in self.rows for key in row.conditions or ()}
        for step in self.today.recorded.steps:
            planned = self.today.planned(step)
            before, now = list(map(self._key, step.conditions)), list(planned.conditions) if planned else []
            if planned and before != now and decided.intersection(before + now):
                raise self._refusal(
                    f"the conditionals around step {planned.key} have changed since they were decided. {_BACK}"
                )

    def _require_same_forks(self) -> None:
        reached = {step.key for _, step in self._reached()}
        finished = reached - {step.key for key, step in self._reached() if key in self.waits}
        for key in self.today.recorded.forks:
            changes = RecordedFork(key, self.today, finished, reached).changes()
            if changes:
                raise self._refusal(
                    f"the branches of {key} have changed while they were under way, or it is another fork now: see "
                    f"{', '.join(changes)}. {_BACK}"
                )

    def _reached(self) -> Iterator[tuple[str, RecordedStep]]:
        """Yield the steps on record that are finished, or wait, with one of their keys in the log each."""
        for key in dict.fromkeys((*(row.step for row in self.rows if row.status.finished), *self.waits)):
            if step := self.today.recorded.step_of(key):
                yield key, step

    def _uses(self, step: RecordedStep) -> tuple[int, int]:
        """Return how often a step's name occurs in the graph that it is in, as it was and as it is."""
        planned = self.today.planned(step)
        return self.today.recorded.uses(step), self.today.uses(planned) if planned else 0

    def _key(self, key: str) -> str:
        return self.today.key_of(key) or key

    def _refusal(self, why: str) -> WorkflowEditedError:
        return WorkflowEditedError(process_id=self.process.process_id, why=why)


def keep_todays_keys(connection: Connection, process: ProcessRow, today: TodaysSteps) -> None:
    """Write down under which keys the steps of a process are known from now on.

    The step log stays as it was written.

    Args:
        connection: a transaction in which the process is locked.
        process: the process.
        today: which of the workflow's steps those of the process are.
    """
    for key, wait in waits_of(connection, process.process_id).items():
        if (key_now := today.key_of(key) or key) != key:
            close_wait(connection, process.process_id, key)
            open_wait(connection, process.process_id, replace(wait, step=key_now))
    for callback in callbacks_of(connection, process.process_id):
        if (key_now := today.key_of(callback.step) or callback.step) != callback.step:
            give_to_step(connection, callback, key_now)
    record_plan(connection, process.process_id, today.record())


def _without_item(condition_key: str) -> str:
    step, ending = split_key(condition_key)
    return f"{step}:{ending.rpartition(':')[2]}"
