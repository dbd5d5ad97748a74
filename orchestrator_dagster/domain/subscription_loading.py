"""How subscriptions become models again: one, many, all, or one as it was."""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Any, Self, Unpack, cast
from uuid import UUID

from pydantic import ValidationError

from orchestrator_dagster.domain import context_cache
from orchestrator_dagster.domain.fields import fields_of
from orchestrator_dagster.domain.identifier import subscription_id_of
from orchestrator_dagster.domain.model import DomainModel
from orchestrator_dagster.domain.query import SubscriptionFilters, SubscriptionQuery
from orchestrator_dagster.domain.records import read_values, tree_of_records
from orchestrator_dagster.domain.registry import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator_dagster.domain.repository import Repository, SubscriptionRecord, current_repository
from orchestrator_dagster.errors import ModelError, SubscriptionNotFoundError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.subscription import SubscriptionModel

_MOST_STATEMENTS = 5
_LEAST_AT_ONCE = 1000


class LoadedModel(DomainModel):
    """What is stored, as a model; `SubscriptionModel` is one."""

    @classmethod
    def from_subscription(cls, subscription_id: UUID | str) -> Self:
        """Load a subscription.

        Args:
            subscription_id: its id.

        Returns:
            The subscription. Called on `SubscriptionModel` itself, it has the class that the registry has for its
            product, specialised for its status; called on any other class, it has that class.

        Raises:
            SubscriptionNotFoundError: there is no such subscription.
            ProductNotInRegistryError: its product is not in `SUBSCRIPTION_MODEL_REGISTRY`.
            LifecycleError: the class is too general for its status.
            ModelError: it is a subscription to a product of another kind.
            pydantic.ValidationError: what is stored does not fit the class.

        Example:
            ```python
            node = Node.from_subscription(subscription_id)
            ```
        """
        if not isinstance(subscription_id, UUID | str):
            raise TypeError(f"subscription_id is of type {type(subscription_id)} instead of UUID | UUIDstr")
        found_id = subscription_id_of(subscription_id)
        known = context_cache.cached(cls, found_id)
        if known is not None:
            return known
        return cls._remembered(current_repository().load_subscription(found_id))

    @classmethod
    def from_subscriptions(cls, subscription_ids: Iterable[UUID | str]) -> list[Self]:
        """Load many subscriptions at once, in five statements at most.

        Args:
            subscription_ids: their ids, in any order; one that is given twice is loaded once.

        Returns:
            The subscriptions in the order of their ids, each of the class that `from_subscription` gives.

        Raises:
            SubscriptionNotFoundError: there is no such subscription; of several it names the first.
            Exception: what `from_subscription` raises where a subscription does not fit its class.

        Example:
            ```python
            nodes = Node.from_subscriptions(row.subscription_id for row in wfo.subscriptions(product="Node Cisco"))
            ```
        """
        ids = [subscription_id_of(given) for given in subscription_ids]
        models = {known_id: context_cache.cached(cls, known_id) for known_id in ids}
        for batch in batches([known_id for known_id, model in models.items() if model is None]):
            with _garbage_left():
                records = current_repository().load_subscriptions(batch)
                for known_id in batch:
                    if known_id not in records:
                        raise SubscriptionNotFoundError(known_id)
                    models[known_id] = cls._remembered(records[known_id])
        return [cast("Self", models[known_id]) for known_id in ids]

    @classmethod
    def iterate(cls, *, batch_size: int = 500, **filters: Unpack[SubscriptionFilters]) -> Iterator[Self]:
        """Load the subscriptions that fit all filters one after another, in the order of their ids.

        Any number can be gone through: only one batch is in memory. Each takes two statements, or three where something
        of the product is asked for. Subscriptions that are made or changed meanwhile may be among them or not.

        Args:
            batch_size: how many to load at once.
            filters: the filters of `SubscriptionQuery`, such as `product` and `status`.

        Returns:
            The subscriptions, each of the class that `from_subscription` gives.

        Raises:
            QueryError: a filter is not possible.
            TypeError: there is no such filter; `sort`, `limit` and `after` are not.
            Exception: what `from_subscription` raises where a subscription does not fit its class.

        Example:
            ```python
            for node in Node.iterate(product=["Node Cisco", "Node Nokia"], status="active"):
                print(node.node.node_name)
            ```
        """
        refused = sorted({"sort", "limit", "after"} & filters.keys())
        if refused:
            raise TypeError(f"iterate() goes through all that fits, in the order of the ids: {refused[0]} is no filter")
        query = SubscriptionQuery(**filters | {"sort": "subscription_id", "limit": batch_size})
        return cls._each(current_repository(), query)

    @classmethod
    def _each(cls, repository: Repository, query: SubscriptionQuery) -> Iterator[Self]:
        while True:
            page = repository.find_subscriptions(query)
            yield from cls._each_of([row.subscription_id for row in page], repository)
            if page.next is None:
                return
            query = replace(query, after=page.next)

    @classmethod
    def _each_of(cls, ids: Sequence[UUID], repository: Repository) -> Iterator[Self]:
        """Load one batch. It is a generator of its own so that the batch is gone before the next one is loaded."""
        records = repository.load_subscriptions(ids)
        for subscription_id in ids:
            if subscription_id in records:  # else it was deleted just now
                yield cls._of(records[subscription_id])

    @classmethod
    def as_of(cls, subscription_id: UUID | str, *, version: int | None = None, at: datetime | None = None) -> Self:
        """Load a subscription as it was, with the blocks of other subscriptions as they were at that time.

        It is for looking at: its version is an old one, so that saving it over what came later is refused.

        Args:
            subscription_id: its id.
            version: the version; it stands for the moment at which it was saved.
            at: the moment; without a time zone it is in UTC.

        Returns:
            The subscription. Its class is chosen as by `from_subscription`, for the product and status of that time.

        Raises:
            TypeError: not exactly one of `version` and `at` is given.
            SubscriptionNotFoundError: there is no such subscription.
            HistoryNotFoundError: it has no such version, or did not exist at that moment.
            HistoryIncompleteError: a change that came later was not recorded in a way that can be undone.
            ProductNotInRegistryError: its product is not in `SUBSCRIPTION_MODEL_REGISTRY`.
            LifecycleError: the class is too general for its status.
            ModelError: the blocks of that time do not fit the class.
            pydantic.ValidationError: the values of that time do not fit the class, which has changed since.

        Example:
            ```python
            Node.as_of(subscription_id, version=1).node.site
            ```
        """
        found_id = subscription_id_of(subscription_id)
        record = current_repository().subscription_as_of(found_id, version=version, at=at)
        try:
            return cls._of(record)
        except (ModelError, ValidationError) as error:
            error.add_note(
                f"as of version {record.version}: it does not fit the models of today, which have changed since; "
                "`Session.subscription_as_of` shows it as it was stored"
            )
            raise

    @classmethod
    def _remembered(cls, record: SubscriptionRecord) -> Self:
        return context_cache.remember(cls, cls._of(record), record.subscription_id)

    @classmethod
    def _of(cls, record: SubscriptionRecord) -> Self:
        """Return a subscription as the class that it loads as."""
        asked = cast("type[SubscriptionModel]", cls)
        model = SUBSCRIPTION_MODEL_REGISTRY.class_for(asked, record.product.name, record.status)
        return cast("Self", model._from_record(record))

    @classmethod
    def _from_record(cls, record: SubscriptionRecord) -> Self:
        _refuse_unknown(cls, record)
        tree = tree_of_records(record.blocks, record.subscription_id)
        return cls._validated(
            {
                "product": record.product,
                "customer_id": record.customer_id,
                "subscription_id": record.subscription_id,
                "description": record.description,
                "status": record.status,
                "insync": record.insync,
                "start_date": record.start_date,
                "end_date": record.end_date,
                "note": record.note,
                "version": record.version,
                **read_values(cls, record.fixed_inputs),
                **tree.build(cls, record.roots),
            },
        )

    @classmethod
    def _validated(cls, data: Mapping[str, Any]) -> Self:
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            error.add_note(f"in subscription {data['subscription_id']}")
            raise


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Don't look for garbage meanwhile: what is loaded stays, and to look through all there is takes as long again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _refuse_unknown(model: type[DomainModel], record: SubscriptionRecord) -> None:
    unknown = record.roots.keys() - {at.key for at in fields_of(model).blocks.values()}
    filled = sorted(key for key in unknown if record.roots[key])
    if filled:
        raise ModelError(f"Subscription {record.subscription_id} has blocks that {model} lacks: {', '.join(filled)}")


def batches(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    """Yield parts of the ids, as many as statements are allowed at most: what is loaded at once is in memory twice."""
    size = max(_LEAST_AT_ONCE, ceil(len(ids) / _MOST_STATEMENTS))
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
