"""A session for notebooks and scripts: run and launch workflows, load and save models, look around."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID, uuid4

import dagster as dg
from pydantic_core import to_jsonable_python
from sqlalchemy import Engine

from orchestrator_dagster.db.processes import ProcessRow, create_resume_token, find_processes, get_process, given_input
from orchestrator_dagster.db.step_log import StepRow, recall, step_rows
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
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.domain.query import OneOrMore, SubscriptionFilters, SubscriptionQuery, SubscriptionRow
from orchestrator_dagster.domain.record_view import as_json
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow
from orchestrator_dagster.domain.repository import ambient_repository, use_repository
from orchestrator_dagster.errors import ConfigurationError, ProcessNotFoundError, ProcessStateError
from orchestrator_dagster.jobs import tags
from orchestrator_dagster.jobs.launching import Launching
from orchestrator_dagster.jobs.listing import Listing
from orchestrator_dagster.jobs.process import Launch, Process
from orchestrator_dagster.jobs.run import RefusedRun
from orchestrator_dagster.jobs.start import check_start_input

# Dagster sets up logging for each run, and two that do so in one Python process wait for each other for ever
_one_run_at_a_time = threading.Lock()

if TYPE_CHECKING:
    from orchestrator_dagster.orchestrator import Orchestrator


class Session:
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
        _require_no_transaction("opened")
        self.orchestrator.register_models()
        self._engine: Engine = self.orchestrator.database.engine
        self.orchestrator.catalogue.make_ready(self._engine)
        self._stack.enter_context(use_repository(AutocommitRepository(self._engine, self.user)))
        self.instance = self._given_instance or self._stack.enter_context(_own_instance())
        self._launching = self._stack.enter_context(Launching(self.instance, self._workspace))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, workflow: str, input: Mapping[str, Any] | None = None) -> Process:  # noqa: A002 - what it is
        """Run a workflow here, in this Python process, until it ends or fails. Threads take turns.

        Args:
            workflow: name of the workflow.
            input: the fields of its form, as in the job's run config.

        Returns:
            The process. Look at its `status`: a process that failed is returned, not raised.

        Raises:
            WorkflowNotFoundError: there is no such workflow.
            InputError: the input is not valid; nothing is left behind.
            StartConditionError: the workflow may not start on the subscription; nothing is left behind.
        """
        _require_no_transaction("used to run a workflow")
        self.orchestrator.workflow(workflow)
        return self._execute(workflow, _as_config(input), {})

    def launch(self, workflow: str, input: Mapping[str, Any] | None = None) -> Launch:  # noqa: A002 - what it is
        """Have a workflow run by the Dagster instance: its queue, launcher and run worker.

        The input and the start conditions are checked before that here, and then again by the run.

        Args:
            workflow: name of the workflow.
            input: the fields of its form, as in the job's run config.

        Returns:
            What was launched; `wait()` gives its process.

        Raises:
            WorkflowNotFoundError: there is no such workflow.
            InputError: the input is not valid.
            StartConditionError: the workflow may not start on the subscription.
            ConfigurationError: no workspace has a job of that name, or the instance is not one that can launch.
        """
        _require_no_transaction("used to launch a workflow")
        found = self.orchestrator.workflow(workflow)
        config = _as_config(input)
        check_start_input(self._engine, found, config, self.user)
        return Launch(self, self._launching.launch(workflow, config, {tags.USER: self.user}))

    def retry(self, process_id: UUID | str) -> Process:
        """Go on with a process that failed or was interrupted, here, from its first unfinished step.

        Args:
            process_id: id of the process. Its earlier Dagster runs need not exist any more.

        Raises:
            ProcessNotFoundError: there is no such process.
            ProcessStateError: the process has ended, or a run works on it.
        """
        _require_no_transaction("used to go on with a process")
        process_id = UUID(str(process_id))
        with self._engine.begin() as connection:
            process = get_process(connection, process_id)
            if process.status.ended:
                raise ProcessStateError(f"Process {process_id} is {process.status}; start a new one")
            given = given_input(connection, process_id)
            token = create_resume_token(connection, process_id, self.user)
        return self._execute(process.workflow, given, {tags.RESUME_TOKEN: str(token)}, process_id=process_id)

    def process(self, process_id: UUID | str) -> Process:
        """Return a process.

        Raises:
            ProcessNotFoundError: there is none with that id.
        """
        try:
            wanted = UUID(str(process_id))
        except ValueError as error:
            raise ProcessNotFoundError(process_id) from error
        return Process(self, *self.read_process(wanted))

    def processes(
        self,
        *,
        subscription_id: UUID | None = None,
        workflow: str | None = None,
        status: ProcessStatus | str | None = None,
        limit: int | None = None,
    ) -> Listing[Process]:
        """Return processes, oldest first; with a limit, the newest ones.

        Args:
            subscription_id: a subscription that they worked on.
            workflow: name of their workflow.
            status: where they stand.
            limit: how many at most.
        """
        with self._engine.connect() as connection:
            found = find_processes(
                connection,
                subscription_id=subscription_id,
                workflow=workflow,
                status=[ProcessStatus(status)] if status else [],
                limit=limit,
            )
            return Listing(Process(self, row, step_rows(connection, row.process_id)) for row in found)

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
        _require_no_transaction("asked for a transaction")
        with self._engine.connect() as connection:
            repository = PostgresRepository(connection, changed_by=self.user)
            with repository.restoring_versions(), connection.begin(), use_repository(repository):
                yield

    def read_process(self, process_id: UUID) -> tuple[ProcessRow, list[StepRow]]:
        """Return a process and its step log as they are now."""
        with self._engine.connect() as connection:
            return get_process(connection, process_id), step_rows(connection, process_id)

    def read_state(self, process_id: UUID) -> dict[str, Any]:
        """Return what a process knows after its last finished step."""
        with self._engine.connect() as connection:
            return recall(connection, process_id).state

    def _execute(
        self, workflow: str, config: dict[str, Any], more_tags: dict[str, str], *, process_id: UUID | None = None
    ) -> Process:
        run_id = str(uuid4())
        job = self.orchestrator.job(workflow, log_level=self._log_level)
        try:
            with _one_run_at_a_time:
                job.execute_in_process(
                    run_config=config,
                    instance=self.instance,
                    run_id=run_id,
                    tags={tags.USER: self.user, **more_tags},
                )
        except RefusedRun as refused:
            raise refused.refusal from None
        except dg.Failure:
            # the step log says what failed
            pass
        return self.process(process_id or run_id)


def _require_no_transaction(wanted: str) -> None:
    """Make sure that no transaction is open here: a session in it would wait for it, or commit beside it."""
    if isinstance(ambient_repository(), PostgresRepository):
        raise ConfigurationError(
            f"A session cannot be {wanted} inside a step or a transaction: models load and save there already"
        )


def _as_config(given: Mapping[str, Any] | None) -> dict[str, Any]:
    config: dict[str, Any] = to_jsonable_python(given or {})
    return config


@contextmanager
def _own_instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() if os.getenv("DAGSTER_HOME") else dg.DagsterInstance.ephemeral() as instance:
        yield instance
