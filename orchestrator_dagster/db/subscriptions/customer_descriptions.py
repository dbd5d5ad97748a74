"""Customer descriptions in Postgres: listed, written and removed, each in one statement."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from orchestrator_dagster.domain.customer_description import CustomerDescription
from orchestrator_dagster.errors import StaleCustomerDescriptionError, SubscriptionNotFoundError

LIST = text("""
    SELECT id, subscription_id, customer_id, description, created_at, version
    FROM orchestrator.subscription_customer_descriptions
    WHERE subscription_id = :subscription_id
    ORDER BY customer_id
""")

# The subscription is selected, so that there is no row, instead of a broken reference, where it does not exist.
# Without a version any description may be replaced; with the version 0 none.
SAVE = text("""
    INSERT INTO orchestrator.subscription_customer_descriptions AS stored (subscription_id, customer_id, description)
    SELECT subscription_id, :customer_id, :description
    FROM orchestrator.subscriptions
    WHERE subscription_id = :subscription_id
    ON CONFLICT (customer_id, subscription_id) DO UPDATE
    SET description = excluded.description,
        version = stored.version + (stored.description <> excluded.description)::integer
    WHERE CAST(:version AS integer) IS NULL
    RETURNING id, subscription_id, customer_id, description, created_at, version
""")

CHANGE = text("""
    UPDATE orchestrator.subscription_customer_descriptions
    SET description = :description,
        version = version + (description <> :description)::integer
    WHERE customer_id = :customer_id AND subscription_id = :subscription_id AND version = :version
    RETURNING id, subscription_id, customer_id, description, created_at, version
""")

REMOVE = text("""
    DELETE FROM orchestrator.subscription_customer_descriptions
    WHERE customer_id = :customer_id
      AND subscription_id = :subscription_id
      AND (CAST(:version AS integer) IS NULL OR version = :version)
    RETURNING id, subscription_id, customer_id, description, created_at, version
""")

# What stands in the way of a change that found nothing to change.
STANDING = text("""
    SELECT (SELECT version
            FROM orchestrator.subscription_customer_descriptions
            WHERE customer_id = :customer_id AND subscription_id = :subscription_id) AS version,
           EXISTS (SELECT FROM orchestrator.subscriptions WHERE subscription_id = :subscription_id) AS exists
""")


def customer_descriptions(connection: Connection, subscription_id: UUID) -> Sequence[CustomerDescription]:
    """Return what customers call a subscription, by customer."""
    rows = connection.execute(LIST, {"subscription_id": subscription_id})
    return [CustomerDescription(**row._mapping) for row in rows]


def save_customer_description(
    connection: Connection, customer_id: str, subscription_id: UUID, description: str, version: int | None
) -> CustomerDescription:
    """Write what a customer calls a subscription; see `orchestrator_dagster.domain.customer_description`.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        StaleCustomerDescriptionError: the stored version is another one.
    """
    statement = CHANGE if version else SAVE
    saved = _written(connection, statement, customer_id, subscription_id, version, description=description)
    if saved is None:
        current_version = _current_version(connection, customer_id, subscription_id)
        raise _stale(customer_id, subscription_id, version or 0, current_version)
    return saved


def remove_customer_description(
    connection: Connection, customer_id: str, subscription_id: UUID, version: int | None
) -> CustomerDescription | None:
    """Remove what a customer calls a subscription, and return it; `None` if there is nothing.

    Raises:
        StaleCustomerDescriptionError: the stored version is another one.
    """
    removed = _written(connection, REMOVE, customer_id, subscription_id, version)
    if removed is None and version is not None:
        raise _stale(customer_id, subscription_id, version, _current_version(connection, customer_id, subscription_id))
    return removed


def _written(
    connection: Connection,
    statement: TextClause,
    customer_id: str,
    subscription_id: UUID,
    version: int | None,
    **more: str,
) -> CustomerDescription | None:
    parameters = {"customer_id": customer_id, "subscription_id": subscription_id, "version": version, **more}
    row = connection.execute(statement, parameters).one_or_none()
    return CustomerDescription(**row._mapping) if row else None


def _current_version(connection: Connection, customer_id: str, subscription_id: UUID) -> int:
    found = connection.execute(STANDING, {"customer_id": customer_id, "subscription_id": subscription_id}).one()
    if not found.exists:
        raise SubscriptionNotFoundError(subscription_id)
    return found.version or 0


def _stale(customer_id: str, subscription_id: UUID, given: int, current: int) -> StaleCustomerDescriptionError:
    return StaleCustomerDescriptionError(
        customer_id=customer_id, subscription_id=subscription_id, given_version=given, current_version=current
    )
