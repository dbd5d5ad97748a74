"""`python -m benchmarks`."""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from benchmarks.bench import Bench
from benchmarks.database import database_server
from benchmarks.errors import BenchmarkError
from benchmarks.machine import description
from benchmarks.plan import Plan, read_plan
from benchmarks.sides.instances import CORE, make_sides
from benchmarks.sides.orchestrator_core import PLACE, installed
from benchmarks.table import table


def main() -> int:
    plan = read_plan(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        with temporary_folder() as folder:
            _run(plan, folder)
    except BenchmarkError as error:
        print(f"Not measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130
    return 0


def _run(plan: Plan, folder: Path) -> None:
    extended = PLACE / "postgres" if CORE in plan.sides and installed() else None
    with database_server(folder / "postgres", extended) as server:
        machine = description(server)
        bench = Bench(plan, server, make_sides(plan.sides, server, folder))
        bench.run()
    _print_results(bench, machine)
    if plan.json:
        results = {"machine": machine, "samples": bench.samples.values, "soak": list(map(asdict, bench.soaked))}
        plan.json.write_text(json.dumps(results, indent=2))


def _print_results(bench: Bench, machine: Mapping[str, str]) -> None:
    for name, value in machine.items():
        print(f"{name + ':':<20}{value}")
    at_once = ", ".join(f"{bench.plan.part_of(side.burst)} ({side.title})" for side in bench.sides)
    print(f"{'submitted at once:':<20}{at_once}")
    print(f"{'spread:':<20}the middle half of the samples; of fewer than 8, all of them\n")
    print(table(bench.samples, bench.sides))
    for point in bench.soaked:
        print(point)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder. After an error it stays, since the logs in there say what went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-bench-"))
    try:
        yield folder
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
