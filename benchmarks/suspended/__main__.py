"""`python -m benchmarks.suspended`: what ten thousand suspended processes hold, and what going on with one takes."""

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.__main__ import temporary_folder
from benchmarks.database import DatabaseServer, database_server
from benchmarks.machine import description
from benchmarks.progress import say
from benchmarks.samples import spread
from benchmarks.suspended.standing import Standing
from benchmarks.table import aligned
from orchestrator_dagster.db.engine import dispose_engine

FEW = 10
MANY = 10_000


def main() -> int:
    given = _arguments(sys.argv[1:])
    with temporary_folder() as folder, database_server(folder / "postgres", None) as server:
        machine = description(server)
        lines = _measure(server, given.count, given.times)
    for name, value in machine.items():
        print(f"{name + ':':<20}{value}")
    print(f"{'spread:':<20}the middle half of the samples; of fewer than 8, all of them\n")
    print(aligned(lines))
    return 0


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suspended", description="Measure suspended processes.")
    parser.add_argument("--count", type=int, default=MANY, help=f"suspended processes; default: {MANY}")
    parser.add_argument("--times", type=int, default=50, help="how often each thing is done; default: 50")
    return parser.parse_args(words)


def _measure(server: DatabaseServer, count: int, times: int) -> list[list[str]]:
    """Measure both numbers by turns, so that what else the machine does concerns both."""
    urls = {number: server.create(f"bench_suspended_{number}") for number in (FEW, count)}
    with ExitStack() as stack:
        stack.callback(lambda: [dispose_engine(url) for url in urls.values()])
        standings = [stack.enter_context(Standing.of(url, number)) for number, url in urls.items()]
        say(f"{' and '.join(str(standing.suspended) for standing in standings)} processes are suspended")
        held = [standing.held() for standing in standings]
        for _ in range(times):
            for standing in standings:
                standing.resume_one()
                standing.tick()
        say("measured")
        rows = {
            "suspended": [str(standing.suspended) for standing in standings],
            "threads held": [str(each.threads) for each in held],
            "connections held": [str(each.connections) for each in held],
            "leases held": [str(each.locks) for each in held],
            "Dagster runs held": [str(each.runs) for each in held],
            "answer to completed, ms": [_milliseconds(standing.resumes) for standing in standings],
            "tick of the sensor, ms": [_milliseconds(standing.ticks) for standing in standings],
        }
    return [["", *(f"with {number}" for number in urls)], *([name, *cells] for name, cells in rows.items())]


def _milliseconds(seconds: Sequence[float]) -> str:
    samples = [second * 1000 for second in seconds]
    return f"{statistics.median(samples):.1f} ({spread(samples)})"


if __name__ == "__main__":
    sys.exit(main())
