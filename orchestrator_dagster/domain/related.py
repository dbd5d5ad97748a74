"""Subscriptions that depend on each other: what one asks, and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from orchestrator_dagster.domain.identifier import subscription_id_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import OneOrMore, one_or_more, statuses_of
from orchestrator_dagster.errors import QueryError


@dataclass(frozen=True)
class RelatedSubscriptionRow:
    """A subscription that uses another one, or that another one depends on, directly or not.

    Attributes:
        depth: how many steps away it is, on the shortest way.
    """

    subscription_id: UUID
    description: str
    product: str
    product_type: str
    status: SubscriptionLifecycle
    insync: bool
    held_by: UUID | None
    depth: int


@dataclass(frozen=True)
class RelatedQuery:
    """Which related subscriptions.

    Args:
        subscription_id: whose.
        depth: how many steps away at most; `None` for all the way.
        status: their lifecycle status. Those of another status are left out, but not what lies behind them.
        product_type: types of their product; the same goes for these.

    Raises:
        SubscriptionNotFoundError: `subscription_id` is no id.
        QueryError: a filter is not possible.
    """

    subscription_id: UUID | str
    depth: int | None = None
    status: OneOrMore[SubscriptionLifecycle | str] = None
    product_type: OneOrMore[str] = None

    def __post_init__(self) -> None:
        if self.depth is not None and (type(self.depth) is not int or self.depth < 1):
            raise QueryError("depth", self.depth, "a whole number from 1 on, or None for all the way")
        self._set("subscription_id", subscription_id_of(self.subscription_id))
        self._set("status", statuses_of(self.status))
        self._set("product_type", one_or_more("product_type", self.product_type))

    @property
    def statuses(self) -> list[str] | None:
        """The statuses as text, `None` for any."""
        return None if self.status is None else [str(one) for one in self.status]

    @property
    def product_types(self) -> list[str] | None:
        """The types of products, `None` for any."""
        types: Sequence[str] | None = self.product_type
        return None if types is None else list(types)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
