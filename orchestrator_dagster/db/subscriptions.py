"""Subscriptions in Postgres: the store that the models load from and save to, and lists for people."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Select, select

from orchestrator_dagster.db import subscription_reader, subscription_writer
from orchestrator_dagster.db.subscription_changes import Changes
from orchestrator_dagster.db.subscription_writer import Author
from orchestrator_dagster.db.tables import products
from orchestrator_dagster.db.tables import subscription_versions as versions_table
from orchestrator_dagster.db.tables import subscriptions as subscriptions_table
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.repository import (
    BlockRecord,
    InstanceReference,
    ProductBlockRecord,
    ProductRecord,
    Repository,
    SubscriptionRecord,
)
from orchestrator_dagster.domain.state import copy_of


class PostgresRepository:
    """The store of models within the transaction of a connection, which the caller begins and ends.

    Args:
        connection: where everything is read and written.
        changed_by: who saves, for the history.
        process_id: the process that saves; subscriptions that it saves are linked to it.
        step: the key of the step that saves, for the history.

    Attributes:
        connection: where everything is read and written.
        saved: the subscriptions that were saved, by id, as they were then.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        changed_by: str = "SYSTEM",
        process_id: UUID | None = None,
        step: str | None = None,
    ) -> None:
        self.connection = connection
        self.saved: dict[UUID, SubscriptionRecord] = {}
        self._loaded: dict[UUID, SubscriptionRecord] = {}
        self._author = Author(changed_by=changed_by, process_id=process_id, step=step)

    def product(self, product_id: UUID) -> ProductRecord:
        """Return a product; raise `ProductNotFoundError` where there is none."""
        return subscription_reader.product(self.connection, product_id)

    def product_block(self, name: str) -> ProductBlockRecord:
        """Return a product block by name; raise `ProductBlockNotFoundError` where there is none."""
        return subscription_reader.product_block(self.connection, name)

    def load_subscription(self, subscription_id: UUID) -> SubscriptionRecord:
        """Return a subscription and its tree; raise `SubscriptionNotFoundError` where there is none."""
        record = subscription_reader.load_subscription(self.connection, subscription_id)
        self._loaded[subscription_id] = _copy_of(record)
        return record

    def load_block(self, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
        """Return a block and all that it depends on; raise `ProductBlockNotFoundError` where there is none."""
        return subscription_reader.load_block(self.connection, subscription_instance_id)

    def save_subscription(self, record: SubscriptionRecord) -> int:
        """Write what differs from what is stored and return the new version; see `Repository`."""
        loaded = self._loaded.pop(record.subscription_id, None)
        version = subscription_writer.save_subscription(self.connection, record, self._author, loaded)
        self.saved[record.subscription_id] = record
        return version

    def in_use_by(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that use the given ones directly, by the given id."""
        return subscription_reader.in_use_by(self.connection, subscription_instance_ids)

    def depends_on(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that the given ones use directly, by the given id."""
        return subscription_reader.depends_on(self.connection, subscription_instance_ids)


def _copy_of(record: SubscriptionRecord) -> SubscriptionRecord:
    """Return a copy that stays as it is when the model made of the record is changed."""
    blocks = {
        block_id: replace(block, values=copy_of(block.values), links=copy_of(block.links))
        for block_id, block in record.blocks.items()
    }
    return replace(record, roots=copy_of(record.roots), blocks=blocks)


class AutocommitRepository:
    """The store of models where each call is a transaction of its own, as in a notebook.

    Args:
        engine: where the connection of each call comes from.
        changed_by: who saves, for the history.
    """

    def __init__(self, engine: Engine, changed_by: str = "SYSTEM") -> None:
        self._engine = engine
        self._changed_by = changed_by

    def product(self, product_id: UUID) -> ProductRecord:
        """Return a product; raise `ProductNotFoundError` where there is none."""
        with self._transaction() as repository:
            return repository.product(product_id)

    def product_block(self, name: str) -> ProductBlockRecord:
        """Return a product block by name; raise `ProductBlockNotFoundError` where there is none."""
        with self._transaction() as repository:
            return repository.product_block(name)

    def load_subscription(self, subscription_id: UUID) -> SubscriptionRecord:
        """Return a subscription and its tree; raise `SubscriptionNotFoundError` where there is none."""
        with self._transaction() as repository:
            return repository.load_subscription(subscription_id)

    def load_block(self, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
        """Return a block and all that it depends on; raise `ProductBlockNotFoundError` where there is none."""
        with self._transaction() as repository:
            return repository.load_block(subscription_instance_id)

    def save_subscription(self, record: SubscriptionRecord) -> int:
        """Write what differs from what is stored, commit, and return the new version; see `Repository`."""
        with self._transaction() as repository:
            return repository.save_subscription(record)

    def in_use_by(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that use the given ones directly, by the given id."""
        with self._transaction() as repository:
            return repository.in_use_by(subscription_instance_ids)

    def depends_on(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that the given ones use directly, by the given id."""
        with self._transaction() as repository:
            return repository.depends_on(subscription_instance_ids)

    @contextmanager
    def _transaction(self) -> Iterator[Repository]:
        with self._engine.begin() as connection:
            yield PostgresRepository(connection, changed_by=self._changed_by)


@dataclass(frozen=True)
class SubscriptionRow:
    """A subscription as a list shows it."""

    subscription_id: UUID
    product_id: UUID
    product: str
    product_type: str
    tag: str
    customer_id: str
    description: str
    status: SubscriptionLifecycle
    insync: bool
    held_by: UUID | None
    start_date: datetime | None
    end_date: datetime | None
    version: int
    created_at: datetime


@dataclass(frozen=True)
class SubscriptionVersion:
    """One change of a subscription.

    Attributes:
        changes: what changed, as `{path: {"before": …, "after": …}}`.
    """

    subscription_id: UUID
    version: int
    changed_at: datetime
    changed_by: str
    process_id: UUID | None
    step: str | None
    changes: Changes


def subscriptions(
    connection: Connection,
    *,
    product: str | UUID | None = None,
    product_type: str | None = None,
    tag: str | None = None,
    status: SubscriptionLifecycle | str | None = None,
    customer_id: str | None = None,
    insync: bool | None = None,
    limit: int | None = None,
) -> list[SubscriptionRow]:
    """Return the subscriptions that fit all that is given, newest first.

    Args:
        connection: where to look.
        product: the product's name or id.
        product_type: the product's type.
        tag: the product's tag.
        status: the subscription's status.
        customer_id: the customer.
        insync: whether the subscription is in sync.
        limit: how many to return at most.
    """
    wanted = {
        products.c.product_id if isinstance(product, UUID) else products.c.name: product,
        products.c.product_type: product_type,
        products.c.tag: tag,
        subscriptions_table.c.status: status,
        subscriptions_table.c.customer_id: customer_id,
        subscriptions_table.c.insync: insync,
    }
    statement = _list_statement().where(*(column == value for column, value in wanted.items() if value is not None))
    return [
        SubscriptionRow(**row._asdict() | {"status": SubscriptionLifecycle(row.status)})
        for row in connection.execute(statement.limit(limit))
    ]


def subscription_versions(connection: Connection, subscription_id: UUID) -> list[SubscriptionVersion]:
    """Return the history of a subscription, oldest first; empty for one that does not exist."""
    statement = (
        select(versions_table)
        .where(versions_table.c.subscription_id == subscription_id)
        .order_by(versions_table.c.version)
    )
    return [SubscriptionVersion(**row._asdict()) for row in connection.execute(statement)]


def _list_statement() -> Select[Any]:
    subscription = subscriptions_table.c
    return (
        select(
            subscription.subscription_id,
            products.c.product_id,
            products.c.name.label("product"),
            products.c.product_type,
            products.c.tag,
            subscription.customer_id,
            subscription.description,
            subscription.status,
            subscription.insync,
            subscription.held_by,
            subscription.start_date,
            subscription.end_date,
            subscription.version,
            subscription.created_at,
        )
        .join_from(subscriptions_table, products)
        .order_by(subscription.created_at.desc(), subscription.subscription_id.desc())
    )
