"""What those who run the system decide: whether processes run, which may start, who acts, how long a step may take."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from flows import Benches, Outside, asks, flow, rows
from network_models import Node, NodeInactive
from user_project import UserProject

from orchestrator_dagster import (
    Assignee,
    AuthContext,
    EnginePausedError,
    FormPage,
    NotAuthorizedError,
    Orchestrator,
    PredicateContext,
    Product,
    RefusalError,
    RunPredicateFail,
    RunPredicatePass,
    StartPredicateError,
    State,
    Step,
    StepList,
    begin,
    callback_step,
    create_workflow,
    foreach,
    no_uncompleted_instance,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    wait_for,
)
from orchestrator_dagster.testing import (
    Workbench,
    assert_aborted,
    assert_assignee,
    assert_complete,
    assert_failed,
    assert_state,
    assert_suspended,
    assert_waiting,
)

HOUR = timedelta(hours=1)


class Held:
    """A step that runs until it is released, and meanwhile somebody does something."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()

    def step(self) -> Step:
        def held() -> State:
            self.began.set()
            assert self.may_end.wait(60)
            return {"held": True}

        made: Step = step("Held")(held)
        return made

    def meanwhile(self, bench: Workbench, workflow: str, act: Callable[[], Any], **given: Any) -> Any:
        """Run a workflow, act while it is in the step, and return the process afterwards."""
        with ThreadPoolExecutor(1) as another:
            running = another.submit(bench.run, workflow, given)
            try:
                assert self.began.wait(60)
                act()
            finally:
                self.may_end.set()
            return running.result()


class TestPausing:
    def test_nothing_is_started_and_who_tries_is_told_who_paused_and_why(self, benches: Benches) -> None:
        plain = flow(asks("one"))
        with benches.open(plain, user="grace") as bench:
            bench.session.pause_engine("Core switch is replaced")
            with pytest.raises(EnginePausedError) as refused:
                bench.run(plain.name)
            assert (refused.value.by, refused.value.reason) == ("grace", "Core switch is replaced")
            assert "Core switch is replaced" in str(refused.value)
            assert bench.session.processes() == []
            bench.session.resume_engine()
            assert_suspended(bench.run(plain.name))

    def test_nothing_is_answered_or_retried(self, benches: Benches, outside: Outside) -> None:
        asking, failing = flow(asks("one")), flow(outside.step("a"))
        with benches.open(asking, failing) as bench:
            outside.broken.add("a")
            asked, failed = bench.run(asking.name), bench.run(failing.name)
            bench.session.pause_engine("Maintenance")
            for forbidden in (
                lambda: asked.resume({"one": "x"}),
                failed.retry,
                lambda: failed.skip("a", "By hand"),
            ):
                with pytest.raises(EnginePausedError):
                    forbidden()
            bench.session.resume_engine()
            assert_complete(asked.resume({"one": "x"}))

    def test_a_process_that_runs_stops_after_its_step_and_goes_on_after_it(
        self, benches: Benches, outside: Outside
    ) -> None:
        held = Held()
        running = flow(outside.step("a"), held.step(), outside.step("b"))
        with benches.open(running) as bench:
            process = held.meanwhile(bench, running.name, lambda: bench.session.pause_engine("Maintenance"))
            assert not process.status.ended
            assert outside.calls == ["a"]
            assert ("held", "success") in rows(process)
            bench.go_on()
            assert outside.calls == ["a"]
            bench.session.resume_engine()
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["a", "b"]

    def test_in_a_group_it_goes_on_where_it_was(self, benches: Benches, outside: Outside) -> None:
        held = Held()
        group = step_group("Group", begin >> outside.step("a") >> held.step() >> outside.step("b") >> outside.step("c"))
        running = flow(group, outside.step("d"))
        with benches.open(running) as bench:
            process = held.meanwhile(bench, running.name, lambda: bench.session.pause_engine("Maintenance"))
            assert outside.calls == ["a"]
            bench.session.resume_engine()
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["a", "b", "c", "d"]

    def test_in_branches_it_goes_on_where_it_was(self, benches: Benches, outside: Outside) -> None:
        held = Held()
        running = flow(
            parallel(begin >> outside.step("a") >> held.step() >> outside.step("b"), outside.step("c")),
            foreach("sites")(outside.step("d")),
            initial_input_form=Sites,
        )
        with benches.open(running) as bench:
            process = held.meanwhile(
                bench, running.name, lambda: bench.session.pause_engine("Maintenance"), sites=["ams", "utr"]
            )
            assert outside.calls == ["a"]
            bench.session.resume_engine()
            bench.go_on()
            assert_complete(process.refresh())
            assert outside.calls == ["a", "b", "c", "d", "d"]

    def test_in_a_callback_step_it_goes_on_where_it_was(self, benches: Benches, outside: Outside) -> None:
        held = Held()
        running = flow(callback_step("Call", begin >> held.step() >> outside.step("call")), outside.step("after"))
        with benches.open(running) as bench:
            process = held.meanwhile(bench, running.name, lambda: bench.session.pause_engine("Maintenance"))
            assert outside.calls == []
            bench.session.resume_engine()
            bench.go_on()
            assert_complete(bench.callback(process.refresh(), {}))
            assert outside.calls == ["call", "after"]

    def test_what_is_due_waits_until_it_is_over(self, benches: Benches, outside: Outside) -> None:
        timed, ringing = flow(wait_for(HOUR)), flow(outside.step("ring", retrystep))
        with benches.open(timed, ringing) as bench:
            outside.broken.add("ring")
            processes = [bench.run(timed.name), bench.run(ringing.name)]
            outside.broken.clear()
            bench.session.pause_engine("Maintenance")
            bench.clock.jump(2 * HOUR)
            bench.go_on()
            assert outside.calls == ["ring"]
            assert not any(process.refresh().status.ended for process in processes)
            bench.session.resume_engine()
            bench.go_on()
            for process in processes:
                assert_complete(process.refresh())

    def test_its_status_says_who_and_why(self, benches: Benches) -> None:
        with benches.open(user="grace") as bench:
            assert not bench.session.engine_status().paused
            bench.session.pause_engine("Maintenance")
            status = bench.session.engine_status()
            assert (status.paused, status.by, status.reason, status.running) == (True, "grace", "Maintenance", 0)
            bench.session.resume_engine()
            assert not bench.session.engine_status().paused

    def test_there_are_jobs_for_it(self, benches: Benches) -> None:
        plain = flow(asks("one"))
        with benches.open(plain) as bench:
            do(bench, "pause_engine", reason="Maintenance")
            with pytest.raises(EnginePausedError, match="Maintenance"):
                bench.run(plain.name)
            do(bench, "resume_engine")
            assert_suspended(bench.run(plain.name))


class Sites(FormPage):
    sites: list[str]


def do(bench: Workbench, job_name: str, **config: Any) -> None:
    """Launch one of the jobs for what a person does, as Dagit does it."""
    job = bench.session.orchestrator.definitions().resolve_job_def(job_name)
    assert job.execute_in_process(run_config=config, instance=bench.session.instance).success


class TestJobsInDagit:
    def test_retry_process(self, benches: Benches, outside: Outside) -> None:
        failing = flow(outside.step("a"))
        with benches.open(failing) as bench:
            outside.broken.add("a")
            process = bench.run(failing.name)
            outside.broken.clear()
            do(bench, "retry_process", process_id=str(process.process_id))
            bench.go_on()
            assert_complete(process.refresh())

    def test_skip_step(self, benches: Benches, outside: Outside) -> None:
        failing = flow(outside.step("a"))
        with benches.open(failing) as bench:
            outside.broken.add("a")
            process = bench.run(failing.name)
            do(bench, "skip_step", process_id=str(process.process_id), step="a", reason="By hand")
            bench.go_on()
            assert_complete(process.refresh())
            assert rows(process)[-1] == ("a", "skipped")

    def test_abort_process(self, benches: Benches, outside: Outside) -> None:
        waiting = flow(outside.step("a", undone=True), asks("one"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            do(bench, "abort_process", process_id=str(process.process_id), reason="Enough")
            bench.go_on()
            assert_aborted(process.refresh())
            assert outside.calls == ["a", "undo a"]

    def test_replace_value(self, benches: Benches) -> None:
        waiting = flow(asks("one"))
        with benches.open(waiting) as bench:
            process = bench.run(waiting.name)
            do(bench, "replace_value", process_id=str(process.process_id), key="x", value=[1], reason="Forgotten")
            assert_state(process, {"x": [1]})

    @pytest.mark.parametrize("job_name", ["resume_process", "retry_process", "skip_step", "abort_process"])
    def test_a_process_that_does_not_exist_is_refused(self, benches: Benches, job_name: str) -> None:
        with benches.open() as bench:
            job = bench.session.orchestrator.definitions().resolve_job_def(job_name)
            config = {"process_id": "5f0c4d9a-5d43-4b7e-9d27-7a3f7d1a0001", "step": "a", "reason": "x", "input": {}}
            wanted = {
                "resume_process": ("process_id", "step", "input"),
                "retry_process": ("process_id", "step"),
                "skip_step": ("process_id", "step", "reason"),
                "abort_process": ("process_id", "reason"),
            }[job_name]
            ran = job.execute_in_process(
                run_config={key: config[key] for key in wanted}, instance=bench.session.instance, raise_on_error=False
            )
            assert not ran.success
            failures = [str(event.step_failure_data) for event in ran.all_events if event.is_step_failure]
            assert any("5f0c4d9a" in failure for failure in failures)


class TestRunPredicates:
    def test_a_workflow_that_may_not_start_now_says_why_and_leaves_nothing(self, benches: Benches) -> None:
        contexts: list[PredicateContext] = []
        open_now: list[bool] = []

        def in_office_hours(context: PredicateContext) -> RunPredicatePass | RunPredicateFail:
            contexts.append(context)
            return RunPredicatePass() if open_now else RunPredicateFail("It is night")

        guarded = flow(asks("one"), run_predicate=in_office_hours, initial_input_form=Sites)
        with benches.open(guarded) as bench:
            with pytest.raises(StartPredicateError, match="It is night"):
                bench.run(guarded.name, {"sites": "that is no list"})
            assert contexts[0].workflow_key == guarded.name
            assert bench.session.processes() == []
            open_now.append(True)
            assert_suspended(process := bench.run(guarded.name, {"sites": []}))
            asked = len(contexts)
            open_now.clear()
            assert_complete(process.resume({"one": "x"}))
            assert len(contexts) == asked, "it is about starting only"

    def test_dagit_is_refused_as_well(self, benches: Benches) -> None:
        guarded = flow(asks("one"), run_predicate=lambda context: RunPredicateFail("It is night"))
        with benches.open(guarded) as bench:
            job = bench.session.orchestrator.job(guarded.name)
            ran = job.execute_in_process(instance=bench.session.instance, raise_on_error=False)
            assert not ran.success
            assert any(
                "It is night" in str(event.step_failure_data) for event in ran.all_events if event.is_step_failure
            )
            assert bench.session.processes() == []

    def test_a_child_that_may_not_start_fails_the_step(self, benches: Benches) -> None:
        guarded = flow(asks("one"), run_predicate=lambda context: RunPredicateFail("It is night"))
        parent = flow(run_workflow(guarded.name))
        with benches.open(parent, guarded) as bench:
            assert_failed(bench.run(parent.name), "It is night")
            assert bench.session.processes(workflow=guarded.name) == []

    def test_one_at_a_time(self, benches: Benches, outside: Outside) -> None:
        alone = flow(outside.step("a"), run_predicate=no_uncompleted_instance)
        with benches.open(alone) as bench:
            outside.broken.add("a")
            process = bench.run(alone.name)
            with pytest.raises(StartPredicateError):
                bench.run(alone.name)
            process.abort("Enough")
            outside.broken.clear()
            assert_complete(bench.run(alone.name))
            assert_complete(bench.run(alone.name))


class TestAssigneesAndNotes:
    def test_who_is_asked_to_act_is_known_as_long_as_it_is_so(self, benches: Benches) -> None:
        asking = flow(asks("one", assignee=Assignee.CHANGES), asks("two", assignee=Assignee.NOC), wait_for(HOUR))
        with benches.open(asking) as bench:
            process = bench.run(asking.name)
            assert_assignee(process, Assignee.CHANGES)
            assert_assignee(process.resume({"one": "x"}), Assignee.NOC)
            assert_assignee(process.resume({"two": "x"}), Assignee.SYSTEM)

    def test_a_task_that_finds_data_to_be_inconsistent_is_for_the_noc(self, benches: Benches) -> None:
        @step("Compare")
        def compare() -> None:
            assert 1 + 1 == 3, "that does not add up"

        checking = flow(compare, is_task=True)
        with benches.open(checking) as bench:
            process = bench.run(checking.name)
            assert process.status == "inconsistent_data"
            assert_assignee(process, Assignee.NOC)

    def test_a_note_is_written_changed_and_removed(self, benches: Benches) -> None:
        asking = flow(asks("one"))
        with benches.open(asking) as bench:
            process = bench.run(asking.name)
            assert process.note is None
            assert process.set_note("Ask Grace before you answer").note == "Ask Grace before you answer"
            assert bench.process(process.process_id).note == "Ask Grace before you answer"
            assert not process.set_note(None).note
            assert_complete(process.resume({"one": "x"}))
            assert process.set_note("Also of what has ended").note == "Also of what has ended"


def sleeping() -> None:
    time.sleep(60)


def busy() -> None:
    while True:
        pass


class TestTimeouts:
    @pytest.mark.parametrize(
        ("work", "within"), [(sleeping, "main thread"), (busy, "main thread"), (busy, "other thread")]
    )
    def test_a_step_that_takes_too_long_fails_and_what_it_did_is_rolled_back(
        self, benches: Benches, work: Callable[[], None], within: str
    ) -> None:
        @step("Construct", timeout=0.4)
        def construct(product: str) -> State:
            node = NodeInactive.from_product_id(product, "acme")
            node.node.node_name = "never"
            node.save()
            work()
            return {"subscription": node}

        @create_workflow("Make node")
        def make() -> StepList:
            return begin >> construct

        product = Product("Node", Node, tag="NODE", workflows=[make])
        with Workbench(Orchestrator([product]), database=benches.database, user="ada") as bench:
            began = time.monotonic()
            if within == "main thread":
                process = bench.run("make", {"product": "Node"})
            else:
                with ThreadPoolExecutor(1) as another:
                    process = another.submit(bench.run, "make", {"product": "Node"}).result()
            assert time.monotonic() - began < 30
            assert_failed(process, step="construct")
            assert "0.4" in str(process.failed_reason) or "timeout" in str(process.failed_reason).lower()
            assert bench.session.subscriptions() == []

    def test_a_step_that_catches_every_error_is_stopped_too(self, benches: Benches, outside: Outside) -> None:
        @step("Insist", timeout=0.3)
        def insist() -> State:
            for _ in range(3):
                try:
                    time.sleep(2)
                    outside.call("slept well")
                except Exception as error:
                    outside.call(type(error).__name__)
            return {"insisted": True}

        timed = flow(insist, outside.step("after"))
        with benches.open(timed) as bench:
            process = bench.run(timed.name)
            assert_failed(process, step="insist")
            assert "insisted" not in process.state
            assert "slept well" not in outside.calls

    def test_a_step_that_is_done_in_time_is_left_alone(self, benches: Benches, outside: Outside) -> None:
        @step("Quick", timeout=timedelta(seconds=30))
        def quick() -> State:
            return {"quick": True}

        timed = flow(quick, outside.step("after", timeout=30))
        with benches.open(timed) as bench:
            assert_complete(bench.run(timed.name))

    def test_an_attempt_that_takes_too_long_is_followed_by_another(self, benches: Benches, outside: Outside) -> None:
        @retrystep("Reach", timeout=0.3, retry_every=HOUR)
        def reach() -> None:
            outside.call("reach")
            if len(outside.calls) == 1:
                time.sleep(60)

        timed = flow(reach)
        with benches.open(timed) as bench:
            process = bench.run(timed.name)
            assert_waiting(process, "reach")
            bench.clock.jump(HOUR)
            bench.go_on()
            assert_complete(process.refresh())

    def test_a_step_that_takes_too_long_can_be_retried_with_the_same_key(
        self, benches: Benches, outside: Outside
    ) -> None:
        @step("Reach", timeout=0.3)
        def reach(idempotency_key: str) -> None:
            outside.call("reach", idempotency_key)
            if len(outside.calls) == 1:
                time.sleep(60)

        timed = flow(reach)
        with benches.open(timed) as bench:
            process = bench.run(timed.name)
            assert_failed(process, step="reach")
            assert_complete(process.retry())
            assert len(set(outside.keys["reach"])) == 1


class TestRights:
    def test_who_may_not_start_a_workflow_is_refused(self, benches: Benches) -> None:
        def only_grace(context: AuthContext) -> bool:
            return context.user == "grace"

        guarded = flow(asks("one"), authorize_callback=only_grace)
        with benches.open(guarded, user="ada") as bench:
            with pytest.raises(NotAuthorizedError) as refused:
                bench.run(guarded.name)
            assert isinstance(refused.value, RefusalError)
            assert bench.session.processes() == []
            with bench.session.orchestrator.connect(user="grace", instance=bench.session.instance) as graces:
                assert_suspended(graces.run(guarded.name))


class TestWhoDidWhat:
    def test_each_row_of_the_log_says_who_had_it_done(self, benches: Benches, outside: Outside) -> None:
        told = flow(asks("one"), outside.step("a"), outside.step("b"))
        with benches.open(told, user="ada") as bench:

            def of(user: str) -> Any:
                return bench.session.orchestrator.connect(user=user, instance=bench.session.instance)

            outside.broken.update({"a", "b"})
            process = bench.run(told.name)
            with of("bob") as bobs:
                bobs.resume(process.process_id, {"one": "x"})
            outside.broken.discard("a")
            with of("cid") as cids:
                cids.retry(process.process_id)
            with of("dan") as dans:
                dans.skip(process.process_id, "b", "By hand")
            told_rows = [(row.step, str(row.status), row.created_by) for row in process.refresh().steps]
            assert told_rows == [
                ("init", "success", "ada"),
                ("ask_one", "suspend", "ada"),
                ("ask_one", "success", "bob"),
                ("a", "failed", "bob"),
                ("a", "success", "cid"),
                ("b", "failed", "cid"),
                ("b", "skipped", "dan"),
                ("done", "complete", "dan"),
            ]
            assert process.created_by == "ada"


PROJECT = """
from orchestrator_dagster import Orchestrator, begin, done, init, workflow


@workflow("Plain")
def plain():
    return begin >> init >> done


orchestrator = Orchestrator([], workflows=[plain])
"""


def test_the_command_line_pauses_and_says_so(project: UserProject) -> None:
    project.write(PROJECT)
    with project.connected() as (_, wfo):
        said = project.command("engine", "pause", "--reason", "Maintenance", "--user", "grace", "-m", "network")
        assert said.status == 0, said.output
        with pytest.raises(EnginePausedError, match="Maintenance"):
            wfo.run("plain")
        status = project.command("engine", "status", "-m", "network")
        assert "grace" in status.output
        assert "Maintenance" in status.output
        assert project.command("engine", "resume", "-m", "network").status == 0
        assert_complete(wfo.run("plain"))


def test_the_jobs_for_people_are_among_those_that_dagster_loads() -> None:
    names = {job.name for job in Orchestrator([]).definitions().get_repository_def().get_all_jobs()}
    assert names >= {"resume_process", "retry_process", "skip_step", "abort_process"}
    assert isinstance(Orchestrator([]).definitions(), dg.Definitions)
