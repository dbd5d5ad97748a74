"""Looking through what is there."""

from collections.abc import Iterator
from typing import TypeVar

from orchestrator_dagster import Database, SubscriptionLifecycle, SubscriptionModel, Subscriptions

Model = TypeVar("Model", bound=SubscriptionModel)


def active(model: type[Model]) -> Iterator[Model]:
    """Load the active subscriptions of a kind, such as `Node`."""
    found = Subscriptions(database=Database()).find(
        product_type=model.__name__, status=SubscriptionLifecycle.ACTIVE
    )
    for row in found:
        yield model.from_subscription(row.subscription_id)
