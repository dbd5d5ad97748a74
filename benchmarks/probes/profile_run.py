"""Profile runs of our nine-step workflow; print seconds of a run by whose code they were spent in, as JSON.

The argument is how many runs.
"""

import cProfile
import json
import pstats
import sys
from collections import Counter

from workload.definitions import orchestrator

FORM = {"product": "Circuit", "customer_id": "acme", "circuit_name": "circuit", "bandwidth": 1000}
OWNERS = {
    "/orchestrator_dagster/instance/": "our storage",
    "/orchestrator_dagster/": "our engine",
    "/workload/": "the workflow itself",
    "/sqlalchemy/": "SQLAlchemy",
    "/dagster": "Dagster",
}
POSTGRES = "waiting for Postgres"
ENGINE = "everything for our engine, Postgres included"
REST = "Python's library and other packages"


def owner_of(file: str, function: str) -> str:
    if "psycopg2" in function:
        return POSTGRES
    return next((owner for path, owner in OWNERS.items() if path in file), REST)


def profiled(runs: int) -> pstats.Stats:
    profile = cProfile.Profile()
    with orchestrator.connect() as wfo:
        for number in range(runs + 3):
            if number == 3:  # by then all is warm
                profile.enable()
            assert wfo.run("create_circuit", FORM).status == "completed"
        profile.disable()
    return pstats.Stats(profile)


def seconds_by_owner(stats: pstats.Stats, runs: int) -> dict[str, float]:
    spent: Counter[str] = Counter()
    for (file, _, function), (_, _, own, inclusive, _) in stats.stats.items():  # type: ignore[attr-defined]
        spent[owner_of(file, function)] += own / runs
        if file.endswith("jobs/run.py") and function in ("run_step", "close"):
            spent[ENGINE] += inclusive / runs
    return dict(spent.most_common())


count = int(sys.argv[1])
print(json.dumps(seconds_by_owner(profiled(count), count)))
