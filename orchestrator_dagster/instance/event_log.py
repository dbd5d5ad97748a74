"""Dagster's event log, on the pool of the process, written several events at a time."""

from contextlib import AbstractContextManager

from dagster._core.events.log import EventLogEntry
from dagster._serdes import ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy import Connection

from orchestrator_dagster.instance.engine import OnPool, pooled_engine
from orchestrator_dagster.instance.event_kinds import Kind, is_storable, kind_of
from orchestrator_dagster.instance.event_writer import EventWriter
from orchestrator_dagster.instance.known import lasting


class PooledEventLogStorage(OnPool, PostgresEventLogStorage):
    """Dagster's own event log, with fewer round trips.

    Events that nobody needs at once are written together: with the outcome of their step, before the run's next step
    starts, or after `batch_milliseconds`. A process that is killed loses at most those of the step that it was in, and
    never an outcome, a status or what concerns an asset. Whatever this process reads, it first writes what it kept.

    Dagster's `NOTIFY` for each event is left out: nobody has listened to it since Dagster watches runs by polling.

    Args:
        postgres_url: as `postgresql+psycopg2://…`; the tables are there.
        batch_milliseconds: how long an event may be kept in memory; 0 to write each at once.
        inst_data: how Dagster opens it elsewhere.
    """

    def __init__(
        self, postgres_url: str, batch_milliseconds: int = 100, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self._engine = pooled_engine(postgres_url)
        self._writer = EventWriter(super()._connect, batch_milliseconds / 1000)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, or keep it for a moment if it can wait."""
        kind = kind_of(event.dagster_event_type)
        if kind is Kind.OTHER:
            super().store_event(event)
            return
        row = self._event_to_row(event)
        if kind is Kind.DEFERRED and is_storable(row):
            self._writer.defer(row)
            return
        event_id = self._writer.write(row)
        if kind is Kind.ASSET:
            self.store_asset_event_tags([event], [event_id])
            self.store_asset_event(event, event_id)
        elif kind is Kind.CHECK:
            self.store_asset_check_event(event, event_id)

    def _connect(self) -> AbstractContextManager[Connection]:
        """Return a connection for anything but to write events. All of Dagster's methods get theirs here."""
        self._writer.flush()
        return super()._connect()

    def dispose(self) -> None:
        """Write what is kept, and stop watching runs."""
        super().dispose()
        self._writer.flush()

    @lasting
    def has_table(self, table_name: str) -> bool:
        return super().has_table(table_name)

    @lasting
    def has_asset_key_col(self, column_name: str) -> bool:
        return super().has_asset_key_col(column_name)
