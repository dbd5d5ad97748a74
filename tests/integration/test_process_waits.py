"""What processes wait for, in the database: how they halt, get in the queue, and are found there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError

from orchestrator_dagster.db.engine_settings import (
    engine_status,
    flags_of,
    pause_engine,
    require_going_engine,
    resume_engine,
)
from orchestrator_dagster.db.processes import (
    find_processes,
    get_process,
    hand_over,
    insert_process,
    request_abort,
    set_note,
    use_resume_token,
)
from orchestrator_dagster.db.queue import (
    QueuedProcess,
    ResumeToken,
    claim_resume_token,
    open_resume_token,
    queue_process,
    queued_processes,
)
from orchestrator_dagster.db.step_log import StepRow, log_step, recall
from orchestrator_dagster.db.waits import close_wait, make_ready, open_wait, queue_due, settle, waits_of, wake_parent
from orchestrator_dagster.domain.process import Assignee, ProcessStatus, StepStatus
from orchestrator_dagster.domain.waiting import Flags, Wait, WaitKind
from orchestrator_dagster.errors import EnginePausedError, ProcessNotFoundError, ProcessTakenOverError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

ADD_WORKFLOW = text("INSERT INTO orchestrator.workflows (name, target, description) VALUES (:name, 'SYSTEM', '')")

COPY_PROCESS = text("""
    INSERT INTO orchestrator.processes (process_id, workflow_id, is_task, last_status, run_id, plan)
    SELECT CAST(lpad(to_hex(number), 32, '0') AS uuid), workflow_id, is_task, last_status, run_id, plan
    FROM orchestrator.processes, generate_series(1000, 1000 + :many) AS number
    WHERE process_id = :process_id
""")
COPY_INPUT = text("""
    INSERT INTO orchestrator.process_inputs (process_id, input_type, input, state, created_by)
    SELECT CAST(lpad(to_hex(number), 32, '0') AS uuid), input_type, input, state, created_by
    FROM orchestrator.process_inputs, generate_series(1000, 1000 + :many) AS number
    WHERE process_id = :process_id
""")
COPY_WAIT = text("""
    INSERT INTO orchestrator.process_waits (process_id, step, name, kind, since, due_at)
    SELECT CAST(lpad(to_hex(number), 32, '0') AS uuid), step, name, kind, since, due_at
    FROM orchestrator.process_waits, generate_series(1000, 1000 + :many) AS number
    WHERE process_id = :process_id
""")

NewProcess = Callable[..., UUID]


def row(step: str, status: StepStatus = StepStatus.SUCCESS, **more: Any) -> StepRow:
    return StepRow(step, step.title(), status, "run", "me", NOW, NOW, **more)


def wait(step: str = "ask", kind: WaitKind = WaitKind.INPUT, **more: Any) -> Wait:
    return Wait(step=step, name=step.title(), kind=kind, since=NOW, **more)


def asks_noc(**more: Any) -> Wait:
    return wait(assignee=Assignee.NOC, form={"title": "Ask", "properties": {}}, **more)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        connection.execute(ADD_WORKFLOW, [{"name": "talk"}, {"name": "walk"}])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@pytest.fixture
def new_process(connection: Connection) -> NewProcess:
    def insert(workflow: str = "talk", **more: Any) -> UUID:
        process_id = uuid4()
        given = {
            "process_id": process_id,
            "workflow": workflow,
            "run_id": str(process_id),
            "created_by": "me",
            "plan": [],
            "given": {"a": 1},
            "state": '{"a": 1}',
        }
        insert_process(connection, **(given | more))
        return process_id

    return insert


def halt(connection: Connection, process_id: UUID, *waits: Wait) -> None:
    """Let a process halt in the root."""
    for each in waits:
        status = StepStatus.SUSPEND if each.kind is WaitKind.INPUT else StepStatus.WAITING
        log_step(connection, process_id, row(each.step, status), lease=1, status=each.process_status, wait=each)


def halt_in_branches(connection: Connection, process_id: UUID, *waits: Wait) -> None:
    for each in waits:
        open_wait(connection, process_id, each)


def status_of(connection: Connection, process_id: UUID) -> ProcessStatus:
    return get_process(connection, process_id).status


@contextmanager
def explained(engine: Engine) -> Iterator[list[dict[str, Any]]]:
    """Collect how Postgres carried out the statements that an engine runs; each is run for that, and rolled back."""
    plans: list[dict[str, Any]] = []

    def explain(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        raw = engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            plans.append(cursor.fetchone()[0][0]["Plan"])
        finally:
            raw.rollback()
            raw.close()

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows a plan took into its hands."""
    own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return int(own) + sum(rows_read(part) for part in plan.get("Plans", ()))


class TestHalting:
    def test_a_process_halts_with_what_it_waits_for_in_one_go(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        asks = asks_noc(due_at=NOW + HOUR)
        log_step(
            connection,
            process_id,
            row("ask", StepStatus.SUSPEND),
            lease=1,
            status=ProcessStatus.SUSPENDED,
            wait=asks,
        )
        process = get_process(connection, process_id)
        assert (process.status, process.last_step, process.assignee) == (ProcessStatus.SUSPENDED, "ask", Assignee.NOC)
        assert waits_of(connection, process_id) == {"ask": asks}

    def test_a_step_that_is_through_waits_for_nothing_and_nobody_is_asked(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, asks_noc())
        log_step(connection, process_id, row("ask"), lease=1, status=ProcessStatus.RUNNING)
        assert waits_of(connection, process_id) == {}
        assert get_process(connection, process_id).assignee is Assignee.SYSTEM

    def test_a_step_that_is_through_leaves_the_waits_of_others_alone(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt_in_branches(connection, process_id, wait("left"), wait("right"))
        log_step(connection, process_id, row("left", branch="parallel[0]"), lease=1, status=ProcessStatus.RUNNING)
        assert waits_of(connection, process_id).keys() == {"right"}

    def test_a_process_that_ends_waits_for_nothing(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        halt_in_branches(connection, process_id, wait("left"), wait("right"))
        log_step(connection, process_id, row("abort", StepStatus.ABORT), lease=1, status=ProcessStatus.ABORTED)
        assert waits_of(connection, process_id) == {}

    def test_a_step_that_halts_in_a_branch_lets_the_process_run(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        failed = wait("left", WaitKind.FAILURE, branch="parallel[0]", reason="no route", assignee=Assignee.NOC)
        error = {"class": "ValueError", "error": "no route"}
        log_step(
            connection,
            process_id,
            row("left", StepStatus.FAILED, branch="parallel[0]", error=error),
            lease=1,
            status=ProcessStatus.RUNNING,
            wait=failed,
        )
        process = get_process(connection, process_id)
        assert (process.status, process.failed_reason) == (ProcessStatus.RUNNING, None)
        assert process.assignee is Assignee.SYSTEM
        assert waits_of(connection, process_id) == {"left": failed}

    def test_a_failed_process_says_why_and_where(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        failed = wait(kind=WaitKind.FAILURE, reason="no \x00 route", traceback="line 1")
        halt(connection, process_id, failed)
        process = get_process(connection, process_id)
        assert (process.failed_reason, process.traceback) == ("no \\x00 route", "line 1")

    @pytest.mark.parametrize("status", [status for status in ProcessStatus if status.failed])
    def test_a_failed_process_says_why_even_where_the_failure_does_not(
        self, connection: Connection, new_process: NewProcess, status: ProcessStatus
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, wait(kind=WaitKind.FAILURE, status=status))
        process = get_process(connection, process_id)
        assert (process.status, process.failed_reason) == (status, "Step Ask failed")

    def test_who_lost_the_process_can_neither_halt_nor_leave_a_wait(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        hand_over(connection, process_id, "another run")
        with pytest.raises(ProcessTakenOverError):
            halt(connection, process_id, wait())
        assert waits_of(connection, process_id) == {}
        assert status_of(connection, process_id) is ProcessStatus.RUNNING

    def test_a_step_that_waits_again_waits_for_the_new_thing_only(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, asks_noc(due_at=NOW))
        make_ready(connection, process_id, "ask", answer={"b": 2}, given={"b": "2"}, user="she", now=NOW)
        again = wait(kind=WaitKind.RETRY, due_at=NOW + HOUR, reason="busy")
        halt(connection, process_id, again)
        assert waits_of(connection, process_id) == {"ask": again}

    def test_a_step_costs_one_statement_and_its_wait_one_more(
        self, connection: Connection, new_process: NewProcess, engine: Engine, count_statements: CountStatements
    ) -> None:
        process_id = new_process()
        with count_statements(engine) as statements:
            log_step(connection, process_id, row("a"), lease=1, status=ProcessStatus.RUNNING)
        assert len(statements) == 1
        with count_statements(engine) as statements:
            halt(connection, process_id, wait())
        assert len(statements) == 2


class TestFlags:
    def test_a_run_that_logs_a_step_learns_what_it_is_to_heed(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()

        def logged(step: str) -> Flags:
            return log_step(connection, process_id, row(step), lease=1, status=ProcessStatus.RUNNING)

        assert logged("a") == flags_of(connection, process_id) == Flags()
        pause_engine(connection, "me", "maintenance")
        assert logged("b") == flags_of(connection, process_id) == Flags(paused=True)
        resume_engine(connection, "me")
        assert request_abort(connection, process_id, "she", "wrong port", NOW)
        assert logged("c") == flags_of(connection, process_id) == Flags(abort_requested=True)

    def test_a_database_without_the_row_of_settings_counts_as_not_paused(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        connection.execute(text("DELETE FROM orchestrator.engine_settings"))
        assert not engine_status(connection).paused
        assert engine_status(connection).running == 1
        assert log_step(connection, process_id, row("a"), lease=1, status=ProcessStatus.RUNNING) == Flags()
        assert flags_of(connection, process_id) == Flags()
        pause_engine(connection, "me", "maintenance")
        assert engine_status(connection).paused

    def test_the_engine_says_who_paused_it_when_and_why(self, connection: Connection, new_process: NewProcess) -> None:
        halt(connection, new_process(), wait())
        new_process()
        pause_engine(connection, "me", "maintenance")
        paused = engine_status(connection)
        assert (paused.paused, paused.by, paused.reason, paused.running) == (True, "me", "maintenance", 1)
        assert paused.at is not None
        with pytest.raises(EnginePausedError, match="maintenance"):
            require_going_engine(connection)
        resume_engine(connection, "she")
        resumed = engine_status(connection)
        assert (resumed.paused, resumed.by, resumed.reason) == (False, "she", None)
        require_going_engine(connection)

    def test_the_first_who_asks_to_abort_counts(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        assert request_abort(connection, process_id, "she", "wrong port", NOW)
        assert not request_abort(connection, process_id, "he", "wrong node", NOW + HOUR)
        process = get_process(connection, process_id)
        assert (process.abort_requested_by, process.abort_reason) == ("she", "wrong port")
        assert process.abort_requested_at == NOW

    def test_a_process_that_has_ended_is_not_aborted(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        log_step(connection, process_id, row("done", StepStatus.COMPLETE), lease=1, status=ProcessStatus.COMPLETED)
        assert not request_abort(connection, process_id, "she", "too late", NOW)


class TestGoingOn:
    def test_an_answer_puts_the_process_in_the_queue(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        halt(connection, process_id, asks_noc())
        assert make_ready(connection, process_id, "ask", answer={"b": 2}, given={"b": "2"}, user="she", now=NOW)
        process = get_process(connection, process_id)
        assert (process.status, process.assignee) == (ProcessStatus.RESUMED, Assignee.SYSTEM)
        answered = waits_of(connection, process_id)["ask"]
        assert (answered.ready_at, answered.answer, answered.given) == (NOW, {"b": 2}, {"b": "2"})
        assert answered.answered_by == "she"

    def test_the_first_answer_counts(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        halt(connection, process_id, wait())
        assert make_ready(connection, process_id, "ask", answer={"b": 1}, user="she", now=NOW)
        assert not make_ready(connection, process_id, "ask", answer={"b": 2}, user="he", now=NOW)
        assert waits_of(connection, process_id)["ask"].answer == {"b": 1}

    def test_of_ten_who_answer_at_once_one_is_heard(
        self, connection: Connection, new_process: NewProcess, engine: Engine
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, wait())
        ready, heard = threading.Barrier(10), list[bool]()

        def answer(number: int) -> None:
            ready.wait()
            with engine.begin() as own:
                heard.append(make_ready(own, process_id, "ask", answer={"b": number}, user=str(number), now=NOW))

        threads = [threading.Thread(target=answer, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard.count(True) == 1
        assert len(heard) == 10

    def test_a_step_that_does_not_wait_cannot_be_answered(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, wait())
        close_wait(connection, process_id, "ask")
        assert not make_ready(connection, process_id, "ask", user="she", now=NOW)
        assert status_of(connection, process_id) is ProcessStatus.SUSPENDED

    def test_a_process_that_a_run_works_on_is_queued_when_that_run_ends(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt_in_branches(connection, process_id, wait(branch="parallel[0]"))
        make_ready(connection, process_id, "ask", user="she", now=NOW)
        assert status_of(connection, process_id) is ProcessStatus.RUNNING
        assert settle(connection, process_id, 1, now=NOW) is ProcessStatus.RESUMED
        assert status_of(connection, process_id) is ProcessStatus.RESUMED

    @pytest.mark.parametrize("kind", WaitKind)
    def test_whatever_has_halted_can_be_put_in_the_queue(
        self, connection: Connection, new_process: NewProcess, kind: WaitKind
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, wait(kind=kind, reason="because"))
        assert queue_process(connection, process_id, NOW)
        assert get_process(connection, process_id).failed_reason is None
        assert not queue_process(connection, process_id, NOW), "it is there already"

    @pytest.mark.parametrize("status", [ProcessStatus.RUNNING, ProcessStatus.COMPLETED, ProcessStatus.ABORTED])
    def test_a_process_that_runs_or_has_ended_is_not_put_in_the_queue(
        self, connection: Connection, new_process: NewProcess, status: ProcessStatus
    ) -> None:
        process_id = new_process()
        log_step(connection, process_id, row("a"), lease=1, status=status)
        assert not queue_process(connection, process_id, NOW)
        assert status_of(connection, process_id) is status


class TestDue:
    def test_a_process_whose_time_has_come_is_queued(self, connection: Connection, new_process: NewProcess) -> None:
        due, later, timeless = new_process(), new_process(), new_process()
        halt(connection, due, wait(kind=WaitKind.TIME, due_at=NOW))
        halt(connection, later, wait(kind=WaitKind.RETRY, due_at=NOW + HOUR))
        halt(connection, timeless, wait())
        assert queue_due(connection, NOW, 10) == [due]
        assert status_of(connection, due) is ProcessStatus.RESUMED
        assert waits_of(connection, due)["ask"].ready_at == NOW
        assert status_of(connection, later) is ProcessStatus.WAITING
        assert queue_due(connection, NOW, 10) == []
        assert queue_due(connection, NOW + HOUR, 10) == [later]

    def test_a_process_that_a_run_works_on_goes_on_running(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt_in_branches(connection, process_id, wait(kind=WaitKind.TIME, due_at=NOW))
        assert queue_due(connection, NOW, 10) == [process_id]
        assert status_of(connection, process_id) is ProcessStatus.RUNNING

    def test_several_steps_of_a_process_that_are_due_queue_it_once(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, wait("a", WaitKind.TIME, due_at=NOW), wait("b", WaitKind.TIME, due_at=NOW))
        halt_in_branches(connection, process_id, wait("c", WaitKind.TIME, due_at=NOW + HOUR))
        assert queue_due(connection, NOW, 10) == [process_id]
        assert [each.step for each in waits_of(connection, process_id).values() if each.ready] == ["a", "b"]

    def test_no_more_than_asked_for_are_queued_and_the_longest_due_come_first(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        processes = [new_process() for _ in range(3)]
        for number, process_id in enumerate(processes):
            halt(connection, process_id, wait(kind=WaitKind.TIME, due_at=NOW - number * HOUR))
        assert queue_due(connection, NOW, 1) == [processes[2]]
        assert set(queue_due(connection, NOW, 10)) == set(processes[:2])

    def test_a_process_that_somebody_else_is_changing_is_left_for_the_next_time(
        self, connection: Connection, new_process: NewProcess, engine: Engine
    ) -> None:
        busy, free = new_process(), new_process()
        for process_id in (busy, free):
            halt(connection, process_id, wait(kind=WaitKind.TIME, due_at=NOW))
        with engine.begin() as other:
            waits_of(other, busy, lock=True)
            assert queue_due(connection, NOW, 10) == [free]
        assert queue_due(connection, NOW, 10) == [busy]


class TestChildren:
    def test_a_child_waits_for_a_run_and_knows_its_parent(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        parent = new_process()
        child = new_process("walk", status=ProcessStatus.CREATED, parent_process_id=parent)
        process = get_process(connection, child)
        assert (process.status, process.parent_process_id, process.run_id) == (
            ProcessStatus.CREATED,
            parent,
            str(child),
        )
        runs = text("SELECT count(*) FROM orchestrator.process_runs WHERE process_id = :id")
        assert connection.scalar(runs, {"id": child}) == 0
        assert connection.scalar(runs, {"id": parent}) == 1

    def test_the_end_of_a_child_lets_its_parent_go_on(self, connection: Connection, new_process: NewProcess) -> None:
        parent, other, child = new_process(), new_process(), new_process()
        halt(connection, parent, wait(kind=WaitKind.PROCESS, waits_for=child))
        halt(connection, other, wait(kind=WaitKind.PROCESS, waits_for=parent))
        assert wake_parent(connection, child, NOW) == [parent]
        assert status_of(connection, parent) is ProcessStatus.RESUMED
        assert status_of(connection, other) is ProcessStatus.WAITING
        assert wake_parent(connection, child, NOW) == []


class TestSettling:
    def test_a_run_that_leaves_branches_waiting_lets_the_process_stand_for_the_most_pressing(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        failed = wait("b", WaitKind.FAILURE, reason="no route", traceback="line 1", assignee=Assignee.NOC)
        halt_in_branches(connection, process_id, wait("a"), failed, wait("c", WaitKind.TIME, due_at=NOW))
        assert settle(connection, process_id, 1, now=NOW) is ProcessStatus.FAILED
        process = get_process(connection, process_id)
        assert (process.failed_reason, process.traceback) == ("no route", "line 1")
        assert (process.status, process.assignee) == (ProcessStatus.FAILED, Assignee.NOC)

    def test_a_process_that_nothing_waits_for_was_left_in_the_middle(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        assert settle(connection, process_id, 1, now=NOW) is ProcessStatus.FAILED
        assert get_process(connection, process_id).failed_reason == (
            "The run ended before the process did; go on with it to finish"
        )

    @pytest.mark.parametrize("ready", [True, False])
    def test_an_interrupted_process_stands_as_failed_whatever_it_waits_for(
        self, connection: Connection, new_process: NewProcess, ready: bool
    ) -> None:
        """A step that kills its worker would do so for ever."""
        process_id = new_process()
        halt_in_branches(connection, process_id, wait())
        if ready:
            make_ready(connection, process_id, "ask", user="she", now=NOW)
        assert settle(connection, process_id, 1, interrupted="The worker died", now=NOW) is ProcessStatus.FAILED
        assert get_process(connection, process_id).failed_reason == "The worker died"
        assert waits_of(connection, process_id)["ask"].ready is ready

    def test_a_run_that_stopped_as_the_engine_is_paused_leaves_its_process_in_the_queue(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt_in_branches(connection, process_id, wait(assignee=Assignee.NOC))
        assert settle(connection, process_id, 1, stopped=True, now=NOW) is ProcessStatus.RESUMED
        assert get_process(connection, process_id).assignee is Assignee.SYSTEM

    def test_a_process_that_is_to_be_aborted_is_left_in_the_queue(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt_in_branches(connection, process_id, wait())
        request_abort(connection, process_id, "she", "wrong port", NOW)
        assert settle(connection, process_id, 1, now=NOW) is ProcessStatus.RESUMED

    def test_a_process_that_stands_somewhere_already_stays_there(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        halt(connection, process_id, wait())
        assert settle(connection, process_id, 1, interrupted="The worker died", now=NOW) is ProcessStatus.SUSPENDED
        assert status_of(connection, process_id) is ProcessStatus.SUSPENDED

    def test_who_lost_the_process_does_not_say_where_it_stands(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        hand_over(connection, process_id, "another run")
        assert settle(connection, process_id, 1, interrupted="The worker died", now=NOW) is ProcessStatus.RUNNING
        assert status_of(connection, process_id) is ProcessStatus.RUNNING


class TestQueue:
    def test_created_and_resumed_processes_are_found_with_all_that_a_run_needs(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        resumed = new_process()
        created = new_process("walk", status=ProcessStatus.CREATED)
        halt(connection, new_process(), wait())
        halt(connection, resumed, wait())
        make_ready(connection, resumed, "ask", user="she", now=NOW)
        assert {each.process_id: each for each in queued_processes(connection, 10)} == {
            resumed: QueuedProcess(resumed, "talk", None, None, None, {"a": 1}),
            created: QueuedProcess(created, "walk", None, None, None, {"a": 1}),
        }
        token = open_resume_token(connection, resumed, "she")
        queued = next(each for each in queued_processes(connection, 10) if each.process_id == resumed)
        assert (queued.token, queued.user, queued.submitted_at) == (token, "she", None)

    def test_only_the_workflows_that_were_asked_for_are_found_and_no_more_than_the_limit(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        first, _, walking = (new_process(name, status=ProcessStatus.CREATED) for name in ("talk", "talk", "walk"))
        assert [each.process_id for each in queued_processes(connection, 1)] == [first]
        assert [each.process_id for each in queued_processes(connection, 9, workflow_names=["walk"])] == [walking]

    def test_those_that_a_run_was_submitted_for_come_after_the_others(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        first, second, third = (new_process(status=ProcessStatus.CREATED) for _ in range(3))
        open_resume_token(connection, third, "she")
        claim_resume_token(connection, second, "she")
        claim_resume_token(connection, first, "she")
        assert [each.process_id for each in queued_processes(connection, 3)] == [third, second, first]

    def test_those_who_ask_at_once_share_a_token_until_it_is_used(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        token = open_resume_token(connection, process_id, "she")
        assert open_resume_token(connection, process_id, "he") == token
        assert use_resume_token(connection, token, "a run")
        assert not use_resume_token(connection, token, "another run")
        assert open_resume_token(connection, process_id, "he") != token

    def test_only_one_submits_a_run_for_a_process_whoever_wanted_it_first(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        token = open_resume_token(connection, process_id, "she")
        assert claim_resume_token(connection, process_id, "he") == ResumeToken(token, "she")
        assert claim_resume_token(connection, process_id, "she") is None
        assert open_resume_token(connection, process_id, "he", submits=True) == token, "who has it run anyway"

    def test_what_was_submitted_before_the_engine_was_resumed_does_not_count(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        token = claim_resume_token(connection, process_id, "she")
        resume_engine(connection, "he")
        assert claim_resume_token(connection, process_id, "she") == token

    def test_ten_who_ask_at_once_get_one_token(
        self, connection: Connection, new_process: NewProcess, engine: Engine
    ) -> None:
        process_id = new_process()
        ready, tokens = threading.Barrier(10), list[UUID]()

        def ask() -> None:
            ready.wait()
            with engine.begin() as own:
                tokens.append(open_resume_token(own, process_id, "me"))

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tokens) == 10
        assert len(set(tokens)) == 1


class TestManyThatWait:
    """Ten thousand that wait are not read to find the few that go on."""

    MANY = 10_000

    @pytest.fixture
    def waiting(self, connection: Connection, new_process: NewProcess) -> None:
        halted = new_process()
        halt(connection, halted, wait(kind=WaitKind.TIME, due_at=NOW + HOUR))
        for copy in (COPY_PROCESS, COPY_INPUT, COPY_WAIT):
            connection.execute(copy, {"process_id": halted, "many": self.MANY})
        for table in ("processes", "process_inputs", "process_waits", "resume_tokens"):
            connection.execute(text(f"VACUUM ANALYZE orchestrator.{table}"))

    @pytest.mark.usefixtures("waiting")
    @pytest.mark.parametrize(
        "ask",
        [
            lambda connection: queue_due(connection, NOW, 100),
            lambda connection: queued_processes(connection, 100),
            lambda connection: find_processes(connection, status=[ProcessStatus.RUNNING]),
            lambda connection: wake_parent(connection, UUID(int=1), NOW),
            lambda connection: engine_status(connection),
        ],
        ids=["due", "queued", "running", "waits for a process", "engine status"],
    )
    def test_they_are_not_read(
        self, connection: Connection, engine: Engine, new_process: NewProcess, ask: Callable[[Connection], Any]
    ) -> None:
        new_process()
        halt(connection, new_process(), wait(kind=WaitKind.TIME, due_at=NOW))
        new_process(status=ProcessStatus.CREATED)
        with explained(engine) as plans:
            ask(connection)
        assert plans
        assert sum(rows_read(plan) for plan in plans) < self.MANY / 100


class TestLog:
    def test_branches_rounds_and_details_come_back_from_the_log(
        self, connection: Connection, new_process: NewProcess
    ) -> None:
        process_id = new_process()
        detail = {"items": ["x", {"b": 1.0}], "key": "saps"}
        for each in (
            row("foreach_saps", detail=detail),
            row("notify.action[1]", branch="foreach_saps[1]", changes={"vlan": 7}),
            row("notify[1]:restart", branch="foreach_saps[1]", detail={"restart": "notify[1]"}),
            row("notify.action[1]", branch="foreach_saps[1]", changes={"vlan": 8}, round=2),
        ):
            log_step(connection, process_id, each, lease=1, status=ProcessStatus.RUNNING)
        memory = recall(connection, process_id)
        assert memory.state_in("foreach_saps[1]") == {"a": 1, "item": {"b": 1.0}, "index": 1, "vlan": 8}
        assert memory.round_of("notify.action[1]") == 2
        assert memory.finished == {"foreach_saps", "notify.action[1]", "notify[1]:restart"}

    def test_a_step_is_finished_once_in_a_round(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        log_step(connection, process_id, row("a"), lease=1, status=ProcessStatus.RUNNING)
        log_step(connection, process_id, row("a", round=2), lease=1, status=ProcessStatus.RUNNING)
        with pytest.raises(IntegrityError, match="finished_once"):
            log_step(connection, process_id, row("a", round=2), lease=1, status=ProcessStatus.RUNNING)

    def test_a_note_is_kept(self, connection: Connection, new_process: NewProcess) -> None:
        process_id = new_process()
        set_note(connection, process_id, "the customer knows")
        assert get_process(connection, process_id).note == "the customer knows"
        with pytest.raises(ProcessNotFoundError):
            set_note(connection, uuid4(), "nobody")
