"""A busy run has one connection. Its lease is bound to that, and so is everything that it has under way."""

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
from network_models import Node, NodeInactive
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from orchestrator_dagster import (
    Database,
    Orchestrator,
    Product,
    Session,
    State,
    Step,
    StepList,
    begin,
    create_workflow,
    done,
    init,
    step,
    workflow,
)
from orchestrator_dagster.db.leases import Lease
from orchestrator_dagster.ops import commit_path
from orchestrator_dagster.ops.commit_path import CommitPoint
from orchestrator_dagster.ops.process_run import ProcessRun
from orchestrator_dagster.ops.transaction import StepTransaction

pytestmark = pytest.mark.usefixtures("orchestrator_database")


@pytest.fixture
def watcher(engine: Engine) -> Engine:
    """Connections of somebody else."""
    return create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[CommitPoint, str, Callable[[], Any]], None]:
    """Have something happen once, at a point of a step."""
    listeners: list[Callable[[CommitPoint, str], None]] = []
    monkeypatch.setattr(commit_path, "listeners", listeners)

    def at(point: CommitPoint, key: str, do: Callable[[], Any]) -> None:
        def listen(reached: CommitPoint, step_key: str) -> None:
            if (reached, step_key) == (point, key):
                listeners.remove(listen)
                do()

        listeners.append(listen)

    return at


def connections(watcher: Engine) -> list[int]:
    """The processes of the server that serve our connections to this database."""
    statement = """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    """
    with watcher.connect() as connection:
        return list(connection.scalars(text(statement)))


def end_connections(watcher: Engine) -> None:
    ours = connections(watcher)
    with watcher.connect() as connection:
        for pid in ours:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def marks(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT mark FROM marks ORDER BY mark")))


def mark(transaction: StepTransaction, name: str) -> None:
    mark_on(transaction.connection, name)


def mark_on(connection: Connection, name: str) -> None:
    connection.execute(text("INSERT INTO marks VALUES (:name)"), {"name": name})


@step("One")
def one(transaction: StepTransaction) -> State:
    mark(transaction, "one")
    return {"one": True}


@step("Three")
def three(transaction: StepTransaction) -> State:
    mark(transaction, "three")
    return {"three": True}


@pytest.fixture
def session(engine: Engine) -> Callable[..., Session]:
    """Open a session with a workflow `work`, which leaves marks in a table; the given step is its second."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE marks (mark text)"))

    def session(two: Step) -> Session:
        @workflow("Work")
        def work() -> StepList:
            return begin >> init >> one >> two >> three >> done

        return Orchestrator([], workflows=[work]).connect()  # type: ignore[return-value]

    return session


def test_a_busy_run_has_one_connection(session: Any, engine: Engine, watcher: Engine) -> None:
    seen: list[int] = []

    @step("Two")
    def two(transaction: StepTransaction) -> None:
        mark(transaction, "two")
        seen.extend(connections(watcher))

    with session(two) as wfo:
        engine.dispose()
        process = wfo.run("work")
    assert process.status == "completed", process.traceback
    assert len(seen) == 1


def test_an_idle_process_keeps_one_connection_that_holds_nothing(session: Any, engine: Engine, watcher: Engine) -> None:
    @step("Two")
    def two() -> None: ...

    with session(two) as wfo:
        process = wfo.run("work")
        assert len(connections(watcher)) == 1
        lease = Lease.take(watcher, process.process_id)
        assert lease is not None
        lease.release()
        with watcher.connect() as connection:
            states = "SELECT DISTINCT state FROM pg_stat_activity WHERE application_name = 'orchestrator-dagster'"
            assert connection.scalars(text(states)).all() == ["idle"]


def test_a_step_whose_connection_is_ended_leaves_nothing_but_its_failure(
    session: Any, engine: Engine, watcher: Engine
) -> None:
    endings = [lambda: end_connections(watcher), lambda: None]

    @step("Two")
    def two(transaction: StepTransaction) -> None:
        mark(transaction, "two")
        endings.pop(0)()

    with session(two) as wfo:
        failed = wfo.run("work")
        assert (failed.status, failed.current_step) == ("failed", "two")
        assert marks(engine) == ["one"]
        assert failed.retry().status == "completed", failed.traceback
    assert marks(engine) == ["one", "three", "two"]


def lose_the_next_commit(engine: Engine, watcher: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a commit arrive, and end its connection before anybody hears of that."""
    commit = engine.dialect.do_commit

    def commit_and_lose(driver: Any) -> None:
        monkeypatch.undo()
        commit(driver)
        end_connections(watcher)
        driver.cursor().execute("SELECT 1")

    monkeypatch.setattr(engine.dialect, "do_commit", commit_and_lose)


def test_a_commit_that_arrived_though_its_connection_was_ended_is_kept(
    session: Any, engine: Engine, watcher: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @step("Two")
    def two(transaction: StepTransaction) -> State:
        mark(transaction, "two")
        lose_the_next_commit(engine, watcher, monkeypatch)
        return {"two": True}

    with session(two) as wfo:
        process = wfo.run("work")
    assert process.status == "completed", process.traceback
    assert [row.step for row in process.steps] == ["init", "one", "two", "three", "done"]
    assert marks(engine) == ["one", "three", "two"]


def test_a_run_is_found_by_the_subscription_of_a_commit_that_arrived(
    engine: Engine, watcher: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @step("Construct")
    def construct(product: UUID) -> State:
        lose_the_next_commit(engine, watcher, monkeypatch)
        return {"subscription": NodeInactive.from_product_id(product, "acme")}

    @step("Fail")
    def fail() -> None:
        raise ValueError("before anything else is saved")

    @create_workflow("Make node")
    def make_node() -> StepList:
        return begin >> construct >> fail

    orchestrator = Orchestrator([Product("Node", Node, tag="NODE", workflows=[make_node])])
    with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as wfo:
        process = wfo.run("make_node", {"product": "Node"})
        assert process.current_step == "fail"
        run = instance.get_run_by_id(str(process.process_id))
        assert run is not None
        assert run.tags["orchestrator/subscription_id"] == str(process.subscription_id)


def test_a_run_whose_connection_is_ended_between_two_steps_goes_on(
    session: Any, engine: Engine, watcher: Engine, at: Any
) -> None:
    """A restart of the server costs the step that is under way, and no other."""

    @step("Two")
    def two() -> None: ...

    at(CommitPoint.AFTER_COMMIT, "two", lambda: end_connections(watcher))
    with session(two) as wfo:
        process = wfo.run("work")
        assert process.status == "completed", process.traceback
    assert marks(engine) == ["one", "three"]


def test_a_run_that_lost_its_process_with_its_connection_does_nothing_more(
    session: Any, engine: Engine, watcher: Engine, at: Any
) -> None:
    done_by_two: list[str] = []

    @step("Two")
    def two() -> None:
        done_by_two.append("done")

    def take_over() -> None:
        end_connections(watcher)
        with watcher.connect() as connection:
            connection.execute(text("UPDATE orchestrator.processes SET lease = lease + 1"))

    at(CommitPoint.AFTER_COMMIT, "one", take_over)
    with session(two) as wfo:
        with pytest.raises(ValueError, match="not the active run"):
            wfo.run("work")
        (process,) = wfo.processes()
    assert done_by_two == []
    assert [row.step for row in process.steps] == ["init", "one"]


def suppressing(do: Callable[[], Any]) -> None:
    with suppress(Exception):
        do()


@pytest.mark.parametrize(
    "misuse",
    [
        lambda connection: connection.close(),
        lambda connection: connection.commit(),
        lambda connection: suppressing(connection.commit),
        lambda connection: connection.rollback(),
        lambda connection: connection.invalidate(),
        lambda connection: connection.connection.driver_connection.close(),
    ],
    ids=["close", "commit", "commit unseen", "rollback", "invalidate", "close below"],
)
def test_a_step_that_misuses_its_connection_harms_itself_only(session: Any, engine: Engine, misuse: Any) -> None:
    misuses = [misuse, lambda _: None]

    @step("Two")
    def two(transaction: StepTransaction) -> State:
        mark(transaction, "two")
        misuses.pop(0)(transaction.connection)
        return {"two": True}

    with session(two) as wfo:
        process = wfo.run("work")
        assert (process.status, process.current_step) == ("failed", "two")
        assert marks(engine) == ["one"]
        assert process.retry().status == "completed", process.traceback
    assert marks(engine) == ["one", "three", "two"]


def test_a_step_that_commits_is_told_that_it_cannot(session: Any, engine: Engine) -> None:
    @step("Two")
    def two() -> None:
        with Database().reading() as connection:
            mark_on(connection, "two")
            connection.commit()

    with session(two) as wfo:
        process = wfo.run("work")
    assert (process.status, process.current_step) == ("failed", "two")
    assert "A step cannot commit" in (process.failed_reason or "")
    assert marks(engine) == ["one"]


@pytest.mark.parametrize("failure", [ValueError("no fibre left"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_the_failure_of_a_step_is_not_replaced_by_that_of_its_connection(
    session: Any, engine: Engine, watcher: Engine, failure: BaseException
) -> None:
    @step("Two")
    def two(transaction: StepTransaction) -> None:
        mark(transaction, "two")
        end_connections(watcher)
        raise failure

    with session(two) as wfo:
        with nullcontext() if isinstance(failure, Exception) else pytest.raises(KeyboardInterrupt):
            wfo.run("work")
        (process,) = wfo.processes()
    last = process.steps[-1]
    assert (last.step, last.status, last.error["class"]) == ("two", "failed", type(failure).__name__)
    assert marks(engine) == ["one"]


def make_the_server_unreachable(engine: Engine, monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    """Let that many attempts to connect fail."""
    connect = engine.dialect.connect
    left = [None] * attempts

    def refuse(*arguments: Any, **options: Any) -> Any:
        if left:
            left.pop()
            raise engine.dialect.loaded_dbapi.OperationalError("the database system is starting up")
        return connect(*arguments, **options)

    monkeypatch.setattr(engine.dialect, "connect", refuse)


def test_the_failure_of_a_step_is_on_record_after_a_short_outage(
    session: Any, engine: Engine, watcher: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @step("Two")
    def two() -> None:
        end_connections(watcher)
        make_the_server_unreachable(engine, monkeypatch, attempts=5)
        raise ValueError("no fibre left")

    with session(two) as wfo:
        process = wfo.run("work")
    assert (process.status, process.failed_reason) == ("failed", "no fibre left")


def test_the_interrupt_of_a_run_is_not_replaced_by_the_failure_to_end_it(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @step("Two")
    def two() -> None:
        raise KeyboardInterrupt

    def close(process: ProcessRun) -> None:
        raise ConnectionError("the server is away")

    monkeypatch.setattr(ProcessRun, "close", close)
    with session(two) as wfo, pytest.raises(KeyboardInterrupt):
        wfo.run("work")


def test_an_interrupt_after_the_last_commit_leaves_a_completed_process_that_the_run_calls_so(
    session: Any, at: Any
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    @step("Two")
    def two() -> None: ...

    at(CommitPoint.AFTER_COMMIT, "done", interrupt)
    with session(two) as wfo:
        with pytest.raises(KeyboardInterrupt):
            wfo.run("work")
        (process,) = wfo.processes()
        run = wfo.instance.get_run_by_id(str(process.process_id))
    assert (process.status, run.tags["orchestrator/status"]) == ("completed", "completed")


def test_a_step_that_swallows_an_error_of_the_database_fails_all_the_same(session: Any, engine: Engine) -> None:
    statements = ["SELECT nonsense", "SELECT 1"]

    @step("Two")
    def two(transaction: StepTransaction) -> None:
        mark(transaction, "two")
        with suppress(DBAPIError):
            transaction.connection.execute(text(statements.pop(0)))

    with session(two) as wfo:
        process = wfo.run("work")
        assert (process.status, process.current_step) == ("failed", "two")
        assert marks(engine) == ["one"]
        assert process.retry().status == "completed", process.traceback
    assert marks(engine) == ["one", "three", "two"]


def test_of_several_threads_one_gets_the_lease(engine: Engine) -> None:
    process_id = uuid4()
    taken: list[Lease | None] = []
    ready = threading.Barrier(4)

    def take() -> None:
        ready.wait()
        taken.append(Lease.take(engine, process_id))
        ready.wait()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (lease,) = [lease for lease in taken if lease]
    lease.release()
