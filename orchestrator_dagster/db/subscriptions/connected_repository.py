"""The calls of a store that need nothing but a connection: each is a function of the module that has its SQL."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from orchestrator_dagster.db.catalogue import product_difference
from orchestrator_dagster.db.subscriptions import customer_descriptions, history, lookup
from orchestrator_dagster.db.subscriptions import metadata as metadata_of
from orchestrator_dagster.db.subscriptions.relations import subscriptions_that_use, subscriptions_used_by
from orchestrator_dagster.domain.customer_description import CustomerDescription
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import SubscriptionRow
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow
from orchestrator_dagster.domain.repository import SubscriptionRecord
from orchestrator_dagster.domain.subscription import SubscriptionModel
from orchestrator_dagster.domain.value_filter import ValueFilter


class ConnectedRepository(ABC):
    """A store that has a connection, or that opens one for each call."""

    @abstractmethod
    def _connected(self) -> AbstractContextManager[Connection]:
        """Give the connection of a call."""

    def subscription_row(self, subscription_id: UUID, *, for_update: bool = False) -> SubscriptionRow:
        """Return a subscription without its blocks; raise `SubscriptionNotFoundError` where there is none."""
        with self._connected() as connection:
            return lookup.subscription_row(connection, subscription_id, for_update=for_update)

    def subscription_as_of(
        self, subscription_id: UUID, *, version: int | None = None, at: datetime | None = None
    ) -> SubscriptionRecord:
        """Return a subscription and its tree as it was; see `Repository`."""
        with self._connected() as connection:
            return history.subscription_as_of(connection, subscription_id, version=version, at=at)

    def subscriptions_with_value(
        self, value: ValueFilter, status: Sequence[SubscriptionLifecycle]
    ) -> Sequence[SubscriptionRow]:
        """Return the subscriptions of which any block has a value, oldest first."""
        with self._connected() as connection:
            return lookup.subscriptions_with_value(connection, value, status)

    def related_subscriptions(self, query: RelatedQuery, *, in_use_by: bool) -> Sequence[RelatedSubscriptionRow]:
        """Return the subscriptions that use one, or that it depends on; the nearest first."""
        related = subscriptions_that_use if in_use_by else subscriptions_used_by
        with self._connected() as connection:
            return related(connection, query)

    def product_difference(self, model: type[SubscriptionModel], product_id: UUID) -> dict[str, Any]:
        """Return where the catalogue differs from what a model declares."""
        with self._connected() as connection:
            return product_difference.product_difference(connection, model, product_id)

    def customer_descriptions(self, subscription_id: UUID) -> Sequence[CustomerDescription]:
        """Return what customers call a subscription, by customer."""
        with self._connected() as connection:
            return customer_descriptions.customer_descriptions(connection, subscription_id)

    def save_customer_description(
        self, customer_id: str, subscription_id: UUID, description: str, version: int | None
    ) -> CustomerDescription:
        """Store what a customer calls a subscription, in place of that version."""
        with self._connected() as connection:
            return customer_descriptions.save_customer_description(
                connection, customer_id, subscription_id, description, version
            )

    def remove_customer_description(
        self, customer_id: str, subscription_id: UUID, version: int | None
    ) -> CustomerDescription | None:
        """Remove what a customer calls a subscription if it has that version, and return it."""
        with self._connected() as connection:
            return customer_descriptions.remove_customer_description(connection, customer_id, subscription_id, version)

    def subscription_metadata(self, subscription_id: UUID) -> dict[str, Any] | None:
        """Return the metadata of a subscription, if it has any."""
        with self._connected() as connection:
            return metadata_of.subscription_metadata(connection, subscription_id)

    def save_subscription_metadata(self, subscription_id: UUID, metadata: Mapping[str, Any] | None) -> None:
        """Store the metadata of a subscription, or remove it."""
        with self._connected() as connection:
            metadata_of.save_subscription_metadata(connection, subscription_id, metadata)
