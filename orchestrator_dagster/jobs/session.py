"""A session for notebooks and scripts: run and launch workflows, load and save models, look around."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

import dagster as dg

from orchestrator_dagster.db.subscriptions.changes import Changes
from orchestrator_dagster.db.subscriptions.history import (
    SubscriptionVersion,
    subscription_as_of,
    subscription_difference,
    subscription_versions,
)
from orchestrator_dagster.db.subscriptions.queries import find_subscriptions
from orchestrator_dagster.db.subscriptions.relations import subscriptions_that_use, subscriptions_used_by
from orchestrator_dagster.db.subscriptions.repository import AutocommitRepository, PostgresRepository
from orchestrator_dagster.domain.identifier import subscription_id_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import OneOrMore, SubscriptionFilters, SubscriptionQuery, SubscriptionRow
from orchestrator_dagster.domain.record_view import as_json
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.jobs.launching import Launching
from orchestrator_dagster.jobs.listing import Listing
from orchestrator_dagster.jobs.local_runs import LocalRuns
from orchestrator_dagster.jobs.process_session import ProcessSession, require_no_transaction

if TYPE_CHECKING:
    from orchestrator_dagster.orchestrator import Orchestrator


class Session(ProcessSession):
    """What `orchestrator.connect()` gives. Within it models load and save, each `save()` in its own transaction.

    Args:
        orchestrator: the products and workflows.
        user: on whose behalf everything is done; it stands in the process log and in the history.
        instance: the Dagster instance. Default: the one of `DAGSTER_HOME`, or one that is gone with the session.
        workspace: path of the `workspace.yaml` by which `launch` finds the jobs. Default: the one in `DAGSTER_HOME`,
            or else in the current folder.
        log_level: from which level on `run` shows what Dagster logs; its event log has everything.

    Example:
        >>> with orchestrator.connect(user="ada") as wfo:  # doctest: +SKIP
        ...     created = wfo.run("create_node", {"product": "Node Cisco", "customer_id": "acme"})
        ...     created.status
        'completed'
    """

    def __init__(
        self,
        orchestrator: "Orchestrator",
        *,
        user: str = "SYSTEM",
        instance: dg.DagsterInstance | None = None,
        workspace: str | os.PathLike[str] | None = None,
        log_level: str = "CRITICAL",
    ) -> None:
        self.orchestrator = orchestrator
        self.user = user
        self._given_instance = instance
        self._workspace = workspace
        self._log_level = log_level
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        require_no_transaction("opened")
        self.orchestrator.register_models()
        self._engine = self.orchestrator.database.engine
        self.orchestrator.catalogue.make_ready(self._engine)
        self._stack.enter_context(use_repository(AutocommitRepository(self._engine, self.user)))
        self.instance = self._given_instance or self._stack.enter_context(_own_instance())
        self._launching = self._stack.enter_context(Launching(self.instance, self._workspace))
        self._local_runs = LocalRuns(self.orchestrator, self._engine, self.instance, self.user, self._log_level)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def subscriptions(self, **filters: Unpack[SubscriptionFilters]) -> Listing[SubscriptionRow]:
        """Return subscriptions, newest first unless `sort` says otherwise.

        Args:
            filters: the fields of `SubscriptionQuery`; with a `limit`, `next` of the list is the next one's `after`.

        Raises:
            QueryError: a filter is not possible.
        """
        query = SubscriptionQuery(**filters)
        with self._engine.connect() as connection:
            page = find_subscriptions(connection, query)
            return Listing(page, page.next)

    def in_use_by(
        self,
        subscription_id: UUID | str,
        *,
        depth: int | None = None,
        status: OneOrMore[SubscriptionLifecycle | str] = None,
        product_type: OneOrMore[str] = None,
    ) -> Listing[RelatedSubscriptionRow]:
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
        with self._engine.connect() as connection:
            return Listing(subscriptions_that_use(connection, query))

    def depends_on(
        self,
        subscription_id: UUID | str,
        *,
        depth: int | None = None,
        status: OneOrMore[SubscriptionLifecycle | str] = None,
        product_type: OneOrMore[str] = None,
    ) -> Listing[RelatedSubscriptionRow]:
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
        with self._engine.connect() as connection:
            return Listing(subscriptions_used_by(connection, query))

    def history(self, subscription_id: UUID | str) -> Listing[SubscriptionVersion]:
        """Return the versions of a subscription, oldest first: who changed what, in which process and step.

        Raises:
            SubscriptionNotFoundError: it is no id. Of a subscription that does not exist there are no versions.
        """
        with self._engine.connect() as connection:
            return Listing(subscription_versions(connection, subscription_id_of(subscription_id)))

    def subscription_as_of(
        self, subscription_id: UUID | str, *, version: int | None = None, at: datetime | None = None
    ) -> dict[str, Any]:
        """Return a subscription as it was, as JSON, whatever the models are today; see `SubscriptionModel.as_of`.

        Args:
            subscription_id: its id.
            version: the version.
            at: the moment; without a time zone it is in UTC.

        Returns:
            Its fields, fixed inputs and blocks by name; the values as they are stored. A block that stands in several
            places is written out at the first one.

        Raises:
            SubscriptionNotFoundError: there is no such subscription.
            HistoryNotFoundError: it has no such version, or did not exist at that moment.

        Example:
            ```python
            wfo.subscription_as_of(subscription_id, version=3)["node"]["site"]
            ```
        """
        with self._engine.connect() as connection:
            return as_json(subscription_as_of(connection, subscription_id_of(subscription_id), version=version, at=at))

    def difference(self, subscription_id: UUID | str, before: int | datetime, after: int | datetime) -> Changes:
        """Return what differs between two versions or moments of a subscription, in either order.

        Args:
            subscription_id: its id.
            before: a version, or a moment; without a time zone it is in UTC.
            after: another one.

        Returns:
            `{path: {"before": …, "after": …}}`; blocks of other subscriptions count by their ids only.

        Raises:
            SubscriptionNotFoundError: there is no such subscription.
            HistoryNotFoundError: it has no such version, or did not exist at that moment.

        Example:
            ```python
            wfo.difference(subscription_id, 3, 5)  # {"node.site": {"before": "Delft", "after": "Utrecht"}}
            ```
        """
        with self._engine.connect() as connection:
            return subscription_difference(connection, subscription_id_of(subscription_id), before, after)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make every `save()` within the block part of one transaction.

        If it fails, nothing of it is stored. The models that were saved in it have the versions again that they had
        before, and can be saved anew; others that were loaded in it are to be loaded again.
        """
        require_no_transaction("asked for a transaction")
        with self._engine.connect() as connection:
            repository = PostgresRepository(connection, changed_by=self.user)
            with repository.restoring_versions(), connection.begin(), use_repository(repository):
                yield


@contextmanager
def _own_instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() if os.getenv("DAGSTER_HOME") else dg.DagsterInstance.ephemeral() as instance:
        yield instance
