"""Looking through what is there."""

from collections.abc import Iterator
from typing import TypeVar

from examples.products.l2vpn import EndpointBlock
from examples.products.port import PortBlock
from orchestrator_dagster import Database, SubscriptionLifecycle, SubscriptionModel, Subscriptions

Model = TypeVar("Model", bound=SubscriptionModel)


def active(model: type[Model]) -> Iterator[Model]:
    """Load the active subscriptions of a kind, such as `Node`."""
    found = Subscriptions(database=Database()).find(product_type=model.__name__, status=SubscriptionLifecycle.ACTIVE)
    for row in found:
        yield model.from_subscription(row.subscription_id)


def endpoints_at(port: PortBlock) -> dict[int, tuple[EndpointBlock, str]]:
    """Return the endpoints at a port by VLAN, each with the description of its VPN."""
    users = [user for user in port.in_use_by if user.subscription_status != SubscriptionLifecycle.TERMINATED]
    found = [(EndpointBlock.from_db(user.subscription_instance_id), user.subscription_description) for user in users]
    return {endpoint.vlan: (endpoint, description) for endpoint, description in found}
