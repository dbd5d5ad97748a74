"""Steps and workflows: how a step gets its values, what it leaves behind, and how a process goes on after a failure."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
from annotated_types import Len
from pydantic import BaseModel
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    DefinitionError,
    FormPage,
    InjectionError,
    Orchestrator,
    Process,
    ProcessFailureError,
    ProcessStateError,
    Product,
    ProductBlockModel,
    RefusalError,
    Session,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    Target,
    Workflow,
    begin,
    conditional,
    create_workflow,
    done,
    ensure_provisioning_status,
    init,
    modify_workflow,
    reconcile_workflow,
    resync,
    retrystep,
    set_status,
    step,
    store_process_subscription,
    task,
    terminate_workflow,
    unsync,
    validate_workflow,
    workflow,
)


class LampBlockInactive(ProductBlockModel, product_block_name="Step lamp"):
    name: str | None = None
    watts: int | None = None
    marks: Annotated[list[str], Len(max_length=4)] = []


class LampBlock(LampBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    name: str
    watts: int


class LampInactive(SubscriptionModel, is_base=True):
    lamp: LampBlockInactive


class LampProvisioning(LampInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    """Nothing more is known of it than before."""


class Lamp(LampInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    lamp: LampBlock


class FuseBlock(ProductBlockModel, product_block_name="Step fuse"):
    amperes: int = 16


class Fuse(SubscriptionModel, is_base=True):
    fuse: FuseBlock


class Bell(dg.ConfigurableResource):  # type: ignore[type-arg]
    sound: str

    def ring(self) -> str:
        return f"{self.sound}!"


class Shade(Enum):
    WARM = "warm"
    COLD = "cold"


class Place(BaseModel):
    room: str
    since: date


class LampForm(FormPage):
    customer_id: str = "acme"
    name: str = "hall"
    watts: int = 10


@step("Construct lamp")
def construct_lamp(product: UUID, customer_id: str, name: str, watts: int) -> State:
    subscription = LampInactive.from_product_id(product, customer_id)
    subscription.lamp.name = name
    subscription.lamp.watts = watts
    subscription.description = f"Lamp {name}"
    return {"subscription": subscription}


@create_workflow("Create lamp", initial_input_form=LampForm)
def create_lamp() -> StepList:
    return begin >> construct_lamp


@step("Construct fuse")
def construct_fuse(product: UUID) -> State:
    return {"subscription": Fuse.from_product_id(product, "acme")}


@create_workflow("Create fuse")
def create_fuse() -> StepList:
    return begin >> construct_fuse


Connect = Callable[..., Session]


@pytest.fixture
def connect(orchestrator_database: str) -> Iterator[Connect]:
    """Open a session in which lamps and fuses can be made and the given workflows run."""
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())

        def connect(*workflows: Workflow, resources: dict[str, Any] | None = None, **options: Any) -> Session:
            of_lamps = [w for w in workflows if w.target is not Target.SYSTEM]
            orchestrator = Orchestrator(
                products=[
                    Product("Lamp", Lamp, workflows=[create_lamp, *of_lamps]),
                    Product("Fuse", Fuse, workflows=[create_fuse]),
                ],
                workflows=[w for w in workflows if w.target is Target.SYSTEM],
                resources={"bell": Bell(sound="ding"), "number": 7} | (resources or {}),
            )
            return stack.enter_context(orchestrator.connect(instance=instance, **options))

        yield connect


def new_lamp(wfo: Session, **form: Any) -> UUID:
    created = wfo.run("create_lamp", {"product": "Lamp", **form})
    assert created.status == "completed", created.traceback
    assert created.subscription_id
    return created.subscription_id


RunSteps = Callable[..., Process]


@pytest.fixture
def run_steps(module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunSteps]:
    """Run steps as a task that starts with a state."""
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", module_database_url)
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())

        def run_steps(steps: Any, **given: Any) -> Process:
            def form() -> Any:
                yield from ()
                return given

            @task("Some steps", initial_input_form=form)
            def some_steps() -> StepList:
                return begin >> steps

            resources = {"bell": Bell(sound="ding"), "number": 7}
            orchestrator = Orchestrator([], workflows=[some_steps], resources=resources)
            return stack.enter_context(orchestrator.connect(instance=instance)).run("some_steps")

        yield run_steps


def statuses(process: Process) -> dict[str, str]:
    return {row.step: str(row.status) for row in process.steps}


class Attempts:
    """Fails as often as it is told to; counts."""

    def __init__(self, failures: int = 1) -> None:
        self.failures = failures
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if self.count <= self.failures:
            raise RuntimeError(f"attempt {self.count} failed")


class TestInjection:
    def test_parameters_are_filled_by_name_and_converted_to_their_annotation(self, run_steps: RunSteps) -> None:
        seen: dict[str, Any] = {}
        an_id = uuid4()

        @step("Give")
        def give() -> State:
            return {
                "an_id": an_id,
                "ids": [an_id],
                "day": date(2024, 2, 29),
                "moment": datetime(2024, 2, 29, 12, tzinfo=UTC),
                "price": Decimal("1.10"),
                "address": IPv4Address("10.0.0.1"),
                "shade": Shade.COLD,
                "place": Place(room="hall", since=date(2024, 1, 1)),
                "places": {"a": [Place(room="hall", since=date(2024, 1, 1))]},
            }

        @step("Take")
        def take(
            an_id: UUID,
            ids: list[UUID],
            day: date,
            moment: datetime,
            price: Decimal,
            address: IPv4Address | None,
            shade: Shade,
            place: Place,
            places: dict[str, list[Place]],
        ) -> None:
            seen.update(locals())
            del seen["seen"]

        process = run_steps(give >> take)
        assert process.status == "completed", process.traceback
        assert seen == {
            "an_id": an_id,
            "ids": [an_id],
            "day": date(2024, 2, 29),
            "moment": datetime(2024, 2, 29, 12, tzinfo=UTC),
            "price": Decimal("1.10"),
            "address": IPv4Address("10.0.0.1"),
            "shade": Shade.COLD,
            "place": Place(room="hall", since=date(2024, 1, 1)),
            "places": {"a": [Place(room="hall", since=date(2024, 1, 1))]},
        }

    def test_the_state_itself_is_json(self, run_steps: RunSteps) -> None:
        an_id = uuid4()

        @step("Give")
        def give() -> State:
            return {"an_id": an_id, "day": date(2024, 2, 29), "shade": Shade.COLD, "nested": {"price": Decimal("1.10")}}

        process = run_steps(give)
        assert process.status == "completed", process.traceback
        expected = {"an_id": str(an_id), "day": "2024-02-29", "shade": "cold", "nested": {"price": "1.10"}}
        assert process.state.items() >= expected.items()

    def test_a_parameter_without_annotation_gets_the_json(self, run_steps: RunSteps) -> None:
        seen = []

        @step("Take")
        def take(day) -> None:  # type: ignore[no-untyped-def]
            seen.append(day)

        assert run_steps(take, day=date(2024, 2, 29)).status == "completed"
        assert seen == ["2024-02-29"]

    def test_a_default_stands_where_the_state_has_no_such_key(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(there: int = 1, missing: int = 2, nothing: str | None = None) -> None:
            seen.extend([there, missing, nothing])

        assert run_steps(take, there=5).status == "completed"
        assert seen == [5, 2, None]

    def test_a_none_in_the_state_is_not_the_same_as_a_missing_key(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(there: int | None = 1) -> None:
            seen.append(there)

        assert run_steps(take, there=None).status == "completed"
        assert seen == [None]

    def test_a_missing_key_fails_the_step_and_is_named(self, run_steps: RunSteps) -> None:
        @step("Take")
        def take(watts: int) -> None: ...

        process = run_steps(take)
        assert process.status == "failed"
        assert "Could not find key 'watts' in state" in process.failed_reason
        assert "take" in process.failed_reason

    def test_a_value_that_does_not_fit_fails_the_step_and_is_named(self, run_steps: RunSteps) -> None:
        @step("Take")
        def take(an_id: UUID) -> None: ...

        process = run_steps(take, an_id="no id")
        assert process.status == "failed"
        for word in ("an_id", "'no id'", "UUID"):
            assert word in process.failed_reason

    def test_a_whole_number_is_not_made_of_a_fraction(self, run_steps: RunSteps) -> None:
        @step("Take")
        def take(watts: int) -> None: ...

        assert run_steps(take, watts=1.5).status == "failed"

    def test_constraints_of_the_annotation_hold(self, run_steps: RunSteps) -> None:
        @step("Take")
        def take(marks: Annotated[list[str], Len(max_length=1)]) -> None: ...

        assert run_steps(take, marks=["a", "b"]).status == "failed"

    def test_state_gives_all_of_it(self, run_steps: RunSteps) -> None:
        seen: State = {}

        @step("Take")
        def take(state: State) -> None:
            seen.update(state)

        process = run_steps(take, colour="blue")
        assert seen["colour"] == "blue"
        assert seen["process_id"] == str(process.process_id)
        assert seen["workflow_name"] == "some_steps"

    def test_keyword_only_parameters_are_filled_too(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(colour: str, *, watts: int, **_: Any) -> None:
            seen.extend([colour, watts])

        assert run_steps(take, colour="blue", watts=3).status == "completed"
        assert seen == ["blue", 3]

    def test_process_id_context_and_idempotency_key_are_there_by_name(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(process_id: UUID, context: dg.OpExecutionContext, idempotency_key: str) -> None:
            seen.extend([process_id, context.run_id, context.op_handle.name, idempotency_key])
            context.log.info("hello")

        process = run_steps(take)
        assert process.status == "completed", process.traceback
        assert seen[:3] == [process.process_id, str(process.process_id), "take"]
        assert len(seen[3]) >= 16

    def test_dagster_resources_are_given_by_annotation(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(bell: Bell, number: dg.ResourceParam[int]) -> None:
            seen.extend([bell.ring(), number])

        assert run_steps(take).status == "completed"
        assert seen == ["ding!", 7]

    def test_a_resource_wins_over_a_state_key_of_the_same_name(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(bell: Bell) -> None:
            seen.append(bell.ring())

        assert run_steps(take, bell="a text").status == "completed"
        assert seen == ["ding!"]

    def test_what_a_step_does_to_its_arguments_stays_in_the_step(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []

        @step("Spoil")
        def spoil(marks: list[str], place: dict[str, Any], anything: Any, state: State) -> None:
            marks.append("spoilt")
            place["room"] = "spoilt"
            anything["deep"].append("spoilt")
            state["colour"] = "spoilt"
            state["place"]["since"] = "spoilt"

        @step("Take")
        def take(marks: list[str], place: dict[str, Any], anything: Any, colour: str) -> None:
            seen.extend([marks, place, anything, colour])

        given = {"marks": ["a"], "place": {"room": "hall"}, "anything": {"deep": []}, "colour": "blue"}
        assert run_steps(spoil >> take, **given).status == "completed"
        assert seen == [["a"], {"room": "hall"}, {"deep": []}, "blue"]

    def test_what_a_step_returned_and_changes_afterwards_stays_as_it_was(self, run_steps: RunSteps) -> None:
        kept: list[Any] = []
        seen: list[Any] = []

        @step("Give")
        def give() -> State:
            kept.append(["a"])
            return {"marks": kept[0]}

        @step("Spoil")
        def spoil() -> None:
            kept[0].append("spoilt")

        @step("Take")
        def take(marks: Any) -> None:
            seen.append(marks)

        assert run_steps(give >> spoil >> take).status == "completed"
        assert seen == [["a"]]


class TestInjectionOfModels:
    def modify(self, connect: Connect, steps: Any, **given: Any) -> tuple[Session, Process]:
        """Run steps on a new lamp."""

        def form() -> Any:
            yield from ()
            return given

        @modify_workflow("Change lamp", initial_input_form=form)
        def change_lamp() -> StepList:
            return begin >> steps

        wfo = connect(change_lamp)
        return wfo, wfo.run("change_lamp", {"subscription_id": str(new_lamp(wfo))})

    def test_a_subscription_is_loaded_as_the_annotated_class(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(subscription: Lamp) -> None:
            seen.append((type(subscription), subscription.lamp.name, subscription.insync))

        _, process = self.modify(connect, take)
        assert process.status == "completed", process.traceback
        assert seen == [(Lamp, "hall", False)]

    def test_a_subscription_is_loaded_from_the_database_not_from_the_state(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Forge")
        def forge(state: State) -> State:
            forged = state["subscription"]
            forged["lamp"]["watts"] = 99
            return {"subscription": forged}

        @step("Take")
        def take(subscription: Lamp) -> None:
            seen.append(subscription.lamp.watts)

        self.modify(connect, forge >> take)
        assert seen == [10]

    @pytest.mark.parametrize("form", ["uuid", "text", "mapping"])
    def test_a_subscription_is_found_by_id_text_or_dump(self, connect: Connect, form: str) -> None:
        seen: list[Any] = []

        @step("Give")
        def give(subscription_id: UUID) -> State:
            forms = {
                "uuid": subscription_id,
                "text": str(subscription_id),
                "mapping": {"subscription_id": subscription_id},
            }
            return {"other": forms[form]}

        @step("Take")
        def take(other: Lamp) -> None:
            seen.append(other.lamp.name)

        _, process = self.modify(connect, give >> take)
        assert process.status == "completed", process.traceback
        assert seen == ["hall"]

    def test_lists_of_subscriptions_are_loaded(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Give")
        def give(subscription_id: UUID, subscription: Lamp) -> State:
            return {"lamps": [subscription_id, subscription]}

        @step("Take")
        def take(lamps: list[Lamp], missing: list[Lamp]) -> None:
            seen.extend([[lamp.lamp.name for lamp in lamps], missing])

        _, process = self.modify(connect, give >> take)
        assert process.status == "completed", process.traceback
        assert seen == [["hall", "hall"], []]

    def test_an_optional_subscription_is_none_where_there_is_none(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(missing: Lamp | None, nothing: Lamp | None, subscription: Lamp | None) -> None:
            seen.extend([missing, nothing, type(subscription)])

        _, process = self.modify(connect, take, nothing=None)
        assert process.status == "completed", process.traceback
        assert seen == [None, None, Lamp]

    def test_a_union_of_lifecycle_variants_loads_what_fits_the_status(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(subscription: LampProvisioning | Lamp) -> None:
            seen.append(type(subscription))

        _, process = self.modify(connect, take)
        assert process.status == "completed", process.traceback
        assert seen == [Lamp]

    def test_a_union_that_lacks_the_status_fails(self, connect: Connect) -> None:
        @step("Take")
        def take(subscription: LampProvisioning | None) -> None: ...

        _, process = self.modify(connect, take)
        assert process.status == "failed"
        assert "LampProvisioning" in process.failed_reason

    def test_a_union_of_different_products_is_refused_where_it_is_declared(self) -> None:
        def declare() -> dg.JobDefinition:
            @step("Take")
            def take(subscription: Lamp | Fuse) -> None: ...

            @task("Odd")
            def odd() -> StepList:
                return begin >> take

            return odd.job

        with pytest.raises(TypeError, match="lifecycle variants"):
            declare()

    def test_any_subscription_is_loaded_as_the_class_of_its_product_and_status(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Take")
        def take(subscription: SubscriptionModel) -> None:
            seen.append(type(subscription))

        self.modify(connect, take)
        assert seen == [Lamp]

    def test_a_subscription_of_another_product_fails(self, connect: Connect) -> None:
        @step("Take")
        def take(subscription: Fuse) -> None: ...

        _, process = self.modify(connect, take)
        assert process.status == "failed"

    def test_a_subscription_that_does_not_exist_fails_and_is_named(self, connect: Connect) -> None:
        missing = uuid4()

        @step("Take")
        def take(other: Lamp) -> None: ...

        _, process = self.modify(connect, take, other=str(missing))
        assert process.status == "failed"
        assert str(missing) in process.failed_reason

    def test_a_value_that_is_no_id_fails_and_is_named(self, connect: Connect) -> None:
        @step("Take")
        def take(lamps: list[Lamp]) -> None: ...

        _, process = self.modify(connect, take, lamps=["no id"])
        assert process.status == "failed"
        assert "lamps" in process.failed_reason


class TestWhatAStepLeavesBehind:
    def test_returned_models_are_saved_at_any_depth(self, connect: Connect) -> None:
        @step("Brighten")
        def brighten(first: Lamp, second: Lamp, third: Lamp) -> State:
            for watts, lamp in enumerate((first, second, third), 50):
                lamp.lamp.watts = watts
            return {"first": first, "deep": {"er": [{"second": second}, (third,)]}}

        def form() -> Any:
            class Lamps(FormPage):
                first: UUID
                second: UUID
                third: UUID

            answer = yield Lamps
            return answer.model_dump()

        @task("Brighten", initial_input_form=form)
        def brighten_all() -> StepList:
            return begin >> brighten

        wfo = connect(brighten_all)
        ids = [new_lamp(wfo) for _ in range(3)]
        names = ("first", "second", "third")
        process = wfo.run("brighten_all", dict(zip(names, ids, strict=True)))
        assert process.status == "completed", process.traceback
        assert [Lamp.from_subscription(an_id).lamp.watts for an_id in ids] == [50, 51, 52]
        assert process.state["deep"]["er"][0]["second"]["lamp"]["watts"] == 51
        assert set(process.subscription_ids) == set(ids)

    def test_a_model_that_is_changed_but_not_returned_is_not_saved(self, connect: Connect) -> None:
        @step("Brighten")
        def brighten(subscription: Lamp) -> None:
            subscription.lamp.watts = 50

        wfo, process = TestInjectionOfModels().modify(connect, brighten)
        assert process.status == "completed"
        assert Lamp.from_subscription(process.subscription_id).lamp.watts == 10
        assert wfo.subscriptions()[0].insync

    def test_a_step_that_fails_leaves_no_effect(self, connect: Connect) -> None:
        @step("Brighten")
        def brighten(subscription: Lamp, product: UUID) -> State:
            subscription.lamp.watts = 50
            subscription.save()
            LampInactive.from_product_id(product, "other").save()
            raise RuntimeError("no bulb")

        wfo, process = TestInjectionOfModels().modify(connect, brighten)
        assert (process.status, process.current_step) == ("failed", "brighten")
        assert Lamp.from_subscription(process.subscription_id).lamp.watts == 10
        assert len(wfo.subscriptions()) == 1
        assert "brighten" not in [version.step for version in wfo.history(process.subscription_id)]
        assert process.failed_reason == "no bulb"
        assert "brighten" in process.traceback

    def test_a_step_sees_what_it_saved_itself(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Brighten")
        def brighten(subscription: Lamp) -> None:
            subscription.lamp.watts = 50
            subscription.save()
            seen.append(Lamp.from_subscription(subscription.subscription_id).lamp.watts)

        _, process = TestInjectionOfModels().modify(connect, brighten)
        assert seen == [50]
        assert Lamp.from_subscription(process.subscription_id).lamp.watts == 50

    def test_a_model_that_was_changed_past_its_limits_fails_the_step(self, connect: Connect) -> None:
        @step("Mark")
        def mark(subscription: Lamp) -> State:
            subscription.lamp.marks.extend("abcde")
            return {"subscription": subscription}

        _, process = TestInjectionOfModels().modify(connect, mark)
        assert (process.status, process.current_step) == ("failed", "mark")
        assert "marks" in process.failed_reason

    def test_a_step_may_return_nothing(self, run_steps: RunSteps) -> None:
        @step("Nothing")
        def nothing() -> None: ...

        assert run_steps(nothing).status == "completed"

    @pytest.mark.parametrize("returned", [["a"], "text", 1, {1: "a"}], ids=repr)
    def test_a_step_that_returns_no_dict_fails_and_says_what_it_must_return(
        self, run_steps: RunSteps, returned: Any
    ) -> None:
        @step("Odd")
        def odd() -> Any:
            return returned

        process = run_steps(odd)
        assert (process.status, process.current_step) == ("failed", "odd")
        assert "dict" in process.failed_reason

    @pytest.mark.parametrize(
        "value", [object(), b"\xff\xfe", "a\x00b", {"a\x00": 1}], ids=["object", "bytes", "NUL", "NUL key"]
    )
    def test_a_value_that_cannot_be_stored_fails_the_step_and_its_key_is_named(
        self, run_steps: RunSteps, value: Any
    ) -> None:
        @step("Odd")
        def odd() -> State:
            return {"fine": 1, "the_key": value}

        process = run_steps(odd)
        assert (process.status, process.current_step) == ("failed", "odd")
        assert "the_key" in process.failed_reason

    @pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**30, "\ud800", -0.0, {"a": {1, 2}}], ids=repr)
    def test_an_odd_value_is_stored_or_refused_but_never_breaks_the_process(
        self, run_steps: RunSteps, value: Any
    ) -> None:
        @step("Odd")
        def odd() -> State:
            return {"the_key": value}

        process = run_steps(odd)
        assert process.status == "completed" or "the_key" in process.failed_reason

    def test_a_value_that_holds_itself_fails_the_step_and_its_key_is_named(self, run_steps: RunSteps) -> None:
        @step("Odd")
        def odd() -> State:
            endless: list[Any] = []
            endless.append(endless)
            return {"the_key": endless}

        process = run_steps(odd)
        assert (process.status, process.current_step) == ("failed", "odd")
        assert "the_key" in process.failed_reason

    def test_a_failure_keeps_the_error_where_the_step_failed(self, run_steps: RunSteps) -> None:
        @step("Fail")
        def fail() -> None:
            raise ProcessFailureError("no route", details={"router": "ams-core-1"})

        process = run_steps(fail)
        row = next(row for row in process.steps if row.step == "fail")
        assert (row.status, row.name) == ("failed", "Fail")
        assert row.error["error"] == "no route"
        assert row.error["details"] == {"router": "ams-core-1"}
        assert [row.step for row in process.steps] == ["init", "fail"]

    def test_an_error_message_with_nul_characters_is_kept(self, run_steps: RunSteps) -> None:
        @step("Fail")
        def fail() -> None:
            raise ProcessFailureError("before\x00after", details={"ra\x00w": "a\x00b", "more": ["\ud800"]})

        process = run_steps(fail)
        assert process.status == "failed"
        assert process.failed_reason.startswith("before")
        assert process.failed_reason.endswith("after")

    def test_an_error_without_a_message_is_named_by_its_class(self, run_steps: RunSteps) -> None:
        @step("Fail")
        def fail() -> None:
            raise ZeroDivisionError

        assert "ZeroDivisionError" in run_steps(fail).failed_reason

    def test_an_error_that_cannot_be_shown_fails_the_step_all_the_same(self, run_steps: RunSteps) -> None:
        class OddError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        @step("Fail")
        def fail() -> None:
            raise OddError

        assert run_steps(fail).status == "failed"

    def test_a_dagster_failure_raised_by_a_step_fails_the_process_with_its_description(
        self, run_steps: RunSteps
    ) -> None:
        @step("Fail")
        def fail() -> None:
            raise dg.Failure("no power", metadata={"volts": 3})

        process = run_steps(fail)
        assert process.status == "failed"
        assert "no power" in process.failed_reason

    def test_a_step_that_ends_the_interpreter_fails_the_process(self, connect: Connect) -> None:
        @step("Leave")
        def leave() -> None:
            sys.exit(3)

        @task("Leave")
        def leaving() -> StepList:
            return begin >> leave

        wfo = connect(leaving)
        with suppress(SystemExit):
            wfo.run("leaving")
        assert wfo.processes()[0].status == "failed"

    def test_a_failed_retrystep_waits_for_its_next_attempt_and_can_be_retried_before(self, run_steps: RunSteps) -> None:
        attempts = Attempts()

        @retrystep("Try")
        def attempt() -> None:
            attempts()

        process = run_steps(attempt)
        assert (process.status, attempts.count) == ("waiting", 1)
        assert process.failed_reason == "attempt 1 failed"
        assert process.retry().status == "completed"

    def test_the_changes_in_the_log_are_the_difference_only(self, run_steps: RunSteps) -> None:
        @step("Give")
        def give(colour: str) -> State:
            return {"colour": colour, "shade": "warm", "nothing": None}

        process = run_steps(give, colour="blue")
        row = next(row for row in process.steps if row.step == "give")
        assert row.changes == {"shade": "warm", "nothing": None}


class TestConditional:
    def test_a_step_whose_condition_does_not_hold_is_skipped(self, run_steps: RunSteps) -> None:
        @step("Give")
        def give() -> State:
            return {"given": True}

        process = run_steps(conditional(lambda state: state["wanted"])(give), wanted=False)
        assert statuses(process)["give"] == "skipped"
        assert "given" not in process.state
        assert process.status == "completed"

    def test_a_condition_may_stand_over_a_decorated_step(self, run_steps: RunSteps) -> None:
        @conditional(lambda state: state["wanted"])
        @step("Give")
        def give() -> State:
            return {"given": True}

        assert run_steps(give, wanted=True).state["given"] is True

    def test_a_condition_on_a_list_is_evaluated_once(self, run_steps: RunSteps) -> None:
        asked: list[Any] = []

        def wanted(state: State) -> bool:
            asked.append(state["wanted"])
            return state["wanted"]  # type: ignore[no-any-return]

        @step("Refuse")
        def refuse() -> State:
            return {"wanted": False}

        @step("Give")
        def give() -> State:
            return {"given": True}

        process = run_steps(conditional(wanted)(begin >> refuse >> give), wanted=True)
        assert (statuses(process)["refuse"], statuses(process)["give"]) == ("success", "success")
        assert asked == [True]

    def test_a_condition_on_a_list_that_did_not_hold_does_not_come_to_hold_within_it(self, run_steps: RunSteps) -> None:
        answers = iter([False, True, True])

        @step("One")
        def one() -> None: ...

        @step("Two")
        def two() -> None: ...

        process = run_steps(conditional(lambda _: next(answers))(begin >> one >> two))
        assert (statuses(process)["one"], statuses(process)["two"]) == ("skipped", "skipped")

    def test_a_decision_is_kept_when_the_process_goes_on(self, run_steps: RunSteps) -> None:
        asked: list[Any] = []
        attempts = Attempts()

        def wanted(state: State) -> bool:
            asked.append(state["wanted"])
            return state["wanted"]  # type: ignore[no-any-return]

        @step("Refuse")
        def refuse() -> State:
            return {"wanted": False}

        @step("Try")
        def attempt() -> None:
            attempts()

        process = run_steps(conditional(wanted)(begin >> refuse >> attempt), wanted=True)
        assert process.status == "failed"
        assert process.retry().status == "completed"
        assert (attempts.count, asked) == (2, [True])

    def test_a_list_used_twice_decides_at_each_place(self, run_steps: RunSteps) -> None:
        @step("Turn")
        def turn(on: bool) -> State:
            return {"on": not on}

        @step("Note")
        def note() -> None: ...

        if_on = conditional(lambda state: state["on"])(begin >> note)
        process = run_steps(begin >> if_on >> turn >> if_on, on=True)
        assert [str(row.status) for row in process.steps if row.name == "Note"] == ["success", "skipped"]

    def test_conditions_nest(self, run_steps: RunSteps) -> None:
        asked: list[str] = []

        def decide(key: str) -> Any:
            return conditional(lambda state: asked.append(key) or state[key])  # type: ignore[func-returns-value]

        @step("One")
        def one() -> None: ...

        @step("Two")
        def two() -> None: ...

        steps = decide("outer")(begin >> one >> decide("inner")(begin >> two))
        assert statuses(run_steps(steps, outer=True, inner=False))["two"] == "skipped"
        asked.clear()
        process = run_steps(steps, outer=False, inner=True)
        assert (statuses(process)["one"], statuses(process)["two"]) == ("skipped", "skipped")
        assert asked == ["outer"], "what stands inside is not asked"

    def test_a_condition_that_fails_fails_the_step(self, run_steps: RunSteps) -> None:
        @step("Give")
        def give() -> None: ...

        process = run_steps(conditional(lambda state: state["missing"])(give))
        assert (process.status, process.current_step) == ("failed", "give")
        assert "missing" in process.failed_reason

    def test_a_condition_cannot_change_the_state(self, run_steps: RunSteps) -> None:
        @step("Give")
        def give(colour: str) -> State:
            return {"seen": colour}

        process = run_steps(conditional(lambda s: s.update(colour="red") or True)(give), colour="blue")
        assert (process.state["seen"], process.state["colour"]) == ("blue", "blue")


class TestGoingOn:
    """After a failure: nothing is done twice, and nothing is lost."""

    def failing(self, attempts: Attempts) -> tuple[Workflow, list[str]]:
        """Make a workflow of three steps on a lamp, the middle one of which fails."""
        calls: list[str] = []

        @step("One")
        def one(subscription: Lamp, idempotency_key: str) -> State:
            calls.append(f"one {idempotency_key}")
            subscription.lamp.marks.append("one")
            return {"subscription": subscription, "day": date(2024, 2, 29), "places": [Place(room="a", since=date.min)]}

        @step("Two")
        def two(subscription: Lamp, idempotency_key: str, day: date, places: list[Place]) -> State:
            calls.append(f"two {idempotency_key}")
            subscription.lamp.marks.append("two")
            subscription.save()
            attempts()
            assert day == date(2024, 2, 29)
            assert places == [Place(room="a", since=date.min)]
            return {"subscription": subscription}

        @step("Three")
        def three(subscription: Lamp, state: State) -> State:
            assert state["day"] == "2024-02-29"
            subscription.lamp.marks.append("three")
            return {"subscription": subscription}

        @modify_workflow("Mark")
        def mark() -> StepList:
            return begin >> one >> two >> three

        return mark, calls

    def test_a_retry_goes_on_at_the_step_that_failed(self, connect: Connect) -> None:
        attempts = Attempts(2)
        mark, calls = self.failing(attempts)
        wfo = connect(mark)
        lamp_id = new_lamp(wfo)
        process = wfo.run("mark", {"subscription_id": str(lamp_id)})
        assert (process.status, process.current_step) == ("failed", "two")
        assert Lamp.from_subscription(lamp_id).lamp.marks == ["one"]
        assert wfo.retry(process.process_id).status == "failed"
        assert process.retry().status == "completed", process.traceback
        assert Lamp.from_subscription(lamp_id).lamp.marks == ["one", "two", "three"]
        assert [call.split()[0] for call in calls] == ["one", "two", "two", "two"]
        assert [(row.step, row.attempt) for row in process.steps if row.step in ("one", "two", "three")] == [
            ("one", 1),
            ("two", 1),
            ("two", 2),
            ("two", 3),
            ("three", 1),
        ]
        assert wfo.subscriptions()[0].insync
        assert wfo.subscriptions()[0].held_by is None
        assert process.failed_reason is None

    def test_the_idempotency_key_is_the_same_on_each_attempt_and_differs_elsewhere(self, connect: Connect) -> None:
        mark, calls = self.failing(Attempts())
        wfo = connect(mark)
        lamp_ids = [new_lamp(wfo), new_lamp(wfo)]
        wfo.run("mark", {"subscription_id": str(lamp_ids[0])}).retry()
        first = list(calls)
        assert first[1] == first[2], "each attempt"
        assert first[0].split()[1] != first[1].split()[1], "another step"
        wfo.run("mark", {"subscription_id": str(lamp_ids[1])})
        assert not set(first) & set(calls[3:]), "another process"

    def test_a_completed_process_cannot_be_retried(self, connect: Connect) -> None:
        wfo = connect()
        process = wfo.run("create_lamp", {"product": "Lamp"})
        with pytest.raises(ProcessStateError):
            process.retry()

    def test_an_unknown_process_cannot_be_retried(self, connect: Connect) -> None:
        missing = uuid4()
        with pytest.raises(LookupError, match=str(missing)):
            connect().retry(missing)

    def test_a_process_goes_on_after_its_dagster_runs_were_deleted(self, connect: Connect) -> None:
        mark, calls = self.failing(Attempts(2))
        wfo = connect(mark)
        lamp_id = new_lamp(wfo)
        process = wfo.run("mark", {"subscription_id": str(lamp_id)})
        process.retry()
        for run in wfo.instance.get_runs():
            wfo.instance.delete_run(run.run_id)
        assert wfo.instance.get_runs() == []
        assert process.retry().status == "completed", process.traceback
        assert Lamp.from_subscription(lamp_id).lamp.marks == ["one", "two", "three"]
        assert len(calls) == 4

    def test_a_retry_on_another_instance_goes_on_too(self, connect: Connect) -> None:
        mark, _ = self.failing(Attempts())
        wfo = connect(mark)
        lamp_id = new_lamp(wfo)
        process = wfo.run("mark", {"subscription_id": str(lamp_id)})
        with dg.DagsterInstance.ephemeral() as other, wfo.orchestrator.connect(instance=other) as elsewhere:
            assert elsewhere.retry(process.process_id).status == "completed"

    def test_the_user_stands_on_process_steps_and_history(self, connect: Connect) -> None:
        mark, _ = self.failing(Attempts())
        lamp_id = new_lamp(connect(mark))
        ada = connect(mark, user="ada")
        process = ada.run("mark", {"subscription_id": str(lamp_id)})
        assert process.created_by == "ada"
        connect(mark, user="bob").retry(process.process_id)
        process.refresh()
        assert process.created_by == "ada"
        assert [(row.step, row.created_by) for row in process.steps][-5:] == [
            ("two", "ada"),
            ("two", "bob"),
            ("three", "bob"),
            ("resync", "bob"),
            ("done", "bob"),
        ]
        changed_by = {version.step: version.changed_by for version in ada.history(lamp_id)}
        assert (changed_by["construct_lamp"], changed_by["one"], changed_by["three"]) == ("SYSTEM", "ada", "bob")

    def test_the_types_are_the_same_with_and_without_a_failure_between(self, run_steps: RunSteps) -> None:
        seen: list[Any] = []
        attempts = Attempts()

        @step("Give")
        def give() -> State:
            return {
                "day": date(2024, 2, 29),
                "ids": {UUID(int=1)},
                "pair": (1, 2),
                "place": Place(room="a", since=date.min),
            }

        def look(name: str, *, fail: bool) -> Any:
            @step(name)
            def take(day: date, ids: set[UUID], pair: tuple[int, int], place: Place, state: State) -> None:
                seen.append((day, ids, pair, place, {key: state[key] for key in ("day", "ids", "pair", "place")}))
                if fail:
                    attempts()

            return take

        process = run_steps(give >> look("First", fail=True) >> look("Second", fail=False))
        assert process.retry().status == "completed", process.traceback
        assert len(seen) == 3
        assert seen[0] == seen[1] == seen[2]
        assert seen[0][:2] == (date(2024, 2, 29), {UUID(int=1)})


class TestReExecutionByDagster:
    """With jobs on a persistent instance, as Dagit's buttons do it."""

    @pytest.fixture
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        """A module whose job fails at its middle step until a file is there."""
        code = """
from pathlib import Path
from orchestrator_dagster import Orchestrator, StepList, begin, step, task

HERE = Path(__file__).parent

def note(word):
    with (HERE / "calls").open("a") as file:
        file.write(word + " ")

@step("One")
def one() -> dict:
    note("one")
    return {"given": 1}

@step("Two")
def two(given: int) -> dict:
    note("two")
    if not (HERE / "mended").exists():
        raise RuntimeError("not mended")
    return {"given": given + 1}

@step("Three")
def three(given: int) -> dict:
    note("three")
    return {"given": given + 1}

@task("Count")
def count() -> StepList:
    return begin >> one >> two >> three

orchestrator = Orchestrator([], workflows=[count])
defs = orchestrator.definitions()

def count_job():
    return orchestrator.job("count")
"""
        name = f"counting_{uuid4().hex}"  # Dagster keeps the jobs that it has loaded, by the module's name
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        yield importlib.import_module(name)
        del sys.modules[name]

    @pytest.fixture
    def instance(self, orchestrator_database: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
        with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
            yield instance

    def calls(self, module: Any) -> list[str]:
        return (Path(module.__file__).parent / "calls").read_text().split()

    def mend(self, module: Any) -> None:
        (Path(module.__file__).parent / "mended").touch()

    def execute(self, module: Any, instance: dg.DagsterInstance, **how: Any) -> dg.JobExecutionResult:
        return dg.execute_job(dg.reconstructable(module.count_job), instance=instance, **how)

    def only_process(self, module: Any, instance: dg.DagsterInstance) -> Process:
        with module.orchestrator.connect(instance=instance) as wfo:
            (process,) = wfo.processes()
            return process.refresh()

    def test_a_re_execution_from_failure_goes_on(self, module: Any, instance: dg.DagsterInstance) -> None:
        failed = self.execute(module, instance)
        self.mend(module)
        options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        assert self.execute(module, instance, reexecution_options=options).success
        process = self.only_process(module, instance)
        assert (process.status, process.state["given"]) == ("completed", 3)
        assert str(process.process_id) == failed.run_id
        assert self.calls(module) == ["one", "two", "two", "three"]

    @pytest.mark.parametrize("selection", [["one", "two", "three", "done"], ["two", "three", "done"]], ids=str)
    def test_any_selection_that_covers_what_is_left_goes_on(
        self, module: Any, instance: dg.DagsterInstance, selection: list[str]
    ) -> None:
        failed = self.execute(module, instance)
        self.mend(module)
        options = dg.ReexecutionOptions(parent_run_id=failed.run_id, step_selection=selection)
        assert self.execute(module, instance, reexecution_options=options).success
        process = self.only_process(module, instance)
        assert (process.status, process.state["given"]) == ("completed", 3)
        assert self.calls(module) == ["one", "two", "two", "three"]

    def test_a_selection_of_finished_steps_does_nothing_again(self, module: Any, instance: dg.DagsterInstance) -> None:
        failed = self.execute(module, instance)
        options = dg.ReexecutionOptions(parent_run_id=failed.run_id, step_selection=["one"])
        assert self.execute(module, instance, reexecution_options=options).success
        assert self.calls(module) == ["one", "two"]

    def test_a_selection_that_leaves_a_step_out_is_refused(self, module: Any, instance: dg.DagsterInstance) -> None:
        failed = self.execute(module, instance)
        self.mend(module)
        options = dg.ReexecutionOptions(parent_run_id=failed.run_id, step_selection=["three"])
        assert not self.execute(module, instance, reexecution_options=options).success
        assert self.calls(module) == ["one", "two"]
        assert self.only_process(module, instance).status != "completed"

    def test_a_selection_without_the_first_step_starts_no_process(
        self, module: Any, instance: dg.DagsterInstance
    ) -> None:
        assert not self.execute(module, instance, op_selection=["three"]).success
        with module.orchestrator.connect(instance=instance) as wfo:
            assert wfo.processes() == []

    def test_a_completed_process_is_not_run_again_by_a_partial_re_execution(
        self, module: Any, instance: dg.DagsterInstance
    ) -> None:
        self.mend(module)
        completed = self.execute(module, instance)
        options = dg.ReexecutionOptions(parent_run_id=completed.run_id, step_selection=["two", "three"])
        self.execute(module, instance, reexecution_options=options)
        assert self.calls(module) == ["one", "two", "three"]

    def test_an_older_run_cannot_go_on_once_a_newer_one_did(self, module: Any, instance: dg.DagsterInstance) -> None:
        failed = self.execute(module, instance)
        options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        self.execute(module, instance, reexecution_options=options)
        self.mend(module)
        self.execute(module, instance, reexecution_options=dg.ReexecutionOptions.from_failure(failed.run_id, instance))
        process = self.only_process(module, instance)
        calls = self.calls(module)
        assert calls.count("one") == 1
        assert calls.count("three") <= 1
        assert len({row.step for row in process.steps if row.status in ("success", "complete")}) == len(
            [row for row in process.steps if row.status in ("success", "complete")]
        )

    def test_the_tags_of_a_re_execution_name_the_process_not_the_run(
        self, module: Any, instance: dg.DagsterInstance
    ) -> None:
        failed = self.execute(module, instance)
        self.mend(module)
        options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        again = self.execute(module, instance, reexecution_options=options)
        run = instance.get_run_by_id(again.run_id)
        assert run is not None
        assert run.tags["orchestrator/process_id"] == failed.run_id
        assert run.tags["orchestrator/status"] == "completed"


class TestTheLanguage:
    def test_begin_joins_steps_and_lists(self) -> None:
        @step("A")
        def a() -> None: ...

        @step("B")
        def b() -> None: ...

        for steps in (begin >> a >> b, a >> b, begin >> (begin >> a) >> (begin >> b), a >> (begin >> b)):
            assert isinstance(steps, StepList)
            assert [one.name for one in steps] == ["A", "B"]
        assert str(begin >> a >> b) == "StepList [A, B]"
        assert isinstance((begin >> a >> b)[1:], StepList)

    def test_what_is_no_step_is_refused_with_its_name(self) -> None:
        def plain() -> None: ...

        with pytest.raises(DefinitionError, match="plain"):
            begin >> plain  # type: ignore[operator]

    def test_a_single_step_is_a_workflow_too(self, connect: Connect) -> None:
        @step("Alone")
        def alone() -> State:
            return {"alone": True}

        @task("Alone")
        def one_step() -> Any:
            return alone

        assert connect(one_step).run("one_step").state["alone"] is True

    def test_a_bare_workflow_has_exactly_the_steps_that_it_names(self, connect: Connect) -> None:
        @step("Alone")
        def alone() -> None: ...

        @workflow("Bare")
        def bare() -> StepList:
            return init >> alone >> done

        process = connect(bare).run("bare")
        assert [(row.name, str(row.status)) for row in process.steps] == [
            ("Start", "success"),
            ("Alone", "success"),
            ("Done", "complete"),
        ]
        assert process.status == "completed"

    def test_a_workflow_says_what_it_is(self) -> None:
        assert (create_lamp.name, create_lamp.description, create_lamp.target) == (
            "create_lamp",
            "Create lamp",
            Target.CREATE,
        )

    def test_a_step_can_stand_twice_in_a_workflow(self, run_steps: RunSteps) -> None:
        @step("Add one")
        def add_one(count: int) -> State:
            return {"count": count + 1}

        process = run_steps(begin >> add_one >> add_one >> add_one, count=0)
        assert (process.status, process.state["count"]) == ("completed", 3)
        rows = [row for row in process.steps if row.name == "Add one"]
        assert len({row.step for row in rows}) == 3

    def test_a_step_that_stands_twice_is_retried_where_it_failed(self, run_steps: RunSteps) -> None:
        attempts = Attempts(0)
        failing = Attempts(1)

        @step("Add one")
        def add_one(count: int) -> State:
            attempts()
            if attempts.count == 2:
                failing()
            return {"count": count + 1}

        process = run_steps(begin >> add_one >> add_one, count=0)
        assert process.status == "failed"
        assert process.retry().state["count"] == 2

    def test_two_modules_may_have_steps_of_the_same_name_and_a_workflow_the_name_of_its_step(
        self, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = """
from orchestrator_dagster import StepList, begin, step, task

@step("Wash {0}")
def wash() -> dict:
    return {{"washed_{0}": True}}

wash_step = wash

@task("Wash all {0}")
def wash() -> StepList:
    return begin >> wash_step

@task("Clean {0}")
def clean_{0}() -> StepList:
    return begin >> wash_step
"""
        for thing in ("cups", "pans"):
            (tmp_path / f"kitchen_{thing}.py").write_text(code.format(thing))
        monkeypatch.syspath_prepend(str(tmp_path))
        cups, pans = importlib.import_module("kitchen_cups"), importlib.import_module("kitchen_pans")
        wfo = connect(cups.wash, cups.clean_cups, pans.clean_pans)
        dg.Definitions.validate_loadable(wfo.orchestrator.definitions())
        for name, thing in (("wash", "cups"), ("clean_cups", "cups"), ("clean_pans", "pans")):
            process = wfo.run(name)
            assert process.status == "completed", process.traceback
            assert process.state[f"washed_{thing}"] is True
            assert [row.name for row in process.steps] == ["Start", f"Wash {thing}", "Done"]

    def test_steps_of_the_same_name_from_two_modules_can_stand_in_one_workflow(
        self, run_steps: RunSteps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = (
            "from orchestrator_dagster import step\n\n@step('{0}')\ndef same() -> dict:\n    return {{'{0}': True}}\n"
        )
        for thing in ("left", "right"):
            (tmp_path / f"same_{thing}.py").write_text(code.format(thing))
        monkeypatch.syspath_prepend(str(tmp_path))
        left, right = importlib.import_module("same_left"), importlib.import_module("same_right")
        process = run_steps(begin >> left.same >> right.same)
        assert process.status == "completed", process.traceback
        assert process.state.items() >= {"left": True, "right": True}.items()

    def test_a_workflow_may_be_called_like_a_built_in_step(self, connect: Connect) -> None:
        @step("Alone")
        def alone() -> None: ...

        def make(name: str) -> Workflow:
            def function() -> Any:
                return alone

            function.__name__ = name
            return task(name)(function)

        wfo = connect(*map(make, ("init", "done", "alone")))
        dg.Definitions.validate_loadable(wfo.orchestrator.definitions())
        assert [wfo.run(name).status for name in ("init", "done", "alone")] == ["completed"] * 3

    def test_a_resource_type_may_be_called_name(self, connect: Connect, engine: Engine) -> None:
        wfo = connect()
        lamp = Lamp.from_subscription(new_lamp(wfo, name="kitchen"))
        assert lamp.lamp.name == "kitchen"
        assert lamp.lamp.product_block_name == "Step lamp"
        lamp.lamp.name = "attic"
        lamp.save()
        assert Lamp.from_subscription(lamp.subscription_id).lamp.name == "attic"
        fuse = Fuse.from_subscription(wfo.run("create_fuse", {"product": "Fuse"}).subscription_id)
        assert fuse.fuse.name == fuse.fuse.product_block_name == "Step fuse"

    def test_two_workflows_of_the_same_name_are_refused(self) -> None:
        def make() -> Workflow:
            @task("Twin")
            def twin() -> StepList:
                return init >> done

            return twin

        with pytest.raises(DefinitionError, match="twin"):
            Orchestrator([], workflows=[make(), make()])


class TestTheLifecycleDecorators:
    @step("Own")
    def own() -> None: ...

    @step("More")
    def more() -> None: ...

    def titles(self, process: Process) -> list[str]:
        return [row.name for row in process.steps]

    def test_create_ends_in_the_status_that_is_asked_for(self, connect: Connect) -> None:
        @create_workflow(
            "Provision lamp", LampForm, status=SubscriptionLifecycle.PROVISIONING, additional_steps=begin >> self.more
        )
        def provision_lamp() -> StepList:
            return begin >> construct_lamp

        wfo = connect(provision_lamp)
        process = wfo.run("provision_lamp", {"product": "Lamp"})
        assert self.titles(process) == [
            "Start",
            "Construct lamp",
            "More",
            "Set subscription to 'provisioning'",
            "Unlock subscription",
            "Done",
        ]
        (row,) = wfo.subscriptions()
        assert (row.status, row.insync, row.held_by, row.start_date) == ("provisioning", True, None, None)

    def test_an_active_subscription_has_a_start_date(self, connect: Connect) -> None:
        lamp = Lamp.from_subscription(new_lamp(connect()))
        assert lamp.start_date is not None
        assert lamp.start_date.tzinfo is not None

    def test_a_subscription_that_is_not_fit_for_the_status_fails_there(self, connect: Connect) -> None:
        @step("Construct nothing")
        def construct(product: UUID) -> State:
            return {"subscription": LampInactive.from_product_id(product, "acme")}

        @create_workflow("Bad lamp")
        def bad_lamp() -> StepList:
            return begin >> construct

        wfo = connect(bad_lamp)
        process = wfo.run("bad_lamp", {"product": "Lamp"})
        assert (process.status, process.steps[-1].name) == ("failed", "Set subscription to 'active'")
        assert "name" in process.failed_reason
        assert wfo.subscriptions()[0].status == "initial"

    def test_modify_locks_and_unlocks(self, connect: Connect) -> None:
        seen: list[Any] = []

        @step("Look")
        def look(subscription: Lamp, state: State) -> None:
            seen.append(
                (subscription.insync, state["__old_subscriptions__"][str(subscription.subscription_id)]["insync"])
            )

        @modify_workflow("Change", additional_steps=self.more)
        def change() -> StepList:
            return begin >> look

        wfo = connect(change)
        lamp_id = new_lamp(wfo)
        process = wfo.run("change", {"subscription_id": str(lamp_id)})
        titles = [title for title in self.titles(process) if title != "Create Process Subscription relation"]
        assert titles == ["Start", "Lock subscription", "Look", "More", "Unlock subscription", "Done"]
        assert seen == [(False, True)]
        assert Lamp.from_subscription(lamp_id).insync
        assert process.subscription_id == lamp_id

    def test_terminate_ends_in_terminated_with_an_end_date(self, connect: Connect) -> None:
        @terminate_workflow("End")
        def end() -> StepList:
            return begin >> self.own

        wfo = connect(end)
        lamp_id = new_lamp(wfo)
        process = wfo.run("end", {"subscription_id": str(lamp_id)})
        titles = [title for title in self.titles(process) if title != "Create Process Subscription relation"]
        assert titles == [
            "Start",
            "Lock subscription",
            "Own",
            "Set subscription to 'terminated'",
            "Unlock subscription",
            "Done",
        ]
        (row,) = wfo.subscriptions()
        assert (row.status, row.insync, row.held_by) == ("terminated", True, None)
        assert row.end_date is not None

    @pytest.mark.parametrize("decorator", [validate_workflow, reconcile_workflow])
    def test_validate_and_reconcile_lock_without_asking(self, connect: Connect, decorator: Any) -> None:
        @decorator("Look after")
        def look_after() -> StepList:
            return begin >> self.own

        wfo = connect(look_after)
        lamp_id = new_lamp(wfo)
        lamp = Lamp.from_subscription(lamp_id)
        lamp.insync = False
        lamp.save()
        process = wfo.run("look_after", {"subscription_id": str(lamp_id)})
        titles = [title for title in self.titles(process) if title != "Create Process Subscription relation"]
        assert titles == ["Start", "Lock subscription", "Own", "Unlock subscription", "Done"]
        assert Lamp.from_subscription(lamp_id).insync

    def test_the_built_in_steps_can_be_put_in_a_row_by_hand(self, connect: Connect) -> None:
        @workflow("By hand", target=Target.MODIFY)
        def by_hand() -> StepList:
            steps = init >> store_process_subscription(Target.MODIFY) >> unsync
            return (
                steps
                >> ensure_provisioning_status(self.own)
                >> set_status(SubscriptionLifecycle.ACTIVE)
                >> resync
                >> done
            )

        wfo = connect(by_hand)
        lamp_id = new_lamp(wfo)
        process = wfo.run("by_hand", {"subscription_id": str(lamp_id)})
        assert process.status == "completed", process.traceback
        statuses_seen = [v.changes["status"]["after"] for v in wfo.history(lamp_id) if "status" in v.changes]
        assert statuses_seen[-2:] == ["provisioning", "active"]
        assert (wfo.subscriptions()[0].insync, wfo.subscriptions()[0].held_by) == (True, None)

    def test_only_the_holder_may_unlock(self, connect: Connect) -> None:
        @step("Fail")
        def fail() -> None:
            raise RuntimeError

        @modify_workflow("Hold")
        def hold() -> StepList:
            return begin >> fail

        class WhichForm(FormPage):
            subscription: UUID

        @workflow("Break in", initial_input_form=WhichForm)
        def break_in() -> StepList:
            return init >> resync >> done

        wfo = connect(hold, break_in)
        lamp_id = new_lamp(wfo)
        holder = wfo.run("hold", {"subscription_id": str(lamp_id)})
        assert holder.status == "failed"
        process = wfo.run("break_in", {"subscription": str(lamp_id)})
        assert process.status == "failed"
        assert str(holder.process_id) in process.failed_reason
        (row,) = wfo.subscriptions()
        assert (row.insync, row.held_by) == (False, holder.process_id)

    def test_a_process_is_linked_to_what_it_saves_without_a_step_for_that(
        self, connect: Connect, engine: Engine
    ) -> None:
        wfo = connect()
        process = wfo.run("create_lamp", {"product": "Lamp"})
        with engine.connect() as connection:
            links = connection.execute(
                text("SELECT process_id, subscription_id FROM orchestrator.processes_subscriptions")
            ).all()
        assert links == [(process.process_id, process.subscription_id)]
        assert [p.process_id for p in wfo.processes(subscription_id=process.subscription_id)] == [process.process_id]

    def test_a_task_has_no_subscription(self, connect: Connect) -> None:
        @task("Tidy", additional_steps=self.more)
        def tidy() -> StepList:
            return begin >> self.own

        process = connect(tidy).run("tidy")
        assert self.titles(process) == ["Start", "Own", "More", "Done"]
        assert (process.subscription_ids, process.target) == ((), "SYSTEM")


class TestErrorsOfUse:
    def test_an_unknown_workflow_is_refused_with_the_known_ones(self, connect: Connect) -> None:
        with pytest.raises(LookupError, match="create_lamp"):
            connect().run("create_lmap")

    def test_injection_errors_are_the_packages_own(self) -> None:
        assert issubclass(InjectionError, ValueError)

    def test_a_create_workflow_that_returns_no_subscription_fails_with_a_reason(self, connect: Connect) -> None:
        @create_workflow("Forget")
        def forget() -> StepList:
            return begin >> TestTheLifecycleDecorators.own

        process = connect(forget).run("forget", {"product": "Lamp"})
        assert (process.status, process.steps[-1].name) == ("failed", "Set subscription to 'active'")
        assert "subscription" in process.failed_reason

    def test_a_refusal_is_a_value_error(self) -> None:
        assert issubclass(RefusalError, ValueError)
