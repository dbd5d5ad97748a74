"""Starting a process: its input is checked, its start conditions hold, and only then is it there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.leases import keep_runs_out
from orchestrator_dagster.db.locks import hold, standing
from orchestrator_dagster.db.processes import abort_process, insert_process, link_subscription, lock_process
from orchestrator_dagster.db.step_log import Memory, json_of_state
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.domain.process import Concerned
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
from orchestrator_dagster.forms.walk import PAGES, FormWalk
from orchestrator_dagster.jobs.start_conditions import check_start, takes_hold
from orchestrator_dagster.jobs.start_form import walk_start_form
from orchestrator_dagster.jobs.workflow import Workflow
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
    """

    workflow: Workflow
    process_id: UUID
    run_id: str
    user: str
    given: Mapping[str, Any]


def start_process(connection: Connection, start: Start) -> tuple[Memory, Concerned]:
    """Check the input and the start conditions, and write the process; all in one transaction of the connection.

    Returns:
        What the step log knows of the new process, and the subscriptions that it works on.

    Raises:
        InputError: the input is not valid; nothing is kept.
        StartConditionError: the workflow may not start on the subscription; nothing is kept.
    """
    _require_storable(start)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _start(connection, start)
        except OperationalError as error:
            code = getattr(error.orig, "pgcode", None)
            subscription_id = _subscription_given(start.given)
            if code == _LOCK_NOT_AVAILABLE and subscription_id is not None:
                raise _busy(connection, start, subscription_id) from error
            # Postgres ended a dead-lock by ending this transaction, which has done nothing yet
            if code != _DEADLOCK_DETECTED or attempt == _ATTEMPTS:
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
    with connection.begin():
        holder = standing(connection, subscription_id, lock=False).holder
    return SubscriptionBusyError(
        workflow=start.workflow.name, subscription_id=subscription_id, held_by=holder.process_id if holder else None
    )


def _subscription_given(given: Mapping[str, Any]) -> UUID | None:
    pages = given.get(PAGES)
    first = given if "subscription_id" in given or not isinstance(pages, list) or not pages else pages[0]
    subscription_id = first.get("subscription_id")
    return UUID(str(subscription_id)) if subscription_id else None


def _start(connection: Connection, start: Start) -> tuple[Memory, Concerned]:
    workflow, concerned = start.workflow, Concerned()
    with transaction(connection, process_id=start.process_id, step="start", created_by=start.user) as step_transaction:
        walked = _walk(connection, start)
        result = _require_valid(workflow, walked)
        state = as_state(result, of=f"the form of {workflow.name}")
        insert_process(
            connection,
            process_id=start.process_id,
            workflow=workflow.name,
            run_id=start.run_id,
            created_by=start.user,
            plan=[
                {"step": planned.key, "name": planned.step.key, "conditions": list(planned.conditions)}
                for planned in workflow.plan.values()
            ],
            given=start.given,
            state=json_of_state(state, of=f"The form of {workflow.name}"),
        )
        if workflow.target not in (Target.CREATE, Target.SYSTEM):
            version = walked.pages[0].given.get("version")
            concerned = _take_hold(connection, start, UUID(state["subscription_id"]), version)
        save_models(result)
    return Memory(state), concerned | step_transaction.concerned


def check_start_input(engine: Engine, workflow: Workflow, given: Mapping[str, Any], user: str) -> None:
    """Check the input and the start conditions as they are now, and write nothing.

    Raises:
        InputError: the input is not valid.
        StartConditionError: the workflow may not start on the subscription.
    """
    _require_valid(workflow, try_start_form(engine, workflow, given, user))


def try_start_form(engine: Engine, workflow: Workflow, given: Mapping[str, Any], user: str = "SYSTEM") -> FormWalk:
    """Answer the form of a workflow without starting it; see `walk_start_form`."""
    trial = uuid4()
    start = Start(workflow, process_id=trial, run_id=str(trial), user=user, given=given)
    with engine.connect() as connection, use_repository(PostgresRepository(connection)):
        return _walk(connection, start)


def _walk(connection: Connection, start: Start) -> FormWalk:
    begin = {
        "process_id": str(start.process_id),
        "reporter": start.user,
        "workflow_name": start.workflow.name,
        "workflow_target": start.workflow.target.value,
    }
    return walk_start_form(connection, start.workflow, dict(start.given), begin)


def _require_valid(workflow: Workflow, walked: FormWalk) -> State:
    if not walked.valid:
        raise InputError(workflow=workflow.name, errors=walked.errors, stopped=walked.stopped)
    return walked.result


def _take_hold(connection: Connection, start: Start, subscription_id: UUID, version: int | None) -> Concerned:
    """Check the start conditions, this time with the row locked, and make the process the subscription's holder."""
    workflow = start.workflow
    found = standing(connection, subscription_id, lock=True)
    check_start(workflow, found)
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
    """End the validation that holds the subscription, unless a living run works on it."""
    if not keep_runs_out(connection, process_id) or lock_process(connection, process_id).status.ended:
        raise SubscriptionOutOfSyncError(
            workflow=start.workflow.name, subscription_id=subscription_id, held_by=process_id
        )
    reason = f"Superseded by process {start.process_id} ({start.workflow.name})"
    abort_process(connection, process_id, by_run=start.run_id, row_name=reason, user=start.user)
