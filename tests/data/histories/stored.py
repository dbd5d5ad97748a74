"""Histories in files: all that a database has of a process, as it was when it was stored.

It needs nothing of the package but the order of its tables, so that histories can be stored by any version of it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

import orchestrator_dagster
from orchestrator_dagster.db.tables import metadata

FOLDER = Path(__file__).parent

# tracebacks name files as they are called in the repository
_ROOTS = {FOLDER.parents[2], Path(orchestrator_dagster.__file__).parents[1]}

# what is made by migrations, and by triggers
_NOT_STORED = {"engine_settings", "subscription_search"}


def store(connection: Connection, name: str) -> Path:
    """Write all that a database has into a file.

    Args:
        connection: sees what is to be stored.
        name: of the file.

    Returns:
        Its path.
    """
    history = {
        "revision": connection.scalar(text("SELECT version_num FROM orchestrator.schema_revision")),
        "tables": {table: rows for table in _tables() if (rows := list(_rows(connection, table)))},
    }
    written = json.dumps(history, indent=1, ensure_ascii=False)
    for root in _ROOTS:
        written = written.replace(f"{root}/", "")
    path = FOLDER / f"{name}.json"
    path.write_text(f"{written}\n")
    return path


def read(name: str) -> dict[str, Any]:
    """Return a history: the revision of its schema, and rows by table."""
    history: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return history


def load(connection: Connection, history: Mapping[str, Any]) -> None:
    """Write a history into a database that has its revision, and nothing else."""
    for table, rows in history["tables"].items():
        columns = ", ".join(f'"{column}"' for column in {column: None for row in rows for column in row})
        connection.execute(
            text(
                f"INSERT INTO orchestrator.{table} ({columns}) OVERRIDING SYSTEM VALUE "  # noqa: S608 - from the file
                f"SELECT {columns} FROM json_populate_recordset(NULL::orchestrator.{table}, CAST(:rows AS json))"
            ),
            {"rows": json.dumps(rows)},
        )
        for column in metadata.tables[f"orchestrator.{table}"].columns:
            if column.identity is not None:
                _count_on(connection, table, column.name)


def _tables() -> list[str]:
    return [table.name for table in metadata.sorted_tables if table.name not in _NOT_STORED]


def _rows(connection: Connection, table: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in the order in which they were written, without the columns that have nothing."""
    rows = connection.scalars(text(f"SELECT row_to_json(row) FROM orchestrator.{table} AS row ORDER BY row.ctid"))  # noqa: S608
    for row in rows:
        yield {column: value for column, value in row.items() if value is not None}


def _count_on(connection: Connection, table: str, column: str) -> None:
    connection.execute(
        text(
            f"SELECT setval(pg_get_serial_sequence('orchestrator.{table}', '{column}'), "  # noqa: S608
            f"(SELECT max({column}) FROM orchestrator.{table}))"
        )
    )
