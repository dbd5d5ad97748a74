"""The Dagster resources that users configure or use."""

from orchestrator_dagster.resources.access import Processes, Products, Subscriptions
from orchestrator_dagster.resources.database import Database

__all__ = ["Database", "Processes", "Products", "Subscriptions"]
