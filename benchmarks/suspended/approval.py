"""A workflow that asks somebody, so that its processes can be suspended."""

from orchestrator_dagster import (
    Assignee,
    Database,
    FormGenerator,
    FormPage,
    Orchestrator,
    State,
    StepList,
    begin,
    done,
    init,
    inputstep,
    step,
    workflow,
)


@step("Prepare")
def prepare() -> State:
    return {"plan": "dig", "pages": list(range(50))}


@inputstep("Approve", assignee=Assignee.NOC)
def approve() -> FormGenerator:
    class Approval(FormPage):
        approved: bool

    answer = yield Approval
    return answer.model_dump()


@step("Carry out")
def carry_out(plan: str, approved: bool) -> State:
    return {"carried_out": approved and plan}


@workflow("Approval")
def approval() -> StepList:
    return begin >> init >> prepare >> approve >> carry_out >> done


def make_orchestrator(url: str) -> Orchestrator:
    """Return an orchestrator with the workflow, on a database."""
    return Orchestrator([], workflows=[approval], database=Database(url=url))
