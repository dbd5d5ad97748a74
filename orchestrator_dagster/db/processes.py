"""Processes in the database; their steps are in `step_log`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, delete, func, literal, select, text, true, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.tables import (
    process_inputs,
    process_runs,
    process_waits,
    processes,
    processes_subscriptions,
    products,
    resume_tokens,
    subscriptions,
    workflows,
)
from orchestrator_dagster.domain.process import Assignee, Concerned, ProcessStatus
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import ConfigurationError, ProcessNotFoundError

_INSERT_PROCESS = text("""
    WITH started AS (
        INSERT INTO orchestrator.processes (process_id, workflow_id, is_task, last_status, run_id, created_by, plan,
                                            parent_process_id)
        SELECT :process_id, workflow_id, is_task, :status, :run_id, :created_by, CAST(:plan AS json),
               CAST(:parent_process_id AS uuid)
        FROM orchestrator.workflows
        WHERE name = :workflow AND deleted_at IS NULL
        RETURNING process_id
    ), its_run AS (
        INSERT INTO orchestrator.process_runs (run_id, process_id)
        SELECT :run_id, process_id FROM started WHERE :status = 'running'
    )
    INSERT INTO orchestrator.process_inputs (process_id, input_type, input, state, created_by)
    SELECT process_id, 'initial_state', CAST(:given AS json), CAST(:state AS json), :created_by
    FROM started
""")


@dataclass(frozen=True)
class ProcessRow:
    """A process: one run of a workflow."""

    process_id: UUID
    workflow: str
    target: Target
    is_task: bool
    status: ProcessStatus
    last_step: str | None
    assignee: Assignee
    run_id: str
    lease: int
    plan: tuple[Mapping[str, Any], ...]
    created_by: str
    started_at: datetime
    last_modified_at: datetime
    failed_reason: str | None
    traceback: str | None
    note: str | None
    product: str | None
    subscription_ids: tuple[UUID, ...]
    customer_ids: tuple[str, ...]
    parent_process_id: UUID | None = None
    abort_requested_at: datetime | None = None
    abort_requested_by: str | None = None
    abort_reason: str | None = None

    @property
    def concerned(self) -> Concerned:
        """The subscriptions that it worked on."""
        return Concerned(self.subscription_ids, (self.product,) if self.product else (), self.customer_ids)


def insert_process(
    connection: Connection,
    *,
    process_id: UUID,
    workflow: str,
    run_id: str,
    created_by: str,
    plan: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any],
    state: str,
    status: ProcessStatus = ProcessStatus.RUNNING,
    parent_process_id: UUID | None = None,
) -> None:
    """Write a new process with the input that started it.

    Args:
        connection: the transaction.
        process_id: id of the process.
        workflow: name of the workflow.
        run_id: id of the Dagster run that works on it; for one that waits for a run, the process's own id.
        created_by: who started it.
        plan: the workflow's steps: key, name, and the keys of the conditionals around it.
        given: the input as it was given.
        state: the state that the process starts with, as JSON text.
        status: `running`, or `created` for a process that waits for a run.
        parent_process_id: the process that started it.

    Raises:
        ConfigurationError: the catalogue in the database has no such workflow.
    """
    inserted = connection.execute(
        _INSERT_PROCESS,
        {
            "process_id": process_id,
            "workflow": workflow,
            "run_id": run_id,
            "created_by": created_by,
            "plan": to_json(plan),
            "given": to_json(given),
            "state": state,
            "status": status.value,
            "parent_process_id": parent_process_id,
        },
    )
    if not inserted.rowcount:
        raise ConfigurationError(
            f"Workflow {workflow} is not in the catalogue of the database: run `orchestrator-dagster catalogue apply`"
        )


def link_subscription(connection: Connection, process_id: UUID, subscription_id: UUID) -> None:
    """Record that a process worked on a subscription."""
    connection.execute(
        upsert(processes_subscriptions)
        .values(process_id=process_id, subscription_id=subscription_id)
        .on_conflict_do_nothing()
    )


def process_of_run(connection: Connection, run_id: str) -> UUID | None:
    """Return the process that a Dagster run works, or worked, on."""
    return connection.scalar(select(process_runs.c.process_id).where(process_runs.c.run_id == run_id))


def process_of_token(connection: Connection, token: UUID, *, used: bool = True) -> UUID | None:
    """Return the process that a token is for.

    Args:
        connection: where to look.
        token: the token.
        used: whether to look among those too that let a run go on already.
    """
    found = select(resume_tokens.c.process_id).where(resume_tokens.c.token == token)
    return connection.scalar(found if used else found.where(resume_tokens.c.used_by_run.is_(None)))


def use_resume_token(connection: Connection, token: UUID, run_id: str) -> bool:
    """Use a token up for a run; return whether it was still there to use."""
    used = connection.execute(
        update(resume_tokens)
        .where(resume_tokens.c.token == token, resume_tokens.c.used_by_run.is_(None))
        .values(used_by_run=run_id)
    )
    return used.rowcount > 0


def lock_process(connection: Connection, process_id: UUID) -> ProcessRow:
    """Return a process and keep others from changing it until the transaction ends."""
    connection.execute(_own_row(process_id).with_for_update(key_share=True))
    return get_process(connection, process_id)


def try_to_lock_process(connection: Connection, process_id: UUID) -> ProcessRow | None:
    """Do as `lock_process` does, but return `None` where somebody else is changing the process."""
    locked = connection.scalar(_own_row(process_id).with_for_update(key_share=True, skip_locked=True))
    return None if locked is None else get_process(connection, process_id)


def lease_of(connection: Connection, process_id: UUID) -> int | None:
    """Return the number of the newest lease of a process, `None` where there is no such process."""
    return connection.scalar(select(processes.c.lease).where(processes.c.process_id == process_id))


def hand_over(connection: Connection, process_id: UUID, run_id: str) -> int:
    """Make a run the only one that may write to a process, and return the number by which it proves that.

    Whichever wrote until now cannot any more, even a worker of the same run that was thought dead.
    """
    connection.execute(upsert(process_runs).values(run_id=run_id, process_id=process_id).on_conflict_do_nothing())
    lease: int = connection.execute(
        update(processes)
        .where(processes.c.process_id == process_id)
        .values(
            run_id=run_id,
            lease=processes.c.lease + 1,
            last_status=ProcessStatus.RUNNING,
            last_modified_at=func.now(),
            assignee=Assignee.SYSTEM,
            failed_reason=None,
            traceback=None,
        )
        .returning(processes.c.lease)
    ).scalar_one()
    return lease


def record_plan(connection: Connection, process_id: UUID, plan: Sequence[Mapping[str, Any]]) -> None:
    """Record the steps of the workflow with which a process goes on, which was edited in the meantime."""
    connection.execute(update(processes).where(processes.c.process_id == process_id).values(plan=list(plan)))


def request_abort(
    connection: Connection, process_id: UUID, user: str, reason: str, now: datetime, *, lease: int | None = None
) -> bool:
    """Record that a process is to be aborted; the first who asks counts.

    Its steps wait for nothing any more: nobody is asked for what nobody will use.

    Args:
        connection: the transaction.
        process_id: id of the process.
        user: who asks.
        reason: why.
        now: the time.
        lease: of the run that asks, which has no say any more where another one went on; without it, whoever asks may.

    Returns:
        Whether that is new; `False` also where the process has ended.
    """
    requested = connection.scalar(
        update(processes)
        .where(
            processes.c.process_id == process_id,
            processes.c.abort_requested_at.is_(None),
            true() if lease is None else processes.c.lease == lease,
            processes.c.last_status.not_in([status for status in ProcessStatus if status.ended]),
        )
        .values(abort_requested_at=now, abort_requested_by=user, abort_reason=reason)
        .returning(processes.c.process_id)
    )
    if requested is None:
        return False
    connection.execute(delete(process_waits).where(process_waits.c.process_id == requested))
    return True


def set_note(connection: Connection, process_id: UUID, note: str | None) -> None:
    """Write down what people are to know of a process.

    Raises:
        ProcessNotFoundError: there is none with that id.
    """
    noted = connection.execute(update(processes).where(processes.c.process_id == process_id).values(note=note))
    if not noted.rowcount:
        raise ProcessNotFoundError(process_id)


def given_input(connection: Connection, process_id: UUID) -> dict[str, Any]:
    """Return the input that a process was started with, as it was given."""
    given: dict[str, Any] = connection.execute(
        select(process_inputs.c.input).where(
            process_inputs.c.process_id == process_id, process_inputs.c.input_type == "initial_state"
        )
    ).scalar_one()
    return given


def release_subscriptions(connection: Connection, process_id: UUID) -> None:
    """Let go of every subscription that a process holds."""
    connection.execute(update(subscriptions).where(subscriptions.c.held_by == process_id).values(held_by=None))


def get_process(connection: Connection, process_id: UUID) -> ProcessRow:
    """Return a process.

    Raises:
        ProcessNotFoundError: there is none with that id.
    """
    row = connection.execute(_processes().where(processes.c.process_id == process_id)).one_or_none()
    if row is None:
        raise ProcessNotFoundError(process_id)
    return _process_row(row)


def find_processes(
    connection: Connection,
    *,
    subscription_id: UUID | None = None,
    workflow: str | None = None,
    status: Sequence[ProcessStatus] = (),
    limit: int | None = None,
) -> list[ProcessRow]:
    """Return processes, oldest first; with a limit, the newest ones."""
    found = _processes()
    if subscription_id is not None:
        found = found.where(
            processes.c.process_id.in_(
                select(processes_subscriptions.c.process_id).where(
                    processes_subscriptions.c.subscription_id == subscription_id
                )
            )
        )
    if workflow is not None:
        found = found.where(workflows.c.name == workflow)
    if status:
        found = found.where(processes.c.last_status.in_(status))
    newest = connection.execute(
        found.order_by(processes.c.started_at.desc(), processes.c.process_id.desc()).limit(limit)
    )
    return [_process_row(row) for row in reversed(newest.all())]


def _own_row(process_id: UUID) -> Select[tuple[UUID]]:
    return select(processes.c.process_id).where(processes.c.process_id == process_id)


def _processes() -> Select[Any]:
    links = (
        select(
            func.array_agg(
                aggregate_order_by(subscriptions.c.subscription_id, processes_subscriptions.c.created_at)
            ).label("subscription_ids"),
            func.array_agg(subscriptions.c.customer_id.distinct()).label("customer_ids"),
            func.min(products.c.name).label("product"),
        )
        .select_from(processes_subscriptions.join(subscriptions).join(products))
        .where(processes_subscriptions.c.process_id == processes.c.process_id)
        .lateral("links")
    )
    return (
        select(processes, workflows.c.name.label("workflow"), workflows.c.target, links)
        .join(workflows, workflows.c.workflow_id == processes.c.workflow_id)
        .join(links, literal(True))
    )


def _process_row(row: Row[Any]) -> ProcessRow:
    return ProcessRow(
        process_id=row.process_id,
        workflow=row.workflow,
        target=Target(row.target),
        is_task=row.is_task,
        status=ProcessStatus(row.last_status),
        last_step=row.last_step,
        assignee=Assignee(row.assignee),
        run_id=row.run_id,
        lease=row.lease,
        plan=tuple(row.plan),
        created_by=row.created_by,
        started_at=row.started_at,
        last_modified_at=row.last_modified_at,
        failed_reason=row.failed_reason,
        traceback=row.traceback,
        note=row.note,
        product=row.product,
        subscription_ids=tuple(row.subscription_ids or ()),
        customer_ids=tuple(row.customer_ids or ()),
        parent_process_id=row.parent_process_id,
        abort_requested_at=row.abort_requested_at,
        abort_requested_by=row.abort_requested_by,
        abort_reason=row.abort_reason,
    )
