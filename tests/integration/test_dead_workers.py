"""Processes whose worker died, and runs that end before their process does."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from orchestrator_dagster import Orchestrator, State, StepList, Workflow, begin, conditional, done, init, step, workflow
from orchestrator_dagster.db import leases
from orchestrator_dagster.db.leases import Lease, keep_runs_out
from orchestrator_dagster.db.processes import lock_process
from orchestrator_dagster.jobs.left_behind import settle_all
from orchestrator_dagster.jobs.session import Session


def a_workflow(*names: str, failing: str | None = None) -> Workflow:
    """A workflow `work` of steps of these names, of which one fails."""

    def a_step(name: str) -> StepList:
        def work() -> State:
            if name == failing:
                raise RuntimeError("no route")
            return {name: True}

        work.__name__ = name
        return StepList([step(f"Step {name}")(work)])

    @workflow("Work")
    def work() -> StepList:
        steps = begin >> init
        for name in names:
            steps = steps >> a_step(name)
        return steps >> done

    return work


def session(of: Workflow) -> Session:
    return Orchestrator([], workflows=[of]).connect()  # type: ignore[return-value]


def pretend_that_the_worker_died(engine: Engine, process_id: UUID) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE orchestrator.processes SET last_status = 'running', failed_reason = NULL WHERE process_id = :id"
            ),
            {"id": process_id},
        )


@pytest.mark.usefixtures("orchestrator_database")
class TestLeases:
    def test_a_lease_is_one_runs_alone_and_gone_with_its_connection(self, engine: Engine) -> None:
        process_id = uuid4()
        lease = Lease.take(engine, process_id)
        assert lease is not None
        assert Lease.take(engine, process_id) is None
        with engine.begin() as connection:
            assert not keep_runs_out(connection, process_id)
        lease.release()
        lease.release()
        again = Lease.take(engine, process_id)
        assert again is not None
        again.release()

    def test_a_process_left_behind_stands_as_failed_and_goes_on(self, engine: Engine) -> None:
        with session(a_workflow("one", "two", failing="two")) as wfo:
            failed = wfo.run("work")
            pretend_that_the_worker_died(engine, failed.process_id)
            assert [process.process_id for process in settle_all(engine)] == [failed.process_id]
            assert "died" in (failed.refresh().failed_reason or "")
            assert list(settle_all(engine)) == []
        with session(a_workflow("one", "two")) as wfo:
            assert wfo.retry(failed.process_id).status == "completed"

    def test_a_process_that_somebody_works_on_is_left_alone(self, engine: Engine) -> None:
        with session(a_workflow("one", failing="one")) as wfo:
            failed = wfo.run("work")
            pretend_that_the_worker_died(engine, failed.process_id)
            lease = Lease.take(engine, failed.process_id)
            assert lease is not None
            assert list(settle_all(engine)) == []
            lease.release()

    def test_nobody_who_changes_the_process_is_waited_for(self, engine: Engine) -> None:
        with session(a_workflow("one", failing="one")) as wfo:
            failed = wfo.run("work")
        pretend_that_the_worker_died(engine, failed.process_id)
        with engine.begin() as connection:
            lock_process(connection, failed.process_id)
            assert list(settle_all(engine)) == []
        assert len(list(settle_all(engine))) == 1

    def test_a_run_that_comes_while_somebody_looks_who_is_alive_goes_on(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with session(a_workflow("one", failing="one")) as wfo:
            failed = wfo.run("work")
        try_once = leases._lock
        with engine.connect() as looking:
            assert keep_runs_out(looking, failed.process_id)

            def try_and_let_look_end(engine: Engine, process_id: UUID) -> Connection | None:
                found = try_once(engine, process_id)
                looking.rollback()
                return found

            monkeypatch.setattr(leases, "_lock", try_and_let_look_end)
            with session(a_workflow("one")) as wfo:
                assert wfo.retry(failed.process_id).status == "completed"


@pytest.mark.usefixtures("orchestrator_database")
class TestEditedWorkflows:
    def test_a_step_that_was_added_runs_when_the_process_goes_on(self) -> None:
        with session(a_workflow("one", "two", failing="two")) as wfo:
            failed = wfo.run("work")
        with session(a_workflow("zero", "one", "two")) as wfo:
            retried = wfo.retry(failed.process_id)
        assert retried.status == "completed"
        assert [row.step for row in retried.steps if row.status == "success"] == ["init", "one", "zero", "two"]

    def test_a_repeated_step_that_was_removed_keeps_the_process_from_going_on(self) -> None:
        with session(a_workflow("one", "one", "two", failing="two")) as wfo:
            failed = wfo.run("work")
        with session(a_workflow("one", "two")) as wfo, pytest.raises(ValueError, match="step one occurs 1 times"):
            wfo.retry(failed.process_id)

    def test_conditionals_that_changed_after_they_were_decided_keep_the_process_from_going_on(self) -> None:
        @step("Inner")
        def inner() -> State:
            raise RuntimeError("no route")

        once = conditional(lambda _: True)
        never = conditional(lambda _: False)

        @workflow("Work")
        def work() -> StepList:
            return begin >> init >> once(begin >> inner) >> done

        before = work

        @workflow("Work")
        def work() -> StepList:
            return begin >> init >> never(begin >> once(begin >> inner)) >> done

        with session(before) as wfo:
            failed = wfo.run("work")
        with session(work) as wfo, pytest.raises(ValueError, match="conditionals around step inner have changed"):
            wfo.retry(failed.process_id)
        assert failed.refresh().status == "failed"
