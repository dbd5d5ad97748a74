"""What Dagster stores for a run."""

from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

from benchmarks.errors import BenchmarkError
from benchmarks.samples import Samples
from benchmarks.sides.dagster import DagsterSide

# what the author of a step logs has no event type
COUNT = text(
    "SELECT count(*) AS stored, count(step_key) AS stored_of_steps, count(DISTINCT step_key) AS steps"
    " FROM event_logs WHERE run_id = :run_id AND dagster_event_type IS NOT NULL"
)


def events(side: DagsterSide, samples: Samples, run_id: str) -> None:
    """Add how many events are stored for a run, and for each of its steps.

    Args:
        side: the system.
        samples: where it is added.
        run_id: a run that has ended.
    """
    with create_engine(_event_log(side, run_id), poolclass=NullPool).connect() as connection:
        row = connection.execute(COUNT, {"run_id": run_id}).one()
    if not row.steps:
        raise BenchmarkError(f"No events of run {run_id} are stored")
    samples.add("events_per_run", side.key, [row.stored])
    samples.add("events_per_step", side.key, [row.stored_of_steps / row.steps])


def _event_log(side: DagsterSide, run_id: str) -> str:
    """Return the URL of the database that has a run's events: by default SQLite, with a file for each run."""
    file: Path = side.home / "history" / "runs" / f"{run_id}.db"
    return f"sqlite:///{file}" if file.exists() else side.database
