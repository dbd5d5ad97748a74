"""The life of processes and of the subscriptions that they work on: whatever happens, in whatever order.

Hypothesis makes workflows, and lets things happen to their processes. The model in `process_model.py` says where each
must stand then; a trigger in the database notes every status that it ever had.

`make life` lets more happen, for longer; so does `LIFE=long`.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from process_model import ALLOWED, DUE_LATER, RETRIED, Branches, Kind, Life, Piece, Weather, Workflow
from sqlalchemy import URL, text

from orchestrator_dagster import (
    Assignee,
    EnginePausedError,
    FormGenerator,
    FormPage,
    InputError,
    Orchestrator,
    Process,
    ProcessStateError,
    Product,
    ProductBlockModel,
    StartConditionError,
    State,
    Step,
    StepList,
    SubscriptionModel,
    begin,
    callback_step,
    create_workflow,
    inputstep,
    modify_workflow,
    parallel,
    retrystep,
    step,
    wait_for,
)
from orchestrator_dagster.db.engine_settings import pause_engine, resume_engine
from orchestrator_dagster.db.processes import hand_over
from orchestrator_dagster.db.waits import waits_of
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.waiting import WaitKind
from orchestrator_dagster.errors import CallbackRefusedError
from orchestrator_dagster.jobs import going_on
from orchestrator_dagster.testing import TemporaryServer, Workbench

LONG = os.environ.get("LIFE") == "long"
HOUR = timedelta(hours=1)
SUBSCRIPTIONS = 2
NOTE_TRANSITIONS = """
    CREATE TABLE public.transitions (
        number bigint GENERATED ALWAYS AS IDENTITY, transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
        process_id uuid NOT NULL, before text, after text NOT NULL
    );
    CREATE FUNCTION public.note_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.transitions (process_id, before, after)
        VALUES (NEW.process_id, CASE TG_OP WHEN 'UPDATE' THEN OLD.last_status END, NEW.last_status);
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_start AFTER INSERT ON orchestrator.processes
        FOR EACH ROW EXECUTE FUNCTION public.note_transition();
    CREATE TRIGGER note_transition AFTER UPDATE OF last_status ON orchestrator.processes
        FOR EACH ROW WHEN (OLD.last_status <> NEW.last_status) EXECUTE FUNCTION public.note_transition();
"""
STATUSES = """
    SELECT process_id, last_status
    FROM orchestrator.processes JOIN orchestrator.workflows USING (workflow_id)
    WHERE name = 'change_lamp'
"""
# what others can see is where a process stands when a transaction ends
TRANSITIONS = """
    SELECT DISTINCT before, after
    FROM (
        SELECT (array_agg(before ORDER BY number))[1] AS before, (array_agg(after ORDER BY number DESC))[1] AS after
        FROM public.transitions
        GROUP BY process_id, transaction
    ) AS seen
    WHERE before IS DISTINCT FROM after
"""


class LampBlock(ProductBlockModel, product_block_name="Life lamp"):
    lit: int = 0


class Lamp(SubscriptionModel, is_base=True):
    lamp: LampBlock


@step("Make lamp")
def make_lamp(product: UUID, customer_id: str) -> State:
    return {"subscription": Lamp.from_product_id(product, customer_id)}


class CustomerPage(FormPage):
    customer_id: str


@create_workflow("Create lamp", initial_input_form=CustomerPage)
def create_lamp() -> StepList:
    return begin >> make_lamp


class World:
    """What the steps of the workflows meet."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.bench: Workbench | None = None

    def steps(self, workflow: Workflow) -> StepList:
        """Return the steps of a modelled workflow."""
        row = begin
        for part in workflow:
            row = row >> (self.step(part) if isinstance(part, Piece) else parallel(*map(self.steps, part.sides)))
        return row

    def step(self, piece: Piece) -> Step | StepList:
        """Return the step of a piece; a call is several."""
        made = {
            Kind.WORK: self.work,
            Kind.RING: self.ring,
            Kind.ASK: self.ask,
            Kind.CALL: self.call,
            Kind.REST: lambda key: wait_for(HOUR, f"Rest {key}"),
        }
        return made[piece.kind](piece.key)

    def work(self, key: str) -> Step:
        def work(process_id: UUID) -> State:
            if self.weather.broken:
                raise RuntimeError("it is broken")
            self.meanwhile(process_id)
            return {key: True}

        return step(f"Work {key}")(named(work, key))

    def ring(self, key: str) -> Step:
        def ring() -> State:
            if not self.weather.line_up:
                raise ConnectionError("the line is down")
            return {key: True}

        return retrystep(f"Ring {key}", retry_every=HOUR)(named(ring, key))

    def ask(self, key: str) -> Step:
        def ask() -> FormGenerator:
            class Answer(FormPage):
                number: int

            answer = yield Answer
            return {key: answer.number}

        return inputstep(f"Ask {key}", assignee=Assignee.NOC)(named(ask, key))

    def call(self, key: str) -> Any:
        def dial() -> State:
            return {}

        def look() -> State:
            return {key: True}

        return callback_step(
            key,
            step(f"Dial {key}")(named(dial, f"dial_{key}")),
            step(f"Look {key}")(named(look, f"look_{key}")),
            callback_route_key=f"route_{key}",
            result_key=f"result_{key}",
        )

    def meanwhile(self, process_id: UUID) -> None:
        """Let happen what is to happen while a step works, as somebody else would."""
        assert self.bench is not None
        session = self.bench.session
        with session.orchestrator.database.engine.begin() as connection:
            if self.weather.meanwhile == "abort":
                going_on.abort(connection, session.orchestrator.workflows, process_id, "meanwhile", user="eve")
            elif self.weather.meanwhile == "pause":
                pause_engine(connection, "eve", "meanwhile")
            self.weather.meanwhile = None


def named(function: Any, name: str) -> Any:
    function.__name__ = name
    return function


_kinds = st.sampled_from(Kind)
_row = st.lists(_kinds, min_size=1, max_size=2)
_parts = st.lists(_kinds | st.tuples(_row, _row), min_size=1, max_size=4)


def modelled(parts: Sequence[Any]) -> Workflow:
    """Give each step of a drawn workflow its key."""
    count = iter(range(100))

    def piece(kind: Kind) -> Piece:
        return Piece(kind, f"{kind}_{next(count)}")

    return [
        piece(part) if isinstance(part, Kind) else Branches(tuple(tuple(map(piece, side)) for side in part))
        for part in parts
    ]


class LifeOfProcesses(RuleBasedStateMachine):
    """Things that happen to processes."""

    server: TemporaryServer

    @initialize(parts=_parts, in_sync_after_abort=st.booleans())
    def begin(self, parts: Sequence[Any], in_sync_after_abort: bool) -> None:
        self.weather = Weather()
        # what happens to the steps decides for itself: the model's weather changes with the model
        self.world = World(Weather())
        self.workflow = modelled(parts)
        self.in_sync_after_abort = in_sync_after_abort
        self.processes: dict[UUID, tuple[Life, UUID]] = {}
        self.holder: dict[UUID, UUID | None] = {}
        self.in_sync: dict[UUID, bool] = {}

        @modify_workflow("Change lamp", insync_on_abort=in_sync_after_abort)
        def change_lamp() -> StepList:
            return self.world.steps(self.workflow)

        self.opened = ExitStack()
        database = self.opened.enter_context(self.server.database())
        lamps = Product("Life lamp", Lamp, workflows=[create_lamp, change_lamp])
        self.bench = self.world.bench = self.opened.enter_context(Workbench(Orchestrator([lamps]), database=database))
        self.engine = self.bench.session.orchestrator.database.engine
        with self.engine.begin() as connection:
            connection.execute(text(NOTE_TRANSITIONS))
        for _ in range(SUBSCRIPTIONS):
            lamp = self.bench.run("create_lamp", {"product": "Life lamp", "customer_id": "acme"}).subscription_id
            self.holder[lamp], self.in_sync[lamp] = None, True

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.close()

    def let(self, **weather: Any) -> None:
        """Let there be another weather, in the world and in the model."""
        for name, value in weather.items():
            setattr(self.weather, name, value)
            setattr(self.world.weather, name, value)

    def run(self, process_id: UUID, ready: Sequence[str] = ()) -> None:
        """Let the model do what a run does, and the subscription what follows from that."""
        life, _ = self.processes[process_id]
        life.run(self.weather, ready)
        self.world.weather.meanwhile = self.weather.meanwhile
        self.settle(process_id)

    def settle(self, process_id: UUID) -> None:
        life, lamp = self.processes[process_id]
        if life.ended and self.holder[lamp] == process_id:
            self.holder[lamp] = None
            self.in_sync[lamp] = self.in_sync_after_abort if life.aborted else True

    def standing(self, *kinds: WaitKind) -> list[tuple[UUID, str]]:
        """Return the steps that wait for something of these kinds, with their processes."""
        return [(each, key) for each, (life, _) in self.processes.items() for key in life.waiting(*kinds)]

    def a_step(self, data: st.DataObject, *kinds: WaitKind) -> tuple[Process, Life, str, str]:
        """Draw a step that waits; return its process, that in the model, its key there and its key in the log."""
        process_id, key = data.draw(st.sampled_from(self.standing(*kinds)))
        with self.engine.connect() as connection:
            (logged,) = [step for step in waits_of(connection, process_id) if key in step]
        return self.bench.process(process_id), self.processes[process_id][0], key, logged

    @rule(weather=st.fixed_dictionaries({"broken": st.booleans(), "line_up": st.booleans()}))
    def the_weather_changes(self, weather: dict[str, bool]) -> None:
        self.let(**weather)

    @rule(happens=st.sampled_from(["abort", "pause"]))
    def something_happens_while_the_next_step_works(self, happens: str) -> None:
        self.let(meanwhile=happens)

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        lamp = data.draw(st.sampled_from(list(self.holder)))
        given = {"subscription_id": lamp}
        if self.weather.paused or self.holder[lamp] or not self.in_sync[lamp]:
            refusal = EnginePausedError if self.weather.paused else StartConditionError
            with pytest.raises(refusal):
                self.bench.run("change_lamp", given)
            return
        process = self.bench.run("change_lamp", given)
        self.processes[process.process_id] = Life(self.workflow), lamp
        self.holder[lamp], self.in_sync[lamp] = process.process_id, False
        self.run(process.process_id)

    @precondition(lambda self: self.standing(WaitKind.INPUT))
    @rule(data=st.data(), number=st.integers(0, 2), again=st.booleans())
    def answer(self, data: st.DataObject, number: int, again: bool) -> None:
        process, _, key, logged = self.a_step(data, WaitKind.INPUT)
        if self.weather.paused:
            with pytest.raises(EnginePausedError):
                process.resume({"number": number}, step=logged)
            return
        process.resume({"number": number}, step=logged)
        self.run(process.process_id, [key])
        if again and not self.weather.paused:
            # the same words once more change nothing, and other words are refused
            process.resume({"number": number}, step=logged)
            with pytest.raises(ProcessStateError):
                process.resume({"number": number + 1}, step=logged)

    @precondition(lambda self: self.standing(WaitKind.INPUT) and not self.weather.paused)
    @rule(data=st.data(), wrong=st.sampled_from([{}, {"number": "many"}, {"number": 1, "more": 2}]))
    def a_wrong_answer_is_refused(self, data: st.DataObject, wrong: dict[str, Any]) -> None:
        process, _, _, logged = self.a_step(data, WaitKind.INPUT)
        with pytest.raises(InputError):
            process.resume(wrong, step=logged)

    @precondition(lambda self: self.standing(*RETRIED))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        process, life, _, _ = self.a_step(data, *RETRIED)
        if self.weather.paused:
            with pytest.raises(EnginePausedError):
                process.retry()
            return
        process.retry()
        self.run(process.process_id, life.waiting(*RETRIED))

    @precondition(lambda self: self.standing(*WaitKind) and not self.weather.paused)
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        process, life, key, logged = self.a_step(data, *WaitKind)
        process.skip(logged, "not needed")
        life.skip(key)
        self.run(process.process_id)

    @precondition(lambda self: self.standing(*WaitKind) and not self.weather.paused)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        process, life, _, _ = self.a_step(data, *WaitKind)
        process.abort("not wanted")
        life.abort()
        self.settle(process.process_id)

    @precondition(lambda self: any(life.ended for life, _ in self.processes.values()))
    @rule(data=st.data())
    def what_has_ended_stays_as_it_is(self, data: st.DataObject) -> None:
        ended = [each for each, (life, _) in self.processes.items() if life.ended]
        process = self.bench.process(data.draw(st.sampled_from(ended)))
        if process.status is ProcessStatus.ABORTED:
            process.abort("once more")
        else:
            with pytest.raises(ProcessStateError):
                process.abort("too late")
        refusal = EnginePausedError if self.weather.paused else ProcessStateError
        with pytest.raises(refusal):
            process.retry()

    @precondition(lambda self: self.standing(WaitKind.CALLBACK))
    @rule(data=st.data(), body=st.integers(), again=st.booleans())
    def the_system_outside_calls_back(self, data: st.DataObject, body: int, again: bool) -> None:
        process, _, key, _ = self.a_step(data, WaitKind.CALLBACK)
        route = self.route(process, key)
        if self.weather.paused:
            with pytest.raises(EnginePausedError):
                self.bench.callback(process, body, route=route)
            return
        self.bench.callback(process, body, route=route)
        self.run(process.process_id, [key])
        if again and not self.weather.paused:
            self.bench.callback(process, body, route=route)
            with pytest.raises(CallbackRefusedError):
                self.bench.callback(process, body + 1, route=route)

    def route(self, process: Process, key: str) -> str:
        """Return where the system outside calls back: inside a branch only the log knows."""
        (row,) = [row for row in process.steps if f"route_{key}" in row.changed]
        return str((row.changes or {})[f"route_{key}"])

    @precondition(lambda self: not self.weather.paused)
    @rule()
    def time_passes(self) -> None:
        self.bench.clock.jump(2 * HOUR)
        due = {each for each, _ in self.standing(*DUE_LATER)}
        went_on = [process.process_id for process in self.bench.go_on()]
        assert set(went_on) == due
        for each in went_on:
            self.run(each, self.processes[each][0].waiting(*DUE_LATER))

    @precondition(lambda self: self.standing(*RETRIED) and not self.weather.paused)
    @rule(data=st.data())
    def the_worker_that_tries_again_dies(self, data: st.DataObject) -> None:
        process, life, _, _ = self.a_step(data, *RETRIED)
        session = self.bench.session
        with self.engine.begin() as connection:
            going_on.retry(connection, session.orchestrator.workflows, process.process_id, user="eve")
        with self.engine.begin() as connection:
            # a worker that dies right after this leaves just that: a process that runs, and nobody has its lease
            hand_over(connection, process.process_id, str(uuid4()))
        self.bench.go_on()
        self.run(process.process_id, life.waiting(*RETRIED))

    @precondition(lambda self: self.weather.paused)
    @rule()
    def the_engine_goes_on(self) -> None:
        assert self.bench.go_on() == []
        with self.engine.begin() as connection:
            resume_engine(connection, "eve")
        self.let(paused=False)
        stopped = [each for each, (life, _) in self.processes.items() if life.status is ProcessStatus.RESUMED]
        assert [process.process_id for process in self.bench.go_on()] == stopped
        for each in stopped:
            self.run(each)

    @invariant()
    def processes_stand_where_the_model_says(self) -> None:
        if not hasattr(self, "processes"):
            return
        with self.engine.connect() as connection:
            found = {row.process_id: row.last_status for row in connection.execute(text(STATUSES))}
            waits = {each: set(waits_of(connection, each)) for each in self.processes}
        assert found == {each: life.status for each, (life, _) in self.processes.items()}
        assert {each: len(of) for each, of in waits.items()} == {
            each: len(life.waits) for each, (life, _) in self.processes.items()
        }

    @invariant()
    def subscriptions_are_held_by_who_works_on_them(self) -> None:
        if hasattr(self, "processes"):
            rows = self.bench.session.subscriptions()
            assert {row.subscription_id: (row.held_by, row.insync) for row in rows} == {
                lamp: (holder, self.in_sync[lamp]) for lamp, holder in self.holder.items()
            }

    @invariant()
    def no_transition_was_one_that_there_may_not_be(self) -> None:
        if hasattr(self, "processes"):
            with self.engine.connect() as connection:
                found = connection.execute(text(TRANSITIONS)).all()
            statuses = [(before and ProcessStatus(before), ProcessStatus(after)) for before, after in found]
            assert not set(statuses) - ALLOWED


def test_no_illegal_transition_is_reachable(database_server: URL) -> None:
    with TemporaryServer(database_server.render_as_string(hide_password=False)) as server:
        LifeOfProcesses.server = server
        run_state_machine_as_test(
            LifeOfProcesses,
            settings=settings(
                max_examples=300 if LONG else 12,
                stateful_step_count=40 if LONG else 15,
                deadline=None,
                derandomize=not LONG,
                # to look for a shorter way to a failure takes minutes
                phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
