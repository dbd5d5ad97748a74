"""From submitting a process to its end, one after the other on an idle, warm system."""

import time

from benchmarks.children import wait_until
from benchmarks.errors import BenchmarkError
from benchmarks.sides import Service

WAIT_SECONDS = 120.0
IDLE_SECONDS = 0.5


def submit_to_done(service: Service, count: int) -> list[float]:
    """Return how many seconds passed from before the submission to the end that the system itself recorded.

    Both are read from the one clock of this machine, so that looking every now and then whether it has ended changes
    nothing.

    Args:
        service: the running system.
        count: how many processes to submit.
    """
    return [_one(service) for _ in range(count)]


def finish_one(service: Service) -> str:
    """Submit a process, wait for its end, and return its id."""
    process = service.submit()
    if not wait_until(lambda: bool(service.ended([process])), WAIT_SECONDS):
        raise BenchmarkError(f"Process {process} has not ended")
    return process


def _one(service: Service) -> float:
    # what a system still does after the end of a process is no part of the next one
    time.sleep(IDLE_SECONDS)
    submitted = time.time()
    process = finish_one(service)
    return service.ended([process])[process] - submitted
