"""Dagster's runs, on the pool of the process."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import local

from dagster import DagsterRun
from dagster._serdes import ConfigurableClassData
from dagster_postgres.run_storage import PostgresRunStorage
from sqlalchemy import Connection

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
        connection: Connection | None = getattr(self._open, "transaction", None)
        return super().connect() if connection is None else nullcontext(connection)

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
        """Add tags to a run: one commit, where Dagster makes one for each tag that changes."""
        with self._transaction():
            super().add_run_tags(run_id, new_tags)

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
