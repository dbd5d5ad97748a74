"""Which subscriptions use a subscription, and which it depends on: all the way, in one statement."""

from sqlalchemy import Connection, TextClause, text

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow

# Each round of the recursion is one row: the subscriptions that it reached first, and all that are reached so far. So
# circles end, and each subscription is there once, at its smallest depth. Arrays keep Postgres from reading whole
# tables to join them, since it takes them for small.
_IN_USE_BY = text("""
    WITH RECURSIVE round (depth, reached, seen) AS (
        SELECT 0, ARRAY[CAST(:subscription_id AS uuid)], ARRAY[CAST(:subscription_id AS uuid)]
        UNION ALL
        SELECT round.depth + 1, following.reached, round.seen || following.reached
        FROM round
        CROSS JOIN LATERAL (
            SELECT array_agg(DISTINCT owner.subscription_id) AS reached
            FROM orchestrator.subscription_instances AS owner
            WHERE owner.subscription_instance_id = ANY(ARRAY(
                      SELECT relation.in_use_by_id
                      FROM orchestrator.subscription_instance_relations AS relation
                      WHERE relation.depends_on_id = ANY(ARRAY(
                                SELECT instance.subscription_instance_id
                                FROM orchestrator.subscription_instances AS instance
                                WHERE instance.subscription_id = ANY(round.reached)))))
              AND owner.subscription_id <> ALL(round.seen)
        ) AS following
        WHERE following.reached IS NOT NULL
          AND (CAST(:depth AS integer) IS NULL OR round.depth < :depth)
    )
    SELECT subscription.subscription_id, subscription.description, product.name AS product, product.product_type,
           subscription.status, subscription.insync, subscription.held_by, related.depth
    FROM (SELECT unnest(reached) AS subscription_id, depth FROM round WHERE depth > 0) AS related
    JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
    JOIN orchestrator.products AS product USING (product_id)
    WHERE subscription.subscription_id = ANY(ARRAY(SELECT unnest(reached) FROM round WHERE depth > 0))
      AND (CAST(:statuses AS text[]) IS NULL OR subscription.status = ANY(CAST(:statuses AS text[])))
      AND (CAST(:product_types AS text[]) IS NULL OR product.product_type = ANY(CAST(:product_types AS text[])))
    ORDER BY related.depth, subscription.created_at, subscription.subscription_id
""")

_DEPENDS_ON = text("""
    WITH RECURSIVE round (depth, reached, seen) AS (
        SELECT 0, ARRAY[CAST(:subscription_id AS uuid)], ARRAY[CAST(:subscription_id AS uuid)]
        UNION ALL
        SELECT round.depth + 1, following.reached, round.seen || following.reached
        FROM round
        CROSS JOIN LATERAL (
            SELECT array_agg(DISTINCT owner.subscription_id) AS reached
            FROM orchestrator.subscription_instances AS owner
            WHERE owner.subscription_instance_id = ANY(ARRAY(
                      SELECT relation.depends_on_id
                      FROM orchestrator.subscription_instance_relations AS relation
                      WHERE relation.in_use_by_id = ANY(ARRAY(
                                SELECT instance.subscription_instance_id
                                FROM orchestrator.subscription_instances AS instance
                                WHERE instance.subscription_id = ANY(round.reached)))))
              AND owner.subscription_id <> ALL(round.seen)
        ) AS following
        WHERE following.reached IS NOT NULL
          AND (CAST(:depth AS integer) IS NULL OR round.depth < :depth)
    )
    SELECT subscription.subscription_id, subscription.description, product.name AS product, product.product_type,
           subscription.status, subscription.insync, subscription.held_by, related.depth
    FROM (SELECT unnest(reached) AS subscription_id, depth FROM round WHERE depth > 0) AS related
    JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
    JOIN orchestrator.products AS product USING (product_id)
    WHERE subscription.subscription_id = ANY(ARRAY(SELECT unnest(reached) FROM round WHERE depth > 0))
      AND (CAST(:statuses AS text[]) IS NULL OR subscription.status = ANY(CAST(:statuses AS text[])))
      AND (CAST(:product_types AS text[]) IS NULL OR product.product_type = ANY(CAST(:product_types AS text[])))
    ORDER BY related.depth, subscription.created_at, subscription.subscription_id
""")


def subscriptions_that_use(connection: Connection, query: RelatedQuery) -> list[RelatedSubscriptionRow]:
    """Return the subscriptions that use a subscription, directly or by way of others; the nearest first."""
    return _related(connection, _IN_USE_BY, query)


def subscriptions_used_by(connection: Connection, query: RelatedQuery) -> list[RelatedSubscriptionRow]:
    """Return the subscriptions that a subscription depends on, directly or by way of others; the nearest first."""
    return _related(connection, _DEPENDS_ON, query)


def _related(connection: Connection, statement: TextClause, query: RelatedQuery) -> list[RelatedSubscriptionRow]:
    parameters = {
        "subscription_id": query.subscription_id,
        "depth": query.depth,
        "statuses": query.statuses,
        "product_types": query.product_types,
    }
    return [
        RelatedSubscriptionRow(**row._asdict() | {"status": SubscriptionLifecycle(row.status)})
        for row in connection.execute(statement, parameters)
    ]
