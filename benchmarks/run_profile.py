"""`python -m benchmarks.run_profile`: where the time of a run of ours goes."""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.database import database_server
from benchmarks.quantities import OURS
from benchmarks.sides.dagster import DagsterSide
from benchmarks.sides.instances import make_sides

RUNS = 50
ENGINE = "everything for our engine, Postgres included"


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-profile-") as folder,
        database_server(Path(folder) / "postgres", None) as server,
    ):
        (side,) = make_sides([OURS], server, Path(folder))
        assert isinstance(side, DagsterSide)
        side.prepare()
        spent: dict[str, float] = json.loads(side.probe("profile_run", runs))
    engine = spent.pop(ENGINE)
    total = sum(spent.values())
    print(f"A run of nine steps in process, mean of {runs} under cProfile: {total * 1000:.1f} ms")
    for owner, seconds in sorted(spent.items(), key=lambda entry: -entry[1]):
        print(f"{owner:<46}{seconds * 1000:7.1f} ms {seconds / total:6.1%}")
    print(f"{ENGINE:<46}{engine * 1000:7.1f} ms {engine / total:6.1%}")


if __name__ == "__main__":
    main()
