"""Run the plain jobs in this process; print seconds by number of ops as JSON. The argument is how often."""

import json
import logging
import sys
import time

from dagster import DagsterInstance
from workload.plain import defs


def measure(runs: int) -> dict[str, list[float]]:
    logging.disable(logging.CRITICAL)
    seconds: dict[str, list[float]] = {"9": [], "10": [], "30": []}
    with DagsterInstance.get() as instance:
        for number in range(runs + 1):
            for steps in seconds:
                started = time.perf_counter()
                result = defs.get_job_def(f"plain_{steps}").execute_in_process(instance=instance)
                # the first time is for warming up
                if number:
                    seconds[steps].append(time.perf_counter() - started)
                assert result.success
    return seconds


print(json.dumps(measure(int(sys.argv[1]))))
