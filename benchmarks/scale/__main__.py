"""`python -m benchmarks.scale`: loading, saving, finding and changing subscriptions, at 1,000 to 1,000,000 of them."""

import json
import signal
import sys

from benchmarks.__main__ import interrupt, temporary_folder
from benchmarks.database import database_server
from benchmarks.errors import BenchmarkError
from benchmarks.machine import description
from benchmarks.scale.bench import ScaleBench
from benchmarks.scale.plan import ScalePlan, read_scale_plan
from benchmarks.sides.orchestrator_core import PLACE, installed


def main() -> int:
    plan = read_scale_plan(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        _run(plan)
    except BenchmarkError as error:
        print(f"Not measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130
    return 0


def _run(plan: ScalePlan) -> None:
    extended = PLACE / "postgres" if installed() else None
    with temporary_folder() as folder, database_server(folder / "postgres", extended) as server:
        machine = description(server)
        bench = ScaleBench(plan, server, folder)
        bench.run()
    for name, value in machine.items():
        print(f"{name + ':':<20}{value}")
    print(f"{'spread:':<20}the middle half of the samples; of fewer than 8, all of them\n")
    print(bench.report.table())
    if bench.report.plans:
        print("\nat the largest size:\n")
        print(bench.report.plans_at(max(plan.sizes)))
    if plan.json:
        results = {"machine": machine, "samples": bench.report.samples, "plans": bench.report.plans}
        plan.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    sys.exit(main())
