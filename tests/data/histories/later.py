"""Later versions of the workflows in `earlier`, each with one thing changed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from orchestrator_dagster import (
    Assignee,
    FormGenerator,
    FormPage,
    State,
    StepList,
    Workflow,
    begin,
    callback_step,
    conditional,
    done,
    foreach,
    init,
    inputstep,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    wait_for,
)
from tests.data.histories import earlier
from tests.data.histories.earlier import (
    check_delivery,
    configure,
    confirm,
    notify,
    once_more,
    order_cable,
    reach,
    release,
    relocate,
    reserve,
    splice,
    visit,
)


def version_of(workflow: Workflow) -> Callable[[Any], Workflow]:
    """Return what makes a version of a workflow that has other steps."""
    return lambda steps: replace(workflow, steps=init >> steps >> done)


@step("Test line")
def try_out(state: State) -> State:
    return once_more(state, "tried_out")


@step("Reserve fibre", compensate=release)
def book(state: State) -> State:
    return once_more(state, "booked")


@step("Reserve fibre", compensate=release, renamed_from="reserve")
def allocate(state: State) -> State:
    return once_more(state, "allocated")


@inputstep("Confirm date", assignee=Assignee.CHANGES)
def agree() -> FormGenerator:
    answer = yield earlier.TicketPage
    return answer.model_dump()


@inputstep("Confirm date", assignee=Assignee.CHANGES, renamed_from="confirm")
def approve() -> FormGenerator:
    answer = yield earlier.TicketPage
    return answer.model_dump()


@step("Configure line", renamed_from="configure")
def set_up(state: State) -> State:
    return once_more(state, "set_up")


@step("Order cable", renamed_from="order_cable")
def request_cable(state: State) -> State:
    return once_more(state, "requested")


class WindowPage(FormPage):
    ticket: str
    hours: int


def ask_for_window() -> FormGenerator:
    answer = yield WindowPage
    return answer.model_dump()


order_line = version_of(earlier.order_line)
STEP_ADDED_BEFORE = order_line(reserve >> try_out >> confirm >> configure >> notify)
STEP_ADDED_AT_THE_BEGINNING = order_line(try_out >> reserve >> confirm >> configure >> notify)
STEP_ADDED_AFTER = order_line(reserve >> confirm >> configure >> try_out >> notify)
RESERVE_REMOVED = order_line(confirm >> configure >> notify)
CONFIRM_REMOVED = order_line(reserve >> configure >> notify)
CONFIGURE_REMOVED = order_line(reserve >> confirm >> notify)
RESERVE_IS_ANOTHER = order_line(book >> confirm >> configure >> notify)
RESERVE_RENAMED = order_line(allocate >> confirm >> configure >> notify)
CONFIRM_IS_ANOTHER = order_line(reserve >> agree >> configure >> notify)
CONFIRM_RENAMED = order_line(reserve >> approve >> configure >> notify)
CONFIGURE_RENAMED = order_line(reserve >> confirm >> set_up >> notify)
RETITLED = order_line(
    replace(reserve, name="Reserve a fibre")
    >> replace(confirm, name="Confirm the date")
    >> replace(configure, name="Configure the line")
    >> notify
)
RESERVE_MOVED = order_line(confirm >> configure >> reserve >> notify)
NOTIFY_MOVED = order_line(reserve >> notify >> confirm >> configure)
RESERVE_IN_A_GROUP = order_line(step_group("Prepare", reserve) >> confirm >> configure >> notify)
NOTIFY_IN_A_GROUP = order_line(reserve >> confirm >> configure >> step_group("Finish", notify))
NOTIFY_TWICE = order_line(reserve >> confirm >> notify >> configure >> notify)
RESERVE_TWICE = order_line(reserve >> confirm >> configure >> reserve >> notify)
CONFIRM_DOES_NOT_ASK = order_line(reserve >> replace(try_out, key="confirm") >> configure >> notify)
CONFIGURE_ASKS = order_line(reserve >> confirm >> replace(confirm, name="Configure line", key="configure") >> notify)
NOTIFY_ASKS = order_line(reserve >> confirm >> configure >> replace(confirm, name="Notify customer", key="notify"))
CONFIRM_IN_A_GROUP = order_line(reserve >> step_group("Agree", confirm) >> configure >> notify)
FORM_CHANGED = order_line(reserve >> replace(confirm, function=ask_for_window) >> configure >> notify)
CONDITION_ADDED = order_line(reserve >> confirm >> conditional(lambda _: False)(configure) >> notify)
BRANCHES_ADDED = order_line(reserve >> confirm >> parallel(configure, splice) >> notify)
WORKFLOW_RENAMED = replace(earlier.order_line, name="order_connection", renamed_from=("order_line",))

build_line = version_of(earlier.build_line)
ADDED_IN_GROUP = build_line(step_group("Build", reserve >> try_out >> confirm >> configure) >> notify)
FINISHED_REMOVED_FROM_GROUP = build_line(step_group("Build", confirm >> configure) >> notify)
WAITING_REMOVED_FROM_GROUP = build_line(step_group("Build", reserve >> configure) >> notify)
RENAMED_IN_GROUP = build_line(step_group("Build", allocate >> approve >> configure) >> notify)
GROUP_RENAMED = build_line(step_group("Make", reserve >> confirm >> configure, renamed_from="Build") >> notify)
GROUP_AND_STEP_ARE_OTHERS = build_line(step_group("Make", reserve >> agree >> configure) >> notify)
GROUP_DISSOLVED = build_line(reserve >> confirm >> configure >> notify)

extend_line = version_of(earlier.extend_line)
never = conditional(lambda _: False)
PREDICATE_CHANGED = extend_line(reserve >> never(configure >> confirm >> notify))
CONDITION_ON_LESS = extend_line(reserve >> earlier.if_reserved(configure >> confirm) >> notify)
CONDITION_GONE = extend_line(reserve >> configure >> confirm >> notify)
ANOTHER_CONDITION = extend_line(reserve >> never(earlier.if_reserved(configure >> confirm >> notify)))
ADDED_UNDER_CONDITION = extend_line(reserve >> earlier.if_reserved(configure >> confirm >> try_out >> notify))
ADDED_FIRST_UNDER_CONDITION = extend_line(reserve >> earlier.if_reserved(try_out >> configure >> confirm >> notify))

measure_line = version_of(earlier.measure_line)
RETRIED_EVERY_DAY = measure_line(
    reserve >> retrystep("Reach device", retry_every=timedelta(days=1))(reach.function) >> notify
)
NOT_RETRIED = measure_line(reserve >> step("Reach device")(reach.function) >> notify)
REACH_REMOVED = measure_line(reserve >> notify)

rest_line = version_of(earlier.rest_line)
RESTS_LONGER = rest_line(reserve >> wait_for(timedelta(hours=9)) >> notify)
RESTS_NO_MORE = rest_line(reserve >> notify)

order_pair = version_of(earlier.order_pair)
CHILD_ELSEWHERE = order_pair(reserve >> run_workflow("order_line") >> try_out >> notify)

join_lines = version_of(earlier.join_lines)
BRANCH_ADDED = join_lines(parallel(confirm >> notify, configure, begin >> splice, try_out) >> reserve)
BRANCH_REMOVED = join_lines(parallel(confirm >> notify, configure) >> reserve)
BRANCHES_SWAPPED = join_lines(parallel(configure, confirm >> notify, begin >> splice) >> reserve)
ADDED_IN_BRANCH = join_lines(parallel(confirm >> try_out >> notify, configure, begin >> splice) >> reserve)
RENAMED_IN_BRANCH = join_lines(parallel(approve >> notify, set_up, begin >> splice) >> reserve)
BRANCHES_IN_A_ROW = join_lines(confirm >> notify >> configure >> splice >> reserve)
ADDED_AFTER_BRANCHES = join_lines(parallel(confirm >> notify, configure, begin >> splice) >> try_out >> reserve)

visit_sites = version_of(earlier.visit_sites)
ADDED_FOR_EACH = visit_sites(reserve >> foreach("sites")(visit >> try_out >> confirm) >> notify)
REMOVED_FOR_EACH = visit_sites(reserve >> foreach("sites")(begin >> visit) >> notify)
RENAMED_FOR_EACH = visit_sites(reserve >> foreach("sites")(visit >> approve) >> notify)
FOR_EACH_OF_OTHERS = visit_sites(reserve >> foreach("places")(visit >> confirm) >> notify)

lay_cable = version_of(earlier.lay_cable)
week = timedelta(days=7)
ACTION_RENAMED = lay_cable(reserve >> callback_step("Cable", request_cable, check_delivery, timeout=week) >> notify)
CALLBACK_IS_ANOTHER = lay_cable(reserve >> callback_step("Fibre", order_cable, check_delivery) >> notify)
RESULT_KEY_CHANGED = lay_cable(reserve >> callback_step("Cable", order_cable, result_key="delivery") >> notify)
CALLBACK_REMOVED = lay_cable(reserve >> notify)

MOVES_WITH_TEST = replace(
    earlier.move_fibre,
    steps=StepList(
        inner
        for each in earlier.move_fibre.steps
        for inner in ([each, try_out] if each.key == relocate.key else [each])
    ),
)
