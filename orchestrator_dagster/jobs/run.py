"""One Dagster run of a workflow's job: it finds its process, runs the steps of that, and tells Dagster about them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from logging import Logger
from typing import Any
from uuid import UUID

import dagster as dg
from pydantic_core import to_jsonable_python
from sqlalchemy import Connection

from orchestrator_dagster.db.families import queued_in_family
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.secret import Hiding
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import (
    InputError,
    OrchestratorError,
    ProcessStateError,
    RefusalError,
    WorkflowNotFoundError,
)
from orchestrator_dagster.forms.describe import form_schema
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.attach import Arrival, attach
from orchestrator_dagster.jobs.catalogue import DatabaseCatalogue
from orchestrator_dagster.jobs.child import start_child
from orchestrator_dagster.jobs.halt_metadata import show
from orchestrator_dagster.jobs.secret_input import forget_clear_input
from orchestrator_dagster.jobs.step_form import first_page_of
from orchestrator_dagster.jobs.submitting import JobByName, submit_queued
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.commit_path import CommitPoint, reached
from orchestrator_dagster.ops.failure import text_of, traceback_of
from orchestrator_dagster.ops.op import outputs_of, place_of_op
from orchestrator_dagster.ops.outcome import StepFailedError, StepOutcome
from orchestrator_dagster.ops.process_run import ProcessRun
from orchestrator_dagster.ops.step import Step
from orchestrator_dagster.ops.work import Environment
from orchestrator_dagster.resources.database import Database

OpOutput = dg.Output[None] | dg.DynamicOutput[None]

_TERMINATED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class _Heard:
    refusals: list["RefusedRun"] = field(default_factory=list)
    interrupts: list[BaseException] = field(default_factory=list)


_heard: ContextVar[_Heard | None] = ContextVar("_heard", default=None)


@contextmanager
def hearing_refusals() -> Iterator[list["RefusedRun"]]:
    """Collect why the runs within the block were refused: Dagster keeps the texts of errors only.

    What interrupted one, and was not meant for it alone, is raised at the end of the block.
    """
    heard = _Heard()
    reset = _heard.set(heard)
    try:
        yield heard.refusals
    finally:
        _heard.reset(reset)
    if heard.interrupts:
        raise heard.interrupts[0]


@dataclass(frozen=True)
class Jobs:
    """What a run may have to start besides its own process.

    Attributes:
        workflows: the workflows by name.
        job: gives the job of a workflow.
    """

    workflows: Mapping[str, Workflow]
    job: JobByName


class WorkflowRun:
    """One Dagster run of a workflow's job: it finds its process at the first step, and runs the steps of that.

    Args:
        run: the Dagster run.
        instance: the instance that it is one of.
        jobs: the workflows and their jobs.
        database: the orchestrator's database.
        catalogue: makes sure that the database goes together with the code.
        log: what is told when something can be done later by somebody else.
    """

    def __init__(
        self,
        run: dg.DagsterRun,
        instance: dg.DagsterInstance,
        jobs: Jobs,
        database: Database,
        catalogue: DatabaseCatalogue,
        log: Logger,
    ) -> None:
        self._run = run
        self._instance = instance
        self._jobs = jobs
        self._workflow = jobs.workflows[run.job_name]
        self._database = database
        self._catalogue = catalogue
        self._tags = tags.RunTags(run, instance, log)
        self._log = log
        self._process: ProcessRun | None = None

    def run_step(self, context: dg.OpExecutionContext) -> Iterator[OpOutput]:
        """Run the step of the op, and tell Dagster about it. One that halts yields no output."""
        key, index = place_of_op(context)
        try:
            process = self._process or self._attach(context)
            outcome = process.run(key, index, context, context.resources.original_resource_dict)
        except StepFailedError as error:
            cause = error.__cause__ or error
            if not isinstance(cause, Exception):
                # Dagster terminates the run, or something wants Python to exit
                raise _interrupt(cause) from None
            raise _failure(cause, error.hide) from error.hide.cause(cause)
        except Exception as error:
            if self._process is None:
                self._tags.write({tags.STATUS: tags.REFUSED, **tags.without_process(self._tags.at_first)})
                self._forget_clear_input()
            if isinstance(error, (RefusalError, ProcessStateError)):
                raise _refusal(error) from error.__cause__
            raise
        except BaseException as interrupt:
            raise _interrupt(interrupt) from None
        self._say_that_it_runs(process, key)
        yield from self._outputs(context, process, self._workflow.plan[key].step, outcome)

    def close(self) -> None:
        """End the run's work on its process, and say where that stands.

        Where that cannot be written, the run has failed before; its own error is the one to see.
        """
        if self._process is None:
            return
        try:
            status = self._process.close()
        except Exception as error:
            self._log.warning(f"Process {self._process.process_id} stands as running until the sensor notices: {error}")
        else:
            self._tags.write(self._about(self._process, status))
            self._submit_others(self._process, status)

    def _outputs(
        self, context: dg.OpExecutionContext, process: ProcessRun, step: Step, outcome: StepOutcome
    ) -> Iterator[OpOutput]:
        if outcome.finished:
            if not outcome.replayed:
                reached(CommitPoint.AFTER_COMMIT_BEFORE_DAGSTER, outcome.key)
            yield from outputs_of(step, _metadata(outcome), outcome.branches)
        elif outcome.wait is not None:
            if outcome.status is not None:
                reached(CommitPoint.AFTER_COMMIT_BEFORE_DAGSTER, outcome.key)
            step_key = context.get_step_execution_context().step.key
            show(self._instance, self._run, step_key, outcome.wait, process.process_id)

    def _attach(self, context: dg.OpExecutionContext) -> ProcessRun:
        engine = self._database.engine
        self._catalogue.make_ready(engine)
        first = self._workflow.plan.place(*place_of_op(context))
        arrival = Arrival(self._workflow, self._run, first, self._instance, self._environment())
        process = attach(engine, arrival)
        self._process = process
        if str(process.process_id) != self._run.run_id:
            self._forget_clear_input(process.process_id)
        self._say_that_it_runs(process, first.planned.key)
        return process

    def _forget_clear_input(self, process_id: UUID | None = None) -> None:
        """Remove secrets in clear from the run config that Dagster keeps, where nothing checked them at a door."""
        try:
            forget_clear_input(self._database.engine, self._workflow, self._run, self._instance, process_id=process_id)
        except Exception as error:
            self._log.warning(f"If the run config has secrets in clear, they are still there: {type(error).__name__}")

    def _environment(self) -> Environment:
        return Environment(self._describe_form, self._start_child, self._is_terminated)

    def _describe_form(self, step: Step, state: State, process_id: UUID) -> Mapping[str, Any] | None:
        page = first_page_of(step, state, process_id)
        return None if page is None else form_schema(page)

    def _start_child(self, connection: Connection, name: str, given: Mapping[str, Any], parent: UUID) -> UUID:
        if name not in self._jobs.workflows:
            raise WorkflowNotFoundError(name, list(self._jobs.workflows))
        workflow = self._jobs.workflows[name]
        return start_child(connection, workflow, given, parent_process_id=parent, user=tags.user_of(self._run))

    def _is_terminated(self) -> bool:
        run = self._instance.get_run_by_id(self._run.run_id)
        return run is not None and run.status in _TERMINATED

    def _submit_others(self, process: ProcessRun, status: ProcessStatus) -> None:
        """Have runs pick up what waits for one now: the process itself, those that it started, what started it."""
        if not (process.has_family or status.queued):
            return
        try:
            engine = self._database.engine
            with engine.connect() as connection:
                queued = queued_in_family(connection, process.process_id)
            submit_queued(self._instance, self._jobs.job, engine, queued, self._run, user=tags.user_of(self._run))
        except Exception as error:
            self._log.warning(f"What goes on after process {process.process_id} is left to the sensor: {error}")

    def _say_that_it_runs(self, process: ProcessRun, key: str) -> None:
        """Write what is new in the tags; at the first step of a creation, the subscription is worth waiting for.

        Unless the run inherited tags: what they say of another process, or of how this one stood, isn't true any more.
        """
        is_first = self._workflow.target is Target.CREATE and key == next(iter(self._workflow.plan))
        if not is_first or tags.without_process(self._tags.at_first):
            self._tags.write(self._about(process, ProcessStatus.RUNNING))

    def _about(self, process: ProcessRun, status: ProcessStatus) -> dict[str, str]:
        """Return the tags by which people find the run; the form knows some before there is a subscription."""
        asked_for = {
            tags.PRODUCT: str(process.state.get("product_name", "")),
            tags.CUSTOMER_ID: str(process.state.get("customer_id", "")),
        }
        return {
            **tags.inherited_from_another(process.process_id, self._tags.at_first),
            tags.STATUS: status.value,
            **self._waits_for(process, status),
            tags.WORKFLOW: self._workflow.name,
            tags.TARGET: self._workflow.target.value,
            **{tag: value for tag, value in asked_for.items() if value},
            **tags.about(process.process_id, process.concerned),
        }

    def _waits_for(self, process: ProcessRun, status: ProcessStatus) -> dict[str, str]:
        waits = [f"{wait.kind} at {wait.step}" for wait in process.waits] if status.halted else []
        return {tags.WAITS_FOR: tags.joined(waits)} if waits or tags.WAITS_FOR in self._tags.at_first else {}


class RefusedRun(dg.Failure):
    """The run may not start, or not go on with, a process.

    Attributes:
        refusal: why.
    """

    def __init__(self, refusal: OrchestratorError) -> None:
        self.refusal = refusal
        metadata = {field.path: field.msg for field in refusal.errors} if isinstance(refusal, InputError) else {}
        super().__init__(description=str(refusal), metadata=metadata, allow_retries=False)


def _refusal(error: RefusalError | ProcessStateError) -> RefusedRun:
    refused = RefusedRun(error)
    heard = _heard.get()
    if heard is not None:
        heard.refusals.append(refused)
    return refused


def _interrupt(error: BaseException) -> BaseException:
    heard = _heard.get()
    if heard is not None:
        heard.interrupts.append(error)
    return error


def _failure(error: BaseException, hide: Hiding) -> dg.Failure:
    """Return what Dagster shows of an error. It does not try again: that is for the process to decide."""
    metadata: dict[str, Any] = {}
    if isinstance(error, dg.Failure):
        metadata |= {name: _without_secrets(value, hide) for name, value in error.metadata.items()}
        description = error.description
    else:
        description = (
            str(error) if isinstance(error, OrchestratorError) else f"{type(error).__name__}: {text_of(error)}"
        )
    if details := getattr(error, "details", None):
        metadata["details"] = dg.MetadataValue.json(hide.json(to_jsonable_python(details, fallback=str)))
    if hide.cause(error) is None:
        metadata["traceback"] = dg.MetadataValue.text(traceback_of(error, hide))
    return dg.Failure(description=description and hide.text(description), metadata=metadata, allow_retries=False)


def _without_secrets(value: dg.MetadataValue[Any], hide: Hiding) -> dg.MetadataValue[Any]:
    shown = str(value.value)
    return value if hide.text(shown) == shown else dg.MetadataValue.text(hide.text(shown))


def _metadata(outcome: StepOutcome) -> dict[str, dg.MetadataValue[Any]]:
    """Return what Dagit shows of a step."""
    status = outcome.status.value if outcome.status else ""
    metadata: dict[str, dg.MetadataValue[Any]] = {"status": dg.MetadataValue.text(status)}
    if outcome.replayed:
        metadata["replayed"] = dg.MetadataValue.bool(True)
    if outcome.changed:
        metadata["changed"] = dg.MetadataValue.text(", ".join(outcome.changed))
    if outcome.subscription_ids:
        metadata["subscription_id"] = dg.MetadataValue.text(tags.joined(outcome.subscription_ids))
    return metadata
