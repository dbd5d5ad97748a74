"""Starting a process: its input is checked, its start conditions hold, and only then is it there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from orchestrator_dagster.db.engine_settings import require_going_engine
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.leases import keep_runs_out
from orchestrator_dagster.db.locks import hold, standing
from orchestrator_dagster.db.processes import insert_process, link_subscription, lock_process
from orchestrator_dagster.db.step_log import Memory, json_of_state
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.domain.authorisation import AuthContext, authorize
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import Concerned, ProcessStatus
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import (
    FieldError,
    InputError,
    StaleDataError,
    SubscriptionBusyError,
    SubscriptionOutOfSyncError,
)
from orchestrator_dagster.forms.secret_fields import ENVIRONMENT_MISSING
from orchestrator_dagster.forms.walk import PAGES, FormWalk
from orchestrator_dagster.jobs.start_conditions import check_start, takes_hold
from orchestrator_dagster.jobs.start_form import walk_start_form
from orchestrator_dagster.jobs.start_predicate import require_predicate
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.aborting import AbortTerms, abort_at_once
from orchestrator_dagster.ops.transaction import as_state, save_models, transaction

_ATTEMPTS = 5
_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK_DETECTED = "40P01"


@dataclass(frozen=True)
class Start:
    """Who starts which workflow with what.

    Attributes:
        process_id: the id that the process will have.
        run_id: the Dagster run that will work on it.
        user: on whose behalf.
        given: the input, flat or page by page.
        parents: the processes of which it will be a part, the nearest first.
    """

    workflow: Workflow
    process_id: UUID
    run_id: str
    user: str
    given: Mapping[str, Any]
    parents: tuple[UUID, ...] = ()


Started = tuple[Memory, Concerned]
"""What the step log knows of a new process, and the subscriptions that it works on."""


def start_process(connection: Connection, start: Start) -> Started:
    """Check the input and the start conditions, and write the process; all in one transaction of the connection.

    Raises:
        RefusalError: the engine is paused, the user may not start the workflow, or its run predicate says no.
        InputError: the input is not valid; nothing is kept.
        StartConditionError: the workflow may not start on the subscription; nothing is kept.
    """

    def attempt() -> Started:
        with transaction(
            connection, process_id=start.process_id, step="start", created_by=start.user
        ) as step_transaction:
            require_going_engine(connection)
            memory, concerned = write_process(connection, start)
        return memory, concerned | step_transaction.concerned

    return try_to_start(connection, start, attempt)


def try_to_start(connection: Connection, start: Start, attempt: Callable[[], Started]) -> Started:
    """Return what an attempt to start gives, after several where two that start wait for each other.

    Args:
        connection: where the attempt makes its transaction, or its part of one.
        start: what it starts.
        attempt: checks and writes; what it does is rolled back where it raises.
    """
    _require_storable(start)
    authorize(AuthContext(start.user, "start_workflow", start.workflow))
    for number in range(1, _ATTEMPTS + 1):
        try:
            return attempt()
        except OperationalError as error:
            code = getattr(error.orig, "pgcode", None)
            subscription_id = _subscription_given(start.given)
            if code == _LOCK_NOT_AVAILABLE and subscription_id is not None:
                raise _busy(connection, start, subscription_id) from error
            # Postgres ended a dead-lock by ending this attempt, which has done nothing yet
            if code != _DEADLOCK_DETECTED or number == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _require_storable(start: Start) -> None:
    errors = []
    for name, value in start.given.items():
        try:
            to_json({name: value}).encode()
        except ValueError as error:
            errors.append(FieldError((name,), f"cannot be stored: {error}", "not_storable"))
    if errors:
        raise InputError(workflow=start.workflow.name, errors=errors)


def _busy(connection: Connection, start: Start, subscription_id: UUID) -> SubscriptionBusyError:
    """Return the refusal for a subscription that somebody writes to for longer than a start waits."""
    with connection.begin_nested() if connection.in_transaction() else connection.begin():
        holder = standing(connection, subscription_id, lock=False).holder
    return SubscriptionBusyError(
        workflow=start.workflow.name, subscription_id=subscription_id, held_by=holder.process_id if holder else None
    )


def _subscription_given(given: Mapping[str, Any]) -> UUID | None:
    pages = given.get(PAGES)
    first = given if "subscription_id" in given or not isinstance(pages, list) or not pages else pages[0]
    subscription_id = first.get("subscription_id")
    return UUID(str(subscription_id)) if subscription_id else None


def write_process(connection: Connection, start: Start) -> Started:
    """Check what a process is started with and write it, in the transaction that the caller ends.

    Raises:
        StartPredicateError: the workflow's run predicate says no.
        InputError: the input is not valid.
        StartConditionError: the workflow may not start on the subscription.
    """
    workflow, concerned = start.workflow, Concerned()
    require_predicate(connection, workflow, lock=True)
    walked = _walk(connection, start)
    if not start.parents:
        # a child's input comes from a step; the others' is run config, which Dagster stores and shows
        walked.require_no_clear_secrets(workflow.name)
    result = _require_valid(workflow, walked)
    state = as_state(result, of=f"the form of {workflow.name}")
    insert_process(
        connection,
        process_id=start.process_id,
        workflow=workflow.name,
        run_id=start.run_id,
        created_by=start.user,
        plan=workflow.plan.record(),
        given=walked.sealed(start.given),
        state=json_of_state(state, of=f"The form of {workflow.name}"),
        status=ProcessStatus.CREATED if start.parents else ProcessStatus.RUNNING,
        parent_process_id=next(iter(start.parents), None),
    )
    if workflow.target not in (Target.CREATE, Target.SYSTEM):
        version = walked.pages[0].given.get("version")
        concerned = _take_hold(connection, start, UUID(state["subscription_id"]), version)
    save_models(result)
    return Memory(state), concerned


def check_start_input(engine: Engine, workflow: Workflow, given: Mapping[str, Any], user: str) -> dict[str, Any]:
    """Check the input and the start conditions as they are now, and write nothing.

    Returns:
        The input as run config may have it: its secrets are sealed.

    Raises:
        RefusalError: the engine is paused, the user may not start the workflow, or its run predicate says no.
        InputError: the input is not valid.
        StartConditionError: the workflow may not start on the subscription.
    """
    authorize(AuthContext(user, "start_workflow", workflow))
    with engine.connect() as connection, use_repository(PostgresRepository(connection)):
        require_going_engine(connection)
        require_predicate(connection, workflow, lock=False)
    walked = try_start_form(engine, workflow, given, user)
    # it may be set where the run is, which is what counts
    walked.errors = [error for error in walked.errors if error.type != ENVIRONMENT_MISSING]
    _require_valid(workflow, walked)
    return walked.sealed(given)


def try_start_form(
    engine: Engine,
    workflow: Workflow,
    given: Mapping[str, Any],
    user: str = "SYSTEM",
    *,
    conditions: bool = True,
    outcome: FormWalk | None = None,
) -> FormWalk:
    """Answer the form of a workflow without starting it; see `walk_start_form`."""
    trial = uuid4()
    start = Start(workflow, process_id=trial, run_id=str(trial), user=user, given=given)
    with engine.connect() as connection, use_repository(PostgresRepository(connection)):
        return _walk(connection, start, conditions=conditions, outcome=outcome)


def _walk(
    connection: Connection, start: Start, *, conditions: bool = True, outcome: FormWalk | None = None
) -> FormWalk:
    begin = {
        "process_id": str(start.process_id),
        "reporter": start.user,
        "workflow_name": start.workflow.name,
        "workflow_target": start.workflow.target.value,
    }
    return walk_start_form(
        connection,
        start.workflow,
        dict(start.given),
        begin,
        ancestors=start.parents,
        conditions=conditions,
        outcome=outcome,
    )


def _require_valid(workflow: Workflow, walked: FormWalk) -> State:
    if not walked.valid:
        raise InputError(workflow=workflow.name, errors=walked.errors, stopped=walked.stopped)
    return walked.result


def _take_hold(connection: Connection, start: Start, subscription_id: UUID, version: int | None) -> Concerned:
    """Check the start conditions, this time with the row locked, and make the process the subscription's holder."""
    workflow = start.workflow
    found = standing(connection, subscription_id, lock=True)
    check_start(workflow, found, ancestors=start.parents)
    if version is not None and int(version) != found.version:
        stale = StaleDataError(
            subscription_id=subscription_id, given_version=int(version), current_version=found.version
        )
        raise InputError(workflow=workflow.name, errors=[FieldError(("version",), str(stale), "stale_data")])
    if takes_hold(workflow):
        if found.holder is not None:
            _supersede(connection, start, found.holder.process_id, subscription_id)
        hold(connection, subscription_id, start.process_id)
    link_subscription(connection, start.process_id, subscription_id)
    return Concerned((subscription_id,), (found.product_name,), (found.customer_id,))


def _supersede(connection: Connection, start: Start, process_id: UUID, subscription_id: UUID) -> None:
    """End the validation that holds the subscription, unless it goes on; it changed nothing that is to be undone."""
    if keep_runs_out(connection, process_id):
        process = lock_process(connection, process_id)
        why = f"Superseded by process {start.process_id} ({start.workflow.name})"
        ends = process.status.failed or process.status is ProcessStatus.RUNNING
        if ends and abort_at_once(connection, process, None, AbortTerms(), user=start.user, reason=why, now=now()):
            return
    raise SubscriptionOutOfSyncError(workflow=start.workflow.name, subscription_id=subscription_id, held_by=process_id)
