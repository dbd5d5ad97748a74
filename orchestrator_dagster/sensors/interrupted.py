"""Processes whose worker died in the middle of a step: Dagster notices the run, these sensors tell the process."""

from collections.abc import Sequence

import dagster as dg

from orchestrator_dagster.db.leases import keep_runs_out
from orchestrator_dagster.db.processes import lock_process, mark_interrupted, process_of_run
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.job import DATABASE

_INTERVAL_SECONDS = 15
_STATUSES = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def interrupted_sensors(jobs: Sequence[dg.JobDefinition]) -> list[dg.SensorDefinition]:
    """Return the sensors that let a process stand as failed when its run ended and the process could not say so.

    Args:
        jobs: the jobs of all workflows.
    """
    return [_interrupted_sensor(jobs, status) for status in _STATUSES] if jobs else []


def _interrupted_sensor(jobs: Sequence[dg.JobDefinition], status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    def tell_process(context: dg.RunStatusSensorContext) -> dg.SkipReason:
        run_id = context.dagster_run.run_id
        with getattr(context.resources, DATABASE).engine.begin() as connection:
            process_id = process_of_run(connection, run_id)
            if process_id is None or not keep_runs_out(connection, process_id):
                return dg.SkipReason("The run started no process, or another run goes on with it")
            process = lock_process(connection, process_id)
            reason = f"The worker of run {run_id} died; go on with the process to finish it"
            if process.run_id != run_id or not mark_interrupted(connection, process_id, process.lease, reason):
                return dg.SkipReason(f"Process {process_id} knows already")
        context.instance.add_run_tags(run_id, {tags.STATUS: process.status.FAILED.value})
        return dg.SkipReason(f"Process {process_id} stands as failed now")

    return dg.RunStatusSensorDefinition(
        name=f"notice_{status.value.lower()}_runs",
        description="Lets a process stand as failed when its worker died.",
        run_status=status,
        run_status_sensor_fn=tell_process,
        monitored_jobs=list(jobs),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={DATABASE},
    )
