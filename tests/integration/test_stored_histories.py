"""Processes that an earlier version of a workflow left in the middle go on with a later one, or are refused.

The processes are those of `tests/data/histories`. The rules are those of `docs/writing-workflows.md`, under "Changing a
workflow while processes wait".
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from conftest import NewDatabase
from sqlalchemy import Engine, text

from orchestrator_dagster import InputError, Process, ProcessStateError, Session, State, Workflow
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrate import downgrade, newest_revision, upgrade
from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.resources.database import Database
from orchestrator_dagster.testing.outside import FakeCaller
from tests.data.histories import earlier, later, revision_0006
from tests.data.histories.stored import FOLDER, load, read

THEN = datetime(2026, 1, 5, 12, tzinfo=UTC)
TICKET = {"ticket": "CHG2"}
ORDERED = {"reserved": 1, "ticket": "CHG2", "configured": 1, "notified": 1}

FROM_THE_BEGINNING = {"process_id", "reporter", "workflow_name", "workflow_target", "callback_route", "sites"}

ALL_THAT_IS_KNOWN = text("""
    SELECT to_jsonb(step) FROM orchestrator.process_steps AS step
    UNION ALL SELECT to_jsonb(wait) FROM orchestrator.process_waits AS wait
    UNION ALL SELECT to_jsonb(input) FROM orchestrator.process_inputs AS input
    UNION ALL SELECT to_jsonb(callback) FROM orchestrator.process_callbacks AS callback
    UNION ALL SELECT to_jsonb(process) - 'lease' - 'last_modified_at' FROM orchestrator.processes AS process
    UNION ALL SELECT to_jsonb(subscription) FROM orchestrator.subscriptions AS subscription
""")


class Restored:
    """A history in a database of its own, a minute after it was stored.

    Attributes:
        engine: the database.
        process_id: the process that is under way.
        time: what time it is.
    """

    def __init__(self, engine: Engine, history: Mapping[str, Any], stack: ExitStack) -> None:
        processes, steps = history["tables"]["processes"], history["tables"]["process_steps"]
        stored_id = next(row["process_id"] for row in processes if row["last_status"] != "completed")
        self.engine = engine
        self.process_id = UUID(stored_id)
        self.time = THEN + timedelta(minutes=1)
        self._rows_before = sum(row["process_id"] == stored_id for row in steps)
        self._stack = stack

    def session(self, *workflows: Workflow) -> Session:
        """Return a session with these workflows, after the catalogue was made to follow them."""
        url = self.engine.url.render_as_string(hide_password=False)
        orchestrator = earlier.running(*workflows).with_changes(database=Database(url=url))
        orchestrator.catalogue.apply(by="bob", force=True)
        instance = self._stack.enter_context(dg.DagsterInstance.ephemeral())
        return self._stack.enter_context(orchestrator.connect(instance=instance, user="bob"))

    def under(self, *workflows: Workflow) -> Process:
        """Return the process, in a session with these workflows."""
        return self.session(*workflows).process(self.process_id)

    def logged_since(self, process: Process) -> str:
        """Return the steps that were logged since; those that did not succeed with what became of them."""
        return " ".join(
            row.step if row.status in ("success", "complete") else f"{row.step}={row.status}"
            for row in process.refresh().steps[self._rows_before :]
        )

    def all_that_is_known(self) -> list[Any]:
        """Return the rows about processes and subscriptions."""
        with self.engine.connect() as connection:
            return sorted(connection.scalars(ALL_THAT_IS_KNOWN), key=str)


Restore = Callable[[str], Restored]


@pytest.fixture
def restore(new_database: NewDatabase, template_database: str) -> Iterator[Restore]:
    """Load a history into a database of the revision that it was stored with, and upgrade that."""
    with ExitStack() as stack:

        def restore(name: str) -> Restored:
            engine, history = engine_for(new_database(template_database)), read(name)
            if history["revision"] != newest_revision():
                downgrade(engine, history["revision"])
            with engine.begin() as connection:
                load(connection, history)
            upgrade(engine)
            restored = Restored(engine, history, stack)
            stack.enter_context(use_clock(lambda: restored.time))
            return restored

        yield restore


Happening = Callable[[Restored, Session, Process], object]


def answered(_: Restored, __: Session, process: Process) -> object:
    return process.resume(TICKET)


def answered_for_all(_: Restored, __: Session, process: Process) -> object:
    process.resume(TICKET, step="confirm[2]").retry()
    return process.resume(TICKET, step=process.waits[0].step)


def retried(_: Restored, __: Session, process: Process) -> object:
    return process.retry()


def answered_and_retried(_: Restored, __: Session, process: Process) -> object:
    return process.resume(TICKET).retry()


def picked_up(_: Restored, session: Session, __: Process) -> object:
    return session.go_on()


def due(restored: Restored, session: Session, __: Process) -> object:
    restored.time += timedelta(hours=2)
    return session.go_on()


def called_back(restored: Restored, session: Session, process: Process) -> object:
    FakeCaller(restored.engine).call_back(process, {"metres": 3})
    return session.go_on()


def child_answered(_: Restored, __: Session, process: Process) -> object:
    return process.children[0].resume(TICKET)


def let(happening: Happening, restored: Restored, *workflows: Workflow) -> Process:
    """Let something happen while these are the workflows, and return the process as it is then."""
    session = restored.session(*workflows)
    process = session.process(restored.process_id)
    happening(restored, session, process)
    return process.refresh()


def known(process: Process) -> State:
    """Return what the process came to know."""
    return {key: value for key, value in process.state.items() if key not in FROM_THE_BEGINNING}


GOES_ON = [
    pytest.param("asks", answered, [earlier.order_line], "confirm configure notify done", ORDERED, id="no change"),
    pytest.param(
        "asks",
        answered,
        [later.STEP_ADDED_BEFORE],
        "try_out confirm configure notify done",
        ORDERED | {"tried_out": 1},
        id="a step added before the one that waits",
    ),
    pytest.param(
        "failed",
        retried,
        [later.STEP_ADDED_AT_THE_BEGINNING],
        "try_out configure notify done",
        ORDERED | {"ticket": "CHG1", "tried_out": 1},
        id="a step added before finished ones",
    ),
    pytest.param(
        "left_behind",
        retried,
        [later.STEP_ADDED_AFTER],
        "configure try_out notify done",
        ORDERED | {"ticket": "CHG1", "tried_out": 1},
        id="a step added after the one that was interrupted",
    ),
    pytest.param(
        "asks",
        answered,
        [later.RESERVE_REMOVED],
        "confirm configure notify done",
        ORDERED,
        id="a finished step removed",
    ),
    pytest.param(
        "asks",
        answered,
        [later.CONFIGURE_REMOVED],
        "confirm notify done",
        {"reserved": 1, "ticket": "CHG2", "notified": 1},
        id="an unfinished step removed",
    ),
    pytest.param(
        "asks",
        answered,
        [later.RESERVE_RENAMED],
        "confirm configure notify done",
        ORDERED,
        id="a finished step renamed",
    ),
    pytest.param(
        "asks",
        answered,
        [later.RESERVE_IS_ANOTHER],
        "book confirm configure notify done",
        ORDERED | {"booked": 1},
        id="a finished step that is another one now",
    ),
    pytest.param(
        "asks",
        answered,
        [later.CONFIRM_RENAMED],
        "approve configure notify done",
        ORDERED,
        id="the step that waits renamed",
    ),
    pytest.param(
        "answered",
        picked_up,
        [later.CONFIRM_RENAMED],
        "approve configure notify done",
        ORDERED | {"ticket": "CHG1"},
        id="the step that was answered renamed",
    ),
    pytest.param(
        "failed",
        retried,
        [later.CONFIGURE_RENAMED],
        "set_up notify done",
        {"reserved": 1, "ticket": "CHG1", "set_up": 1, "notified": 1},
        id="the step that failed renamed",
    ),
    pytest.param(
        "asks", answered, [later.RETITLED], "confirm configure notify done", ORDERED, id="other titles everywhere"
    ),
    pytest.param(
        "asks",
        answered,
        [later.RESERVE_MOVED],
        "confirm configure notify done",
        ORDERED,
        id="a finished step moved to the back",
    ),
    pytest.param(
        "asks",
        answered,
        [later.NOTIFY_MOVED],
        "notify confirm configure done",
        ORDERED,
        id="an unfinished step moved to the front",
    ),
    pytest.param(
        "asks",
        answered,
        [later.NOTIFY_IN_A_GROUP],
        "confirm configure finish.notify done",
        ORDERED,
        id="an unfinished step moved into a group",
    ),
    pytest.param(
        "asks",
        answered,
        [later.RESERVE_IN_A_GROUP],
        "confirm configure notify done",
        ORDERED,
        id="a finished step moved into a group",
    ),
    pytest.param(
        "asks",
        answered,
        [later.CONFIRM_IN_A_GROUP],
        "agree.confirm configure notify done",
        ORDERED,
        id="the step that waits moved into a group",
    ),
    pytest.param(
        "in_a_group",
        answered,
        [later.GROUP_DISSOLVED],
        "confirm configure notify done",
        ORDERED,
        id="a group dissolved",
    ),
    pytest.param(
        "asks",
        answered,
        [later.NOTIFY_TWICE],
        "confirm notify configure notify_2 done",
        ORDERED | {"notified": 2},
        id="a step used again that was not reached yet",
    ),
    pytest.param(
        "failed",
        retried,
        [later.CONFIGURE_ASKS],
        "configure=suspend",
        {"reserved": 1, "ticket": "CHG1"},
        id="the step that failed asks now",
    ),
    pytest.param(
        "asks",
        answered,
        [later.NOTIFY_ASKS],
        "confirm configure notify=suspend",
        {"reserved": 1, "ticket": "CHG2", "configured": 1},
        id="a step that was not reached asks now",
    ),
    pytest.param(
        "answered",
        picked_up,
        [later.FORM_CHANGED],
        "confirm configure notify done",
        ORDERED | {"ticket": "CHG1"},
        id="the form changed after it was answered",
    ),
    pytest.param(
        "asks",
        answered,
        [later.CONDITION_ADDED],
        "confirm configure=skipped notify done",
        {"reserved": 1, "ticket": "CHG2", "notified": 1},
        id="a condition added around a step that was not reached",
    ),
    pytest.param(
        "decided",
        answered,
        [later.PREDICATE_CHANGED],
        "confirm notify done",
        ORDERED,
        id="a predicate changed after it was asked",
    ),
    pytest.param(
        "decided",
        answered,
        [later.ADDED_UNDER_CONDITION],
        "confirm try_out notify done",
        ORDERED | {"tried_out": 1},
        id="a step added where a condition was decided",
    ),
    pytest.param(
        "in_a_group",
        answered,
        [later.ADDED_IN_GROUP],
        "build.try_out build.confirm build.configure notify done",
        ORDERED | {"tried_out": 1},
        id="a step added in a group",
    ),
    pytest.param(
        "in_a_group",
        answered,
        [later.FINISHED_REMOVED_FROM_GROUP],
        "build.confirm build.configure notify done",
        ORDERED,
        id="a finished step removed from a group",
    ),
    pytest.param(
        "in_a_group",
        answered,
        [later.RENAMED_IN_GROUP],
        "build.approve build.configure notify done",
        ORDERED,
        id="steps renamed in a group",
    ),
    pytest.param(
        "in_a_group",
        answered,
        [later.GROUP_RENAMED],
        "make.confirm make.configure notify done",
        ORDERED,
        id="a group renamed",
    ),
    pytest.param(
        "tries_again",
        due,
        [later.NOT_RETRIED],
        "reach notify done",
        {"reserved": 1, "reached": 1, "notified": 1},
        id="a step that is tried again became a plain one",
    ),
    pytest.param(
        "rests",
        due,
        [later.RESTS_LONGER],
        "wait_for notify done",
        {"reserved": 1, "notified": 1},
        id="another time to wait while it waits",
    ),
    pytest.param(
        "has_rested",
        retried,
        [later.RESTS_LONGER],
        "notify done",
        {"reserved": 1, "notified": 1},
        id="another time to wait after it waited",
    ),
    pytest.param(
        "in_branches",
        answered_and_retried,
        [later.RENAMED_IN_BRANCH],
        "approve notify set_up join reserve done",
        {"reserved": 1, "ticket": "CHG2", "set_up": 1, "notified": 1, "spliced": 1},
        id="steps renamed in branches",
    ),
    pytest.param(
        "in_branches",
        answered_and_retried,
        [later.ADDED_AFTER_BRANCHES],
        "confirm notify configure join try_out reserve done",
        ORDERED | {"spliced": 1, "tried_out": 1},
        id="a step added after branches",
    ),
    pytest.param(
        "asks",
        answered,
        [later.BRANCHES_ADDED],
        "confirm configure splice join notify done",
        ORDERED | {"spliced": 1},
        id="branches made where it did not come yet",
    ),
    pytest.param(
        "at_sites",
        answered_for_all,
        [later.RENAMED_FOR_EACH],
        "approve[2] visit[1] approve[1]=suspend approve[1] foreach_sites_join notify done",
        {"reserved": 1, "visited": ["ams", "del", "utr"], "ticket": ["CHG1", "CHG2", "CHG2"], "notified": 1},
        id="a step renamed for each item",
    ),
    pytest.param(
        "awaits_callback",
        called_back,
        [later.ACTION_RENAMED],
        "cable.await_callback cable.check_delivery notify done",
        {"reserved": 1, "ordered": 1, "callback_result": {"metres": 3}, "metres": 3, "notified": 1},
        id="the action of a callback step renamed",
    ),
    pytest.param(
        "awaits_callback_again",
        called_back,
        [later.RESULT_KEY_CHANGED],
        "cable.await_callback notify done",
        {"reserved": 1, "ordered": 2, "delivery": {"metres": 3}, "notified": 1},
        id="another key for what is called back",
    ),
    pytest.param(
        "has_a_child",
        child_answered,
        [later.CHILD_ELSEWHERE, later.STEP_ADDED_AFTER],
        "run_order_line try_out notify done",
        {"reserved": 1, "tried_out": 1, "notified": 1},
        id="both a process and its child changed",
    ),
    pytest.param(
        "moves",
        answered,
        [later.MOVES_WITH_TEST, earlier.create_fibre],
        "confirm relocate try_out resync done",
        None,
        id="a step added between those of a lifecycle workflow",
    ),
]
"""What became of a workflow, and what a process of it that was under way does then."""


@pytest.mark.parametrize(("history", "happening", "workflows", "logged", "expected"), GOES_ON)
def test_a_process_goes_on_after(
    restore: Restore, history: str, happening: Happening, workflows: list[Workflow], logged: str, expected: State | None
) -> None:
    """It does what is to be done now, and nothing twice."""
    restored = restore(history)
    process = let(happening, restored, *workflows)
    assert restored.logged_since(process) == logged, process.failed_reason
    assert process.status == ("completed" if logged.endswith("done") else "suspended")
    if expected is not None:
        assert known(process) == expected


REFUSED = [
    pytest.param("asks", answered, later.CONFIRM_REMOVED, "confirm", id="the step that waits removed"),
    pytest.param("asks", answered, later.CONFIRM_IS_ANOTHER, "confirm", id="the step that waits is another one"),
    pytest.param("answered", picked_up, later.CONFIRM_REMOVED, "confirm", id="the step that was answered removed"),
    pytest.param("failed", retried, later.CONFIGURE_REMOVED, "configure", id="the step that failed removed"),
    pytest.param("asks", answered, later.RESERVE_TWICE, "reserve", id="a finished step used again"),
    pytest.param("asks", answered, later.CONFIRM_DOES_NOT_ASK, "confirm", id="the step that asks does not ask"),
    pytest.param(
        "answered", picked_up, later.CONFIRM_DOES_NOT_ASK, "confirm", id="the step that was answered does not ask"
    ),
    pytest.param(
        "in_a_group", answered, later.WAITING_REMOVED_FROM_GROUP, "build.confirm", id="the one in a group removed"
    ),
    pytest.param(
        "in_a_group", answered, later.GROUP_AND_STEP_ARE_OTHERS, "build.confirm", id="another group with another step"
    ),
    pytest.param("decided", answered, later.CONDITION_GONE, "configure", id="a decided condition taken away"),
    pytest.param("decided", answered, later.CONDITION_ON_LESS, "notify", id="a decided condition around less"),
    pytest.param("decided", answered, later.ANOTHER_CONDITION, "configure", id="a condition around a decided one"),
    pytest.param(
        "decided", answered, later.ADDED_FIRST_UNDER_CONDITION, "configure", id="the first of a decided list added"
    ),
    pytest.param("tries_again", due, later.REACH_REMOVED, "reach", id="the step that is tried again removed"),
    pytest.param("rests", due, later.RESTS_NO_MORE, "wait_for", id="the time to wait removed"),
    pytest.param("in_branches", answered, later.BRANCH_ADDED, "parallel", id="a branch added under way"),
    pytest.param("in_branches", answered, later.BRANCH_REMOVED, "parallel", id="a branch removed under way"),
    pytest.param("in_branches", answered, later.BRANCHES_SWAPPED, "parallel", id="branches swapped under way"),
    pytest.param("in_branches", answered, later.ADDED_IN_BRANCH, "parallel", id="a step added in a branch under way"),
    pytest.param("in_branches", answered, later.BRANCHES_IN_A_ROW, "parallel", id="branches put in a row under way"),
    pytest.param("at_sites", retried, later.ADDED_FOR_EACH, "foreach_sites", id="a step added for each item"),
    pytest.param("at_sites", retried, later.REMOVED_FOR_EACH, "confirm", id="a step removed for each item"),
    pytest.param("at_sites", retried, later.FOR_EACH_OF_OTHERS, "foreach", id="another list of items"),
    pytest.param("awaits_callback", called_back, later.CALLBACK_IS_ANOTHER, "Cable", id="a callback step renamed"),
    pytest.param(
        "awaits_callback", called_back, later.CALLBACK_REMOVED, "cable.await_callback", id="a callback step removed"
    ),
]
"""What became of a workflow, and the step by which a process of it that was under way cannot go on."""


@pytest.mark.parametrize(("history", "happening", "version", "trouble"), REFUSED)
def test_a_process_is_refused_and_goes_on_with_the_steps_as_they_were_after(
    restore: Restore, history: str, happening: Happening, version: Workflow, trouble: str
) -> None:
    """The refusal says of which process, because of which step, and what to do. Nothing is lost by it."""
    restored = restore(history)
    session = restored.session(version)
    process = session.process(restored.process_id)
    before = known(process)
    try:
        happening(restored, session, process)
    except ProcessStateError as refusal:
        message = str(refusal)
    else:
        assert process.refresh().status == "failed"
        message = process.failed_reason or ""
    assert str(process.process_id) in message
    assert trouble in message
    assert "abort the process" in message
    assert (restored.logged_since(process), known(process)) == ("", before)

    assert to_the_end(restored.under(getattr(earlier, version.name))).status == "completed"


def to_the_end(process: Process) -> Process:
    """Answer and retry until the process has ended."""
    for _ in range(5):
        if process.status == "suspended":
            process.resume(TICKET, step=process.waits[0].step)
        elif process.status == "failed":
            process.retry()
    return process


@pytest.mark.parametrize(
    ("history", "happening", "version"),
    [
        pytest.param("asks", answered, later.CONFIRM_REMOVED, id="an answer at a step that is no more"),
        pytest.param("decided", answered, later.CONDITION_GONE, id="an answer after a condition changed"),
        pytest.param("failed", retried, later.CONFIGURE_REMOVED, id="a retry"),
    ],
)
def test_what_is_refused_to_a_person_changes_nothing(
    restore: Restore, history: str, happening: Happening, version: Workflow
) -> None:
    """The process stands where it stood."""
    restored = restore(history)
    before = restored.all_that_is_known()
    with pytest.raises(ProcessStateError):
        let(happening, restored, version)
    assert restored.all_that_is_known() == before


@pytest.mark.parametrize(
    ("history", "version", "logged"),
    [
        pytest.param("asks", later.CONFIRM_REMOVED, "reserve:undo abort=abort", id="at a step that is no more"),
        pytest.param("awaits_callback", later.CALLBACK_REMOVED, "reserve:undo abort=abort", id="at a callback step"),
        pytest.param("in_branches", later.BRANCH_ADDED, "abort=abort", id="in branches"),
    ],
)
def test_what_cannot_go_on_can_be_aborted(restore: Restore, history: str, version: Workflow, logged: str) -> None:
    restored = restore(history)
    process = restored.under(version).abort("The customer left")
    assert (process.status, restored.logged_since(process)) == ("aborted", logged)


def test_a_step_that_is_no_more_can_be_skipped(restore: Restore) -> None:
    restored = restore("failed")
    process = restored.under(later.CONFIGURE_REMOVED).skip("configure", "The line is configured elsewhere now")
    assert (process.status, restored.logged_since(process)) == ("completed", "configure=skipped notify done")


@pytest.mark.parametrize(
    ("version", "logged"),
    [
        pytest.param(earlier.order_line, "reserve:undo abort=abort", id="nothing changed"),
        pytest.param(later.CONFIRM_REMOVED, "reserve:undo abort=abort", id="the step that waits is no more"),
        pytest.param(later.RESERVE_RENAMED, "allocate:undo abort=abort", id="the step was renamed"),
        pytest.param(later.RESERVE_IN_A_GROUP, "prepare.reserve:undo abort=abort", id="the step is in a group now"),
        pytest.param(later.RESERVE_REMOVED, "abort=abort", id="the step is no more, and with it what undoes it"),
    ],
)
def test_an_abort_that_was_asked_for_earlier_undoes_what_was_done_where(
    restore: Restore, version: Workflow, logged: str
) -> None:
    restored = restore("to_be_aborted")
    process = let(picked_up, restored, version)
    assert (process.status, restored.logged_since(process)) == ("aborted", logged)
    assert process.failed_reason == "The customer left"


def test_an_answer_is_checked_against_the_form_of_today(restore: Restore) -> None:
    process = restore("asks").under(later.FORM_CHANGED)
    with pytest.raises(InputError, match="hours: Field required"):
        process.resume(TICKET)
    process.resume({**TICKET, "hours": 2})
    assert (process.status, known(process)) == ("completed", {**ORDERED, "hours": 2})


def test_the_next_attempt_comes_when_it_was_to_come_and_those_after_it_when_they_come_today(restore: Restore) -> None:
    restored = restore("tries_again")
    session = restored.session(later.RETRIED_EVERY_DAY)
    with earlier.out_of_order("reached"):
        due(restored, session, session.process(restored.process_id))
    [wait] = session.process(restored.process_id).waits
    assert wait.due_at == restored.time + timedelta(days=1)


def test_a_process_of_a_renamed_workflow_goes_on(restore: Restore) -> None:
    restored = restore("asks")
    process = let(answered, restored, later.WORKFLOW_RENAMED)
    assert (process.workflow, process.status, known(process)) == ("order_connection", "completed", ORDERED)


def test_a_process_of_a_workflow_that_is_no_more_can_only_be_aborted(restore: Restore) -> None:
    restored = restore("asks")
    process = restored.under(earlier.lay_cable)
    before = restored.all_that_is_known()
    with pytest.raises(ProcessStateError, match=r"order_line, which the code does not have any more.*abort"):
        process.resume(TICKET)
    assert restored.all_that_is_known() == before
    assert process.abort("There are no lines any more").status == "aborted"


def test_a_process_of_a_workflow_that_is_back_goes_on(restore: Restore) -> None:
    restored = restore("asks")
    restored.session(earlier.lay_cable)
    assert let(answered, restored, earlier.order_line).status == "completed"


def test_what_a_lifecycle_workflow_did_to_its_subscription_is_finished(restore: Restore) -> None:
    restored = restore("moves")
    session = restored.session(later.MOVES_WITH_TEST, earlier.create_fibre)
    process = session.process(restored.process_id)
    assert not earlier.Fibre.from_subscription(process.subscription_id).insync
    process.resume(TICKET)
    moved = earlier.Fibre.from_subscription(process.subscription_id)
    assert (moved.fibre.site, moved.insync, process.status) == ("Utrecht", True, "completed")


def test_a_process_that_failed_before_processes_could_wait_goes_on(restore: Restore) -> None:
    restored = restore("revision_0006")
    process = restored.under(revision_0006.repair_line)
    assert (process.status, process.failed_reason) == ("failed", "The line is out of order")
    process.retry()
    assert (process.status, restored.logged_since(process)) == ("completed", "configure done")
    assert known(process) == {"reserved": 1, "configured": 1, "spliced": 0}


def test_a_process_that_failed_before_processes_could_wait_is_aborted(restore: Restore) -> None:
    restored = restore("revision_0006")
    process = restored.under(revision_0006.repair_line).abort("The customer left")
    assert (process.status, restored.logged_since(process)) == ("aborted", "abort=abort")


def test_every_history_is_gone_on_with() -> None:
    gone_on_with = {row.values[0] for row in (*GOES_ON, *REFUSED)} | {"to_be_aborted", "revision_0006"}
    assert {path.stem for path in FOLDER.glob("*.json")} == gone_on_with


def test_no_history_says_on_which_machine_it_was_stored() -> None:
    assert not [path.name for path in FOLDER.glob("*.json") if 'File \\"/' in path.read_text()]
