"""What happens at the same moment, and what a crash leaves behind: every order of things comes to the same end."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
from dagster_home import until
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    Assignee,
    CallbackRefusedError,
    FormPage,
    Orchestrator,
    Process,
    ProcessBusyError,
    Product,
    ProductBlockModel,
    Session,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    Workflow,
    abort,
    begin,
    callback_step,
    create_workflow,
    done,
    init,
    inputstep,
    parallel,
    run_workflow,
    step,
    steplens,
    task,
    validate_workflow,
    wait_for,
    workflow,
)
from orchestrator_dagster.db.processes import get_process, hand_over
from orchestrator_dagster.db.queue import open_resume_token
from orchestrator_dagster.db.waits import waits_of
from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.domain.repository import ambient_repository
from orchestrator_dagster.errors import ProcessTakenOverError
from orchestrator_dagster.jobs import going_on, tags
from orchestrator_dagster.jobs.callbacks import receive_callback
from orchestrator_dagster.jobs.run import hearing_refusals
from orchestrator_dagster.ops.commit_path import CommitPoint, listeners

pytestmark = pytest.mark.usefixtures("orchestrator_database")

_LEASES = """
    FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()
"""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Ticket(FormPage):
    ticket: str


@inputstep("Confirm", Assignee.CHANGES)
def confirm() -> Any:
    answer = yield Ticket
    return answer.model_dump()


class Bench:
    """Workflows that run here, and a second person beside them."""

    def __init__(self, engine: Engine, stack: ExitStack) -> None:
        self.engine = engine
        self.instance = stack.enter_context(dg.DagsterInstance.ephemeral())
        self._stack = stack

    def session(self, *workflows: Workflow, products: Any = ()) -> Session:
        self.orchestrator = Orchestrator(products, workflows=workflows)
        return self._stack.enter_context(self.orchestrator.connect(instance=self.instance))

    def run(self, steps: StepList, **options: Any) -> Process:
        @workflow("Work", **options)
        def work() -> StepList:
            return init >> steps >> done

        return self.session(work).run("work")

    def abort(self, process_id: UUID) -> bool:
        with self.engine.begin() as connection:
            return going_on.abort(connection, self.orchestrator.workflows, process_id, "Not wanted", user="bob")

    def status(self, process_id: UUID) -> str:
        found = text("SELECT last_status FROM orchestrator.processes WHERE process_id = :process_id")
        with self.engine.connect() as connection:
            return str(connection.execute(found, {"process_id": process_id}).scalar_one())

    def waits(self, process_id: UUID) -> dict[str, Any]:
        with self.engine.connect() as connection:
            return waits_of(connection, process_id)

    def cut_off_runs(self) -> None:
        """Let runs lose their connections, as when the network is gone for too long."""
        with self.engine.connect() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid) {_LEASES}"))
            until(lambda: connection.scalar(text(f"SELECT count(*) = 0 {_LEASES}")), "their leases are still there")

    def until_somebody_waits_for_a_lock(self) -> None:
        waiting = text(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )

        def waits() -> bool:
            with self.engine.connect() as connection:
                return bool(connection.scalar(waiting))

        until(waits, "nobody waits for a lock")


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(engine, stack)


@contextmanager
def at(point: CommitPoint, key: str, act: Callable[[UUID], object]) -> Iterator[None]:
    """Do something with the process when one of its steps comes to a point for the first time."""
    left = [act]

    def listen(reached: CommitPoint, reached_key: str) -> None:
        if (reached, reached_key) == (point, key) and left:
            left.pop()(running_process())

    listeners.append(listen)
    try:
        yield
    finally:
        listeners.remove(listen)
    assert not left, f"{key} did not come to {point.value}"


def running_process() -> UUID:
    return current[-1]


current: list[UUID] = []


@step("Note the process")
def note(process_id: UUID) -> None:
    current.append(process_id)


class TestAborts:
    def test_a_step_that_asks_while_an_abort_is_asked_for_leaves_the_process_to_its_run(self, bench: Bench) -> None:
        """A worker that dies then leaves a process that is noticed, not one that waits for an answer for ever."""
        seen: list[str] = []
        with (
            at(CommitPoint.BEFORE_EFFECT, "confirm", bench.abort),
            at(CommitPoint.AFTER_COMMIT, "confirm", lambda process_id: seen.append(bench.status(process_id))),
        ):
            process = bench.run(begin >> note >> confirm)
        assert seen == ["running"]
        assert process.status == "aborted"

    def test_nothing_is_undone_while_the_engine_is_paused(self, bench: Bench) -> None:
        undone: list[str] = []

        @step("Take down")
        def take_down() -> None:
            undone.append("built")

        @step("Build", compensate=take_down)
        def build() -> None:
            pass

        @step("Look")
        def look() -> None:
            pass

        def pause_and_abort(process_id: UUID) -> None:
            wfo.pause_engine("A cable is cut")
            bench.abort(process_id)

        @workflow("Work")
        def work() -> StepList:
            return init >> note >> build >> look >> done

        wfo = bench.session(work)
        with at(CommitPoint.BEFORE_EFFECT, "look", pause_and_abort):
            process = wfo.run("work")
        assert (process.status, undone) == ("resumed", [])
        wfo.resume_engine()
        wfo.go_on()
        assert (process.refresh().status, undone) == ("aborted", ["built"])

    def test_a_run_that_lost_its_process_cannot_have_it_aborted(self, bench: Bench) -> None:
        """Somebody terminates a run that hangs, after another one went on with the process."""

        @step("Hang")
        def hang() -> None:
            pass

        def lose(process_id: UUID) -> None:
            with bench.engine.begin() as connection:
                hand_over(connection, process_id, str(uuid4()))
            run = bench.instance.get_run_by_id(str(process_id))
            assert run is not None
            bench.instance.report_run_canceling(run)

        with at(CommitPoint.BEFORE_EFFECT, "hang", lose), pytest.raises(ProcessTakenOverError):
            bench.run(begin >> note >> hang)
        stands = text("SELECT last_status, abort_requested_by FROM orchestrator.processes")
        with bench.engine.connect() as connection:
            assert connection.execute(stands).one() == ("running", None)

    def test_an_abort_that_fails_after_the_step_that_asks_for_it_has_failed(self, bench: Bench) -> None:
        """The step and the end of the process are logged under the same key."""

        def fail(_: UUID) -> None:
            raise RuntimeError("The subscription cannot be saved")

        with at(CommitPoint.AFTER_COMMIT, "abort", lambda _: failing.enter_context(at_the_end)), ExitStack() as failing:
            at_the_end = at(CommitPoint.BEFORE_EFFECT, "abort", fail)
            process = bench.run(begin >> note >> abort)
        assert (process.status, process.failed_reason) == ("failed", "The subscription cannot be saved")
        assert process.retry().status == "aborted"

    def test_what_a_process_started_is_to_stop_before_anything_is_undone(self, bench: Bench) -> None:
        asked: list[bool] = []

        @step("Take down")
        def take_down() -> None:
            pass

        @step("Build", compensate=take_down)
        def build() -> None:
            pass

        @task("Parent")
        def parent() -> StepList:
            return begin >> note >> build >> run_workflow("ask", {})

        def look(_: UUID) -> None:
            with bench.engine.connect() as connection:
                asked.append(get_process(connection, child.process_id).abort_requested_at is not None)

        wfo = bench.session(ask, parent)
        process = wfo.run("parent")
        (child,) = process.children
        with at(CommitPoint.BEFORE_EFFECT, "build:undo", look):
            process.abort("Not wanted")
        assert asked == [True]
        assert (process.refresh().status, child.refresh().status) == ("aborted", "aborted")

    def test_what_could_not_be_undone_is_tried_again_by_nobody_but_a_person(self, bench: Bench) -> None:
        tried: list[str] = []

        @step("Take down")
        def take_down() -> None:
            tried.append("take down")
            raise RuntimeError("It does not come off")

        @step("Build", compensate=take_down)
        def build() -> None:
            pass

        @workflow("Work")
        def work() -> StepList:
            return init >> build >> wait_for(timedelta(hours=1)) >> done

        wfo = bench.session(work)
        with use_clock(lambda: NOON):
            process = wfo.run("work")
            process.abort("Not wanted")
        with use_clock(lambda: NOON + timedelta(hours=2)):
            wfo.go_on()
        assert (process.refresh().status, tried) == ("failed", ["take down"])
        process.retry()
        assert (process.refresh().status, tried) == ("failed", ["take down"] * 2)

    def test_an_abort_locks_no_child_while_it_waits_for_a_subscription(self, bench: Bench) -> None:
        """A step locks subscriptions first and its process then, so an abort that does it otherwise meets it."""
        wfo = bench.session(create_box, ask, products=[Product("Box", Box, workflows=[create_box])])
        parent = wfo.run("create_box", {"product": "Box"})
        (child,) = parent.children
        lock = text("SELECT 1 FROM orchestrator.subscriptions FOR NO KEY UPDATE")
        lock_child = text("SELECT 1 FROM orchestrator.processes WHERE process_id = :process_id FOR UPDATE NOWAIT")
        with ThreadPoolExecutor(1) as beside:
            with bench.engine.begin() as holder:
                holder.execute(lock)
                aborted = beside.submit(wfo.abort, parent.process_id, "Not wanted")
                bench.until_somebody_waits_for_a_lock()
                holder.execute(lock_child, {"process_id": child.process_id})
            assert aborted.result().status == "aborted"
        wfo.go_on()
        assert child.refresh().status == "aborted"


class BoxBlock(ProductBlockModel, product_block_name="Box"):
    size: int = 0


class Box(SubscriptionModel, is_base=True):
    box: BoxBlock


@step("Construct box")
def construct_box(product: UUID) -> State:
    return {"subscription": Box.from_product_id(product, "acme", status=SubscriptionLifecycle.INITIAL)}


@task("Ask")
def ask() -> StepList:
    return begin >> confirm


@create_workflow("Create box", status_on_abort=SubscriptionLifecycle.TERMINATED)
def create_box() -> StepList:
    return begin >> construct_box >> run_workflow("ask", {})


class TestCallbacks:
    def test_one_that_arrives_while_its_time_runs_out_is_taken_or_refused(self, bench: Bench) -> None:
        """Who was told that it was received can rely on it."""
        routes: list[str] = []

        @step("Call")
        def call(callback_route: str) -> None:
            routes.append(callback_route.rsplit("/", 1)[1])

        @workflow("Work")
        def work() -> StepList:
            return init >> note >> callback_step("Ask", call, timeout=60) >> done

        wfo = bench.session(work)
        with ThreadPoolExecutor(1) as elsewhere, use_clock(lambda: NOON):
            received: list[Future[bool]] = []

            def send(process_id: UUID) -> None:
                received.append(elsewhere.submit(receive_callback, bench.engine, process_id, routes[0], {"fine": 1}))
                bench.until_somebody_waits_for_a_lock()

            process = wfo.run("work")
            with (
                use_clock(lambda: NOON + timedelta(minutes=2)),
                at(CommitPoint.BEFORE_EFFECT, "ask.await_callback", send),
            ):
                wfo.go_on()
        try:
            assert received[0].result()
        except CallbackRefusedError:
            assert process.refresh().status == "failed"
        else:
            assert process.refresh().status == "completed", process.failed_reason
            assert process.state["callback_result"] == {"fine": 1}


class TestInterruptedProcesses:
    def test_one_does_not_go_on_by_itself_when_a_time_comes(self, bench: Bench) -> None:
        """What was under way when its worker died may be half done: somebody has to look first."""

        @step("Build")
        def build() -> None:
            pass

        @workflow("Work")
        def work() -> StepList:
            return init >> parallel(begin >> wait_for(timedelta(hours=1)), begin >> confirm >> build) >> done

        wfo = bench.session(work)
        with use_clock(lambda: NOON):
            process = wfo.run("work")
        with bench.engine.begin() as connection:
            connection.execute(text("UPDATE orchestrator.processes SET last_status = 'running'"))
        with use_clock(lambda: NOON + timedelta(hours=2)):
            wfo.go_on()
            wfo.go_on()
            assert process.refresh().status == "failed"
            process.retry()
        assert process.refresh().status == "suspended"
        assert [row.status for row in process.steps if row.step.startswith("wait")] == ["waiting", "success"]

    def test_a_worker_that_was_thought_dead_does_not_go_on_with_a_value_that_was_replaced(self, bench: Bench) -> None:
        seen: list[int] = []

        @step("Measure")
        def measure() -> State:
            return {"size": 1}

        @step("Build")
        def build(size: int) -> None:
            seen.append(size)

        @workflow("Work")
        def work() -> StepList:
            return init >> note >> measure >> build >> done

        def replace(process_id: UUID) -> None:
            bench.cut_off_runs()
            wfo.replace_value(process_id, "size", 2, "Measured again")

        wfo = bench.session(work)
        with at(CommitPoint.AFTER_COMMIT, "measure", replace), pytest.raises(ProcessTakenOverError):
            wfo.run("work")
        assert wfo.retry(running_process()).status == "completed"
        assert seen == [2]


class TestFamilies:
    def test_a_step_that_failed_over_what_its_child_did_starts_no_other_one(self, bench: Bench) -> None:
        broken = ["lens"]

        def put(state: State) -> Callable[[State], State]:
            def put_into(part: State) -> State:
                if broken and "answer" in part:
                    raise RuntimeError("The lens is broken")
                return {**state, **part}

            return put_into

        @task("Child")
        def child() -> StepList:
            return begin

        @task("Parent")
        def parent() -> StepList:
            return begin >> steplens(dict, put)(begin >> run_workflow("child", {}, result_key="answer"))

        wfo = bench.session(child, parent)
        process = wfo.run("parent")
        assert (process.status, process.failed_reason) == ("failed", "The lens is broken")
        broken.clear()
        process.retry()
        assert process.refresh().status == "completed"
        assert len(process.children) == 1

    def test_a_process_learns_that_the_one_it_started_was_superseded(self, bench: Bench) -> None:
        wfo = bench.session(have_checked, products=[Product("Box", Box, workflows=[make_box, check_box])])
        box_id = wfo.run("make_box", {"product": "Box"}).subscription_id
        wrong.append("size")
        parent = wfo.run("have_checked", {"box_id": str(box_id)})
        (child,) = parent.children
        assert (parent.status, child.status) == ("waiting", "inconsistent_data")
        wrong.clear()
        assert wfo.run("check_box", {"subscription_id": str(box_id)}).status == "completed"
        assert child.refresh().status == "aborted"
        wfo.go_on()
        assert parent.refresh().status == "failed"
        assert "Superseded" in (parent.failed_reason or "")


wrong: list[str] = []


class BoxPage(FormPage):
    box_id: UUID


@step("Check size")
def check_size() -> None:
    assert not wrong


@create_workflow("Make box")
def make_box() -> StepList:
    return begin >> construct_box


@validate_workflow("Check box")
def check_box() -> StepList:
    return begin >> check_size


@task("Have it checked", BoxPage)
def have_checked() -> StepList:
    return begin >> run_workflow("check_box", lambda box_id: {"subscription_id": box_id})


class TestTokens:
    def test_a_run_whose_token_was_used_hears_that_another_one_has_it(self, bench: Bench) -> None:
        process = bench.run(begin >> confirm)
        with bench.engine.begin() as connection:
            going_on.answer(
                connection, bench.orchestrator.workflows, process.process_id, {"ticket": "CHG1"}, user="bob"
            )
            token = open_resume_token(connection, process.process_id, "bob")
        job = bench.orchestrator.job("work", log_level="CRITICAL")
        with hearing_refusals() as refused:
            for _ in range(2):
                job.execute_in_process(
                    instance=bench.instance, tags={tags.RESUME_TOKEN: str(token)}, raise_on_error=False
                )
        (second,) = refused
        assert isinstance(second.refusal, ProcessBusyError)
        assert second.refusal.process_id == process.process_id


class TestTimeLimits:
    @pytest.mark.parametrize("elsewhere", [False, True], ids=["main thread", "another thread"])
    def test_the_limit_of_a_step_is_not_one_for_writing_it_down(self, bench: Bench, elsewhere: bool) -> None:
        limits: list[Any] = []

        @step("Build", timeout=timedelta(seconds=30))
        def build() -> None:
            limits.append(limit())

        def limit(*_: Any) -> Any:
            repository: Any = ambient_repository()
            return repository.connection.scalar(text("SHOW statement_timeout"))

        @workflow("Work")
        def work() -> StepList:
            return init >> note >> build >> done

        wfo = bench.session(work)
        with at(CommitPoint.BEFORE_COMMIT, "build", lambda _: limits.append(limit())):
            if elsewhere:
                thread = threading.Thread(target=wfo.run, args=("work",))
                thread.start()
                thread.join()
            else:
                wfo.run("work")
        assert limits == ["30s", "0"]
