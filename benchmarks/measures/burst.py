"""Many processes submitted at once."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.errors import BenchmarkError
from benchmarks.sides import Service

CLIENTS = 4
WAIT_SECONDS = 3600.0
LOOKED_AT = 10
LOOK_SECONDS = 0.5


def burst(service: Service, count: int) -> float:
    """Return how many processes a second were done, from the first submission to the last end.

    Args:
        service: the running system.
        count: how many processes to submit, by a few clients at the same time.
    """
    started = time.time()
    with ThreadPoolExecutor(CLIENTS) as clients:
        submitted = list(clients.map(lambda _: service.submit(), range(count)))
    ended = wait_for(service, submitted)
    return count / (max(ended.values()) - started)


def wait_for(service: Service, submitted: Sequence[str]) -> dict[str, float]:
    """Return when each process ended. Few are looked at before the last ones have ended, for that costs the system."""
    for wanted in (submitted[-LOOKED_AT:], submitted):
        _wait_for_all(service, wanted)
    return service.ended(submitted)


def _wait_for_all(service: Service, wanted: Sequence[str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while len(service.ended(wanted)) < len(wanted):
        if time.monotonic() > deadline:
            raise BenchmarkError("The processes have not ended")
        time.sleep(LOOK_SECONDS)
