"""What becomes of a process that somebody ends, or that fails where its workflow says that it is to be undone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flows import Benches, Outside, asks, called, flow, rows
from network_models import Node, NodeInactive

from orchestrator_dagster import (
    AuthContext,
    DefinitionError,
    FormPage,
    NotAuthorizedError,
    Orchestrator,
    Process,
    ProcessStateError,
    Product,
    State,
    StepList,
    SubscriptionLifecycle,
    Workflow,
    abort,
    begin,
    callback_step,
    conditional,
    create_workflow,
    finally_,
    foreach,
    modify_workflow,
    parallel,
    retrystep,
    step,
    step_group,
    wait_for,
)
from orchestrator_dagster.testing import (
    Workbench,
    assert_aborted,
    assert_awaiting_callback,
    assert_complete,
    assert_failed,
    assert_state,
    assert_suspended,
    assert_waiting,
)

HOUR = timedelta(hours=1)


class TestUndoing:
    def test_finished_steps_are_undone_in_reverse_and_others_are_not(self, benches: Benches, outside: Outside) -> None:
        undone = flow(
            outside.step("a", undone=True),
            outside.step("plain"),
            conditional(lambda state: False)(outside.step("skipped", undone=True)),
            step_group("Group", begin >> outside.step("b", undone=True) >> outside.step("c", undone=True)),
            outside.step("d", undone=True),
            outside.step("e", undone=True),
        )
        with benches.open(undone) as bench:
            outside.broken.add("d")
            process = bench.run(undone.name)
            assert_failed(process, step="d")
            assert_aborted(process.abort("Not wanted any more"))
            assert outside.calls == ["a", "plain", "b", "c", "d", "undo c", "undo b", "undo a"]
            assert rows(process)[-4:] == [
                ("group.c:undo", "success"),
                ("group.b:undo", "success"),
                ("a:undo", "success"),
                ("abort", "abort"),
            ]

    def test_an_undo_function_has_what_the_step_found(self, benches: Benches) -> None:
        released: list[str] = []

        def release(address: str) -> State:
            released.append(address)
            return {"address": None}

        @step("Reserve", compensate=release)
        def reserve() -> State:
            return {"address": "10.0.0.1"}

        undone = flow(reserve, asks("one"))
        with benches.open(undone) as bench:
            process = bench.run(undone.name).abort("Enough")
            assert_aborted(process)
            assert released == ["10.0.0.1"]
            assert_state(process, {"address": None})

    def test_branches_are_undone_with_their_own_items(self, benches: Benches) -> None:
        left: list[str] = []

        def leave(item: str, desk: str) -> None:
            left.append(f"{item}:{desk}")

        @step("Enter", compensate=leave)
        def enter(item: str, index: int) -> State:
            return {"desk": f"desk {index}"}

        class Sites(FormPage):
            sites: list[str]

        undone = flow(foreach("sites")(begin >> enter >> asks("one")), initial_input_form=Sites)
        with benches.open(undone) as bench:
            process = bench.run(undone.name, {"sites": ["ams", "utr"]})
            assert_aborted(process.abort("Enough"))
            assert left == ["utr:desk 1", "ams:desk 0"]

    def test_items_are_undone_after_their_join_too(self, benches: Benches) -> None:
        left: list[str] = []

        def leave(item: str, desk: str) -> None:
            left.append(f"{item}:{desk}")

        @step("Enter", compensate=leave)
        def enter(item: str, index: int) -> State:
            return {"desk": f"desk {index}"}

        class Sites(FormPage):
            sites: list[str]

        undone = flow(foreach("sites")(enter), asks("one"), initial_input_form=Sites)
        with benches.open(undone) as bench:
            assert_aborted(bench.run(undone.name, {"sites": ["ams", "utr"]}).abort("Enough"))
            assert left == ["utr:desk 1", "ams:desk 0"]

    def test_branches_of_a_parallel_are_undone(self, benches: Benches, outside: Outside) -> None:
        undone = flow(
            outside.step("first", undone=True),
            parallel(
                begin >> outside.step("a", undone=True) >> asks("one"),
                begin >> outside.step("b", undone=True) >> outside.step("c", undone=True),
            ),
        )
        with benches.open(undone) as bench:
            assert_aborted(bench.run(undone.name).abort("Enough"))
            assert outside.calls[4:] == ["undo c", "undo b", "undo a", "undo first"]

    def test_an_undo_that_fails_stands_as_failed_and_a_retry_goes_on_with_it(
        self, benches: Benches, outside: Outside
    ) -> None:
        undone = flow(*(outside.step(name, undone=True) for name in "abc"), asks("one"))
        with benches.open(undone) as bench:
            outside.broken.add("undo b")
            process = bench.run(undone.name).abort("Enough")
            assert_failed(process, "undo b does not answer", step="b:undo")
            assert_failed(process.retry(), step="b:undo")
            outside.broken.clear()
            assert_aborted(process.retry())
            assert outside.calls[3:] == ["undo c", "undo b", "undo b", "undo b", "undo a"]
            assert len(set(outside.keys["undo b"])) == 1, "an attempt of the same undo"
            assert not set(outside.keys["undo b"]) & set(outside.keys["b"])
            (row,) = [row for row in process.steps if row.step == "abort"]
            assert row.created_by == "ada"

    def test_an_undo_that_fails_can_be_skipped(self, benches: Benches, outside: Outside) -> None:
        undone = flow(*(outside.step(name, undone=True) for name in "ab"), asks("one"))
        with benches.open(undone) as bench:
            outside.broken.add("undo b")
            process = bench.run(undone.name).abort("Enough")
            assert_aborted(process.skip("b:undo", "It was taken down by hand"))
            assert outside.calls[2:] == ["undo b", "undo a"]

    def test_an_undo_that_fails_leaves_nothing_in_the_database(self, network: "Network") -> None:
        with network.open() as bench:
            process = bench.run("make_and_undo", {"product": "Node"})
            assert_suspended(process)
            network.outside.broken.add("undo rename")
            assert_failed(process.abort("Enough"), step="rename:undo")
            node = NodeInactive.from_subscription(process.subscription_id)
            assert node.node.node_name == "renamed"
            network.outside.broken.clear()
            assert_aborted(process.retry())
            assert NodeInactive.from_subscription(process.subscription_id).node.node_name == "first"
            versions = bench.session.history(process.subscription_id)
            assert any(version.step == "rename:undo" for version in versions)

    def test_a_failure_undoes_nothing_where_the_workflow_does_not_say_so(
        self, benches: Benches, outside: Outside
    ) -> None:
        undone = flow(outside.step("a", undone=True), outside.step("b"))
        with benches.open(undone) as bench:
            outside.broken.add("b")
            assert_failed(bench.run(undone.name))
            assert outside.calls == ["a", "b"]

    def test_a_failure_undoes_all_where_the_workflow_says_so(self, benches: Benches, outside: Outside) -> None:
        undone = flow(
            outside.step("a", undone=True), outside.step("b", undone=True), outside.step("c"), undo_on_failure=True
        )
        with benches.open(undone) as bench:
            outside.broken.add("c")
            process = bench.run(undone.name)
            assert_aborted(process)
            assert outside.calls == ["a", "b", "c", "undo b", "undo a"]
            (row,) = [row for row in process.steps if row.step == "abort"]
            assert "c does not answer" in str(row.detail)

    def test_a_failure_in_a_branch_undoes_all_where_the_workflow_says_so(
        self, benches: Benches, outside: Outside
    ) -> None:
        undone = flow(
            outside.step("first", undone=True),
            parallel(begin >> outside.step("a", undone=True) >> asks("one"), outside.step("b")),
            undo_on_failure=True,
        )
        with benches.open(undone) as bench:
            outside.broken.add("b")
            process = bench.run(undone.name)
            bench.go_on()
            assert_aborted(process.refresh())
            assert outside.calls == ["first", "a", "b", "undo a", "undo first"]

    def test_an_attempt_that_fails_is_no_failure_while_another_one_comes(
        self, benches: Benches, outside: Outside
    ) -> None:
        ring = outside.step("ring", retrystep, retry_every=HOUR, max_attempts=2)
        undone = flow(outside.step("a", undone=True), ring, undo_on_failure=True)
        with benches.open(undone) as bench:
            outside.broken.add("ring")
            process = bench.run(undone.name)
            assert_waiting(process)
            bench.clock.jump(HOUR)
            bench.go_on()
            assert_aborted(process.refresh())
            assert outside.calls == ["a", "ring", "ring", "undo a"]

    def test_every_kind_of_step_can_be_undone(self, benches: Benches, outside: Outside) -> None:
        undone = flow(
            outside.step("ring", retrystep, undone=True),
            callback_step("Call", outside.step("call", undone=True)),
            asks("one"),
        )
        with benches.open(undone) as bench:
            process = bench.callback(bench.run(undone.name), {})
            assert_aborted(process.abort("Enough"))
            assert outside.calls == ["ring", "call", "undo call", "undo ring"]

    def test_an_abort_is_not_stopped_by_an_answer(self, benches: Benches, outside: Outside) -> None:
        undone = flow(outside.step("a", undone=True), asks("one"), outside.step("after"))
        with benches.open(undone) as bench:
            outside.broken.add("undo a")
            process = bench.run(undone.name).abort("Enough")
            assert process.forms == {}, "nobody is asked for what nobody will use"
            with pytest.raises(ProcessStateError):
                bench.session.resume(process.process_id, {"one": "x"}, step="ask_one")
            outside.broken.clear()
            assert_aborted(process.retry())
            assert "after" not in outside.calls

    def test_an_undo_step_may_be_tried_again_by_itself(self, benches: Benches, outside: Outside) -> None:
        unring = outside.step("unring", retrystep, retry_every=HOUR)

        @step("Ring", compensate=unring)
        def ring() -> None:
            outside.call("ring")

        undone = flow(ring, asks("one"))
        with benches.open(undone) as bench:
            outside.broken.add("unring")
            process = bench.run(undone.name).abort("Enough")
            assert_waiting(process)
            outside.broken.clear()
            bench.clock.jump(HOUR)
            bench.go_on()
            assert_aborted(process.refresh())
            assert outside.calls == ["ring", "unring", "unring"]


class TestFinally:
    def test_it_runs_at_the_end_of_a_completed_process(self, benches: Benches, outside: Outside) -> None:
        ended = flow(outside.step("a"), finally_(begin >> outside.step("clean") >> outside.step("report")))
        with benches.open(ended) as bench:
            assert_complete(bench.run(ended.name))
            assert outside.calls == ["a", "clean", "report"]

    def test_it_runs_at_the_end_of_an_aborted_process_after_the_undoing(
        self, benches: Benches, outside: Outside
    ) -> None:
        ended = flow(outside.step("a", undone=True), asks("one"), finally_(outside.step("clean")))
        with benches.open(ended) as bench:
            process = bench.run(ended.name).abort("Enough")
            assert_aborted(process)
            assert outside.calls == ["a", "undo a", "clean"]
            assert ("clean", "success") in rows(process)

    def test_it_does_not_run_where_a_process_failed_which_has_not_ended(
        self, benches: Benches, outside: Outside
    ) -> None:
        ended = flow(outside.step("a"), finally_(outside.step("clean")))
        with benches.open(ended) as bench:
            outside.broken.add("a")
            process = bench.run(ended.name)
            assert_failed(process)
            assert outside.calls == ["a"]
            outside.broken.clear()
            assert_complete(process.retry())
            assert outside.calls == ["a", "a", "clean"]

    def test_it_runs_once_where_a_failure_undoes_all(self, benches: Benches, outside: Outside) -> None:
        ended = flow(
            outside.step("a", undone=True), outside.step("b"), finally_(outside.step("clean")), undo_on_failure=True
        )
        with benches.open(ended) as bench:
            outside.broken.add("b")
            assert_aborted(bench.run(ended.name))
            assert outside.calls == ["a", "b", "undo a", "clean"]

    def test_it_runs_where_a_workflow_aborts_itself(self, benches: Benches, outside: Outside) -> None:
        ended = flow(outside.step("a", undone=True), abort, finally_(outside.step("clean")))
        with benches.open(ended) as bench:
            assert_aborted(bench.run(ended.name))
            assert outside.calls == ["a", "undo a", "clean"]

    def test_one_that_fails_after_an_abort_is_retried(self, benches: Benches, outside: Outside) -> None:
        ended = flow(
            outside.step("a", undone=True),
            asks("one"),
            finally_(begin >> outside.step("clean") >> outside.step("tell")),
        )
        with benches.open(ended) as bench:
            outside.broken.add("tell")
            process = bench.run(ended.name).abort("Enough")
            assert_failed(process, "tell does not answer", step="tell")
            outside.broken.clear()
            assert_aborted(process.retry())
            assert outside.calls == ["a", "undo a", "clean", "tell", "tell"]

    def test_one_that_fails_at_a_completed_process_and_is_aborted_does_not_run_what_ran(
        self, benches: Benches, outside: Outside
    ) -> None:
        ended = flow(outside.step("a", undone=True), finally_(begin >> outside.step("clean") >> outside.step("tell")))
        with benches.open(ended) as bench:
            outside.broken.add("tell")
            process = bench.run(ended.name)
            assert_failed(process, step="tell")
            outside.broken.clear()
            assert_aborted(process.abort("Enough"))
            assert outside.calls == ["a", "clean", "tell", "undo a", "tell"]

    def test_it_knows_the_state(self, benches: Benches, outside: Outside) -> None:
        @step("Report")
        def report(found: str = "nothing") -> State:
            outside.call(f"report {found}")
            return {}

        ended = flow(outside.step("a", gives={"found": "gold"}), asks("one"), finally_(report))
        with benches.open(ended) as bench:
            assert_aborted(bench.run(ended.name).abort("Enough"))
            assert outside.calls == ["a", "report gold"]

    def test_steps_that_wait_are_refused_at_definition(self) -> None:
        for waiting in (asks("one"), wait_for(HOUR)):
            with pytest.raises(DefinitionError):
                flow(finally_(waiting))


class TestAborting:
    @pytest.mark.parametrize("kind", ["suspended", "awaiting_callback", "waiting", "timer", "failed"])
    def test_a_process_that_waits_ends_at_once_and_nothing_wakes_it(
        self, benches: Benches, outside: Outside, kind: str
    ) -> None:
        halting: dict[str, Any] = {
            "suspended": asks("one"),
            "awaiting_callback": callback_step("Call", outside.step("call")),
            "waiting": outside.step("ring", retrystep),
            "timer": wait_for(HOUR),
            "failed": outside.step("ring"),
        }
        ended = flow(halting[kind], outside.step("after"))
        with benches.open(ended) as bench:
            outside.broken.add("ring")
            process = bench.run(ended.name)
            assert_aborted(process.abort("Enough"))
            outside.broken.clear()
            bench.clock.jump(3 * HOUR)
            bench.go_on()
            assert_aborted(process.refresh())
            assert "after" not in outside.calls
            for going_on in (lambda: process.resume({"one": "x"}), process.retry):
                with pytest.raises(ProcessStateError):
                    going_on()

    def test_who_aborted_and_why_is_on_record(self, benches: Benches) -> None:
        ended = flow(asks("one"))
        with benches.open(ended, user="ada") as bench:
            process = bench.run(ended.name)
            with bench.session.orchestrator.connect(user="grace", instance=bench.session.instance) as graces:
                graces.abort(process.process_id, "The customer went elsewhere")
            (row,) = [row for row in process.refresh().steps if row.step == "abort"]
            assert (row.created_by, str(row.status)) == ("grace", "abort")
            assert "The customer went elsewhere" in str(row.detail)

    def test_a_completed_process_stays_completed(self, benches: Benches, outside: Outside) -> None:
        ended = flow(outside.step("a", undone=True))
        with benches.open(ended) as bench:
            process = bench.run(ended.name)
            with pytest.raises(ProcessStateError):
                process.abort("Too late")
            assert_complete(process.refresh())
            assert outside.calls == ["a"]

    def test_a_process_is_aborted_once(self, benches: Benches, outside: Outside) -> None:
        ended = flow(outside.step("a", undone=True), asks("one"))
        with benches.open(ended) as bench:
            process = bench.run(ended.name)

            def end(_: int) -> None:
                with suppress(ProcessStateError):
                    bench.session.abort(process.process_id, "Enough")

            with ThreadPoolExecutor(4) as people:
                list(people.map(end, range(4)))
            assert_aborted(process.refresh())
            assert outside.calls == ["a", "undo a"]
            assert rows(process).count(("abort", "abort")) == 1

    def test_a_running_process_stops_after_the_step_it_is_in(self, benches: Benches, outside: Outside) -> None:
        began, may_end = threading.Event(), threading.Event()

        def long() -> State:
            began.set()
            assert may_end.wait(60)
            return {"long": True}

        def undo_long() -> None:
            outside.call("undo long")

        long_step = step("Long", compensate=undo_long)(long)
        ended = flow(outside.step("a", undone=True), step_group("Group", begin >> long_step >> outside.step("b")))
        with benches.open(ended, user="ada") as bench, ThreadPoolExecutor(1) as another:
            running = another.submit(bench.run, ended.name)
            try:
                assert began.wait(60)
                (process,) = bench.session.processes(workflow=ended.name)
                process.abort("Stop it", launch=True)
                assert not process.refresh().status.ended
            finally:
                may_end.set()
            assert_aborted(running.result())
            assert outside.calls == ["a", "undo long", "undo a"]
            assert ("group.long", "success") in rows(running.result())


class Network:
    """A node with workflows, and what is outside."""

    def __init__(self, benches: Benches, outside: Outside) -> None:
        self.benches = benches
        self.outside = outside

    def workflows(self, **ending: Any) -> list[Workflow]:
        outside = self.outside

        @step("Construct")
        def construct(product: UUID) -> State:
            node = NodeInactive.from_product_id(product, "acme")
            node.node.node_name = "first"
            return {"subscription": node}

        def undo_rename(subscription: NodeInactive) -> State:
            subscription.node.node_name = "first"
            subscription.save()
            outside.call("undo rename")
            return {"subscription": subscription}

        @step("Rename", compensate=undo_rename)
        def rename(subscription: NodeInactive) -> State:
            subscription.node.node_name = "renamed"
            return {"subscription": subscription}

        @create_workflow("Make node")
        def make() -> StepList:
            return begin >> construct

        @create_workflow("Make node and be undone", **ending)
        def make_and_undo() -> StepList:
            return begin >> construct >> rename >> asks("one")

        @modify_workflow("Change node", **ending)
        def change() -> StepList:
            return begin >> asks("one")

        @modify_workflow("Change node again")
        def change_again() -> StepList:
            return begin >> asks("one", name="ask_again")

        return [make, make_and_undo, change, change_again]

    @contextmanager
    def open(self, **ending: Any) -> Iterator[Workbench]:
        product = Product("Node", Node, tag="NODE", workflows=self.workflows(**ending))
        with Workbench(Orchestrator([product]), database=self.benches.database, user="ada") as bench:
            yield bench


@pytest.fixture
def network(benches: Benches, outside: Outside) -> Network:
    return Network(benches, outside)


class TestTheSubscription:
    def test_it_is_as_the_workflow_declares(self, network: Network) -> None:
        with network.open(status_on_abort=SubscriptionLifecycle.TERMINATED, insync_on_abort=True) as bench:
            process = bench.run("make_and_undo", {"product": "Node"})
            assert_aborted(process.abort("Enough"))
            (found,) = bench.session.subscriptions()
            assert (found.status, found.insync) == ("terminated", True)

    def test_by_default_it_stays_as_it_is_and_another_workflow_may_be_refused(self, network: Network) -> None:
        with network.open() as bench:
            node = bench.run("make", {"product": "Node"}).subscription_id
            process = bench.run("change", {"subscription_id": str(node)})
            assert_aborted(process.abort("Enough"))
            (found,) = bench.session.subscriptions()
            assert (found.status, found.insync) == ("active", False)

    def test_it_is_free_for_another_workflow_where_it_is_in_sync(self, network: Network) -> None:
        with network.open(insync_on_abort=True) as bench:
            node = bench.run("make", {"product": "Node"}).subscription_id
            process = bench.run("change", {"subscription_id": str(node)})
            assert_aborted(process.abort("Enough"))
            assert Node.from_subscription(node).insync
            assert_suspended(bench.run("change_again", {"subscription_id": str(node)}))

    def test_the_change_is_in_its_history_with_the_process(self, network: Network) -> None:
        with network.open(status_on_abort=SubscriptionLifecycle.TERMINATED) as bench:
            process = bench.run("make_and_undo", {"product": "Node"}).abort("Enough")
            newest = bench.session.history(process.subscription_id)[-1]
            assert newest.process_id == process.process_id
            assert "status" in str(newest.changes)


def row_of(process: Process, status: str) -> Any:
    (row,) = [row for row in process.steps if row.status == status]
    return row


def only_grace(context: AuthContext) -> bool:
    return context.user == "grace"


class TestSkippingAndReplacing:
    def test_a_failed_step_is_skipped_with_a_reason_on_record(self, benches: Benches, outside: Outside) -> None:
        mended = flow(outside.step("a", undone=True), outside.step("b", undone=True), outside.step("c"), asks("one"))
        with benches.open(mended) as bench:
            outside.broken.add("b")
            process = bench.run(mended.name)
            with bench.session.orchestrator.connect(user="grace", instance=bench.session.instance) as graces:
                graces.skip(process.process_id, "b", "Done by hand")
            assert_suspended(process.refresh())
            row = row_of(process, "skipped")
            assert (row.step, row.created_by) == ("b", "grace")
            assert "Done by hand" in str(row.detail)
            assert_aborted(process.abort("Enough"))
            assert outside.calls == ["a", "b", "c", "undo a"], "what was skipped is not undone"

    def test_a_value_is_replaced_with_a_reason_on_record(self, benches: Benches) -> None:
        used: list[int] = []

        @step("Use")
        def use(vlan: int) -> None:
            used.append(vlan)
            if vlan > 4094:
                raise ValueError("no such VLAN")

        mended = flow(step("Choose")(called(lambda: {"vlan": 5000}, "choose")), use)
        with benches.open(mended, user="ada") as bench:
            process = bench.run(mended.name)
            assert_failed(process)
            process.replace_value("vlan", 400, "A slip of the pen")
            assert_failed(process)
            assert_state(process, {"vlan": 400})
            (row,) = [row for row in process.steps if "A slip of the pen" in str(row.detail)]
            assert (row.created_by, row.changed) == ("ada", ("vlan",))
            assert_complete(process.retry())
            assert used == [5000, 400]

    def test_a_person_without_the_right_may_do_neither(self, benches: Benches, outside: Outside) -> None:
        mended = flow(outside.step("b", retry_auth_callback=only_grace), retry_auth_callback=only_grace)
        with benches.open(mended, user="ada") as bench:
            outside.broken.add("b")
            process = bench.run(mended.name)
            for forbidden in (
                lambda: process.skip("b", "Let me"),
                lambda: process.replace_value("x", 1, "Let me"),
                process.retry,
            ):
                with pytest.raises(NotAuthorizedError):
                    forbidden()
            assert_failed(process.refresh())
            assert rows(process) == [("b", "failed")]

    def test_without_a_reason_nothing_happens(self, benches: Benches, outside: Outside) -> None:
        mended = flow(outside.step("b"))
        with benches.open(mended) as bench:
            outside.broken.add("b")
            process = bench.run(mended.name)
            for forbidden in (
                lambda: process.skip("b", ""),
                lambda: process.replace_value("x", 1, ""),
                lambda: process.abort("  "),
            ):
                with pytest.raises(Exception, match="reason"):
                    forbidden()
            assert_failed(process.refresh())

    def test_a_step_at_which_it_does_not_stand_cannot_be_skipped(self, benches: Benches, outside: Outside) -> None:
        mended = flow(outside.step("a"), outside.step("b"), outside.step("c"))
        with benches.open(mended) as bench:
            outside.broken.add("b")
            process = bench.run(mended.name)
            for step_key in ("a", "c", "nonsense"):
                with pytest.raises(ProcessStateError):
                    process.skip(step_key, "Why not")
            assert outside.calls == ["a", "b"]

    def test_a_process_that_ended_is_left_alone(self, benches: Benches, outside: Outside) -> None:
        mended = flow(outside.step("a"))
        with benches.open(mended) as bench:
            process = bench.run(mended.name)
            for forbidden in (lambda: process.skip("a", "Why not"), lambda: process.replace_value("x", 1, "Why not")):
                with pytest.raises(ProcessStateError):
                    forbidden()

    def test_an_await_that_nobody_answers_can_be_skipped(self, benches: Benches, outside: Outside) -> None:
        mended = flow(callback_step("Call", outside.step("call")), outside.step("after"))
        with benches.open(mended) as bench:
            process = bench.run(mended.name)
            assert_awaiting_callback(process)
            assert_complete(process.skip(None, "They said it on the phone"))
            assert outside.calls == ["call", "after"]
