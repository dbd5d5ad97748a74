"""Ids as users give them: a UUID, or text that is one."""

from uuid import UUID

from orchestrator_dagster.errors import SubscriptionNotFoundError


def subscription_id_of(given: UUID | str) -> UUID:
    """Return the id of a subscription, however it was given.

    Raises:
        SubscriptionNotFoundError: it is no id, so there is no such subscription.

    Example:
        >>> subscription_id_of("00000000-0000-0000-0000-000000000001")
        UUID('00000000-0000-0000-0000-000000000001')
    """
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except (ValueError, AttributeError, TypeError) as error:
        raise SubscriptionNotFoundError(given) from error
