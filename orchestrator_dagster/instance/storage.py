"""Dagster's own records in the orchestrator's database."""

from typing import Any, Self

import yaml
from dagster import Field, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage

from orchestrator_dagster.db.url import database_url, normalise_url

CONSTITUENTS = "dagster._core.storage.legacy_storage"


class PostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules in Postgres: the one with the subscriptions, unless `postgres_url` says otherwise.

    Dagster's tables are in schema `public`. Without `postgres_url`, every process that opens the instance finds the
    database by itself, from `ORCHESTRATOR_DATABASE_URL` or, embedded, in `DAGSTER_HOME`.

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

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The configuration that Dagster accepts."""
        return {
            "postgres_url": Field(StringSource, is_required=False),
            "should_autocreate_tables": Field(bool, is_required=False, default_value=True),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Open the storage that is configured."""
        configured = config_value.get("postgres_url")
        return cls(
            postgres_url=normalise_url(configured) if configured else database_url(),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )

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
