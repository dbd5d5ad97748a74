"""`python -m benchmarks.scale.apply_change URL`: `catalogue apply` of the changed products; print what it took as JSON.

Before it begins it prints a line, for whoever wants to kill it in the middle.
"""

import json
import sys
import time

from sqlalchemy import event

from benchmarks.scale.changed_products import make_changed_orchestrator
from benchmarks.scale.memory import peak_mib
from orchestrator_dagster.db.engine import engine_for

BEGINS = "begins"


def apply_change(url: str) -> dict[str, float]:
    """Make the database follow the changed code.

    Returns:
        Seconds, commits, and the memory that was resident before it and at most, in MiB.
    """
    orchestrator = make_changed_orchestrator(url)
    engine = engine_for(url)
    with engine.connect():
        print(BEGINS, flush=True)
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)
    before = peak_mib()
    started = time.perf_counter()
    orchestrator.catalogue.apply(by="benchmark")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "commits": len(commits), "before_mib": before, "peak_mib": peak_mib()}


if __name__ == "__main__":
    print(json.dumps(apply_change(sys.argv[1])))
