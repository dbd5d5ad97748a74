"""What a user writes who uses all of the workflow language: right as it stands."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import dagster as dg

from orchestrator_dagster import (
    Assignee,
    AuthContext,
    FormGenerator,
    FormPage,
    State,
    StepList,
    SubscriptionLifecycle,
    abort,
    begin,
    callback_step,
    conditional,
    create_workflow,
    finally_,
    focussteps,
    foreach,
    inputstep,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    steplens,
    task,
    wait_for,
    wait_until,
)


def release(address: str) -> State:
    return {"address": None}


@step("Reserve", compensate=release, timeout=30, renamed_from="book")
def reserve(site: str) -> State:
    return {"address": site}


@retrystep("Tell", retry_every=timedelta(minutes=5), max_attempts=3, backoff=2)
def tell(callback_route: str) -> None: ...


async def only_ada(context: AuthContext) -> bool:
    return context.user == "ada"


@inputstep("Confirm", assignee=Assignee.NOC, resume_auth_callback=only_ada)
def confirm() -> FormGenerator:
    class Confirm(FormPage):
        ticket: str

    answer = yield Confirm
    return answer.model_dump()


@conditional(lambda state: bool(state["wanted"]))
@step("Check")
def check(item: dict[str, Any], index: int) -> State:
    return {"checked": index}


@dg.op
def count(state: dict[str, Any]) -> dict[str, Any]:
    return {"count": len(state)}


def window(site: str) -> datetime:
    return datetime.now().astimezone()


def port_input(node_id: UUID) -> State:
    return {"node": str(node_id)}


group = step_group("Provision", begin >> reserve >> confirm, retry_auth_callback=only_ada)
on_cable = steplens(lambda state: state["cable"], lambda state: lambda cable: {**state, "cable": cable})
if_wanted = conditional(lambda state: bool(state["wanted"]))


@create_workflow("Create", None, SubscriptionLifecycle.ACTIVE, None, only_ada, undo_on_failure=True)
def create() -> StepList:
    return (
        begin
        >> group
        >> parallel(reserve, begin >> check, group)
        >> foreach("saps")(begin >> check)
        >> count
        >> if_wanted(group)
        >> if_wanted(begin >> parallel(count, reserve))
        >> on_cable(begin >> reserve)
        >> focussteps("cable")(reserve)
        >> callback_step("Order", tell, check, timeout=timedelta(hours=1))
        >> wait_for(60)
        >> wait_until(window)
        >> run_workflow("create_port", port_input, result_key="port")
        >> if_wanted(abort)
        >> finally_(reserve)
    )


@task("Count", status_on_abort=None, renamed_from="count_all")
def count_things() -> StepList:
    return count >> reserve
