"""What the catalogue asks of stored subscriptions before it changes: whether something is in the way."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, TextClause, text

from orchestrator_dagster.db.catalogue.data.selection import Affected, blocks_holding, count_affected
from orchestrator_dagster.db.catalogue.entries import LinkShape
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle

SUBSCRIPTIONS_TO = text("""
    SELECT count(*) OVER () AS total, subscription_id
    FROM orchestrator.subscriptions AS subscription
    JOIN orchestrator.products AS product USING (product_id)
    WHERE product.name = :product AND subscription.status = ANY(:statuses)
    ORDER BY subscription_id
    LIMIT :limit
""")

# The rules say how many blocks of which names a field holds, by the status of the subscription. Where there is none for
# a status its subscriptions do not have the field.
BLOCKS_WITH_UNFIT_LINKS = text("""
    WITH unfit AS (
        SELECT holder.subscription_id
        FROM orchestrator.product_blocks AS block
        JOIN orchestrator.subscription_instances AS holder USING (product_block_id)
        JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
        JOIN jsonb_to_recordset(CAST(:rules AS jsonb)) AS rule (status text, least int, most int, blocks text[])
          ON rule.status = subscription.status
        LEFT JOIN orchestrator.subscription_instance_relations AS link
          ON link.in_use_by_id = holder.subscription_instance_id AND link.attribute = :attribute
        LEFT JOIN orchestrator.subscription_instances AS held ON held.subscription_instance_id = link.depends_on_id
        LEFT JOIN orchestrator.product_blocks AS held_block ON held_block.product_block_id = held.product_block_id
        WHERE block.name = :owner
        GROUP BY holder.subscription_id, holder.subscription_instance_id, rule.least, rule.most
        HAVING count(held_block.name) NOT BETWEEN rule.least AND rule.most
            OR NOT coalesce(bool_and(held_block.name = ANY(rule.blocks)), true)
    ), owners AS (
        SELECT DISTINCT subscription_id FROM unfit
    )
    SELECT count(*) OVER () AS total, subscription_id FROM owners ORDER BY subscription_id LIMIT :limit
""")

SUBSCRIPTIONS_WITH_UNFIT_ROOTS = text("""
    WITH unfit AS (
        SELECT subscription.subscription_id
        FROM orchestrator.products AS product
        JOIN orchestrator.subscriptions AS subscription USING (product_id)
        JOIN jsonb_to_recordset(CAST(:rules AS jsonb)) AS rule (status text, least int, most int, blocks text[])
          ON rule.status = subscription.status
        LEFT JOIN orchestrator.subscription_instances AS held
          ON held.subscription_id = subscription.subscription_id AND held.attribute = :attribute
        LEFT JOIN orchestrator.product_blocks AS held_block ON held_block.product_block_id = held.product_block_id
        WHERE product.name = :owner
        GROUP BY subscription.subscription_id, rule.least, rule.most
        HAVING count(held_block.name) NOT BETWEEN rule.least AND rule.most
            OR NOT coalesce(bool_and(held_block.name = ANY(rule.blocks)), true)
    )
    SELECT count(*) OVER () AS total, subscription_id FROM unfit ORDER BY subscription_id LIMIT :limit
""")

_NO_LIMIT = 2**31 - 1


class Question(Protocol):
    """Which stored subscriptions something concerns."""

    def affected(self, connection: Connection, limit: int = 10) -> Affected:
        """Return how many there are, and the first `limit` of them."""


@dataclass(frozen=True)
class SubscriptionsTo:
    """The subscriptions to a product that have one of some statuses."""

    product: str
    statuses: Collection[SubscriptionLifecycle]

    def affected(self, connection: Connection, limit: int = 10) -> Affected:
        """Return how many there are, and the first `limit` of them."""
        statuses = sorted(self.statuses)
        return _ask(connection, SUBSCRIPTIONS_TO, limit, product=self.product, statuses=statuses)


@dataclass(frozen=True)
class FieldContent:
    """The subscriptions that have something stored for a field of a block.

    Attributes:
        block: the product block.
        field: the resource type.
        is_data: whether it is data; null, an empty list and an empty object are none.
    """

    block: str
    field: str
    is_data: bool

    def affected(self, connection: Connection, limit: int = 10) -> Affected:
        """Return how many there are, and the first `limit` of them."""
        return count_affected(connection, blocks_holding(self.block, self.field, data=self.is_data), limit)


@dataclass(frozen=True)
class UnfitLinks:
    """The subscriptions of which a field holds too few blocks, too many, or others than it may.

    Attributes:
        block: the product block whose field it is; none for a field of subscriptions.
        product: the product to which these are subscriptions.
        attribute: the field, as it is stored.
        shape: what the field may hold.
        stored_names: the names that blocks have in the database, where those are not the names in the shape.
    """

    block: str | None
    product: str | None
    attribute: str
    shape: LinkShape
    stored_names: Mapping[str, str]

    def affected(self, connection: Connection, limit: int = 10) -> Affected:
        """Return how many there are, and the first `limit` of them."""
        statement = SUBSCRIPTIONS_WITH_UNFIT_ROOTS if self.block is None else BLOCKS_WITH_UNFIT_LINKS
        owner = self.block or self.product
        return _ask(connection, statement, limit, owner=owner, attribute=self.attribute, rules=to_json(self._rules()))

    def _rules(self) -> list[dict[str, Any]]:
        most = _NO_LIMIT if self.shape.many else 1
        return [
            {
                "status": status,
                "least": self.shape.least[status],
                "most": self.shape.most.get(status, most),
                "blocks": [self.stored_names.get(name, name) for name in names],
            }
            for status, names in self.shape.blocks.items()
        ]


def _ask(connection: Connection, statement: TextClause, limit: int, **parameters: Any) -> Affected:
    rows = connection.execute(statement, {**parameters, "limit": limit}).all()
    return Affected(rows[0].total if rows else 0, tuple(row.subscription_id for row in rows))
