"""One Dagster run of a workflow's job: it finds its process, runs the steps of that, and tells Dagster about them."""

from collections.abc import Iterator
from logging import Logger
from typing import Any

import dagster as dg
from pydantic_core import to_jsonable_python

from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import InputError, OrchestratorError, ProcessStateError, RefusalError
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.attach import attach
from orchestrator_dagster.jobs.catalogue import DatabaseCatalogue
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.process import ProcessRun, StepFailedError, StepOutcome, text_of
from orchestrator_dagster.resources.database import Database


class WorkflowRun:
    """One Dagster run of a workflow's job: it finds its process at the first step, and runs the steps of that."""

    def __init__(
        self,
        workflow: Workflow,
        database: Database,
        catalogue: DatabaseCatalogue,
        run_tags: tags.RunTags,
        log: Logger,
    ) -> None:
        self._workflow = workflow
        self._database = database
        self._catalogue = catalogue
        self._tags = run_tags
        self._log = log
        self._process: ProcessRun | None = None

    def run_step(self, context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        """Run the step of the op, and tell Dagster about it."""
        key = str(context.op_handle)
        try:
            process = self._process or self._attach(context, key)
            outcome = process.run(key, context, context.resources.original_resource_dict)
        except StepFailedError as error:
            cause = error.__cause__ or error
            if not isinstance(cause, Exception):
                # Dagster terminates the run, or something wants Python to exit
                raise cause from None
            raise _failure(cause) from cause
        except Exception as error:
            if self._process is None:
                self._tags.write({tags.STATUS: tags.REFUSED, **tags.without_process(self._tags.at_first)})
            if isinstance(error, (RefusalError, ProcessStateError)):
                raise RefusedRun(error) from error.__cause__
            raise
        self._say_that_it_runs(process, key)
        yield dg.Output(None, metadata=_metadata(outcome))

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

    def _attach(self, context: dg.OpExecutionContext, first_step: str) -> ProcessRun:
        engine = self._database.engine
        self._catalogue.make_ready(engine)
        process = attach(engine, self._workflow, context.run, first_step=first_step, instance=context.instance)
        self._process = process
        self._say_that_it_runs(process, first_step)
        return process

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
            tags.WORKFLOW: self._workflow.name,
            tags.TARGET: self._workflow.target.value,
            **{tag: value for tag, value in asked_for.items() if value},
            **tags.about(process.process_id, process.concerned),
        }


class RefusedRun(dg.Failure):
    """The run may not start, or not go on with, a process.

    Attributes:
        refusal: why.
    """

    def __init__(self, refusal: RefusalError | ProcessStateError) -> None:
        self.refusal = refusal
        metadata = {field.path: field.msg for field in refusal.errors} if isinstance(refusal, InputError) else {}
        super().__init__(description=str(refusal), metadata=metadata, allow_retries=False)


def _failure(error: BaseException) -> dg.Failure:
    """Return what Dagster shows of an error. It does not try again: that is for the process to decide."""
    metadata: dict[str, Any] = {}
    if isinstance(error, dg.Failure):
        metadata |= error.metadata
        description = error.description
    else:
        description = (
            str(error) if isinstance(error, OrchestratorError) else f"{type(error).__name__}: {text_of(error)}"
        )
    if details := getattr(error, "details", None):
        metadata["details"] = dg.MetadataValue.json(to_jsonable_python(details, fallback=str))
    return dg.Failure(description=description, metadata=metadata, allow_retries=False)


def _metadata(outcome: StepOutcome) -> dict[str, dg.MetadataValue[Any]]:
    """Return what Dagit shows of a step."""
    metadata: dict[str, dg.MetadataValue[Any]] = {"status": dg.MetadataValue.text(outcome.status.value)}
    if outcome.replayed:
        metadata["replayed"] = dg.MetadataValue.bool(True)
    if outcome.changed:
        metadata["changed"] = dg.MetadataValue.text(", ".join(outcome.changed))
    if outcome.subscription_ids:
        metadata["subscription_id"] = dg.MetadataValue.text(tags.joined(outcome.subscription_ids))
    return metadata
