"""Processes whose worker died: they stand as running, and nobody has their lease."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import dagster as dg
from sqlalchemy import Engine

from orchestrator_dagster.db.leases import keep_runs_out
from orchestrator_dagster.db.processes import ProcessRow, find_processes, mark_interrupted, try_to_lock_process
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.resources.database import DATABASE

_INTERVAL_SECONDS = 15


def interrupted_sensor(jobs: Sequence[dg.JobDefinition]) -> dg.SensorDefinition:
    """Return the sensor that lets processes whose worker died stand as failed, ready to go on.

    A run takes the lease of its process before the process is there, and gives it back after the process says how it
    stands. So a process that is running while nobody has its lease was left behind, whatever Dagster knows of its run.

    Args:
        jobs: the jobs of all workflows.
    """

    def notice_dead_workers(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        noticed = list(mark_left_behind(getattr(context.resources, DATABASE).engine))
        for process in noticed:
            if (run := context.instance.get_run_by_id(process.run_id)) is not None:
                inherited = tags.inherited_from_another(process.process_id, run.tags)
                stands = {tags.STATUS: ProcessStatus.FAILED.value}
                about = tags.about(process.process_id, process.concerned)
                tags.RunTags(run, context.instance, context.log).write(inherited | stands | about)
        found = ", ".join(str(process.process_id) for process in noticed)
        return dg.SkipReason(f"Stand as failed now: {found}" if noticed else "No worker died")

    return dg.SensorDefinition(
        name="notice_dead_workers",
        description="Lets processes whose worker died stand as failed, ready to go on.",
        evaluation_fn=notice_dead_workers,
        jobs=list(jobs),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        required_resource_keys={DATABASE},
        default_status=dg.DefaultSensorStatus.RUNNING,
    )


def mark_left_behind(engine: Engine) -> Iterator[ProcessRow]:
    """Let each process that is running without a living run stand as failed; yield those."""
    with engine.connect() as connection:
        running = find_processes(connection, status=[ProcessStatus.RUNNING])
    for process in running:
        if _mark(engine, process.process_id):
            yield process


def _mark(engine: Engine, process_id: UUID) -> bool:
    with engine.begin() as connection:
        if not keep_runs_out(connection, process_id):
            return False
        # a run that comes meanwhile shouldn't have to wait for whoever changes the process now
        process = try_to_lock_process(connection, process_id)
        if process is None:
            return False
        reason = f"The worker of run {process.run_id} died; go on with the process to finish it"
        return mark_interrupted(connection, process_id, process.lease, reason)
