"""What people do to processes that stand still: answer, retry, skip, replace a value, abort, write a note."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import waiting_workflows
from sqlalchemy import Engine, text
from waiting_workflows import allowed, broken, effects, orchestrator

from orchestrator_dagster import (
    EnginePausedError,
    InputError,
    NotAuthorizedError,
    Process,
    ProcessNotFoundError,
    ProcessStateError,
    Session,
)
from orchestrator_dagster.db.leases import Lease
from orchestrator_dagster.db.process_inputs import last_answer


@pytest.fixture
def wfo(orchestrator_database: str) -> Iterator[Session]:
    waiting_workflows.forget()
    with orchestrator.connect() as session:  # type: ignore[attr-defined]
        yield session


def log(process: Process) -> list[tuple[str, str]]:
    return [(row.step, row.status) for row in process.refresh().steps]


def rows(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT count(*) FROM orchestrator.{table}")).scalar_one()  # noqa: S608


def as_(user: str) -> Any:
    return orchestrator.connect(user=user)


class TestAnswering:
    def test_a_process_that_asks_shows_its_form_and_goes_on_with_the_answer(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        assert (asking.status, asking.current_step) == ("suspended", "confirm")
        assert asking.form["properties"].keys() == {"ticket", "hours"}
        assert asking.forms == {"confirm": asking.form}
        asking.resume({"ticket": "CHG1"})
        assert asking.status == "completed"
        assert asking.state["ticket"] == "CHG1"
        assert asking.state["hours"] == 1
        assert not asking.waits

    def test_the_answer_is_on_record_with_who_gave_it(self, wfo: Session, engine: Engine) -> None:
        asking = wfo.run("ask")
        with as_("ada") as ada:
            ada.resume(asking.process_id, {"ticket": "CHG1"})
        with engine.connect() as connection:
            logged = last_answer(connection, asking.process_id)
        assert logged is not None
        assert (logged.step, logged.given, logged.answered_by) == ("confirm", {"ticket": "CHG1"}, "ada")
        assert [row.created_by for row in asking.refresh().steps if row.step == "confirm"][-1] == "ada"

    def test_a_wrong_answer_is_refused_with_every_mistake_and_changes_nothing(
        self, wfo: Session, engine: Engine
    ) -> None:
        asking = wfo.run("ask")
        before = log(asking), rows(engine, "process_inputs")
        with pytest.raises(InputError) as refused:
            asking.resume({"ticket": "x", "hours": 0, "colour": "red"})
        assert {error.path for error in refused.value.errors} == {"ticket", "hours", "colour"}
        assert (log(asking), rows(engine, "process_inputs")) == before
        assert asking.status == "suspended"
        assert asking.resume({"ticket": "CHG1"}).status == "completed"

    def test_the_same_answer_counts_once_and_another_one_is_refused(self, wfo: Session, engine: Engine) -> None:
        asking = wfo.run("ask")
        with as_("ada") as ada:
            ada.resume(asking.process_id, {"ticket": "CHG1"})
        before = log(asking)
        assert wfo.resume(asking.process_id, {"ticket": "CHG1"}).status == "completed"
        with pytest.raises(ProcessStateError, match="step confirm was answered already by ada"):
            wfo.resume(asking.process_id, {"ticket": "CHG2"})
        assert log(asking) == before
        assert rows(engine, "process_inputs") == 2

    def test_an_answer_that_is_given_twice_does_not_answer_the_next_step(self, wfo: Session) -> None:
        asking = wfo.run("ask_twice")
        also_looking = wfo.process(asking.process_id)
        assert asking.resume({"ticket": "CHG1"}).current_step == "approve"
        assert also_looking.resume({"ticket": "CHG1"}).current_step == "approve"

    def test_of_several_steps_that_ask_the_one_that_is_meant_is_named(self, wfo: Session) -> None:
        asking = wfo.run("ask_beside")
        first, second = asking.forms
        with pytest.raises(ProcessStateError, match="see `forms`"):
            _ = asking.form
        with pytest.raises(ProcessStateError, match=r"(?s)Confirm.*Approve.*say which step"):
            asking.resume({"ticket": "CHG1"})
        asking.resume({"ticket": "CHG1"}, step=first)
        assert (asking.status, list(asking.forms)) == ("suspended", [second])
        assert asking.resume({"ticket": "CHG2"}).status == "completed"
        assert asking.state["approved_under"] == "CHG2"

    def test_each_item_of_a_list_is_answered_by_itself(self, wfo: Session) -> None:
        asking = wfo.run("ask_each")
        assert list(asking.forms) == ["confirm_site[0]", "confirm_site[1]"]
        asking.resume({"answer": "no"}, step="confirm_site[1]")
        asking.resume({"answer": "yes"}, step="confirm_site[0]")
        assert (asking.status, asking.state["said"]) == ("completed", ["yes", "no"])

    def test_what_does_not_ask_is_not_answered(self, wfo: Session) -> None:
        broken.add("configure")
        failed = wfo.run("do_plainly")
        with pytest.raises(ProcessStateError, match=r"failed at configure \(Configure\): it does not wait for input"):
            failed.resume({})
        with pytest.raises(ProcessStateError, match="step nowhere does not wait for input"):
            failed.resume({}, step="nowhere")
        broken.clear()
        failed.retry()
        with pytest.raises(ProcessStateError, match="is completed"):
            failed.resume({})
        with pytest.raises(ProcessNotFoundError):
            wfo.resume(uuid4(), {})

    def test_an_answer_is_taken_while_a_run_works_on_another_branch(self, wfo: Session, engine: Engine) -> None:
        asking = wfo.run("ask_beside")
        first, _ = asking.forms
        with engine.begin() as connection:
            connection.execute(text("UPDATE orchestrator.processes SET last_status = 'running'"))
        lease = Lease.take(engine, asking.process_id)
        assert lease is not None
        try:
            assert asking.resume({"ticket": "CHG1"}, step=first).status == "running"
        finally:
            lease.release()
        assert [wait.step for wait in asking.waits if wait.ready] == [first]


class TestRetrying:
    def test_a_failed_process_is_retried_from_the_step_that_failed(self, wfo: Session) -> None:
        broken.add("configure")
        failed = wfo.run("do")
        assert (failed.status, failed.current_step) == ("failed", "configure")
        broken.clear()
        assert failed.retry().status == "completed"
        assert effects == {"build": 1, "configure": 2}

    def test_a_step_that_waits_to_be_tried_again_is_retried_at_once(self, wfo: Session) -> None:
        broken.add("reach")
        waiting = wfo.run("reach_out")
        assert waiting.status == "waiting"
        broken.clear()
        assert waiting.retry().status == "completed"

    def test_what_did_not_fail_is_not_retried(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        with pytest.raises(ProcessStateError, match=r"waits for input at confirm \(Confirm\): nothing failed"):
            asking.retry()
        asking.resume({"ticket": "CHG1"})
        with pytest.raises(ProcessStateError, match="is completed"):
            asking.retry()

    def test_a_process_whose_worker_died_is_retried_before_anybody_noticed(self, wfo: Session, engine: Engine) -> None:
        broken.add("configure")
        failed = wfo.run("do_plainly")
        broken.clear()
        with engine.begin() as connection:
            connection.execute(text("UPDATE orchestrator.processes SET last_status = 'running'"))
            connection.execute(text("DELETE FROM orchestrator.process_waits"))
        assert failed.retry().status == "completed"


class TestSkipping:
    def test_a_failed_step_is_passed_by_on_record(self, wfo: Session) -> None:
        broken.add("build")
        failed = wfo.run("do")
        with as_("ada") as ada:
            skipped = ada.skip(failed.process_id, "build", "built by hand")
        assert skipped.status == "completed"
        row = next(row for row in skipped.steps if row.step == "build" and row.status == "skipped")
        assert (row.created_by, row.detail) == ("ada", {"reason": "built by hand"})
        assert "built" not in skipped.state

    def test_a_step_that_asks_can_be_skipped_and_once_is_enough(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        assert asking.skip(None, "nobody to ask").status == "completed"
        before = log(asking)
        assert wfo.skip(asking.process_id, "confirm", "nobody to ask").status == "completed"
        assert log(asking) == before

    def test_there_must_be_a_reason_and_something_to_skip(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        with pytest.raises(InputError, match="reason"):
            asking.skip("confirm", " ")
        with pytest.raises(ProcessStateError, match="nothing to skip"):
            asking.skip("configure", "not needed")

    def test_nothing_is_skipped_under_a_run_that_works(self, wfo: Session, engine: Engine) -> None:
        asking = wfo.run("ask")
        lease = Lease.take(engine, asking.process_id)
        assert lease is not None
        with pytest.raises(ProcessStateError, match="works on it"):
            asking.skip("confirm", "in a hurry")
        lease.release()
        assert asking.skip("confirm", "in a hurry").status == "completed"


class TestReplacingValues:
    def test_a_replaced_value_is_on_record_and_seen_by_the_retried_step(self, wfo: Session) -> None:
        broken.add("configure")
        failed = wfo.run("do_plainly")
        failed.replace_value("speed", 40, "was never asked for")
        assert (failed.status, failed.current_step) == ("failed", "configure")
        assert failed.failed_reason == "configure is broken"
        broken.clear()
        assert failed.retry().state["configured"] == 40
        row = next(row for row in failed.steps if row.step == "replace_value[1]")
        assert (row.changes, row.detail) == ({"speed": 40}, {"reason": "was never asked for"})

    def test_what_is_no_json_is_refused(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        with pytest.raises(InputError, match="speed"):
            asking.replace_value("speed", object(), "to see")
        with pytest.raises(InputError, match="speed"):
            asking.replace_value("speed", "\x00", "to see")
        assert "speed" not in asking.state


class TestAborting:
    def test_a_process_with_nothing_to_undo_ends_at_once(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        with as_("ada") as ada:
            aborted = ada.abort(asking.process_id, "not wanted any more")
        assert aborted.status == "aborted"
        row = aborted.steps[-1]
        assert (row.step, row.status, row.created_by) == ("abort", "abort", "ada")
        assert row.detail == {"reason": "not wanted any more"}
        assert not aborted.waits
        assert asking.abort("again").status == "aborted"

    def test_what_was_done_is_undone(self, wfo: Session) -> None:
        broken.add("configure")
        failed = wfo.run("do")
        assert failed.abort("no hope").status == "aborted"
        assert effects["take down"] == 1

    def test_what_runs_at_the_end_runs(self, wfo: Session) -> None:
        broken.add("configure")
        failed = wfo.run("do_and_tell")
        assert failed.abort("no hope").status == "aborted"
        assert effects["tell"] == 1

    def test_a_process_of_a_workflow_that_is_no_more_can_be_aborted_and_nothing_else(self, wfo: Session) -> None:
        from orchestrator_dagster import Orchestrator

        asking = wfo.run("ask")
        with Orchestrator([], workflows=[waiting_workflows.do]).connect() as without:  # type: ignore[attr-defined]
            with pytest.raises(ProcessStateError, match="does not have any more"):
                without.resume(asking.process_id, {"ticket": "CHG1"})
            assert without.abort(asking.process_id, "the workflow is gone").status == "aborted"

    def test_a_completed_process_is_not_aborted(self, wfo: Session) -> None:
        with pytest.raises(ProcessStateError, match="is completed"):
            wfo.run("do_plainly").abort("too late")


class TestAPausedEngine:
    def test_it_refuses_what_would_go_on_and_says_who_paused_it_and_why(self, wfo: Session) -> None:
        broken.add("configure")
        asking, failed = wfo.run("ask"), wfo.run("do_plainly")
        with as_("ada") as ada:
            assert ada.pause_engine("maintenance").paused
        for refused in (
            lambda: asking.resume({"ticket": "CHG1"}),
            lambda: failed.retry(),
            lambda: failed.skip(None, "no"),
            lambda: wfo.run("do_plainly"),
        ):
            with pytest.raises(EnginePausedError, match="paused by ada: maintenance"):
                refused()
        assert not wfo.go_on()
        assert not wfo.resume_engine().paused
        assert asking.resume({"ticket": "CHG1"}).current_step == "configure"

    def test_it_lets_processes_be_aborted_and_notes_be_written(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        wfo.pause_engine("maintenance")
        assert asking.set_note("ask ada").note == "ask ada"
        assert asking.abort("no time").status == "aborted"
        assert asking.set_note(None).note is None

    def test_an_abort_that_undoes_something_is_carried_out_when_the_engine_goes_on(self, wfo: Session) -> None:
        broken.add("configure")
        failed = wfo.run("do")
        wfo.pause_engine("maintenance")
        assert failed.abort("no time").status == "resumed"
        assert effects["take down"] == 0
        wfo.resume_engine()
        wfo.go_on()
        assert failed.refresh().status == "aborted"
        assert effects["take down"] == 1


class TestRights:
    def test_who_may_not_answer_is_refused_also_where_that_is_asked_asynchronously(self, wfo: Session) -> None:
        asking = wfo.run("ask_guarded")
        with as_("eve") as eve, pytest.raises(NotAuthorizedError, match="eve is not authorized to resume"):
            eve.resume(asking.process_id, {"ticket": "CHG1"})
        allowed.add("ada")
        with as_("ada") as ada:
            assert ada.resume(asking.process_id, {"ticket": "CHG1"}).status == "completed"

    def test_who_may_not_answer_may_not_skip_either(self, wfo: Session) -> None:
        asking = wfo.run("ask_guarded")
        with as_("eve") as eve, pytest.raises(NotAuthorizedError):
            eve.skip(asking.process_id, None, "let me through")

    def test_who_may_not_retry_is_refused(self, wfo: Session) -> None:
        broken.add("guarded")
        failed = wfo.run("do_guarded")
        with as_("eve") as eve:
            for refused in (
                lambda: eve.retry(failed.process_id),
                lambda: eve.skip(failed.process_id, None, "let me through"),
                lambda: eve.replace_value(failed.process_id, "speed", 1, "let me through"),
            ):
                with pytest.raises(NotAuthorizedError, match="eve is not authorized to retry"):
                    refused()
        assert effects["guarded"] == 1


class TestFamilies:
    def test_what_a_process_starts_runs_here_and_wakes_it_again(self, wfo: Session) -> None:
        parent = wfo.run("have_asked")
        assert parent.status == "waiting"
        (child,) = parent.children
        assert (child.workflow, child.status) == ("ask", "suspended")
        assert child.parent is not None
        assert child.parent.process_id == parent.process_id
        child.resume({"ticket": "CHG1"})
        assert (child.status, parent.refresh().status) == ("completed", "completed")

    def test_aborting_a_process_aborts_what_it_started(self, wfo: Session) -> None:
        parent = wfo.run("have_asked")
        (child,) = parent.children
        assert parent.abort("not wanted").status == "aborted"
        assert child.refresh().status == "aborted"


class TestTheResource:
    def test_a_step_answers_another_process_as_part_of_its_transaction(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        broken.add("answer")
        answering = wfo.run("answer", {"other": str(asking.process_id), "ticket": "CHG1"})
        assert (answering.status, asking.refresh().status) == ("failed", "suspended")
        broken.clear()
        assert answering.retry().status == "completed"
        assert asking.refresh().status == "resumed"
        assert [process.process_id for process in wfo.go_on()] == [asking.process_id]
        assert asking.refresh().status == "completed"

    def test_what_is_refused_in_a_step_leaves_nothing_behind(self, wfo: Session) -> None:
        asking = wfo.run("ask")
        answering = wfo.run("answer", {"other": str(asking.process_id), "ticket": "x"})
        assert answering.status == "failed"
        assert "ticket" in (answering.failed_reason or "")
        assert asking.refresh().status == "suspended"
