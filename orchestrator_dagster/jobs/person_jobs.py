"""Dagit's jobs for what a person does to a process: each has one op, and a Launchpad that says what it asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import dagster as dg
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.engine_settings import pause_engine, resume_engine
from orchestrator_dagster.db.processes import get_process
from orchestrator_dagster.errors import FieldError, InputError, OrchestratorError
from orchestrator_dagster.jobs import going_on, tags
from orchestrator_dagster.jobs.door import in_one_transaction
from orchestrator_dagster.jobs.going_on import Workflows
from orchestrator_dagster.jobs.run import RefusedRun
from orchestrator_dagster.jobs.secret_input import forget_answer
from orchestrator_dagster.jobs.submitting import JobByName, submit_queued
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.resources.database import DATABASE

_PROCESS_ID = dg.Field(str, description="Id of the process: the tag orchestrator/process_id of its runs")
_STEP = dg.Field(str, is_required=False, description="Key of the step; needed where the process stands at several")
_REASON = dg.Field(str, description="Why; it stays on record")


@dataclass(frozen=True)
class _Wanted:
    """What somebody wants of a process, or of the engine.

    Attributes:
        connection: the transaction in which it is done.
        workflows: the workflows by name.
        config: what was filled in.
        user: who wants it.
    """

    connection: Connection
    workflows: Workflows
    config: Mapping[str, Any]
    user: str

    @property
    def process_id(self) -> UUID:
        """The process that is meant.

        Raises:
            InputError: it is no id.
        """
        try:
            return UUID(self.config["process_id"])
        except ValueError as error:
            wrong = FieldError(("process_id",), f"{self.config['process_id']!r} is not the id of a process", "uuid")
            raise InputError(workflow="the job", errors=[wrong]) from error


@dataclass(frozen=True)
class _PersonJob:
    """One thing that a person can do.

    Attributes:
        name: name of the job.
        description: what Dagit says of it.
        fields: what it asks for.
        act: does it; returns whether a run of the process is to be submitted.
    """

    name: str
    description: str
    fields: Mapping[str, dg.Field]
    act: Callable[[_Wanted], bool]


def _resume(wanted: _Wanted) -> bool:
    config = wanted.config
    return going_on.answer(
        wanted.connection,
        wanted.workflows,
        wanted.process_id,
        config["input"],
        step=config.get("step"),
        user=wanted.user,
        from_run_config=True,
    )


def _retry(wanted: _Wanted) -> bool:
    return going_on.retry(
        wanted.connection, wanted.workflows, wanted.process_id, step=wanted.config.get("step"), user=wanted.user
    )


def _skip(wanted: _Wanted) -> bool:
    config = wanted.config
    return going_on.skip(
        wanted.connection,
        wanted.workflows,
        wanted.process_id,
        config.get("step"),
        config["reason"],
        user=wanted.user,
    )


def _abort(wanted: _Wanted) -> bool:
    return going_on.abort(
        wanted.connection, wanted.workflows, wanted.process_id, wanted.config["reason"], user=wanted.user
    )


def _replace(wanted: _Wanted) -> bool:
    config = wanted.config
    going_on.replace_value(
        wanted.connection,
        wanted.workflows,
        wanted.process_id,
        config["key"],
        config["value"],
        config["reason"],
        step=config.get("step"),
        user=wanted.user,
    )
    return False


def _pause(wanted: _Wanted) -> bool:
    pause_engine(wanted.connection, wanted.user, wanted.config["reason"])
    return False


def _unpause(wanted: _Wanted) -> bool:
    resume_engine(wanted.connection, wanted.user)
    return False


_PERSON_JOBS = (
    _PersonJob(
        "resume_process",
        "Answers what a process asks for, so that it goes on. The step that asks shows in its metadata a run config to "
        "fill in here. Input that is not valid is refused, with what is wrong with each field, and the process goes "
        "on waiting.",
        {
            "process_id": _PROCESS_ID,
            "step": _STEP,
            "input": dg.Field(
                dict, default_value={}, description="The fields of the step's form; or `pages`, page by page"
            ),
        },
        _resume,
    ),
    _PersonJob(
        "retry_process",
        "Tries again what failed in a process, now: one step, or all that failed; or goes on with a process whose "
        "worker died.",
        {"process_id": _PROCESS_ID, "step": _STEP},
        _retry,
    ),
    _PersonJob(
        "skip_step",
        "Passes a step by that failed, or waits. The process goes on after it, without what it would have done.",
        {"process_id": _PROCESS_ID, "step": _STEP, "reason": _REASON},
        _skip,
    ),
    _PersonJob(
        "abort_process",
        "Ends a process. What its steps did is undone as they say, then the steps run that run at the end of every "
        "process. One that is running stops after its current step.",
        {"process_id": _PROCESS_ID, "reason": _REASON},
        _abort,
    ),
    _PersonJob(
        "replace_value",
        "Puts another value into the state of a process that no run works on. It does not go on by this: retry it "
        "afterwards.",
        {
            "process_id": _PROCESS_ID,
            "key": dg.Field(str, description="Key of the state"),
            "value": dg.Field(dg.Any, description="The new value"),
            "reason": _REASON,
            "step": dg.Field(
                str, is_required=False, description="Key of a step, to replace the value in that step's branch"
            ),
        },
        _replace,
    ),
    _PersonJob(
        "pause_engine",
        "Lets all processes stop after their current step, and start none, until resume_engine.",
        {"reason": _REASON},
        _pause,
    ),
    _PersonJob("resume_engine", "Lets processes go on that stopped as the engine was paused.", {}, _unpause),
)


def person_jobs(workflows: Workflows, jobs: JobByName, resources: Mapping[str, Any]) -> list[dg.JobDefinition]:
    """Return the jobs.

    Args:
        workflows: the workflows by name.
        jobs: gives the job of a workflow.
        resources: the database among them.
    """
    return [_job(person_job, workflows, jobs, {DATABASE: resources[DATABASE]}) for person_job in _PERSON_JOBS]


def _job(
    person_job: _PersonJob, workflows: Workflows, jobs: JobByName, resources: Mapping[str, Any]
) -> dg.JobDefinition:
    name, description = person_job.name, person_job.description

    def compute(context: dg.OpExecutionContext) -> None:
        _do(context, person_job, workflows, jobs)

    op = dg.op(
        name=f"orchestrator__{name}",
        description=description,
        config_schema=dict(person_job.fields),
        out=dg.Out(dg.Nothing),
        required_resource_keys={DATABASE},
    )(compute)
    graph = dg.GraphDefinition(
        name=name, description=description, node_defs=[op], dependencies={dg.NodeInvocation(op.name, alias=name): {}}
    )
    return graph.to_job(
        description=description,
        resource_defs=resources,
        config=dg.ConfigMapping(
            config_fn=lambda given: {"ops": {name: {"config": given}}}, config_schema=dict(person_job.fields)
        ),
        executor_def=dg.in_process_executor,
        tags={"dagster/max_retries": "0"},
    )


def _do(context: dg.OpExecutionContext, person_job: _PersonJob, workflows: Workflows, jobs: JobByName) -> None:
    engine: Engine = getattr(context.resources, DATABASE).engine
    user, goes_on = tags.user_of(context.run), False
    try:
        goes_on = in_one_transaction(
            engine, lambda connection: person_job.act(_Wanted(connection, workflows, context.op_config, user))
        )
    except OrchestratorError as refusal:
        raise RefusedRun(refusal) from refusal.__cause__
    finally:
        if "input" in person_job.fields and not goes_on:
            forget_answer(_workflow_meant(context.op_config, workflows, engine), context.run, context.instance)
    if "process_id" in person_job.fields:
        _tell(context, engine, UUID(context.op_config["process_id"]))
    if goes_on:
        _submit(context, engine, jobs, UUID(context.op_config["process_id"]))


def _workflow_meant(config: Mapping[str, Any], workflows: Workflows, engine: Engine) -> Workflow | None:
    try:
        with engine.connect() as connection:
            return workflows[get_process(connection, UUID(config["process_id"])).workflow]
    except (LookupError, ValueError):
        return None


def _tell(context: dg.OpExecutionContext, engine: Engine, process_id: UUID) -> None:
    """Let the run say which process it was about, and where that stands."""
    with engine.connect() as connection:
        process = get_process(connection, process_id)
    tags.RunTags(context.run, context.instance, context.log).write(tags.about(process_id, process.concerned))
    context.add_output_metadata({"process_id": str(process_id), "status": process.status.value})


def _submit(context: dg.OpExecutionContext, engine: Engine, jobs: JobByName, process_id: UUID) -> None:
    user = tags.user_of(context.run)
    submitted = submit_queued(context.instance, jobs, engine, [process_id], context.run, user=user)
    if process_id in submitted:
        context.log.info(f"Process {process_id} goes on in run {submitted[process_id]}")
    else:
        context.log.info(f"Process {process_id} goes on as soon as the sensor go_on sees it")
