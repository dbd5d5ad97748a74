"""What of a database is ours. Dagster's tables, and its own `alembic_version`, may stand beside our schema."""

from collections.abc import MutableMapping
from typing import Any

from orchestrator_dagster.db.tables import SCHEMA

VERSION_TABLE = "schema_revision"


def context_options() -> dict[str, Any]:
    """Return the options of an Alembic migration context that keep it inside our schema."""
    return {
        "version_table": VERSION_TABLE,
        "version_table_schema": SCHEMA,
        "include_schemas": True,
        "include_name": _is_ours,
    }


def _is_ours(name: str | None, type_: str, parent_names: MutableMapping[Any, str | None]) -> bool:  # noqa: ARG001  Alembic passes three
    return type_ != "schema" or name == SCHEMA
