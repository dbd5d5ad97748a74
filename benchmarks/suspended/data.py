"""Suspended processes, as many as are wanted: one that really was run, and copies of all its rows under other ids."""

from uuid import UUID

from sqlalchemy import Connection, Engine, text

TABLES = ("processes", "process_runs", "process_inputs", "process_steps", "process_waits", "processes_subscriptions")

_COLUMNS = text("""
    SELECT attname
    FROM pg_attribute
    WHERE attrelid = CAST('orchestrator.' || :table AS regclass)
      AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''
    ORDER BY attnum
""")
_OF_COPY = "md5(CAST(process_id AS text) || number)::uuid"
"""The id of a copy, so that a table's rows belong to the same copy as another's."""

_INSTEAD = {"process_id": _OF_COPY, "run_id": f"CAST({_OF_COPY} AS text)", "input_id": "gen_random_uuid()"}


def copy_process(engine: Engine, process_id: UUID, copies: int) -> None:
    """Add copies of a process that stands still, with everything that is stored of it.

    Args:
        engine: the database.
        process_id: what to copy.
        copies: how many.
    """
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(_copy_of(connection, table), {"process_id": process_id, "copies": copies})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _copy_of(connection: Connection, table: str) -> "text":  # type: ignore[valid-type]
    columns = connection.scalars(_COLUMNS, {"table": table}).all()
    values = ", ".join(_INSTEAD.get(column, column) for column in columns)
    return text(f"""
        INSERT INTO orchestrator.{table} ({", ".join(columns)})
        SELECT {values}
        FROM orchestrator.{table}, generate_series(1, :copies) AS number
        WHERE process_id = :process_id
    """)  # noqa: S608 - the names are the database's own
