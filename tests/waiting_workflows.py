"""Workflows that wait, fail and branch, for tests of what people do to their processes."""

from collections import Counter
from typing import Any
from uuid import UUID

from pydantic import Field

from orchestrator_dagster import (
    Assignee,
    AuthContext,
    FormGenerator,
    FormPage,
    Orchestrator,
    Processes,
    State,
    StepList,
    begin,
    done,
    finally_,
    foreach,
    init,
    inputstep,
    parallel,
    retrystep,
    run_workflow,
    step,
    workflow,
)

effects: Counter[str] = Counter()
"""How often each effect outside of the database happened."""

broken: set[str] = set()
"""The names of what fails now."""

allowed: set[str] = {"SYSTEM"}
"""The users who may do what is guarded."""


class TicketPage(FormPage):
    """What a change is asked for by."""

    ticket: str = Field(min_length=3)
    hours: int = Field(1, ge=1)


@inputstep("Confirm", assignee=Assignee.CHANGES)
def confirm() -> FormGenerator:
    answer = yield TicketPage
    return answer.model_dump()


@inputstep("Approve", assignee=Assignee.NOC)
def approve() -> FormGenerator:
    answer = yield TicketPage
    return {"approved_under": answer.ticket}


def may(context: AuthContext) -> bool:
    """Whether somebody is among those who may."""
    return context.user in allowed


async def may_later(context: AuthContext) -> bool:
    """The same, for those who wait for it."""
    return context.user in allowed


@inputstep("Confirm", assignee=Assignee.CHANGES, resume_auth_callback=may_later)
def guarded_confirm() -> type[TicketPage]:
    return TicketPage


def _work(name: str) -> None:
    effects[name] += 1
    if name in broken:
        raise RuntimeError(f"{name} is broken")


@step("Configure")
def configure(state: State) -> State:
    _work("configure")
    return {"configured": state.get("speed", 10)}


@step("Take down")
def take_down() -> State:
    _work("take down")
    return {}


@step("Build", compensate=take_down)
def build() -> State:
    _work("build")
    return {"built": True}


@step("Tell")
def tell() -> State:
    _work("tell")
    return {"told": True}


@step("Guarded", retry_auth_callback=may)
def guarded() -> State:
    _work("guarded")
    return {}


@retrystep("Reach")
def reach() -> State:
    _work("reach")
    return {"reached": True}


@step("Name the sites")
def name_sites() -> State:
    return {"sites": ["ams", "utr"]}


@inputstep("Confirm site", assignee=Assignee.CHANGES)
def confirm_site(item: str) -> FormGenerator:
    class SitePage(FormPage):
        answer: str = Field(description=f"For {item}")

    page = yield SitePage
    return {"said": page.answer}  # type: ignore[attr-defined]


@step("Answer another process")
def answer_another(processes: Processes, other: str, ticket: str) -> State:
    processes.resume(UUID(other), {"ticket": ticket}, step="confirm")
    _work("answer")
    return {}


class OtherPage(FormPage):
    """Which process to answer."""

    other: str
    ticket: str


@workflow("Ask")
def ask() -> StepList:
    return init >> confirm >> configure >> done


@workflow("Ask twice")
def ask_twice() -> StepList:
    return init >> confirm >> approve >> done


@workflow("Ask beside each other")
def ask_beside() -> StepList:
    return init >> parallel(begin >> confirm, begin >> approve) >> done


@workflow("Ask for each site")
def ask_each() -> StepList:
    return init >> name_sites >> foreach("sites")(begin >> confirm_site) >> done


@workflow("Ask guarded")
def ask_guarded() -> StepList:
    return init >> guarded_confirm >> done


@workflow("Do")
def do() -> StepList:
    return init >> build >> configure >> done


@workflow("Do guarded")
def do_guarded() -> StepList:
    return init >> guarded >> done


@workflow("Do plainly")
def do_plainly() -> StepList:
    return init >> configure >> done


@workflow("Reach")
def reach_out() -> StepList:
    return init >> reach >> done


@workflow("Do and tell")
def do_and_tell() -> StepList:
    return init >> configure >> finally_(begin >> tell) >> done


@workflow("Have it asked")
def have_asked() -> StepList:
    return init >> run_workflow("ask", input={}) >> configure >> done


@workflow("Answer", initial_input_form=OtherPage)
def answer() -> StepList:
    return init >> answer_another >> done


WORKFLOWS = [
    ask,
    ask_twice,
    ask_beside,
    ask_each,
    ask_guarded,
    do,
    do_guarded,
    do_plainly,
    reach_out,
    do_and_tell,
    have_asked,
    answer,
]

orchestrator = Orchestrator([], workflows=WORKFLOWS)
defs = orchestrator.definitions()


def forget() -> Any:
    """Let everything be as it was before any of it ran."""
    effects.clear()
    broken.clear()
    allowed.clear()
    allowed.add("SYSTEM")
