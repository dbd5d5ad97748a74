"""The words of the workflow language: what they make, and what they refuse."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from orchestrator_dagster import (
    Assignee,
    AuthContext,
    DefinitionError,
    FormGenerator,
    FormPage,
    NotAuthorizedError,
    RetrySchedule,
    State,
    StepList,
    SubscriptionLifecycle,
    Workflow,
    abort,
    begin,
    callback_step,
    conditional,
    create_workflow,
    done,
    finally_,
    focussteps,
    foreach,
    init,
    inputstep,
    modify_workflow,
    obsolete_step,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    steplens,
    task,
    validate_workflow,
    wait_for,
    wait_until,
    workflow,
)
from orchestrator_dagster.domain.authorisation import authorize, authorizer_of, is_allowed
from orchestrator_dagster.ops.awaited import Callback, ChildWorkflow, Timer
from orchestrator_dagster.ops.injection import Ambient
from orchestrator_dagster.ops.planning import plan
from orchestrator_dagster.ops.step import Chainable, Step, StepKind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@step("One")
def one() -> State:
    return {}


@step("Two")
def two() -> State:
    return {}


@inputstep("Ask", assignee=Assignee.NOC)
def ask() -> FormGenerator:
    class Answer(FormPage):
        ticket: str

    answer = yield Answer
    return answer.model_dump()


def returned(made: Step, state: State) -> Any:
    return made.function(**made.signature.arguments(state, Ambient()))


def workflow_of(steps: Chainable, **options: Any) -> Workflow:
    def shapes() -> Chainable:
        return steps

    return workflow("Shapes", **options)(shapes)


def test_a_group_has_its_key_from_its_title() -> None:
    group = step_group("Provision line (both ends)", one)
    assert (group.key, str(begin >> group >> two)) == (
        "provision_line_both_ends",
        "StepList [Provision line (both ends), Two]",
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: step_group("Dig", begin), "Group Dig has no steps"),
        (lambda: parallel(one), "parallel takes two branches or more, not 1"),
        (parallel, "parallel takes two branches or more, not 0"),
        (lambda: parallel(one, begin), "parallel: branch 2 has no steps"),
        (lambda: foreach("saps")(begin), r"foreach\('saps'\) has no steps"),
        (lambda: foreach("a")(foreach("b")(one)), r"foreach\('a'\) has a foreach within it"),
        (lambda: foreach("a")(step_group("g", foreach("b")(one))), "has a foreach within it"),
        (lambda: foreach("a")(parallel(one, foreach("b")(one))), "has a foreach within it"),
        (lambda: parallel(one, "two"), "Expected @step decorated function .* with name two"),  # type: ignore[arg-type]
        (lambda: begin >> len, "Expected @step decorated function .* with name len"),  # type: ignore[operator]
        (lambda: finally_(ask), "finally_ takes plain steps and groups of them; Ask waits or branches"),
        (lambda: finally_(step_group("g", begin >> one >> ask)), "Ask waits or branches"),
        (lambda: finally_(parallel(one, two)), "Parallel waits or branches"),
        (lambda: focussteps("sub")(parallel(one, two)), "A lens cannot be put around Parallel"),
        (lambda: focussteps("sub")(begin >> foreach("a")(one)), "A lens cannot be put around For each of a"),
        (lambda: step("S", timeout=0)(one.function), "The timeout of step S is longer than nothing, not 0"),
        (lambda: retrystep("S", timeout=timedelta(seconds=-1))(one.function), "is longer than nothing"),
        (lambda: retrystep("S", retry_every=0)(one.function), "retry_every of step S is longer than nothing"),
        (lambda: step("S", compensate=ask)(one.function), "compensate takes a function or a plain step; Ask waits"),
        (lambda: callback_step("C", one, timeout=0), "The timeout of C is longer than nothing"),
        (lambda: wait_until(datetime(2026, 1, 1)), "needs to know the time zone"),  # noqa: DTZ001
    ],
)
def test_what_is_not_possible_is_refused_where_it_is_declared(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"backoff": 0.5}], ids=str)
def test_a_schedule_of_retries_makes_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        retrystep("S", **wrong)


def test_a_step_function_is_neither_async_nor_a_generator() -> None:
    async def later() -> State:
        return {}

    def yielding() -> Any:
        yield {}

    for function in (later, yielding):
        with pytest.raises(DefinitionError, match="neither async nor a generator"):
            step("Later")(function)  # type: ignore[arg-type]


def test_a_step_takes_its_timeout_in_seconds_too() -> None:
    assert step("S", timeout=90)(dict).timeout == timedelta(seconds=90)


def test_a_retrystep_is_tried_again_every_hour_unless_it_says_otherwise() -> None:
    assert retrystep("S")(dict).retry == RetrySchedule(retry_every=timedelta(hours=1))
    mine = retrystep("S", retry_every=10, max_attempts=3, backoff=2)(dict)
    assert mine.retry == RetrySchedule(retry_every=timedelta(seconds=10), max_attempts=3, backoff=2)
    assert step("S")(dict).retry is None


def test_a_step_is_undone_by_a_function_or_a_step() -> None:
    def undo(address: str) -> State:
        return {"address": None}

    by_function = step("Reserve", compensate=undo)(dict).compensate
    assert by_function is not None
    assert (by_function.name, by_function.key) == ("Undo Reserve", "undo")
    assert step("Reserve", compensate=one)(dict).compensate is one


@pytest.mark.parametrize(
    "around",
    [conditional(bool), focussteps("sub"), steplens(lambda state: state, lambda _: lambda part: part)],
    ids=["conditional", "focussteps", "steplens"],
)
def test_what_is_put_around_a_step_leaves_all_else_of_it_as_it_is(around: Any) -> None:
    def allowed(_: AuthContext) -> bool:
        return True

    given = inputstep("Ask", Assignee.NOC, allowed, allowed, renamed_from="asked")(ask.function)
    changed = around(given)
    kept = (
        "name",
        "key",
        "function",
        "kind",
        "assignee",
        "resume_auth_callback",
        "retry_auth_callback",
        "renamed_from",
    )
    assert [getattr(changed, name) for name in kept] == [getattr(given, name) for name in kept]


def test_conditions_are_put_around_all_shapes_and_around_decorated_steps() -> None:
    wanted = conditional(lambda state: state["wanted"])

    @wanted
    @step("Notify")
    def notify() -> State:
        return {}

    shapes = [notify, wanted(step_group("G", one)), wanted(parallel(one, two)), wanted(foreach("a")(one))]
    assert [len(shape.conditions) for shape in shapes] == [1, 1, 1, 1]
    a_list = wanted(begin >> one >> step_group("G", two))
    assert len({element.conditions for element in a_list}) == 1


def test_a_lens_sees_a_part_of_the_state_and_puts_it_back() -> None:
    def put(state: State) -> Any:
        return lambda part: {**state, "cable": {**state["cable"], "core": part}}

    (lens,) = steplens(lambda state: state["cable"]["core"], put)(one).lenses
    state = {"cable": {"core": {"n": 1}, "length": 3}, "site": "Utrecht"}
    assert lens.get(state) == {"n": 1}
    assert lens.set(state)({"n": 2}) == {"cable": {"core": {"n": 2}, "length": 3}, "site": "Utrecht"}


def test_a_key_that_the_state_does_not_have_is_an_empty_part() -> None:
    (lens,) = focussteps("cable")(one).lenses
    assert lens.get({}) == {}
    assert lens.set({"site": "Utrecht"})({"n": 1}) == {"site": "Utrecht", "cable": {"n": 1}}


def test_lenses_are_looked_through_from_the_outside() -> None:
    inner, outer = focussteps("inner"), focussteps("outer")
    group = outer(begin >> step_group("G", inner(begin >> one >> two)) >> one)
    lenses = [[lens.set({})({}) for lens in planned.step.lenses] for planned in plan(group).values()]
    assert lenses == [[{"outer": {}}, {"inner": {}}], [{"outer": {}}, {"inner": {}}], [{"outer": {}}]]


def test_a_list_is_changed_step_by_step_within_its_shapes_too() -> None:
    shapes = begin >> one >> step_group("G", one) >> parallel(one, one) >> foreach("a")(one)
    changed = plan(shapes.map(lambda _: two)).values()
    assert {planned.step.name for planned in changed if planned.step.kind is StepKind.STEP} == {"Two"}


@pytest.mark.parametrize(
    ("waits", "state", "due"),
    [
        (wait_for(timedelta(hours=2)), {}, "2026-03-01T14:00:00+00:00"),
        (wait_for(90), {}, "2026-03-01T12:01:30+00:00"),
        (wait_for("pause"), {"pause": "PT2H"}, "2026-03-01T14:00:00+00:00"),
        (wait_for("pause"), {"pause": 90}, "2026-03-01T12:01:30+00:00"),
        (wait_for(lambda minutes: timedelta(minutes=minutes)), {"minutes": 5}, "2026-03-01T12:05:00+00:00"),
        (wait_until(NOW), {}, "2026-03-01T12:00:00+00:00"),
        (wait_until("window"), {"window": "2026-04-01T00:00:00+02:00"}, "2026-04-01T00:00:00+02:00"),
        (wait_until(lambda window: window), {"window": "2026-04-01T00:00:00Z"}, "2026-04-01T00:00:00+00:00"),
    ],
)
def test_a_timer_says_when_it_is_due(waits: Step, state: State, due: str) -> None:
    assert waits.kind is StepKind.TIMER
    assert isinstance(waits.waiting, Timer)
    assert waits.waiting.due(returned(waits, state), now=NOW).isoformat() == due


@pytest.mark.parametrize(
    ("waits", "state"),
    [
        (wait_for("pause"), {"pause": "soon"}),
        (wait_until("window"), {"window": "2026-04-01T00:00:00"}),
        (wait_until("window"), {"window": None}),
        (wait_until("window"), {}),
    ],
)
def test_a_time_that_is_none_is_an_error_of_the_step(waits: Step, state: State) -> None:
    assert isinstance(waits.waiting, Timer)
    with pytest.raises(ValueError, match=r".+"):
        waits.waiting.due(returned(waits, state), now=NOW)


def test_timers_have_titles_that_say_what_they_wait_for_and_keys_that_stay() -> None:
    def maintenance_window() -> datetime:
        return NOW

    timers = [wait_for(90), wait_until("window"), wait_until(maintenance_window), wait_for(90, "Cool down")]
    assert [(timer.key, timer.name) for timer in timers] == [
        ("wait_for", "Wait for 90"),
        ("wait_until", "Wait until window"),
        ("wait_until", "Wait until maintenance_window"),
        ("cool_down", "Cool down"),
    ]


def test_another_workflow_gets_its_input_from_a_value_or_a_function() -> None:
    by_value = run_workflow("create_port", {"speed": 10})
    by_function = run_workflow("create_port", lambda node_id: {"node": node_id}, result_key="port")
    assert (by_value.key, by_value.kind) == ("run_create_port", StepKind.PROCESS)
    assert by_function.waiting == ChildWorkflow("create_port", "port")
    assert [returned(by_value, {}), returned(by_function, {"node_id": 7})] == [{"speed": 10}, {"node": 7}]
    assert returned(run_workflow("clean_up"), {}) == {}


def test_a_callback_step_makes_a_path_asks_waits_and_validates() -> None:
    made = callback_step("Cable", one, two, result_key="cable", timeout=60)
    planned = plan(begin >> made)
    assert {key: place.restarts for key, place in planned.items()} == {
        "cable.create_endpoint": None,
        "cable.one": None,
        "cable.await_callback": "cable",
        "cable.two": "cable",
    }
    awaiting = planned["cable.await_callback"].step
    assert awaiting.kind is StepKind.CALLBACK
    assert awaiting.waiting == Callback("cable", timedelta(seconds=60))


def test_a_callback_step_needs_no_validation() -> None:
    assert callback_step("Cable", one).steps[-1].name == "Cable - Await callback"


def test_a_step_of_a_callback_step_has_a_name_of_its_own() -> None:
    @step("Await")
    def await_callback() -> State:
        return {}

    with pytest.raises(DefinitionError, match="cannot be called await_callback"):
        callback_step("Cable", await_callback)


def test_steps_of_the_end_run_after_the_decorator_s_own_steps() -> None:
    @create_workflow("Create", additional_steps=begin >> two >> finally_(two))
    def create() -> StepList:
        return begin >> one >> finally_(one)

    assert list(create.plan) == ["init", "one", "two", "set_status", "resync", "one_2", "two_2", "done"]
    assert [key for key, planned in create.plan.items() if planned.finally_] == ["one_2", "two_2"]


def test_steps_of_the_end_stand_at_the_end() -> None:
    with pytest.raises(DefinitionError, match="finally_ steps stand at the end; Two comes after them"):

        @modify_workflow("Modify")
        def modify() -> StepList:
            return begin >> finally_(one) >> two

    with pytest.raises(DefinitionError, match="Workflow shapes: finally_ steps stand at the end; Two comes after them"):
        workflow_of(begin >> finally_(one) >> two >> done)
    for within in (step_group("G", finally_(one)), parallel(one, finally_(two)), foreach("a")(finally_(one))):
        with pytest.raises(DefinitionError, match="finally_ steps stand at the end of a workflow, not within"):
            workflow_of(begin >> within)
    assert list(workflow_of(begin >> one >> finally_(one) >> finally_(two) >> done).plan)[-1] == "done"


def test_a_workflow_says_what_an_abort_leaves_behind() -> None:
    @create_workflow(
        "Create", status_on_abort=SubscriptionLifecycle.TERMINATED, insync_on_abort=True, undo_on_failure=True
    )
    def create() -> StepList:
        return begin >> one

    assert (create.status_on_abort, create.insync_on_abort, create.undo_on_failure) == ("terminated", True, True)
    plain = workflow_of(one)
    assert (plain.status_on_abort, plain.insync_on_abort, plain.undo_on_failure) == (None, None, False)


def test_decorators_take_callbacks_in_the_places_of_the_reference() -> None:
    def start(_: AuthContext) -> bool:
        return True

    def retry(_: AuthContext) -> bool:
        return True

    active = SubscriptionLifecycle.ACTIVE
    decorators = [
        create_workflow("w", None, active, None, start, retry, None),
        modify_workflow("w", None, None, start, retry, None),
        task("w", None, None, start, retry, None),
        validate_workflow("w", None, authorize_callback=start, retry_auth_callback=retry),
    ]
    made = [decorate(lambda: one) for decorate in decorators]
    assert {(each.authorize_callback, each.retry_auth_callback) for each in made} == {(start, retry)}


def test_who_may_act_is_said_by_the_step_before_its_group_and_its_workflow() -> None:
    def of_step(_: AuthContext) -> bool:
        return True

    def of_group(_: AuthContext) -> bool:
        return True

    def to_start(_: AuthContext) -> bool:
        return True

    own = step("Own", retry_auth_callback=of_step)(one.function)
    answered = inputstep("Ask", Assignee.NOC, resume_auth_callback=of_step)(ask.function)
    steps = begin >> step_group("G", begin >> own >> two >> answered, retry_auth_callback=of_group) >> one
    shapes = workflow_of(steps, authorize_callback=to_start)

    def deciding(action: Any, key: str) -> Any:
        return authorizer_of(AuthContext("ada", action, shapes, shapes.plan[key].step))

    assert [deciding("retry_workflow", key) for key in shapes.plan] == [of_step, of_group, of_step, to_start]
    assert [deciding("resume_workflow", key) for key in ("g.two", "g.ask")] == [to_start, of_step]
    assert authorizer_of(AuthContext("ada", "start_workflow", shapes)) is to_start


def test_who_may_retry_is_who_may_start_unless_the_workflow_says_otherwise() -> None:
    def nobody(_: AuthContext) -> bool:
        return False

    shapes = workflow_of(one, retry_auth_callback=nobody)
    authorize(AuthContext("ada", "start_workflow", shapes))
    with pytest.raises(NotAuthorizedError) as refusal:
        authorize(AuthContext("ada", "retry_workflow", shapes, shapes.plan["one"].step))
    assert (refusal.value.user, refusal.value.action) == ("ada", "retry_workflow")


def test_a_callback_may_be_async_where_an_event_loop_runs_too() -> None:
    async def only_ada(context: AuthContext) -> bool:
        return context.user == "ada"

    shapes = workflow_of(one)

    async def in_a_notebook() -> list[bool]:
        return [is_allowed(only_ada, AuthContext(user, "start_workflow", shapes)) for user in ("ada", "bob")]

    assert asyncio.run(in_a_notebook()) == [True, False]
    assert is_allowed(only_ada, AuthContext("ada", "start_workflow", shapes))


def test_there_are_steps_that_abort_and_steps_that_do_nothing() -> None:
    assert (abort.kind, abort.name) == (StepKind.ABORT, "Abort")
    assert str(begin >> init >> obsolete_step >> conditional(bool)(abort)) == "StepList [Start, Obsolete step, Abort]"


@dg.op
def counted(state: dict) -> dict:
    return state


def test_an_op_of_dagster_stands_anywhere_in_a_row() -> None:
    @dg.op
    def measured(state: dict) -> dict:
        return state

    steps = counted >> one >> measured >> parallel(counted, begin >> counted) >> conditional(bool)(measured)
    assert list(plan(steps)) == ["counted", "one", "measured", "counted_2", "counted_3", "join", "measured_2"]
    assert str(counted >> (begin >> one)) == "StepList [Counted, One]"


@dg.op(ins={"a": dg.In(), "b": dg.In()})
def two_inputs(a, b) -> dict:  # type: ignore[no-untyped-def]
    return {}


@dg.op(out={"a": dg.Out(), "b": dg.Out()})
def two_outputs():  # type: ignore[no-untyped-def]
    return {}, {}


@dg.op(out=dg.DynamicOut())
def dynamic():  # type: ignore[no-untyped-def]
    yield dg.DynamicOutput(1, "a")


@dg.op
def takes_a_number(n: int) -> dict:
    return {}


@dg.op
def returns_a_number(state: dict) -> int:
    return 1


@dg.op(config_schema={"site": str})
def needs_config(state: dict) -> dict:
    return {}


raw = dg.OpDefinition(name="raw", compute_fn=lambda _context, _inputs: iter(()))


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (two_inputs, "Op two_inputs has 2 inputs"),
        (two_outputs, "Op two_outputs has several outputs"),
        (dynamic, "Op dynamic has several outputs"),
        (takes_a_number, "Op takes_a_number has 'n' of type Int"),
        (returns_a_number, "Op returns_a_number has 'result' of type Int"),
        (needs_config, "Op needs_config cannot do without config"),
        (raw, "Op raw is not made with @op"),
    ],
    ids=lambda given: given if isinstance(given, str) else given.name,
)
def test_an_op_of_dagster_that_is_no_step_is_refused_with_what_is_possible(op: dg.OpDefinition, why: str) -> None:
    with pytest.raises(DefinitionError, match=f"{why}: an op in a workflow takes `context`, resources and the state"):
        begin >> op
