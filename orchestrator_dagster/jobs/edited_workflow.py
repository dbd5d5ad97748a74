"""Whether a process can go on with its workflow, which may have been edited while the process was under way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy import Connection

from orchestrator_dagster.db.callbacks import callbacks_of, give_to_step
from orchestrator_dagster.db.processes import ProcessRow, record_plan
from orchestrator_dagster.db.step_log import StepRow
from orchestrator_dagster.db.waits import close_wait, open_wait, waits_of
from orchestrator_dagster.domain.waiting import Wait, WaitKind
from orchestrator_dagster.errors import WorkflowEditedError
from orchestrator_dagster.jobs.edited_forks import RecordedFork
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.plan import Place, split_key
from orchestrator_dagster.ops.recorded_plan import RecordedStep, TodaysSteps
from orchestrator_dagster.ops.step import StepKind

_WAITS_SO = {
    WaitKind.INPUT: StepKind.INPUTSTEP,
    WaitKind.CALLBACK: StepKind.CALLBACK,
    WaitKind.TIME: StepKind.TIMER,
    WaitKind.PROCESS: StepKind.PROCESS,
}
"""What a step is that waits so. One that failed, or is tried again, is done anew, whatever it is."""

_HAVE_KEYS_OF_THEIR_OWN = (StepKind.FAN_OUT, StepKind.JOIN, StepKind.CALLBACK, StepKind.TIMER, StepKind.PROCESS)
_BACK = "Put the code back as it was, or abort the process"
_OTHERS_RENAMED = "Give those that are new another name, put the code back as it was, or abort the process"
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
        """Make sure that the steps that wait are still there, and wait for the same."""
        for key, wait in self.waits.items():
            name, place = f"step {key} ({wait.name})", self._place(key)
            if place is None:
                raise self._refusal(f"it stands at {name}, which {self.workflow.name} does not have any more. {_NAMED}")
            kind = place.planned.step.kind
            if kind is not _WAITS_SO.get(wait.kind, kind):
                raise self._refusal(f"{name} waited for {wait.kind.value}, and is a {kind.value} now. {_BACK}")

    def _require_same_steps(self) -> None:
        """Make sure that there is no doubt which steps are done, or wait."""
        for key, step in self._reached:
            planned = self.today.planned(step)
            if planned is None:
                self._require_gone(step)
                continue
            if self._place(key) is None:
                raise self._refusal(f"step {key} runs once for each item of a list now, or did when it ran. {_BACK}")
            before, now = self.today.recorded.uses(step), self.today.uses(planned)
            if before != now:
                raise self._refusal(
                    f"step {step.name} occurs {now} times in {self.workflow.name}, and occurred {before} times when "
                    f"{key} was reached; nothing tells which one that is. {_OTHERS_RENAMED}"
                )

    def _require_gone(self, step: RecordedStep) -> None:
        maybe = self.today.unclaimed(step.name) + [key for key in (step.key,) if key in self.workflow.plan]
        if maybe:
            raise self._refusal(
                f"step {step.key} is not where it was, and nothing tells whether it is {' or '.join(maybe)} now. "
                f"{_OTHERS_RENAMED}"
            )

    def _require_same_titles(self) -> None:
        """Make sure of the steps whose names don't say enough: their titles tell."""
        finished = [(row.step, row.name) for row in self.rows if row.status.finished]
        for key, title in (*finished, *((wait.step, wait.name) for wait in self.waits.values())):
            step = self.today.recorded.step_of(key)
            place = self._place(key) if step and self._needs_title(key, step) else None
            if place and place.title != title:
                raise self._refusal(
                    f"step {key} was '{title}' when it was reached, and is '{place.title}' now. Put the title back, or "
                    "give the step another name if it is another one, or abort the process"
                )

    def _needs_title(self, key: str, step: RecordedStep) -> bool:
        """Whether a step's name may stand for another one as well."""
        planned = self.today.planned(step)
        if planned is None or self.today.recorded.uses(step) > 1:
            return True
        has_key_of_its_own = planned.step.kind in _HAVE_KEYS_OF_THEIR_OWN
        if self.today.is_moved(step):
            return has_key_of_its_own or planned.step.is_made
        if key in self.waits or planned.key != step.key or planned.key != split_key(key)[0]:
            # what waits is done as it is now; who renames a step says which one it is
            return False
        return planned.step.is_made and not has_key_of_its_own

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
        reached = {step.key for _, step in self._reached}
        finished = reached - {step.key for key, step in self._reached if key in self.waits}
        for key in self.today.recorded.forks:
            changes = RecordedFork(key, self.today, finished, reached).changes()
            if changes:
                raise self._refusal(
                    f"the branches of {key} have changed while they were under way, or it is another fork now: see "
                    f"{', '.join(changes)}. {_BACK}"
                )

    @cached_property
    def _reached(self) -> list[tuple[str, RecordedStep]]:
        """The steps that are finished, or wait, with their keys in the log: for each item of a list one."""
        finished = (row.step for row in self.rows if row.status.finished)
        known = ((key, self.today.recorded.step_of(key)) for key in dict.fromkeys((*finished, *self.waits)))
        return [(key, step) for key, step in known if step]

    def _place(self, logged_key: str) -> Place | None:
        key = self.today.key_of(logged_key)
        return None if key is None else self.workflow.plan.place_of(key)

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
    # whoever receives a callback locks it before the process: should that be in the way, one of the two tries again
    for callback in callbacks_of(connection, process.process_id):
        if (key_now := today.key_of(callback.step) or callback.step) != callback.step:
            give_to_step(connection, callback, key_now)
    record_plan(connection, process.process_id, today.record())


def _without_item(condition_key: str) -> str:
    step, ending = split_key(condition_key)
    return f"{step}:{ending.rpartition(':')[2]}"
