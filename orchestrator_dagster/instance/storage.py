"""Dagster's own records in the orchestrator's database."""

from typing import Any, Self, cast

import yaml
from dagster import Field, IntSource, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import pg_config
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres.utils import pg_url_from_config

from orchestrator_dagster.db.url import database_url, normalise_url
from orchestrator_dagster.instance.engine import tune_pool
from orchestrator_dagster.instance.event_log import PooledEventLogStorage
from orchestrator_dagster.instance.pool import PoolSettings
from orchestrator_dagster.instance.run_storage import PooledRunStorage
from orchestrator_dagster.instance.schedule_storage import PooledScheduleStorage
from orchestrator_dagster.instance.tables import ensure_tables

CONSTITUENTS = "dagster._core.storage.legacy_storage"
BATCH_MILLISECONDS = 100


class PostgresStorage(DagsterStorage, ConfigurableClass):
    """Runs, events and schedules in Postgres: the one with the subscriptions, unless `postgres_url` says otherwise.

    It is Dagster's own Postgres storage, on one pool of connections for each process, and with events that are written
    together. The events of a step, its outcome and the lines that it logged are written at once when it ends, before
    the run's next step starts. A step that takes longer has them written every `batch_milliseconds`. A process that is
    killed loses at most what the step that it was in logged in that time, never an outcome or a status.

    Dagster's tables are in schema `public`. Without `postgres_url`, every process that opens the instance finds the
    database by itself, from `ORCHESTRATOR_DATABASE_URL` or, embedded, in `DAGSTER_HOME`. `postgres_db`, as Dagster's
    own storage has it, is understood as well.

    Example:
        In `dagster.yaml`; Dagster wants the `config`, empty as it may be:

        ```yaml
        storage:
          custom:
            module: orchestrator_dagster.instance
            class: PostgresStorage
            config: {}
        ```
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        batch_milliseconds: int = BATCH_MILLISECONDS,
        max_connections: int = PoolSettings.max_connections,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        """Open the storage.

        Args:
            postgres_url: as `postgresql+psycopg2://…`.
            should_autocreate_tables: make Dagster's tables if they are missing.
            batch_milliseconds: how long an event that nobody needs at once may be kept in memory; 0 for not at all.
            max_connections: how many threads of a process may use a connection at a time. One is kept when idle.
            inst_data: how Dagster opens it elsewhere.
        """
        self.postgres_url = postgres_url
        self._inst_data = inst_data
        tune_pool(postgres_url, max_connections=max_connections)
        if should_autocreate_tables:
            ensure_tables(postgres_url)
        self._run_storage = PooledRunStorage(postgres_url)
        self._event_log_storage = PooledEventLogStorage(postgres_url, batch_milliseconds)
        self._schedule_storage = PooledScheduleStorage(postgres_url)
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The configuration that Dagster accepts."""
        return {
            "postgres_url": Field(StringSource, is_required=False),
            "postgres_db": cast(dict[str, Any], pg_config())["postgres_db"],
            "should_autocreate_tables": Field(bool, is_required=False, default_value=True),
            "batch_milliseconds": Field(IntSource, is_required=False, default_value=BATCH_MILLISECONDS),
            "max_connections": Field(IntSource, is_required=False, default_value=PoolSettings.max_connections),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Open the storage that is configured."""
        is_configured = config_value.get("postgres_url") or config_value.get("postgres_db")
        return cls(
            postgres_url=normalise_url(pg_url_from_config(config_value)) if is_configured else database_url(),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            batch_milliseconds=config_value.get("batch_milliseconds", BATCH_MILLISECONDS),
            max_connections=config_value.get("max_connections", PoolSettings.max_connections),
            inst_data=inst_data,
        )

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """How Dagster opens the storage elsewhere."""
        return self._inst_data

    @property
    def run_storage(self) -> PooledRunStorage:
        """The runs."""
        return self._run_storage

    @property
    def event_log_storage(self) -> PooledEventLogStorage:
        """The event log."""
        return self._event_log_storage

    @property
    def schedule_storage(self) -> PooledScheduleStorage:
        """The schedules and sensors."""
        return self._schedule_storage

    @property
    def event_storage_data(self) -> ConfigurableClassData | None:
        """How to open the event log alone."""
        return self._constituent("LegacyEventLogStorage")

    @property
    def run_storage_data(self) -> ConfigurableClassData | None:
        """How to open the runs alone."""
        return self._constituent("LegacyRunStorage")

    @property
    def schedule_storage_data(self) -> ConfigurableClassData | None:
        """How to open the schedules alone."""
        return self._constituent("LegacyScheduleStorage")

    def _constituent(self, name: str) -> ConfigurableClassData | None:
        """A part of this storage, opened by way of the whole: dagster-postgres' own parts want a URL in the config."""
        whole = self.inst_data
        if whole is None:
            return None
        facts = {"module_name": whole.module_name, "class_name": whole.class_name, "config_yaml": whole.config_yaml}
        return ConfigurableClassData(CONSTITUENTS, name, yaml.safe_dump(facts))
