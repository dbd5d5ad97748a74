"""The command `orchestrator-dagster`."""

from orchestrator_dagster.cli.main import main

__all__ = ["main"]
