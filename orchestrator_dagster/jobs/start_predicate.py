"""Whether the run predicate of a workflow lets it start now."""

from functools import partial

from sqlalchemy import Connection

from orchestrator_dagster.db.run_predicates import count_processes, keep_other_starts_waiting
from orchestrator_dagster.domain.run_predicate import PredicateContext, RunPredicateFail, RunPredicatePass
from orchestrator_dagster.errors import DefinitionError, StartPredicateError
from orchestrator_dagster.jobs.workflow import Workflow


def require_predicate(connection: Connection, workflow: Workflow, *, lock: bool) -> None:
    """Make sure that the workflow's run predicate allows another process.

    Args:
        connection: the transaction.
        workflow: the workflow.
        lock: let other starts of the workflow wait until the transaction ends, so that what the predicate sees holds.

    Raises:
        StartPredicateError: the predicate says no.
        DefinitionError: the predicate says neither.
    """
    if workflow.run_predicate is None:
        return
    if lock:
        keep_other_starts_waiting(connection, workflow.name)
    result = workflow.run_predicate(PredicateContext(workflow, workflow.name, partial(count_processes, connection)))
    if isinstance(result, RunPredicateFail):
        raise StartPredicateError(workflow=workflow.name, failure=result.message)
    if not isinstance(result, RunPredicatePass):
        raise DefinitionError(
            f"The run predicate of {workflow.name} returned {result!r}, not RunPredicatePass() or RunPredicateFail(...)"
        )
