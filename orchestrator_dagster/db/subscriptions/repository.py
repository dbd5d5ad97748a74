"""Subscriptions in Postgres: the store that the models load from and save to, and lists for people."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import UUID
from weakref import ReferenceType, ref

from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.subscriptions import reader, writer
from orchestrator_dagster.db.subscriptions.connected_repository import ConnectedRepository
from orchestrator_dagster.db.subscriptions.loaded import LoadedSubscriptions
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.db.subscriptions.tree import StoredSubscription
from orchestrator_dagster.db.subscriptions.writer import Author
from orchestrator_dagster.domain.query import Page, SubscriptionQuery
from orchestrator_dagster.domain.repository import (
    BlockRecord,
    InstanceReference,
    ProductBlockRecord,
    ProductRecord,
    SubscriptionRecord,
)
from orchestrator_dagster.domain.subscription import SubscriptionModel


class PostgresRepository(ConnectedRepository):
    """The store of models within the transaction of a connection, which the caller begins and ends.

    Args:
        connection: where everything is read and written.
        changed_by: who saves, for the history.
        process_id: the process that saves; subscriptions that it saves are linked to it.
        step: the key of the step that saves, for the history.
        loaded: the subscriptions that were loaded before, where they are to be remembered for longer.

    Attributes:
        connection: where everything is read and written.
        process_id: the process that saves, if it is one.
        saved: the subscriptions that were saved, by id, as they were then.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        changed_by: str = "SYSTEM",
        process_id: UUID | None = None,
        step: str | None = None,
        loaded: LoadedSubscriptions | None = None,
    ) -> None:
        self.connection = connection
        self.process_id = process_id
        self.saved: dict[UUID, SubscriptionRecord] = {}
        self._loaded = LoadedSubscriptions() if loaded is None else loaded
        self._saved_models: list[ReferenceType[SubscriptionModel]] = []
        self._versions_before: dict[UUID, int] = {}
        self._author = Author(changed_by=changed_by, process_id=process_id, step=step)

    @property
    def changed_by(self) -> str:
        """Who saves, for the history."""
        return self._author.changed_by

    def product(self, product_id: UUID) -> ProductRecord:
        """Return a product; raise `ProductNotFoundError` where there is none."""
        return reader.product(self.connection, product_id)

    def product_block(self, name: str) -> ProductBlockRecord:
        """Return a product block by name; raise `ProductBlockNotFoundError` where there is none."""
        return reader.product_block(self.connection, name)

    def load_subscription(self, subscription_id: UUID) -> SubscriptionRecord:
        """Return a subscription and its tree; raise `SubscriptionNotFoundError` where there is none."""
        documents = reader.load_documents(self.connection, [subscription_id])
        record = reader.record_of(subscription_id, documents)
        self._loaded.remember(subscription_id, lambda: documents.stored(subscription_id))
        return record

    def load_subscriptions(self, subscription_ids: Sequence[UUID]) -> Mapping[UUID, SubscriptionRecord]:
        """Return subscriptions and their trees by id; those that do not exist are not among them."""
        return reader.load_subscriptions(self.connection, subscription_ids)

    def find_subscriptions(self, query: SubscriptionQuery) -> Page:
        """Return the subscriptions that fit a query, in its order, `query.limit` of them at most."""
        return find_subscriptions(self.connection, query)

    def load_block(self, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
        """Return a block and all that it depends on; raise `ProductBlockNotFoundError` where there is none."""
        return reader.load_block(self.connection, subscription_instance_id)

    def save_subscription(self, record: SubscriptionRecord) -> int:
        """Write what differs from what is stored and return the new version; see `Repository`."""
        return self.save_and_return(record).record.version

    def save_and_return(self, record: SubscriptionRecord) -> StoredSubscription:
        """Write what differs from what is stored and return what is stored now."""
        loaded = self._loaded.take(record.subscription_id)
        stored = writer.save_subscription(self.connection, record, self._author, loaded)
        self.saved[record.subscription_id] = record
        self._versions_before.setdefault(record.subscription_id, record.version)
        return stored

    def note_saved(self, model: SubscriptionModel) -> None:
        """Take note of a model that was saved, for `restoring_versions`."""
        self._saved_models.append(ref(model))  # what nobody has any more is not kept for this

    @contextmanager
    def restoring_versions(self) -> Iterator[None]:
        """Give models that were saved their versions back if the block fails, at whose end the transaction ends."""
        try:
            yield
        except BaseException:
            for model in filter(None, (reference() for reference in self._saved_models)):
                model.version = self._versions_before[model.subscription_id]
            raise

    def in_use_by(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that use the given ones directly, by the given id."""
        return reader.in_use_by(self.connection, subscription_instance_ids)

    def depends_on(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that the given ones use directly, by the given id."""
        return reader.depends_on(self.connection, subscription_instance_ids)

    def _connected(self) -> AbstractContextManager[Connection]:
        return nullcontext(self.connection)


class AutocommitRepository(ConnectedRepository):
    """The store of models where each call is a transaction of its own, as in a notebook.

    Args:
        engine: where the connection of each call comes from.
        changed_by: who saves, for the history.
    """

    process_id = None

    def __init__(self, engine: Engine, changed_by: str = "SYSTEM") -> None:
        self._engine = engine
        self._changed_by = changed_by
        self._loaded = LoadedSubscriptions()

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

    def load_subscriptions(self, subscription_ids: Sequence[UUID]) -> Mapping[UUID, SubscriptionRecord]:
        """Return subscriptions and their trees by id; those that do not exist are not among them."""
        with self._transaction() as repository:
            return repository.load_subscriptions(subscription_ids)

    def find_subscriptions(self, query: SubscriptionQuery) -> Page:
        """Return the subscriptions that fit a query, in its order, `query.limit` of them at most."""
        with self._transaction() as repository:
            return repository.find_subscriptions(query)

    def load_block(self, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
        """Return a block and all that it depends on; raise `ProductBlockNotFoundError` where there is none."""
        with self._transaction() as repository:
            return repository.load_block(subscription_instance_id)

    def save_subscription(self, record: SubscriptionRecord) -> int:
        """Write what differs from what is stored, commit, and return the new version; see `Repository`."""
        with self._transaction() as repository:
            stored = repository.save_and_return(record)
        # not before the commit: what was rolled back may come again as somebody else's version of the same number
        self._loaded.remember(record.subscription_id, lambda: stored)
        return stored.record.version

    def note_saved(self, model: SubscriptionModel) -> None:
        """Do nothing: what was saved is committed."""

    def in_use_by(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that use the given ones directly, by the given id."""
        with self._transaction() as repository:
            return repository.in_use_by(subscription_instance_ids)

    def depends_on(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that the given ones use directly, by the given id."""
        with self._transaction() as repository:
            return repository.depends_on(subscription_instance_ids)

    @contextmanager
    def _transaction(self) -> Iterator[PostgresRepository]:
        with self._engine.begin() as connection:
            yield PostgresRepository(connection, changed_by=self._changed_by, loaded=self._loaded)

    def _connected(self) -> AbstractContextManager[Connection]:
        return self._engine.begin()
