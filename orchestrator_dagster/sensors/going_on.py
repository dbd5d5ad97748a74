"""Processes go on by themselves: after their worker died, when a time has come, and when nobody picked them up."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import dagster as dg
from dagster._core.storage.dagster_run import RunsFilter
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.engine_settings import engine_status
from orchestrator_dagster.db.processes import ProcessRow, request_abort, try_to_lock_process, use_resume_token
from orchestrator_dagster.db.queue import (
    QueuedProcess,
    ResumeToken,
    claim_resume_token,
    queue_process,
    queued_processes,
)
from orchestrator_dagster.db.waits import queue_due
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.left_behind import settle_all
from orchestrator_dagster.ops.process_run import TERMINATED, TERMINATED_BY
from orchestrator_dagster.resources.database import DATABASE

# The daemon comes by every five seconds, and passes a sensor by whose last tick began a moment less ago than it says.
_INTERVAL_SECONDS = 3
_MOST_AT_ONCE = 100
_TERMINATED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


def going_on_sensor(jobs: Sequence[dg.JobDefinition]) -> dg.SensorDefinition:
    """Return the sensor that sees to it that no process stands still which could go on.

    - A run takes the lease of its process before the process is there, and gives it back after the process says how it
      stands. So a process that is running while nobody has its lease was left behind, whatever Dagster knows of its
      run. It stands as failed then, ready to be retried.
    - What waits for a time, or to be tried again, goes on when that is due; a callback that is overdue fails.
    - A run is requested for every process that waits for nothing else, unless somebody just submitted one. While the
      engine is paused none is.
    - A run that somebody terminated before it came to its process, or whose worker died of that, aborts the process all
      the same.

    Each tick looks at what is to be done, never at the processes that wait for something else.

    Args:
        jobs: the jobs of all workflows.
    """
    names = [job.name for job in jobs]

    def go_on(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        engine = getattr(context.resources, DATABASE).engine
        left_behind = list(settle_all(engine))
        for process in left_behind:
            _follow_up(context, engine, process)
        requests = list(_requests(engine, context.instance, names))
        yield from requests
        if not requests:
            found = ", ".join(str(process.process_id) for process in left_behind)
            yield dg.SkipReason(f"Left behind by their workers: {found}" if found else "No process is to go on")

    return dg.SensorDefinition(
        name="go_on",
        description="Lets processes go on when a time has come, a worker died, or a run is needed.",
        evaluation_fn=go_on,
        jobs=list(jobs),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        required_resource_keys={DATABASE},
        default_status=dg.DefaultSensorStatus.RUNNING,
    )


def _follow_up(context: dg.SensorEvaluationContext, engine: Engine, process: ProcessRow) -> None:
    """Let the tags of the run that died say how its process stands; abort that if the run was terminated."""
    run = context.instance.get_run_by_id(process.run_id)
    if run is None:
        return
    inherited = tags.inherited_from_another(process.process_id, run.tags)
    about = tags.about(process.process_id, process.concerned)
    tags.RunTags(run, context.instance, context.log).write(inherited | {tags.STATUS: process.status.value} | about)
    if run.status in _TERMINATED:
        with engine.begin() as connection:
            # another run may have gone on with it since
            if request_abort(connection, process.process_id, TERMINATED_BY, TERMINATED, now(), lease=process.lease):
                queue_process(connection, process.process_id, now())


def _requests(engine: Engine, instance: dg.DagsterInstance, names: Sequence[str]) -> Iterator[dg.RunRequest]:
    """Yield a request for each process that waits for nothing but a run."""
    with engine.begin() as connection:
        if engine_status(connection).paused:
            return
        queue_due(connection, now(), _MOST_AT_ONCE)
    with engine.connect() as connection:
        queued = queued_processes(connection, _MOST_AT_ONCE, workflow_names=names)
    runs = _runs_of(instance, queued)
    for process in queued:
        token = _token(engine, process, runs.get(str(process.token), ()))
        if token is not None:
            yield _request(process, token)


def _runs_of(instance: dg.DagsterInstance, queued: Sequence[QueuedProcess]) -> dict[str, list[dg.DagsterRun]]:
    """Return the runs that were submitted for processes and have not gone on with them yet, by their token."""
    tokens = [str(process.token) for process in queued if process.submitted_at is not None]
    found = defaultdict[str, list[dg.DagsterRun]](list)
    for run in instance.get_runs(RunsFilter(tags={tags.RESUME_TOKEN: tokens})) if tokens else ():
        found[run.tags[tags.RESUME_TOKEN]].append(run)
    return found


def _token(engine: Engine, process: QueuedProcess, runs: Sequence[dg.DagsterRun]) -> ResumeToken | None:
    """Return the token by which another run is to go on with a process; `None` where one is about to."""
    if any(run.status is not dg.DagsterRunStatus.NOT_STARTED and not run.is_finished for run in runs):
        return None
    with engine.begin() as connection:
        locked = try_to_lock_process(connection, process.process_id)
        if locked is None or not locked.status.queued:
            return None
        user = process.user or "SYSTEM"
        if any(run.status is dg.DagsterRunStatus.CANCELED for run in runs):
            request_abort(connection, process.process_id, TERMINATED_BY, TERMINATED, now())
            return _another(connection, process, user, runs)
        claimed = claim_resume_token(connection, process.process_id, user)
        if claimed is None or not any(run.is_finished for run in runs):
            return claimed
        return _another(connection, process, user, runs)


def _another(
    connection: Connection, process: QueuedProcess, user: str, runs: Sequence[dg.DagsterRun]
) -> ResumeToken | None:
    """Return a token in place of that of runs that ended before they had done anything."""
    if process.token is not None:
        use_resume_token(connection, process.token, next(run.run_id for run in runs if run.is_finished))
    return claim_resume_token(connection, process.process_id, user)


def _request(process: QueuedProcess, token: ResumeToken) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=str(token.token),
        job_name=process.workflow,
        run_config=process.given,
        tags={
            tags.RESUME_TOKEN: str(token.token),
            tags.PROCESS_ID: str(process.process_id),
            tags.USER: token.user,
        },
    )
