"""Handing queued processes to the Dagster instance, from within a run or a server that has no workspace loaded.

The sensor would find them too, a few seconds later. So what cannot be done here is left to it.
"""

import logging
from collections.abc import Callable, Iterable
from uuid import UUID

import dagster as dg
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.origin import JobPythonOrigin
from dagster._core.remote_origin import RemoteJobOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator
from sqlalchemy import Engine

from orchestrator_dagster.db.engine_settings import engine_status
from orchestrator_dagster.db.processes import ProcessRow, given_input, lock_process
from orchestrator_dagster.db.queue import claim_resume_token
from orchestrator_dagster.jobs import tags

JobByName = Callable[[str], dg.JobDefinition]

_log = logging.getLogger(__name__)


def submit_queued(
    instance: dg.DagsterInstance,
    jobs: JobByName,
    engine: Engine,
    process_ids: Iterable[UUID],
    near_run: dg.DagsterRun | None = None,
    *,
    user: str = "SYSTEM",
) -> dict[UUID, str]:
    """Submit a run for each of some processes that wait for one.

    Args:
        instance: the instance that gets the runs.
        jobs: gives the job of a workflow.
        engine: the database.
        process_ids: the processes; those are passed over that don't wait for a run, or for which somebody else has just
            submitted one.
        near_run: a run of the same code location, which says where the code is. Default: the last run of each process.
        user: on whose behalf they go on, where nobody asked for it before.

    Returns:
        The ids of the runs, by process. Those that are missing are left to others: in the end to the sensor.
    """
    if not can_submit(instance):
        return {}
    submitted = {}
    for process_id in dict.fromkeys(process_ids):
        try:
            run_id = _submit(instance, jobs, engine, process_id, near_run, user)
        except Exception as error:
            _log.warning("Process %s is left to the sensor: %s", process_id, error)
        else:
            if run_id is not None:
                submitted[process_id] = run_id
    return submitted


def can_submit(instance: dg.DagsterInstance) -> bool:
    """Whether runs can be submitted to an instance by somebody who has no workspace loaded."""
    if instance.is_ephemeral:
        return False
    queued = isinstance(instance.run_coordinator, QueuedRunCoordinator)
    # it starts runs in the code server, which only a workspace knows
    return queued or not isinstance(instance.run_launcher, DefaultRunLauncher)


def _submit(
    instance: dg.DagsterInstance,
    jobs: JobByName,
    engine: Engine,
    process_id: UUID,
    near_run: dg.DagsterRun | None,
    user: str,
) -> str | None:
    with engine.begin() as connection:
        process = lock_process(connection, process_id)
        if not process.status.queued or engine_status(connection).paused:
            return None
        given = given_input(connection, process_id)
        origins = _origins(process, near_run or instance.get_run_by_id(process.run_id))
        if origins is None:
            return None
        token = claim_resume_token(connection, process_id, user)
        if token is None:
            return None
    code, remote = origins
    job = jobs(process.workflow)
    run = instance.create_run_for_job(
        job,
        run_config=given,
        tags={
            **job.run_tags,
            tags.USER: token.user,
            tags.RESUME_TOKEN: str(token.token),
            tags.PROCESS_ID: str(process_id),
        },
        job_code_origin=code,
        remote_job_origin=remote,
    )
    # the parameter's type does not say so, but whoever launches without one gets along with none
    instance.submit_run(run.run_id, workspace=None)  # type: ignore[arg-type]
    return run.run_id


def _origins(process: ProcessRow, near: dg.DagsterRun | None) -> tuple[JobPythonOrigin, RemoteJobOrigin] | None:
    """Return where the code of a process's job is, if a run near it says so."""
    if near is None or near.job_code_origin is None or near.remote_job_origin is None:
        return None
    return (
        JobPythonOrigin(process.workflow, near.job_code_origin.repository_origin),
        RemoteJobOrigin(near.remote_job_origin.repository_origin, process.workflow),
    )
