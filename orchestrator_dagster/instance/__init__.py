"""Parts of a Dagster instance, for `dagster.yaml`."""

from orchestrator_dagster.instance.compute_logs import InProcessComputeLogManager
from orchestrator_dagster.instance.launcher import WarmRunLauncher
from orchestrator_dagster.instance.storage import PostgresStorage

__all__ = ["InProcessComputeLogManager", "PostgresStorage", "WarmRunLauncher"]
