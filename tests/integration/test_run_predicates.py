"""Whether a workflow may start at all: its run predicate, who may start it, and whether the engine is paused."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import Engine

from orchestrator_dagster import (
    AuthContext,
    DefinitionError,
    EnginePausedError,
    FormPage,
    InputError,
    NotAuthorizedError,
    Orchestrator,
    PredicateContext,
    ProcessStatus,
    RunPredicateFail,
    RunPredicatePass,
    Session,
    StartPredicateError,
    StepList,
    awaiting_callbacks_exist,
    begin,
    create_workflow,
    modify_workflow,
    no_uncompleted_instance,
    reconcile_workflow,
    step,
    task,
    terminate_workflow,
    validate_workflow,
    workflow,
)
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.engine_settings import pause_engine, resume_engine
from orchestrator_dagster.db.run_predicates import count_processes
from orchestrator_dagster.jobs.run import RefusedRun
from orchestrator_dagster.jobs.start import Start, start_process

broken = threading.Event()
allowed_users: set[str] = set()
verdict: list[Any] = []
asked: list[Any] = []


class Page(FormPage):
    number: int


@step("Work")
def work() -> None:
    if broken.is_set():
        raise RuntimeError("broken")


def as_decided(context: PredicateContext) -> Any:
    asked.append(context)
    return verdict[0]


def may_start(context: AuthContext) -> bool:
    asked.append(context)
    return context.user in allowed_users


async def may_start_later(context: AuthContext) -> bool:
    return may_start(context)


meeting = threading.Barrier(2)


def none_while_others_look(context: PredicateContext) -> RunPredicatePass | RunPredicateFail:
    """Count, and then wait for a moment for another one that has counted too."""
    found = no_uncompleted_instance(context)
    with suppress(threading.BrokenBarrierError):
        meeting.wait(timeout=0.5)
    return found


@task("Alone", run_predicate=no_uncompleted_instance)
def alone() -> StepList:
    return begin >> work


@task("Alone among two", run_predicate=none_while_others_look)
def alone_among_two() -> StepList:
    return begin >> work


@task("Chase callbacks", run_predicate=awaiting_callbacks_exist)
def chase_callbacks() -> StepList:
    return begin >> work


@task("Decided", Page, run_predicate=as_decided)
def decided() -> StepList:
    return begin >> work


@task("Guarded", authorize_callback=may_start)
def guarded() -> StepList:
    return begin >> work


@task("Guarded by something slow", authorize_callback=may_start_later)
def guarded_later() -> StepList:
    return begin >> work


WORKFLOWS = [alone, alone_among_two, chase_callbacks, decided, guarded, guarded_later]
ORCHESTRATOR = Orchestrator([], workflows=WORKFLOWS)


@pytest.fixture
def wfo(orchestrator_database: str) -> Iterator[Session]:
    broken.clear()
    allowed_users.clear()
    verdict[:] = [RunPredicatePass()]
    asked.clear()
    with dg.DagsterInstance.ephemeral() as instance, ORCHESTRATOR.connect(instance=instance, user="ada") as session:
        yield session


@pytest.fixture
def engine(orchestrator_database: str) -> Engine:
    return engine_for(orchestrator_database)


def run_in_dagit(instance: dg.DagsterInstance, name: str, config: dict[str, Any] | None = None) -> None:
    """Have a job run by Dagster, as Dagit, a schedule or a sensor does it."""
    ORCHESTRATOR.job(name).execute_in_process(config or {}, instance=instance, run_id=str(uuid4()))


class TestPredicates:
    def test_a_workflow_that_runs_alone_starts_when_nothing_of_it_is_unfinished(self, wfo: Session) -> None:
        assert wfo.run("alone").status == "completed"
        assert wfo.run("alone").status == "completed"

    def test_a_failed_process_keeps_it_from_starting(self, wfo: Session) -> None:
        broken.set()
        failed = wfo.run("alone")
        broken.clear()
        with pytest.raises(StartPredicateError) as refused:
            wfo.run("alone")
        assert refused.value.failure == "alone has a process that is not finished"
        assert (refused.value.workflow, refused.value.subscription_id) == ("alone", None)
        assert len(wfo.processes()) == 1
        wfo.retry(failed.process_id)
        assert wfo.run("alone").status == "completed"

    def test_another_workflow_is_in_nobodys_way(self, wfo: Session) -> None:
        broken.set()
        wfo.run("decided", {"number": 1})
        broken.clear()
        assert wfo.run("alone").status == "completed"

    def test_a_task_that_looks_after_callbacks_starts_only_while_there_are_some(self, wfo: Session) -> None:
        with pytest.raises(StartPredicateError, match="no process waits for a callback"):
            wfo.run("chase_callbacks")

    def test_of_two_that_start_at_once_one_passes(self, wfo: Session, engine: Engine) -> None:
        def start(_: int) -> str:
            process_id = uuid4()
            starting = Start(alone_among_two, process_id, str(process_id), "ada", {})
            with engine.connect() as connection:
                try:
                    start_process(connection, starting)
                except StartPredicateError as refused:
                    return refused.failure
            return "started"

        with ThreadPoolExecutor(2) as threads:
            outcomes = sorted(threads.map(start, range(2)))
        assert outcomes == ["alone_among_two has a process that is not finished", "started"]

    def test_it_is_asked_before_the_form(self, wfo: Session) -> None:
        verdict[:] = [RunPredicateFail("not today")]
        with pytest.raises(StartPredicateError, match="decided cannot be started: not today"):
            wfo.run("decided", {"number": "nonsense"})
        verdict[:] = [RunPredicatePass()]
        with pytest.raises(InputError):
            wfo.run("decided", {"number": "nonsense"})

    def test_it_knows_its_workflow_and_counts_processes(self, wfo: Session) -> None:
        wfo.run("decided", {"number": 1})
        (context,) = asked
        assert (context.workflow, context.workflow_key) == (decided, "decided")

    def test_it_counts_by_status_and_workflow(self, wfo: Session, engine: Engine) -> None:
        wfo.run("decided", {"number": 1})
        wfo.run("alone")
        completed = [ProcessStatus.COMPLETED]
        with engine.connect() as connection:
            assert count_processes(connection, completed) == 2
            assert count_processes(connection, completed, workflow="alone") == 1
            assert count_processes(connection, [ProcessStatus.FAILED, ProcessStatus.RUNNING]) == 0
            assert count_processes(connection, [], workflow="alone") == 0

    def test_it_must_say_something(self, wfo: Session) -> None:
        verdict[:] = [True]
        with pytest.raises(DefinitionError, match="The run predicate of decided returned True"):
            wfo.launch("decided", {"number": 1})

    def test_nothing_is_launched_that_it_refuses(self, wfo: Session) -> None:
        verdict[:] = [RunPredicateFail("not today")]
        with pytest.raises(StartPredicateError, match="not today"):
            wfo.launch("decided", {"number": 1})
        assert wfo.instance.get_runs() == []

    def test_a_run_that_it_refuses_fails_with_the_reason_and_leaves_no_process(self, wfo: Session) -> None:
        verdict[:] = [RunPredicateFail("not today")]
        with pytest.raises(RefusedRun, match="not today"):
            run_in_dagit(wfo.instance, "decided", {"number": 1})
        assert wfo.processes() == []

    @pytest.mark.parametrize(
        "decorator",
        [
            workflow,
            task,
            create_workflow,
            modify_workflow,
            terminate_workflow,
            validate_workflow,
            reconcile_workflow,
        ],
    )
    def test_every_decorator_takes_one(self, decorator: Any) -> None:
        def named() -> StepList:
            return begin >> work

        assert decorator("Described", run_predicate=no_uncompleted_instance)(named).run_predicate is (
            no_uncompleted_instance
        )


class TestAuthorisation:
    @pytest.mark.parametrize("name", ["guarded", "guarded_later"])
    def test_who_may_not_start_a_workflow_is_refused_everywhere(self, wfo: Session, name: str) -> None:
        with pytest.raises(NotAuthorizedError, match=f"ada is not authorized to start {name}") as refused:
            wfo.run(name)
        assert (refused.value.user, refused.value.action, refused.value.workflow) == ("ada", "start_workflow", name)
        runs = len(wfo.instance.get_runs())
        with pytest.raises(NotAuthorizedError):
            wfo.launch(name)
        assert len(wfo.instance.get_runs()) == runs
        with pytest.raises(RefusedRun, match="SYSTEM is not authorized"):
            run_in_dagit(wfo.instance, name)
        assert wfo.processes() == []

    @pytest.mark.parametrize("name", ["guarded", "guarded_later"])
    def test_who_may_start_it_does(self, wfo: Session, name: str) -> None:
        allowed_users.add("ada")
        assert wfo.run(name).status == "completed"
        assert {(context.user, context.action, context.workflow.name, context.step) for context in asked} == {
            ("ada", "start_workflow", name, None)
        }


class TestAPausedEngine:
    def test_starts_nothing(self, wfo: Session, engine: Engine) -> None:
        with engine.begin() as connection:
            pause_engine(connection, "grace", "cable cut")
        with pytest.raises(EnginePausedError, match="The engine is paused by grace: cable cut") as refused:
            wfo.run("alone")
        assert (refused.value.by, refused.value.reason) == ("grace", "cable cut")
        with pytest.raises(EnginePausedError):
            wfo.launch("alone")
        with pytest.raises(RefusedRun, match="cable cut"):
            run_in_dagit(wfo.instance, "alone")
        assert wfo.processes() == []
        with engine.begin() as connection:
            resume_engine(connection, "grace")
        assert wfo.run("alone").status == "completed"
