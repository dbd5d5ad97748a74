"""The Dagster instances and the application that are compared."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.database import DatabaseServer
from benchmarks.errors import BenchmarkError
from benchmarks.progress import say
from benchmarks.quantities import OURS
from benchmarks.sides.dagster import STOCK, DagsterSide, shipped_instance
from benchmarks.sides.orchestrator_core import OrchestratorCoreSide, installed
from benchmarks.sides.side import Side

CORE = "orchestrator-core"


def make_sides(keys: Sequence[str], server: DatabaseServer, folder: Path) -> list[Side]:
    """Return the systems, each with a folder and a database of its own.

    Args:
        keys: which of them, in that order. orchestrator-core is left out where it is not installed.
        server: where the databases are made.
        folder: where the folders are made.
    """
    if CORE in keys and not installed():
        say("orchestrator-core is not installed; see benchmarks/README.md")
        keys = [key for key in keys if key != CORE]
    if not keys:
        raise BenchmarkError("There is no system to measure")
    return [_make_side(key, server.create(database_name(key)), folder / key) for key in keys]


def database_name(key: str) -> str:
    """Return the name of the database of a system."""
    return f"bench_{key.replace('-', '_')}"


def with_workers(side: DagsterSide, workers: int) -> DagsterSide:
    """Return our system with so many run workers."""
    launcher = side.instance["run_launcher"]
    config = {**launcher["config"], "workers": workers}
    return replace(side, instance={**side.instance, "run_launcher": {**launcher, "config": config}})


def _make_side(key: str, database: str, home: Path) -> Side:
    if key == CORE:
        return OrchestratorCoreSide(home, database)
    if key == OURS:
        return DagsterSide(key, "ours", home, shipped_instance(), database)
    stock = DagsterSide(key, "stock, same jobs", home, STOCK, database, burst=12, submits=3)
    if key == "stock":
        return stock
    plain = replace(stock, title="stock, plain ops", module="workload.plain", job="plain_9", config={})
    if key == "stock-plain":
        return plain
    on_postgres = {**STOCK, "storage": {"postgres": {"postgres_url": database}}}
    return replace(plain, title="stock on Postgres, plain", instance=on_postgres)
