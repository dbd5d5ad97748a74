"""The step log: what happened to each step of a process, and the state that follows from it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.stored_text import short_reason, short_traceback
from orchestrator_dagster.db.tables import process_inputs, process_steps
from orchestrator_dagster.db.waits import open_wait
from orchestrator_dagster.domain.branches import fork_of, indexed, parent_of
from orchestrator_dagster.domain.difference import Difference, Edit
from orchestrator_dagster.domain.process import Assignee, ProcessStatus, StepStatus
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.waiting import Flags, Wait
from orchestrator_dagster.errors import ProcessTakenOverError

# It is one statement, so that a run that lost its process can neither log nor, as the statement fails, commit. It tells
# the run what it is to heed before its next step. A step that was reached waits for nothing any more, and nothing does
# in a process that has ended.
_LOG_STEP = text("""
    WITH fenced AS (
        UPDATE orchestrator.processes
        SET last_status = CASE WHEN :heeds_abort AND abort_requested_at IS NOT NULL THEN 'running'
                               ELSE :process_status END,
            last_step = :step,
            last_modified_at = clock_timestamp(),
            assignee = :assignee,
            failed_reason = :failed_reason,
            traceback = :traceback
        WHERE process_id = :process_id AND lease = :lease AND last_status NOT IN ('completed', 'aborted')
        RETURNING process_id, abort_requested_at IS NOT NULL AS abort_requested
    ), logged AS (
        INSERT INTO orchestrator.process_steps (process_id, step, attempt, name, status, branch, round, run_id,
                                                created_by, changes, edits, conditions, error, detail,
                                                started_at, completed_at)
        SELECT process_id,
               :step,
               (SELECT coalesce(max(attempt), 0) + 1
                FROM orchestrator.process_steps
                WHERE process_id = :process_id AND step = :step),
               :name, :status, :branch, :round, :run_id, :created_by,
               CAST(:changes AS json), CAST(:edits AS json), CAST(:conditions AS jsonb), CAST(:error AS jsonb),
               CAST(:detail AS json), :started_at, :completed_at
        FROM fenced
    ), closed AS (
        DELETE FROM orchestrator.process_waits AS wait
        USING fenced
        WHERE wait.process_id = :process_id AND (:ended OR wait.step = :step)
    )
    SELECT abort_requested,
           coalesce((SELECT global_lock FROM orchestrator.engine_settings), false) AS paused
    FROM fenced
""")


@dataclass(frozen=True)
class StepRow:
    """A row of the step log: what happened to a step in one attempt.

    Attributes:
        step: the step's key: its op's handle in the job, inside a foreach with the item's index.
        name: the step's title.
        changes: what it added to the state or wrote anew, by key.
        edits: what it changed inside values that the state had already, by key; see `Difference`.
        conditions: what conditionals decided when it was reached.
        error: what went wrong, where it failed.
        branch: the branch of the process that it is in, such as `parallel[0]`; empty for the root.
        round: how often the group of steps that it is part of was started, this time included.
        detail: what else is to be known of it: `items` that a foreach goes through, the group to `restart`.
    """

    step: str
    name: str
    status: StepStatus
    run_id: str
    created_by: str
    started_at: datetime
    completed_at: datetime
    attempt: int = 1
    changes: Mapping[str, Any] | None = None
    edits: Mapping[str, Edit] | None = None
    conditions: Mapping[str, bool] | None = None
    error: Mapping[str, Any] | None = None
    branch: str = ""
    round: int = 1
    detail: Mapping[str, Any] | None = None

    @property
    def difference(self) -> Difference:
        """What the step changed in the state."""
        return Difference(self.changes or {}, self.edits or {})

    @property
    def changed(self) -> tuple[str, ...]:
        """The keys of the state that the step added or changed."""
        return self.difference.keys


@dataclass(frozen=True)
class Memory:
    """What the step log knows of a process.

    Attributes:
        state: the initial state with the changes of all finished steps that are in no branch.
        finished: the keys of the steps that need not run again.
        conditions: what conditionals decided.
        branches: what every branch changed itself, by branch; those without a row are not there.
        items: what every foreach goes through, by its key.
        rounds: how often the groups were started that started more than once, by their keys.
    """

    state: State
    finished: frozenset[str] = frozenset()
    conditions: Mapping[str, bool] | None = None
    branches: Mapping[str, State] = field(default_factory=dict)
    items: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    rounds: Mapping[str, int] = field(default_factory=dict)

    def after(self, *rows: StepRow) -> "Memory":
        """Return the memory with more rows in the log. The time it takes grows with their number, not its square."""
        fold = _Fold(self)
        for row in rows:
            fold.add(row)
        return fold.memory()

    def state_in(self, branch: str) -> State:
        """Return the state that a branch sees: that of its parent, its item of a foreach, and what it changed itself.

        Args:
            branch: such as `parallel[0]/foreach_saps[3]`; the root is empty.
        """
        return _state_in(branch, self.state, self.branches, self.items)

    def round_of(self, key: str) -> int:
        """Return how often a group, or the group that a step is part of, was started; this time included."""
        return _round_of(key, self.rounds)


class _Fold:
    """A memory while rows are added to it."""

    def __init__(self, memory: Memory) -> None:
        self._before = memory
        self._state = memory.state
        self._finished = set(memory.finished)
        self._conditions = dict(memory.conditions or {})
        self._branches = dict(memory.branches)
        self._items = dict(memory.items)
        self._rounds = dict(memory.rounds)
        self._last_rounds: dict[str, int] = {}

    def add(self, row: StepRow) -> None:
        """Take in what a row says."""
        self._conditions.update(row.conditions or {})
        if not row.status.finished:
            return
        if row.branch:
            self._change_branch(row)
        else:
            self._state = row.difference.applied_to(self._state)
        self._finished.add(row.step)
        self._last_rounds[row.step] = row.round
        detail = row.detail or {}
        if "items" in detail:
            self._items[row.step] = detail["items"]
        if "restart" in detail:
            self._rounds[detail["restart"]] = row.round + 1

    def _change_branch(self, row: StepRow) -> None:
        own = self._branches.get(row.branch, {})
        # only what changes inside a value depends on what was there
        before = _state_in(row.branch, self._state, self._branches, self._items) if row.edits else {}
        after = row.difference.applied_to(before)
        self._branches[row.branch] = {**own, **{key: after[key] for key in row.changed}}

    def memory(self) -> Memory:
        """Return what is known now."""
        return Memory(
            state=self._state,
            finished=frozenset(self._finished_in_this_round()),
            conditions=self._conditions,
            branches=self._branches,
            items=self._items,
            rounds=self._rounds,
        )

    def _finished_in_this_round(self) -> Collection[str]:
        if self._rounds == self._before.rounds:
            return self._finished
        return [
            step
            for step in self._finished
            if self._last_rounds.get(step, self._before.round_of(step)) >= _round_of(step, self._rounds)
        ]


def _state_in(branch: str, root: State, branches: Mapping[str, State], items: Mapping[str, Sequence[Any]]) -> State:
    if not branch:
        return root
    fork, number = fork_of(branch)
    item = {"item": items[fork][number], "index": number} if fork in items else {}
    return {**_state_in(parent_of(branch), root, branches, items), **item, **branches.get(branch, {})}


def _round_of(key: str, rounds: Mapping[str, int]) -> int:
    return max((rounds.get(group, 1) for group in _groups_around(key)), default=1) if rounds else 1


def _groups_around(key: str) -> Iterator[str]:
    """Yield the keys of the groups that a step is part of, and its own; inside a foreach all have the item's index."""
    path, number = indexed(key)
    at_the_end = f"[{number}]" if number >= 0 else ""
    names = path.split(".")
    for length in range(1, len(names) + 1):
        yield ".".join(names[:length]) + at_the_end


def recall(connection: Connection, process_id: UUID) -> Memory:
    """Return what the step log knows of a process."""
    return Memory(initial_state(connection, process_id)).after(*step_rows(connection, process_id))


def initial_state(connection: Connection, process_id: UUID) -> State:
    """Return the state that a process started with."""
    initial: State = connection.execute(
        select(process_inputs.c.state).where(
            process_inputs.c.process_id == process_id, process_inputs.c.input_type == "initial_state"
        )
    ).scalar_one()
    return initial


def step_rows(connection: Connection, process_id: UUID) -> list[StepRow]:
    """Return the step log of a process, oldest row first."""
    rows = connection.execute(
        select(process_steps).where(process_steps.c.process_id == process_id).order_by(process_steps.c.step_id)
    )
    return [
        StepRow(
            step=row.step,
            name=row.name,
            status=StepStatus(row.status),
            run_id=row.run_id,
            created_by=row.created_by,
            started_at=row.started_at,
            completed_at=row.completed_at,
            attempt=row.attempt,
            changes=row.changes,
            edits=row.edits,
            conditions=row.conditions,
            error=row.error,
            branch=row.branch,
            round=row.round,
            detail=row.detail,
        )
        for row in rows
    ]


def log_step(
    connection: Connection,
    process_id: UUID,
    row: StepRow,
    *,
    lease: int,
    status: ProcessStatus,
    reason: str | None = None,
    traceback: str | None = None,
    wait: Wait | None = None,
    heeds_abort: bool = False,
) -> Flags:
    """Add a row to the step log and say where the process stands, if the writer's lease is the newest one.

    Args:
        connection: the transaction.
        process_id: id of the process.
        row: what happened to the step.
        lease: number of the writer's lease.
        status: where the process stands; `running` also for a step in a branch that halts, while others may go on.
        reason: why the process stands there; without it, that of the wait.
        traceback: where it failed; without it, that of the wait.
        wait: what the step waits for from now on; without it, it waits for nothing any more.
        heeds_abort: whether the run carries out an abort that it hears of here. The process then does not stand still,
            so that it is noticed should the run die before that, and the step does not wait.

    Returns:
        What the run is to heed before its next step.

    Raises:
        ProcessTakenOverError: another run goes on with the process.
        TypeError: what the step changed in the state cannot be stored.
    """
    halt = wait if status is not ProcessStatus.RUNNING else None
    why = reason or (halt.reason if halt else None) or (f"Step {row.name} failed" if status.failed else None)
    flags = connection.execute(
        _LOG_STEP,
        {
            "process_id": process_id,
            "process_status": status.value,
            "heeds_abort": heeds_abort and status.halted,
            "ended": status.ended,
            "lease": lease,
            "assignee": (halt.assignee if halt else Assignee.SYSTEM).value,
            "failed_reason": short_reason(why),
            "traceback": short_traceback(traceback or (halt.traceback if halt else None)),
            **_columns(row),
        },
    ).one_or_none()
    if flags is None:
        raise ProcessTakenOverError(process_id=process_id, run_id=row.run_id)
    if wait is not None and not (heeds_abort and flags.abort_requested):
        open_wait(connection, process_id, wait)
    return Flags(flags.abort_requested, flags.paused)


def _columns(row: StepRow) -> dict[str, Any]:
    return {
        "step": row.step,
        "name": row.name,
        "status": row.status.value,
        "branch": row.branch,
        "round": row.round,
        "run_id": row.run_id,
        "created_by": row.created_by,
        "changes": json_of_state(row.changes or {}, of=row.name),
        "edits": json_of_state(row.edits, of=row.name) if row.edits else None,
        "conditions": to_json(row.conditions) if row.conditions else None,
        "error": to_json(row.error) if row.error else None,
        "detail": json_of_state(row.detail, of=row.name) if row.detail else None,
        "started_at": row.started_at,
        "completed_at": row.completed_at,
    }


def json_of_state(values: Mapping[str, Any], *, of: str) -> str:
    """Return what is to be stored of the state, by key, as JSON text.

    Args:
        values: JSON by key.
        of: what returned it, for the error.

    Raises:
        TypeError: a value has what Postgres cannot hold; its key is named.
    """
    try:
        return _storable_text(values)
    except (ValueError, RecursionError):
        for key, value in values.items():
            try:
                _storable_text({key: value})
            except (ValueError, RecursionError) as error:
                raise TypeError(f"{of} returned under {key!r} what cannot be stored: {error}") from error
        raise


def _storable_text(values: Mapping[str, Any]) -> str:
    written = to_json(values)
    written.encode()
    return written
