"""Subscriptions put into the database by SQL, for tests that look for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.domain.query import Page, SubscriptionQuery

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Block:
    """A block to store; `held` are the blocks in its fields, new ones or those of other subscriptions."""

    values: Mapping[str, Any] = field(default_factory=dict)
    held: "Mapping[str, Sequence[Block]]" = field(default_factory=dict)
    label: str | None = None
    block_id: UUID = field(default_factory=uuid4)
    is_stored: bool = False


class StoredSubscriptions:
    """Stores products and subscriptions; each subscription is made a day after the one before."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._days = count()
        self._product_block: UUID = connection.execute(
            text("""INSERT INTO orchestrator.product_blocks (name, description, tag) VALUES ('Block', 'A block', 'B')
                    RETURNING product_block_id""")
        ).scalar_one()

    def product(self, name: str, product_type: str = "Node", tag: str = "NODE") -> UUID:
        """Store a product."""
        return self.connection.execute(
            text("""INSERT INTO orchestrator.products (name, description, product_type, tag, status)
                    VALUES (:name, :name, :product_type, :tag, 'active')
                    RETURNING product_id"""),
            {"name": name, "product_type": product_type, "tag": tag},
        ).scalar_one()

    def add(self, product_id: UUID, roots: Mapping[str, Sequence[Block]] | None = None, **columns: Any) -> UUID:
        """Store a subscription with its root blocks, by attribute."""
        row = {
            "subscription_id": uuid4(),
            "product_id": product_id,
            "customer_id": "acme",
            "description": "A subscription",
            "status": "active",
            "insync": True,
            "start_date": None,
            "end_date": None,
            "note": None,
            "created_at": FIRST_DAY + timedelta(days=next(self._days)),
            **columns,
        }
        self.connection.execute(
            text("""INSERT INTO orchestrator.subscriptions
                           (subscription_id, product_id, customer_id, description, status, insync, start_date,
                            end_date, note, created_at)
                    VALUES (:subscription_id, :product_id, :customer_id, :description, :status, :insync, :start_date,
                            :end_date, :note, :created_at)"""),
            row,
        )
        for attribute, blocks in (roots or {}).items():
            for position, block in enumerate(blocks):
                self._add_block(row["subscription_id"], block, attribute, position)
        found: UUID = row["subscription_id"]
        return found

    def _add_block(self, owner: UUID, block: Block, attribute: str | None, position: int | None) -> None:
        if block.is_stored:
            return
        block.is_stored = True
        self.connection.execute(
            text("""INSERT INTO orchestrator.subscription_instances
                           (subscription_instance_id, subscription_id, product_block_id, label, values, attribute,
                            position)
                    VALUES (:id, :owner, :product_block, :label, CAST(:values AS jsonb), :attribute, :position)"""),
            {
                "id": block.block_id,
                "owner": owner,
                "product_block": self._product_block,
                "label": block.label,
                "values": to_json(dict(block.values)),
                "attribute": attribute,
                "position": position,
            },
        )
        for name, held in block.held.items():
            for place, below in enumerate(held):
                self._add_block(owner, below, None, None)
                self.link(block, name, place, below)

    def link(self, block: Block, attribute: str, position: int, below: Block) -> None:
        """Put a block into a field of another one."""
        self.connection.execute(
            text("""INSERT INTO orchestrator.subscription_instance_relations
                           (in_use_by_id, attribute, position, depends_on_id)
                    VALUES (:block, :attribute, :position, :below)"""),
            {"block": block.block_id, "attribute": attribute, "position": position, "below": below.block_id},
        )

    def find(self, **filters: Any) -> Page:
        """Look for subscriptions."""
        return find_subscriptions(self.connection, SubscriptionQuery(**filters))

    def ids(self, **filters: Any) -> list[UUID]:
        """Look for subscriptions; by default the oldest come first."""
        return [row.subscription_id for row in self.find(**{"sort": "created_at", **filters})]
