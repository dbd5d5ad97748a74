"""Clients of a worker service: so many processes that launch a job of `warm_jobs` at the same moment, and end.

Arguments: how many processes, the job, a file that says when. Prints the ids of the runs.
"""

import os
import sys
import time
from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository


def main(clients: int, job_name: str, go_on: Path) -> None:
    children = []
    for _ in range(clients):
        child = os.fork()
        if child == 0:
            launch(job_name, go_on)
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(max(statuses))


def launch(job_name: str, go_on: Path) -> None:
    job = ReconstructableRepository.for_module("warm_jobs", "defs").get_reconstructable_job(job_name)
    with dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(job.get_definition(), job_code_origin=job.get_python_origin())
        while not go_on.exists():
            time.sleep(0.001)
        instance.launch_run(run.run_id, workspace=None)
        print(run.run_id)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
