"""The workflows as they were when the histories were stored. What stands here stays; a new version is in `later`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from orchestrator_dagster import (
    Assignee,
    FormGenerator,
    FormPage,
    Orchestrator,
    Product,
    ProductBlockModel,
    State,
    StepList,
    SubscriptionModel,
    Workflow,
    begin,
    callback_step,
    conditional,
    create_workflow,
    done,
    foreach,
    init,
    inputstep,
    modify_workflow,
    parallel,
    retrystep,
    run_workflow,
    step,
    step_group,
    wait_for,
    workflow,
)

broken: set[str] = set()
"""What is out of order: effects, and sites."""


@contextmanager
def out_of_order(*what: str) -> Iterator[None]:
    """Let effects fail, and nobody be at sites, within a block."""
    broken.update(what)
    try:
        yield
    finally:
        broken.difference_update(what)


def once_more(state: State, effect: str) -> State:
    """Return how often something was done by now, this time included."""
    if effect in broken:
        raise RuntimeError(f"{effect} is out of order")
    return {effect: state.get(effect, 0) + 1}


class TicketPage(FormPage):
    ticket: str


@step("Release fibre")
def release(state: State) -> State:
    return once_more(state, "released")


@step("Reserve fibre", compensate=release)
def reserve(state: State) -> State:
    return once_more(state, "reserved")


@inputstep("Confirm date", assignee=Assignee.CHANGES)
def confirm() -> FormGenerator:
    answer = yield TicketPage
    return answer.model_dump()


@step("Configure line")
def configure(state: State) -> State:
    return once_more(state, "configured")


@step("Notify customer")
def notify(state: State) -> State:
    return once_more(state, "notified")


@workflow("Order line")
def order_line() -> StepList:
    return init >> reserve >> confirm >> configure >> notify >> done


@workflow("Build line")
def build_line() -> StepList:
    return init >> step_group("Build", begin >> reserve >> confirm >> configure) >> notify >> done


if_reserved = conditional(lambda state: "reserved" in state)


@workflow("Extend line")
def extend_line() -> StepList:
    return init >> reserve >> if_reserved(begin >> configure >> confirm >> notify) >> done


@retrystep("Reach device", retry_every=timedelta(hours=1))
def reach(state: State) -> State:
    return once_more(state, "reached")


@workflow("Measure line")
def measure_line() -> StepList:
    return init >> reserve >> reach >> notify >> done


@workflow("Rest line")
def rest_line() -> StepList:
    return init >> reserve >> wait_for(timedelta(hours=2)) >> notify >> done


@workflow("Order pair of lines")
def order_pair() -> StepList:
    return init >> reserve >> run_workflow("order_line", result_key="line") >> notify >> done


@step("Splice cable")
def splice(state: State) -> State:
    return once_more(state, "spliced")


@workflow("Join lines")
def join_lines() -> StepList:
    return init >> parallel(begin >> confirm >> notify, configure, begin >> splice) >> reserve >> done


class SitesPage(FormPage):
    sites: list[str]


@step("Visit site")
def visit(item: str) -> State:
    if item in broken:
        raise RuntimeError(f"Nobody is in {item}")
    return {"visited": item}


@workflow("Visit sites", initial_input_form=SitesPage)
def visit_sites() -> StepList:
    return init >> reserve >> foreach("sites")(begin >> visit >> confirm) >> notify >> done


@step("Order cable")
def order_cable(state: State) -> State:
    return once_more(state, "ordered")


@step("Check delivery")
def check_delivery(callback_result: State) -> State:
    return {"metres": callback_result["metres"]}


@workflow("Lay cable")
def lay_cable() -> StepList:
    cable = callback_step("Cable", order_cable, check_delivery, timeout=timedelta(days=7))
    return init >> reserve >> cable >> notify >> done


class FibreBlock(ProductBlockModel, product_block_name="Fibre"):
    site: str | None = None


class Fibre(SubscriptionModel, is_base=True):
    fibre: FibreBlock


class CreatePage(FormPage):
    customer_id: str
    site: str


@step("Create subscription")
def create(product: str, customer_id: str, site: str) -> State:
    subscription = Fibre.from_product_id(product, customer_id)
    subscription.fibre.site = site
    subscription.description = f"Fibre to {site}"
    return {"subscription": subscription}


@create_workflow("Create fibre", initial_input_form=CreatePage)
def create_fibre() -> StepList:
    return begin >> create


class MovePage(FormPage):
    site: str


@step("Write down new site")
def relocate(subscription: Fibre, site: str) -> State:
    subscription.fibre.site = site
    return {"subscription": subscription}


@modify_workflow("Move fibre", initial_input_form=MovePage)
def move_fibre() -> StepList:
    return begin >> confirm >> relocate


def running(*workflows: Workflow) -> Orchestrator:
    """Return an orchestrator with the product, and with workflows of it and others."""
    of_fibres = [one for one in workflows if one.target != "SYSTEM"]
    products = [Product("Fibre", Fibre, workflows=of_fibres)] if of_fibres else []
    return Orchestrator(products, workflows=[one for one in workflows if one not in of_fibres])
