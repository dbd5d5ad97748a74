"""Thousands of processes: does memory grow, does the rate fall?"""

import statistics
import time
from dataclasses import dataclass

from benchmarks.progress import say
from benchmarks.samples import Samples
from benchmarks.sides import Service, Side

OPEN = 20
LOOK_SECONDS = 0.1
POINTS = 10


@dataclass(frozen=True)
class Point:
    """How the system stood after some processes.

    Attributes:
        done: how many processes had ended.
        rate: how many ended per second since the point before.
        resident: MiB of resident memory by what the system's own processes are for.
    """

    done: int
    rate: float
    resident: dict[str, float]

    def __str__(self) -> str:
        memory = ", ".join(f"{role} {mib:.0f} MiB" for role, mib in sorted(self.resident.items()))
        return f"soak: {self.done} done, {self.rate:.2f} processes/s, {memory}"


def soak(side: Side, samples: Samples, count: int) -> list[Point]:
    """Run processes, a few at a time; add how memory grew and the rate at start and end; return all points.

    Args:
        side: the system.
        samples: where it is added.
        count: how many processes.
    """
    points = []
    with side.running() as service:
        # the first ones load what is loaded on use
        _run(service, OPEN)
        points.append(Point(0, 0.0, _resident(service)))
        for number in range(1, POINTS + 1):
            share = count * number // POINTS - count * (number - 1) // POINTS
            rate = share / _run(service, share)
            points.append(Point(points[-1].done + share, rate, _resident(service)))
            say(f"{side.title}: {points[-1]}")
    samples.add("soak_first_rate", side.key, [points[1].rate])
    samples.add("soak_last_rate", side.key, [points[-1].rate])
    samples.add("soak_growth", side.key, [growth(points[len(points) // 2 :])])
    return points


def growth(points: list[Point]) -> float:
    """Return the MiB by which all resident memory grows with each thousand processes: the slope of a straight line."""
    done = [point.done / 1000 for point in points]
    return statistics.linear_regression(done, [sum(point.resident.values()) for point in points]).slope


def _run(service: Service, count: int) -> float:
    """Run so many processes, a few of them open at any time; return how many seconds that took."""
    started = time.monotonic()
    running: list[str] = []
    submitted = 0
    while running or submitted < count:
        while len(running) < OPEN and submitted < count:
            running.append(service.submit())
            submitted += 1
        time.sleep(LOOK_SECONDS)
        ended = service.ended(running)
        running = [process for process in running if process not in ended]
    return time.monotonic() - started


def _resident(service: Service) -> dict[str, float]:
    """Return resident memory by role, summed over the processes that have it."""
    return {role: sum(child.resident_mib for child in children) for role, children in service.memory().items()}
