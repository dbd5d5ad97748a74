"""Processes that another process starts, and waits for: written in the transaction of the step that starts them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection

from orchestrator_dagster.db.families import lineage
from orchestrator_dagster.db.locks import wait_as_ever
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.domain.secret import sealed
from orchestrator_dagster.errors import RefusalError
from orchestrator_dagster.jobs.start import Start, Started, try_to_start, write_process
from orchestrator_dagster.jobs.workflow import Workflow

MOST_ANCESTORS = 20
"""So deep processes may start others: deeper ones start themselves without end."""


def start_child(
    connection: Connection, workflow: Workflow, given: Mapping[str, Any], *, parent_process_id: UUID, user: str
) -> UUID:
    """Write a process that is part of another one, ready for a run to pick it up; return its id.

    It is there when the transaction has been committed. It is written while the engine is paused too: it belongs to a
    step that is under way, and waits like all others.

    Args:
        connection: the transaction of the parent's step.
        workflow: the workflow to start.
        given: the input, flat or page by page.
        parent_process_id: the process that starts it.
        user: on whose behalf.

    Raises:
        RefusalError: the user may not start the workflow, its run predicate says no, or processes that start others
            have come too deep.
        InputError: the input is not valid.
        StartConditionError: the workflow may not start on the subscription.
    """
    parents = lineage(connection, parent_process_id)
    if len(parents) > MOST_ANCESTORS:
        raise RefusalError(
            f"{workflow.name} is not started: process {parent_process_id} is part of {len(parents) - 1} others, "
            "each of which started the next one; does a workflow run itself?"
        )
    process_id, given = uuid4(), sealed(dict(given))
    start = Start(workflow, process_id, run_id=str(process_id), user=user, given=given, parents=parents)

    def attempt() -> Started:
        repository = PostgresRepository(connection, process_id=process_id, step="start", changed_by=user)
        with connection.begin_nested(), use_repository(repository):
            return write_process(connection, start)

    try_to_start(connection, start, attempt)
    wait_as_ever(connection)
    return process_id
