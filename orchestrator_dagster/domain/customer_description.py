"""Customer descriptions: what a customer calls a subscription, each with a version of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orchestrator_dagster.domain.identifier import subscription_id_of
from orchestrator_dagster.domain.repository import current_repository


@dataclass(frozen=True)
class CustomerDescription:
    """What one customer calls one subscription.

    Attributes:
        id: its own id.
        version: 1 when it is made, one more with every change. It is not the version of the subscription.
    """

    id: UUID
    subscription_id: UUID
    customer_id: str
    description: str
    created_at: datetime
    version: int


def customer_descriptions(subscription_id: UUID | str) -> Sequence[CustomerDescription]:
    """Return what customers call a subscription, by customer; empty for a subscription that does not exist.

    Example:
        ```python
        names = {found.customer_id: found.description for found in customer_descriptions(subscription_id)}
        ```
    """
    return current_repository().customer_descriptions(subscription_id_of(subscription_id))


def customer_description(customer_id: str, subscription_id: UUID | str) -> CustomerDescription | None:
    """Return what a customer calls a subscription, if it has a name for it."""
    found = customer_descriptions(subscription_id)
    return next((one for one in found if one.customer_id == customer_id), None)


def save_customer_description(
    customer_id: str, subscription_id: UUID | str, description: str, version: int | None = None
) -> CustomerDescription:
    """Store what a customer calls a subscription. The search finds the subscription by it.

    Args:
        customer_id: the customer.
        subscription_id: the subscription.
        description: the customer's name for it.
        version: the version of the description that is to be replaced; 0 if there is to be none yet; `None` to replace
            whatever there is.

    Returns:
        The description as it is stored now, with the same version if nothing changed.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        StaleCustomerDescriptionError: somebody else changed, made or removed the description.

    Example:
        ```python
        save_customer_description("acme", subscription_id, "Uplink of our head office")
        ```
    """
    found_id = subscription_id_of(subscription_id)
    return current_repository().save_customer_description(customer_id, found_id, description, version)


def remove_customer_description(
    customer_id: str, subscription_id: UUID | str, version: int | None = None
) -> CustomerDescription | None:
    """Remove what a customer calls a subscription.

    Args:
        customer_id: the customer.
        subscription_id: the subscription.
        version: the version that is to be removed; `None` for any.

    Returns:
        What was removed; `None` if there was nothing.

    Raises:
        StaleCustomerDescriptionError: it has another version.
    """
    found_id = subscription_id_of(subscription_id)
    return current_repository().remove_customer_description(customer_id, found_id, version)
