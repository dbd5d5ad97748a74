"""Dagster's runs, on the pool of the process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from threading import local
from typing import Any

from dagster import DagsterEvent, DagsterRun
from dagster._serdes import ConfigurableClassData
from dagster_postgres.run_storage import PostgresRunStorage
from sqlalchemy import Connection, Select

from orchestrator_dagster.instance.engine import OnPool, pooled_engine
from orchestrator_dagster.instance.known import lasting


class PooledRunStorage(OnPool, PostgresRunStorage):
    """Dagster's own storage of runs, with fewer round trips.

    Args:
        postgres_url: as `postgresql+psycopg2://…`; the tables are there.
        inst_data: how Dagster opens it elsewhere.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self._engine = pooled_engine(postgres_url)
        self._open = local()

    def connect(self) -> AbstractContextManager[Connection]:
        """Return a connection: that of this thread's transaction, if there is one."""
        connection = self._of_transaction()
        return super().connect() if connection is None else nullcontext(connection)

    def fetchall(self, query: Select[Any]) -> Sequence[Any]:
        """Return rows. In a transaction, which rewrites what it read, they are its own until it is over.

        The lock is that of an update: tags can refer to the run meanwhile, which one for a deletion forbids.
        """
        in_transaction = self._of_transaction() is not None
        return super().fetchall(query.with_for_update(key_share=True) if in_transaction else query)

    def _of_transaction(self) -> Connection | None:
        return getattr(self._open, "transaction", None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with super().connect() as connection, connection.execution_options(isolation_level="READ COMMITTED").begin():
            self._open.transaction = connection
            try:
                yield
            finally:
                self._open.transaction = None

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Add a run with its tags: one commit, where Dagster makes two and waits for the disk at each."""
        with self._transaction():
            return super().add_run(dagster_run)

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Add tags to a run: one commit, where Dagster makes one for each tag that changes.

        Dagster reads the run and writes all of it back, over what another process changed in between.
        """
        with self._transaction():
            super().add_run_tags(run_id, new_tags)

    def handle_run_event(self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Give a run the status that an event says, whoever tags it at the same time."""
        with self._transaction():
            super().handle_run_event(run_id, event, update_timestamp)

    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        """Whether there is a snapshot of a plan. Dagster reads and unpacks all of it to know that."""
        return self.has_job_snapshot(execution_plan_snapshot_id)  # they are in the same table

    @lasting
    def has_run_stats_index_cols(self) -> bool:
        return super().has_run_stats_index_cols()

    @lasting
    def has_bulk_actions_selector_cols(self) -> bool:
        return super().has_bulk_actions_selector_cols()

    @lasting
    def has_backfill_id_column(self) -> bool:
        return super().has_backfill_id_column()

    @lasting
    def has_bulk_action_job_name_column(self) -> bool:
        return super().has_bulk_action_job_name_column()

    @lasting
    def has_backfill_tags_table(self) -> bool:
        return super().has_backfill_tags_table()
