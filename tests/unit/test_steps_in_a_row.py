"""Steps, lists of steps, and the keys by which the step log knows them."""

import pytest

from orchestrator_dagster import (
    DefinitionError,
    State,
    StepList,
    SubscriptionLifecycle,
    begin,
    conditional,
    create_workflow,
    done,
    init,
    modify_workflow,
    reconcile_workflow,
    set_status,
    step,
    task,
    terminate_workflow,
    validate_workflow,
    workflow,
)
from orchestrator_dagster.ops.planning import plan


@step("One")
def one() -> State:
    return {}


@step("Two")
def two() -> State:
    return {}


def keys(steps: StepList) -> list[str]:
    return list(plan(steps))


def test_begin_is_the_empty_list() -> None:
    assert begin == StepList()


def test_lists_and_steps_are_put_in_a_row_in_any_grouping() -> None:
    assert (begin >> one >> two) >> (begin >> one) == begin >> one >> (two >> one)


def test_putting_in_a_row_leaves_the_lists_as_they_were() -> None:
    first = begin >> one
    first >> two
    assert first == StepList([one])


def test_a_part_of_a_list_is_a_list() -> None:
    assert (begin >> one >> two)[1:] == StepList([two])


def test_only_steps_and_lists_of_steps_can_be_put_in_a_row() -> None:
    with pytest.raises(DefinitionError, match=r"Expected @step decorated function .* got <class 'function'>"):
        begin >> (lambda: None)  # type: ignore[operator]


def test_a_step_is_known_by_its_function_s_name() -> None:
    assert keys(begin >> one >> two) == ["one", "two"]


def test_a_step_that_is_used_again_gets_a_number() -> None:
    @step("Another")
    def one_2() -> State:
        return {}

    assert keys(begin >> one >> one_2 >> one >> one) == ["one", "one_2", "one_3", "one_4"]


def test_only_the_last_step_completes_the_process() -> None:
    assert [planned.last for planned in plan(begin >> one >> two).values()] == [False, True]


def test_a_list_shares_its_condition_and_each_of_its_occurrences_has_its_own() -> None:
    both = conditional(lambda _: True)(begin >> one >> two)
    planned = plan(begin >> both >> both)
    assert [list(step.conditions) for step in planned.values()] == [["one:0"], ["one:0"], ["one_2:0"], ["one_2:0"]]


def test_conditions_within_conditions_are_evaluated_from_the_outside() -> None:
    inner = conditional(lambda state: state["inner"])(begin >> two)
    outer = conditional(lambda state: state["outer"])(begin >> one >> inner)
    first, second = plan(begin >> outer).values()
    assert list(first.conditions) == ["one:0"]
    assert list(second.conditions) == ["one:0", "two:1"]


@pytest.mark.parametrize(
    ("decorator", "expected"),
    [
        (create_workflow("w"), ["init", "one", "two", "set_status", "resync", "done"]),
        (modify_workflow("w"), ["init", "unsync", "one", "two", "resync", "done"]),
        (terminate_workflow("w"), ["init", "unsync", "one", "two", "set_status", "resync", "done"]),
        (validate_workflow("w"), ["init", "unsync_unchecked", "one", "two", "resync", "done"]),
        (reconcile_workflow("w"), ["init", "unsync_unchecked", "one", "two", "resync", "done"]),
        (task("w"), ["init", "one", "two", "done"]),
        (workflow("w"), ["one", "two"]),
    ],
)
def test_a_decorator_adds_the_steps_of_its_target(decorator: object, expected: list[str]) -> None:
    @decorator  # type: ignore[operator, misc, untyped-decorator]
    def one_and_two() -> StepList:
        return one >> two

    assert list(one_and_two.plan) == expected
    assert one_and_two.name == "one_and_two"


def test_additional_steps_come_after_those_of_the_function() -> None:
    @create_workflow("Create", additional_steps=two)
    def create() -> StepList:
        return begin >> one

    assert list(create.plan) == ["init", "one", "two", "set_status", "resync", "done"]


def test_a_created_subscription_may_end_in_another_status() -> None:
    @create_workflow("Create", status=SubscriptionLifecycle.PROVISIONING)
    def create() -> StepList:
        return begin >> one

    assert create.steps[2] is set_status(SubscriptionLifecycle.PROVISIONING)


def test_a_workflow_without_steps_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Workflow empty has no steps"):

        @workflow("Empty")
        def empty() -> StepList:
            return begin


def test_validations_are_tasks() -> None:
    @validate_workflow("Validate")
    def validate() -> StepList:
        return begin >> one

    assert validate.is_task
    assert str(begin >> init >> done) == "StepList [Start, Done]"
