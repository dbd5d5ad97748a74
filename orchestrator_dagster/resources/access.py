"""Products and subscriptions as Dagster resources, for steps, assets, sensors and ops of one's own."""

from typing import Unpack
from uuid import UUID

import dagster as dg

from orchestrator_dagster.db.products import ProductRow, all_products
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.db.subscriptions.relations import subscriptions_that_use, subscriptions_used_by
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import OneOrMore, Page, SubscriptionFilters, SubscriptionQuery
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow
from orchestrator_dagster.errors import ProductNotFoundError
from orchestrator_dagster.resources.database import Database


class Products(dg.ConfigurableResource["Products"]):
    """The product catalogue.

    Args:
        database: where it is kept.
    """

    database: dg.ResourceDependency[Database]

    def all(self) -> list[ProductRow]:
        """Return every product, by name."""
        with self.database.reading() as connection:
            return all_products(connection)

    def get(self, name_or_id: str | UUID) -> ProductRow:
        """Return a product.

        Raises:
            ProductNotFoundError: there is none of that name or id.
        """
        for product in self.all():
            if name_or_id in (product.name, product.product_id, str(product.product_id)):
                return product
        raise ProductNotFoundError(name_or_id)


class Subscriptions(dg.ConfigurableResource["Subscriptions"]):
    """The subscriptions, as rows for lists. For one with its blocks use its model's `from_subscription`.

    Args:
        database: where they are kept.
    """

    database: dg.ResourceDependency[Database]

    def find(self, **filters: Unpack[SubscriptionFilters]) -> Page:
        """Return the subscriptions that fit all that is given, newest first unless `sort` says otherwise.

        Args:
            filters: the fields of `SubscriptionQuery`; with a `limit`, `next` of the page is the next one's `after`.

        Raises:
            QueryError: a filter is not possible.
        """
        with self.database.reading() as connection:
            return find_subscriptions(connection, SubscriptionQuery(**filters))

    def in_use_by(
        self,
        subscription_id: UUID | str,
        *,
        depth: int | None = None,
        status: OneOrMore[SubscriptionLifecycle | str] = None,
        product_type: OneOrMore[str] = None,
    ) -> list[RelatedSubscriptionRow]:
        """Return the subscriptions that use a subscription, directly or by way of others; the nearest first.

        Args:
            subscription_id: its id.
            depth: how many steps away at most; `None` for all the way.
            status: only those with one of these statuses; what lies behind the others is followed all the same.
            product_type: only those with a product of one of these types; likewise.

        Raises:
            SubscriptionNotFoundError: it is no id.
            QueryError: a filter is not possible.
        """
        query = RelatedQuery(subscription_id, depth, status, product_type)
        with self.database.reading() as connection:
            return subscriptions_that_use(connection, query)

    def depends_on(
        self,
        subscription_id: UUID | str,
        *,
        depth: int | None = None,
        status: OneOrMore[SubscriptionLifecycle | str] = None,
        product_type: OneOrMore[str] = None,
    ) -> list[RelatedSubscriptionRow]:
        """Return the subscriptions that a subscription depends on, directly or by way of others; the nearest first.

        Args:
            subscription_id: its id.
            depth: how many steps away at most; `None` for all the way.
            status: only those with one of these statuses; what lies behind the others is followed all the same.
            product_type: only those with a product of one of these types; likewise.

        Raises:
            SubscriptionNotFoundError: it is no id.
            QueryError: a filter is not possible.
        """
        query = RelatedQuery(subscription_id, depth, status, product_type)
        with self.database.reading() as connection:
            return subscriptions_used_by(connection, query)
