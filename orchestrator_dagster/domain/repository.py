"""What the models need of a store: the records that go in and out, and the protocol that a store implements.

The store of the current step, connection or transaction is found in a context variable; it is the only thing that is
ambient. `db.subscriptions` implements the protocol on Postgres.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductModel
from orchestrator_dagster.domain.query import Page, SubscriptionQuery, SubscriptionRow
from orchestrator_dagster.domain.value_filter import ValueFilter
from orchestrator_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.customer_description import CustomerDescription
    from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow
    from orchestrator_dagster.domain.subscription import SubscriptionModel


@dataclass(frozen=True)
class BlockRecord:
    """One subscription instance (a block of a subscription) as it is stored.

    Attributes:
        subscription_instance_id: the block's own id.
        owner_subscription_id: the subscription that the block is part of.
        owner_status: that subscription's status: it decides the class that a block of another subscription loads as.
            Ignored when saving.
        product_block_name: the block's name in the catalogue.
        label: free text.
        values: the resource types as JSON, those that are `None` included.
        links: the blocks it depends on, by attribute and in order.
        lists: the attributes that hold a list of blocks. The history needs them for its paths; not known when loaded.
    """

    subscription_instance_id: UUID
    owner_subscription_id: UUID
    owner_status: SubscriptionLifecycle
    product_block_name: str
    label: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, Sequence[UUID]] = field(default_factory=dict)
    lists: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class SubscriptionRecord:
    """A subscription with its whole tree.

    Attributes:
        version: the version that was loaded; 0 for a subscription that was never saved.
        fixed_inputs: the constants of its product, as JSON. Ignored when saving.
        roots: the blocks directly below the subscription, by attribute and in order.
        blocks: every block that can be reached, those of other subscriptions included. Of these only the ids matter
            when saving: a block is written by its owner alone.
        lists: the attributes among the roots that hold a list of blocks; not known when loaded.
    """

    subscription_id: UUID
    product: ProductModel
    customer_id: str
    description: str
    status: SubscriptionLifecycle
    insync: bool
    start_date: datetime | None
    end_date: datetime | None
    note: str | None
    version: int
    fixed_inputs: Mapping[str, Any] = field(default_factory=dict)
    roots: Mapping[str, Sequence[UUID]] = field(default_factory=dict)
    blocks: Mapping[UUID, BlockRecord] = field(default_factory=dict)
    lists: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class ProductRecord:
    """A product with its fixed inputs (as JSON)."""

    product: ProductModel
    fixed_inputs: Mapping[str, Any]


@dataclass(frozen=True)
class ProductBlockRecord:
    """A product block in the catalogue."""

    product_block_id: UUID
    name: str
    description: str
    tag: str


@dataclass(frozen=True)
class InstanceReference:
    """A block at the other end of a relation, with what one asks of its subscription."""

    subscription_instance_id: UUID
    product_block_name: str
    subscription_id: UUID
    subscription_status: SubscriptionLifecycle
    subscription_description: str
    insync: bool


class Repository(Protocol):
    """Where models are loaded from and saved to."""

    @property
    def process_id(self) -> UUID | None:
        """The process that loads and saves, if it is one."""

    def product(self, product_id: UUID) -> ProductRecord:
        """Return a product; raise `ProductNotFoundError` where there is none."""

    def product_block(self, name: str) -> ProductBlockRecord:
        """Return a product block by name; raise `ProductBlockNotFoundError` where there is none."""

    def load_subscription(self, subscription_id: UUID) -> SubscriptionRecord:
        """Return a subscription and its tree; raise `SubscriptionNotFoundError` where there is none."""

    def load_subscriptions(self, subscription_ids: Sequence[UUID]) -> Mapping[UUID, SubscriptionRecord]:
        """Return subscriptions and their trees by id, in one go; those that do not exist are not among them.

        A store does not remember what it loads this way, so that any number can be loaded.
        """

    def find_subscriptions(self, query: SubscriptionQuery) -> Page:
        """Return the subscriptions that fit a query, in its order, `query.limit` of them at most."""

    def subscription_as_of(
        self, subscription_id: UUID, *, version: int | None = None, at: datetime | None = None
    ) -> SubscriptionRecord:
        """Return a subscription and its tree as of a version or a moment, blocks of other subscriptions included.

        Raises:
            TypeError: not exactly one of `version` and `at` is given.
            SubscriptionNotFoundError: there is no such subscription.
            HistoryNotFoundError: it has no such version, or did not exist at that moment.
            HistoryIncompleteError: a change that came later was not recorded in a way that can be undone.
        """

    def load_block(self, subscription_instance_id: UUID) -> Mapping[UUID, BlockRecord]:
        """Return a block and all that it depends on; raise `ProductBlockNotFoundError` where there is none."""

    def save_subscription(self, record: SubscriptionRecord) -> int:
        """Write what differs from what is stored and return the new version (the same one if nothing differs).

        Blocks of the subscription that the record no longer has are deleted; blocks of other subscriptions are linked
        and never written.

        Raises:
            StaleDataError: the stored version is not `record.version`.
            ModelError: the record links a block that does not exist, or removes one that others use.
        """

    def note_saved(self, model: "SubscriptionModel") -> None:
        """Take note of a model that was saved: it gets its version back if that is rolled back later.

        Else it would have a version that does not exist, or one that somebody else makes then and it would overwrite.
        """

    def in_use_by(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that use the given ones directly, by the given id."""

    def depends_on(self, subscription_instance_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[InstanceReference]]:
        """Return the blocks that the given ones use directly, by the given id."""

    def subscription_row(self, subscription_id: UUID, *, for_update: bool = False) -> SubscriptionRow:
        """Return a subscription without its blocks; raise `SubscriptionNotFoundError` where there is none.

        Args:
            subscription_id: the subscription.
            for_update: keep others from changing it until the transaction ends.
        """

    def subscriptions_with_value(
        self, value: ValueFilter, status: Sequence[SubscriptionLifecycle]
    ) -> Sequence[SubscriptionRow]:
        """Return the subscriptions of which any block has a value, oldest first; `value` names no attributes."""

    def related_subscriptions(self, query: "RelatedQuery", *, in_use_by: bool) -> "Sequence[RelatedSubscriptionRow]":
        """Return the subscriptions that use one, or that it depends on; the nearest first."""

    def product_difference(self, model: "type[SubscriptionModel]", product_id: UUID) -> dict[str, Any]:
        """Return where the catalogue differs from what a model declares; see `diff_product_in_database`."""

    def customer_descriptions(self, subscription_id: UUID) -> "Sequence[CustomerDescription]":
        """Return what customers call a subscription, by customer."""

    def save_customer_description(
        self, customer_id: str, subscription_id: UUID, description: str, version: int | None
    ) -> "CustomerDescription":
        """Store what a customer calls a subscription, in place of that version; see `CustomerDescription`."""

    def remove_customer_description(
        self, customer_id: str, subscription_id: UUID, version: int | None
    ) -> "CustomerDescription | None":
        """Remove what a customer calls a subscription if it has that version, and return it."""

    def subscription_metadata(self, subscription_id: UUID) -> dict[str, Any] | None:
        """Return the metadata of a subscription, if it has any."""

    def save_subscription_metadata(self, subscription_id: UUID, metadata: Mapping[str, Any] | None) -> None:
        """Store the metadata of a subscription, or remove it."""


_current: ContextVar[Repository | None] = ContextVar("orchestrator_repository", default=None)


def ambient_repository() -> Repository | None:
    """Return the store that models load from and save to here, if there is one."""
    return _current.get()


def current_repository() -> Repository:
    """Return the store that models load from and save to here.

    Raises:
        ConfigurationError: outside of a step and of `orchestrator.connect()`.
    """
    repository = _current.get()
    if repository is None:
        raise ConfigurationError(
            "Models load and save inside a step or a connection: use `with orchestrator.connect():` around this"
        )
    return repository


@contextmanager
def use_repository(repository: Repository) -> Iterator[Repository]:
    """Make `repository` the store of the models within the block."""
    token = _current.set(repository)
    try:
        yield repository
    finally:
        _current.reset(token)
