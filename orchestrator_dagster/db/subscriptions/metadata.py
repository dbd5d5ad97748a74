"""Subscription metadata in Postgres."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.errors import ModelError, SubscriptionNotFoundError

READ = text("SELECT metadata FROM orchestrator.subscription_metadata WHERE subscription_id = :subscription_id")

# The subscription is selected, so that nothing is written, instead of a broken reference, where it does not exist.
SAVE = text("""
    INSERT INTO orchestrator.subscription_metadata (subscription_id, metadata)
    SELECT subscription_id, CAST(:metadata AS jsonb)
    FROM orchestrator.subscriptions
    WHERE subscription_id = :subscription_id
    ON CONFLICT (subscription_id) DO UPDATE
    SET metadata = excluded.metadata
""")

REMOVE = text("DELETE FROM orchestrator.subscription_metadata WHERE subscription_id = :subscription_id")


def subscription_metadata(connection: Connection, subscription_id: UUID) -> dict[str, Any] | None:
    """Return the metadata of a subscription, if it has any."""
    found: dict[str, Any] | None = connection.scalar(READ, {"subscription_id": subscription_id})
    return found


def save_subscription_metadata(
    connection: Connection, subscription_id: UUID, metadata: Mapping[str, Any] | None
) -> None:
    """Write the metadata of a subscription, or remove it.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        ModelError: Postgres cannot hold it.
    """
    if metadata is None:
        connection.execute(REMOVE, {"subscription_id": subscription_id})
        return
    try:
        written = to_json(dict(metadata))
        written.encode()
    except (ValueError, TypeError) as error:
        raise ModelError(f"The metadata of subscription {subscription_id} cannot be stored: {error}") from error
    saved = connection.execute(SAVE, {"subscription_id": subscription_id, "metadata": written})
    if not saved.rowcount:
        raise SubscriptionNotFoundError(subscription_id)
