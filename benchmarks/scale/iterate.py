"""`python -m benchmarks.scale.iterate URL COUNT`: load one after the other; print time and memory as JSON."""

import json
import sys
import time
from itertools import islice

from benchmarks.scale.memory import peak_mib
from benchmarks.scale.products import make_orchestrator
from orchestrator_dagster import SubscriptionModel
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.repository import AutocommitRepository
from orchestrator_dagster.domain.repository import use_repository

SHARES = (0.1, 0.5, 1.0)


def walk(url: str, count: int) -> list[dict[str, float]]:
    """Load so many subscriptions one after the other, keeping none.

    Returns:
        For each of `SHARES` the seconds until then and the most memory that was resident, in MiB.
    """
    make_orchestrator()
    points = []
    waited_for = [max(1, round(count * share)) for share in SHARES]
    started = time.perf_counter()
    with use_repository(AutocommitRepository(engine_for(url), "benchmark")):
        for number, _ in enumerate(islice(SubscriptionModel.iterate(), count), start=1):
            if number in waited_for:
                points.append({"seconds": time.perf_counter() - started, "peak_mib": peak_mib()})
    return points


if __name__ == "__main__":
    print(json.dumps(walk(sys.argv[1], int(sys.argv[2]))))
