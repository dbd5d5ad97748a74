"""Processes that their worker left behind in the middle: they stand as running, and nobody has their lease."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.heartbeat import end_frozen_run
from orchestrator_dagster.db.leases import keep_runs_out
from orchestrator_dagster.db.processes import ProcessRow, find_processes, get_process, try_to_lock_process
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.db.waits import settle
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.repository import ambient_repository


def nobody_works_on(connection: Connection, process_id: UUID) -> bool:
    """Return whether no living run works on a process; then none does until the transaction ends."""
    repository = ambient_repository()
    if isinstance(repository, PostgresRepository) and repository.process_id == process_id:
        # it is the step of this process that asks, and a session's own lock is never in its way
        return False
    return keep_runs_out(connection, process_id)


def settle_all(engine: Engine) -> Iterator[ProcessRow]:
    """Let each process that is running without a living run stand as failed; yield those."""
    with engine.connect() as connection:
        running = find_processes(connection, status=[ProcessStatus.RUNNING])
    for process in running:
        if (settled := _settle(engine, process.process_id)) is not None:
            yield settled


def settle_left_behind(connection: Connection, process: ProcessRow) -> ProcessStatus:
    """Let a process whose worker died stand as failed, ready to go on. The caller keeps runs out."""
    reason = f"The worker of run {process.run_id} died; go on with the process to finish it"
    return settle(connection, process.process_id, process.lease, interrupted=reason, now=now())


def _settle(engine: Engine, process_id: UUID) -> ProcessRow | None:
    with engine.begin() as connection:
        if not keep_runs_out(connection, process_id):
            # its lease is free in a moment: the next one who looks lets the process stand as failed
            end_frozen_run(connection, process_id)
            return None
        # a run that comes meanwhile shouldn't have to wait for whoever changes the process now
        process = try_to_lock_process(connection, process_id)
        if process is None or process.status is not ProcessStatus.RUNNING:
            return None
        settle_left_behind(connection, process)
        return get_process(connection, process_id)
