"""Subscriptions as rows for people: which columns they have, wherever they are selected."""

from typing import Any

from sqlalchemy import Row, Select, select

from orchestrator_dagster.db.tables import products, subscriptions
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import SubscriptionRow

_COLUMNS = (
    subscriptions.c.subscription_id,
    products.c.product_id,
    products.c.name.label("product"),
    products.c.product_type,
    products.c.tag,
    subscriptions.c.customer_id,
    subscriptions.c.description,
    subscriptions.c.status,
    subscriptions.c.insync,
    subscriptions.c.held_by,
    subscriptions.c.start_date,
    subscriptions.c.end_date,
    subscriptions.c.version,
    subscriptions.c.created_at,
)


def select_rows() -> Select[Any]:
    """Return what selects all subscriptions with their products, for others to narrow and sort."""
    return select(*_COLUMNS).join_from(subscriptions, products)


def row_of(found: Row[Any]) -> SubscriptionRow:
    """Return what such a statement found."""
    return SubscriptionRow(**found._asdict() | {"status": SubscriptionLifecycle(found.status)})
