"""Parts of a Dagster instance, for `dagster.yaml`."""

from orchestrator_dagster.instance.storage import PostgresStorage

__all__ = ["PostgresStorage"]
