"""Dagster's schedules and sensors, on the pool of the process."""

from dagster._serdes import ConfigurableClassData
from dagster_postgres.schedule_storage import PostgresScheduleStorage

from orchestrator_dagster.instance.engine import OnPool, pooled_engine
from orchestrator_dagster.instance.known import lasting


class PooledScheduleStorage(OnPool, PostgresScheduleStorage):
    """Dagster's own storage of schedules, with fewer round trips.

    Args:
        postgres_url: as `postgresql+psycopg2://…`; the tables are there.
        inst_data: how Dagster opens it elsewhere.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self._engine = pooled_engine(postgres_url)

    @lasting
    def has_instigators_table(self) -> bool:
        return super().has_instigators_table()

    @lasting
    def has_secondary_index_table(self) -> bool:
        return super().has_secondary_index_table()

    @lasting
    def has_built_index(self, migration_name: str) -> bool:
        return super().has_built_index(migration_name)
