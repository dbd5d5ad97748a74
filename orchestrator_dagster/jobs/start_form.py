"""The form that starts a workflow: first the product or the subscription, then what the workflow itself asks for."""

from collections.abc import Callable, Collection, Generator, Mapping
from functools import cache, partial
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from sqlalchemy import Connection

from orchestrator_dagster.db.locks import SubscriptionStanding, is_workflow_of_product, standing
from orchestrator_dagster.db.products import products_of_workflow
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import StaleDataError, SubscriptionNotFoundError
from orchestrator_dagster.forms.page import FormPage
from orchestrator_dagster.forms.walk import FormWalk, pages_of, require_result, walk
from orchestrator_dagster.jobs.start_conditions import can_be_created, check_start
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.injection import Ambient, Signature


def product_page(products: Mapping[str, ProductLifecycle], check: Callable[[str], str] = str) -> type[BaseModel]:
    """Return the page that asks for the product of which a subscription is created.

    It shows those that there may be new subscriptions to; last, and marked, those that are not for sale yet.

    Args:
        products: the products that the workflow is valid for, with their status.
        check: returns what was given, or raises.
    """
    names = creatable(products)
    not_yet = [name for name in names if products[name] is ProductLifecycle.PRE_PRODUCTION]
    mark = f". Not for sale yet ({ProductLifecycle.PRE_PRODUCTION}): {', '.join(not_yet)}" if not_yet else ""

    class ProductPage(FormPage):
        model_config = ConfigDict(title="Product")

        product: Annotated[str, AfterValidator(check)] = Field(
            description=f"Name or id of the product{mark}", json_schema_extra={"enum": list(names)} if names else None
        )

    return ProductPage


def creatable(products: Mapping[str, ProductLifecycle]) -> list[str]:
    """Return the products that there may be new subscriptions to, those that are not for sale yet last."""
    found = [name for name, status in products.items() if can_be_created(status)]
    return sorted(found, key=lambda name: products[name] is ProductLifecycle.PRE_PRODUCTION)


class SubscriptionPage(FormPage):
    """Which subscription to work on."""

    model_config = ConfigDict(title="Subscription")

    subscription_id: UUID = Field(description="Id of the subscription")
    version: int | None = Field(
        default=None, description="The version it was seen in; refused when it has changed since"
    )


def first_page(target: Target, products: Mapping[str, ProductLifecycle] | None = None) -> type[BaseModel] | None:
    """Return the page with which a workflow's form begins, without the checks that need a database.

    Args:
        target: the workflow's target.
        products: the products that it is valid for, with their status.
    """
    if target is Target.CREATE:
        return product_page(products or {})
    return None if target is Target.SYSTEM else SubscriptionPage


def walk_start_form(
    connection: Connection,
    workflow: Workflow,
    given: dict[str, Any],
    begin: State,
    *,
    ancestors: Collection[UUID] = frozenset(),
    conditions: bool = True,
    outcome: FormWalk | None = None,
) -> FormWalk:
    """Answer the form of a workflow.

    Args:
        connection: where products and subscriptions are looked up.
        workflow: the workflow.
        given: the input, flat or page by page.
        begin: the state before the form.
        ancestors: the processes of which the new one would be a part.
        conditions: whether the start conditions must hold for the form to go on.
        outcome: where to note how far it comes; see `walk`.

    Raises:
        StartConditionError: the workflow may not start on the subscription.
        RefusalError: the form failed on input that was valid so far.
    """
    forms: dict[Target, Callable[[], Generator[type[BaseModel], Any, State]]] = {
        Target.CREATE: lambda: _create_form(connection, workflow, begin),
        Target.SYSTEM: lambda: _with_own_form(workflow, begin),
    }
    check = partial(check_start, workflow, ancestors=ancestors) if conditions else lambda _: None
    form = forms.get(workflow.target, lambda: _subscription_form(connection, workflow, begin, check))
    return walk(form, given, outcome)


def _create_form(connection: Connection, workflow: Workflow, begin: State) -> Generator[type[BaseModel], Any, State]:
    products = products_of_workflow(connection, workflow.name)
    found = {product.name: product for product in products} | {str(p.product_id): p for p in products}
    statuses = {product.name: product.status for product in products}
    names = creatable(statuses)

    def check(name_or_id: str) -> str:
        if name_or_id not in found:
            known = ", ".join(names) or "none: is the catalogue applied?"
            raise ValueError(f"This workflow is not valid for this product; its products are {known}")
        status = found[name_or_id].status
        if not can_be_created(status):
            raise ValueError(f"There can be no new subscriptions to this product, which is {status}")
        return name_or_id

    answer = yield product_page(statuses, check)
    given = getattr(answer, "product", None)
    if not isinstance(given, str):
        # the form goes on with any product, to find what is wrong on the pages that follow
        given = names[0] if names else ""
    product = found.get(given)
    chosen = (
        {"product": str(product.product_id), "product_name": product.name}
        if product
        else {"product": given, "product_name": given}
    )
    return (yield from _with_own_form(workflow, begin | chosen))


def _subscription_form(
    connection: Connection, workflow: Workflow, begin: State, check: Callable[[SubscriptionStanding], object]
) -> Generator[type[BaseModel], Any, State]:
    # what is looked up for the page is true for the form; the start itself looks again, under locks
    look_up = cache(partial(standing, connection, lock=False))

    def find(subscription_id: UUID) -> UUID:
        try:
            found = look_up(subscription_id)
        except SubscriptionNotFoundError as error:
            raise ValueError("Subscription not found") from error
        if not is_workflow_of_product(connection, workflow.name, found.product_id):
            raise ValueError(f"This workflow is not valid for this subscription, which is of {found.product_name}")
        return subscription_id

    class WorkflowSubscriptionPage(SubscriptionPage):
        subscription_id: Annotated[UUID, AfterValidator(find)] = Field(description="Id of the subscription")

        @field_validator("version")
        @classmethod
        def check_version(cls, version: int | None, page: ValidationInfo) -> int | None:
            if version is not None and "subscription_id" in page.data:
                found = look_up(page.data["subscription_id"])
                if version != found.version:
                    raise StaleDataError(
                        subscription_id=found.subscription_id, given_version=version, current_version=found.version
                    )
            return version

    answer = yield WorkflowSubscriptionPage
    if not isinstance(getattr(answer, "subscription_id", None), UUID):
        raise LookupError("what follows depends on the subscription")
    found = look_up(answer.subscription_id)
    check(found)
    result = yield from _with_own_form(workflow, begin | _about(found))
    return result | {"subscription_id": str(found.subscription_id)}


def _about(found: SubscriptionStanding) -> State:
    return {
        "subscription_id": str(found.subscription_id),
        "product": str(found.product_id),
        "customer_id": found.customer_id,
        "version": found.version,
    }


def _with_own_form(workflow: Workflow, state: State) -> Generator[type[BaseModel], Any, State]:
    form = workflow.form
    if form is None:
        return state
    made = (
        form
        if isinstance(form, type)
        else form(**Signature(form).arguments(state, Ambient(process_id=UUID(state["process_id"]))))
    )
    return state | require_result((yield from pages_of(made)))
