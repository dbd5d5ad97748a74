"""What run predicates ask of the database, and the lock under which they are asked."""

from collections.abc import Collection

from sqlalchemy import Connection, func, select, text

from orchestrator_dagster.db.tables import processes, workflows
from orchestrator_dagster.domain.process import ProcessStatus

_ONE_START_OF_A_WORKFLOW = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('orchestrator run predicate ' || :workflow, 0))"
)


def keep_other_starts_waiting(connection: Connection, workflow: str) -> None:
    """Let starts of a workflow that ask its predicate wait until the transaction ends."""
    connection.execute(_ONE_START_OF_A_WORKFLOW, {"workflow": workflow})


def count_processes(connection: Connection, status: Collection[ProcessStatus], *, workflow: str | None = None) -> int:
    """Return how many processes stand in one of the statuses, of one workflow or of all."""
    found = select(func.count()).select_from(processes).where(processes.c.last_status.in_(status))
    if workflow is not None:
        found = found.join(workflows, workflows.c.workflow_id == processes.c.workflow_id).where(
            workflows.c.name == workflow, workflows.c.deleted_at.is_(None)
        )
    return connection.execute(found).scalar_one()
