"""What a system that is compared can do."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from benchmarks.children import Child


class Service(Protocol):
    """A running system that takes processes over HTTP, with everything that executes them."""

    def submit(self) -> str:
        """Submit a process of nine steps; return its id once the system has accepted it."""

    def ended(self, ids: Sequence[str]) -> dict[str, float]:
        """Return when each of these processes ended, in seconds since 1970, of those that have.

        Raises:
            BenchmarkError: one of them failed.
        """

    def memory(self) -> dict[str, list[Child]]:
        """Return the processes of the operating system that make it up, by what they are for."""


class Side(Protocol):
    """A system that is compared."""

    @property
    def key(self) -> str:
        """What the command line and the results call it."""

    @property
    def title(self) -> str:
        """What the table calls it."""

    @property
    def burst(self) -> int:
        """How many processes are submitted at once. A slow system gets fewer: what counts is the rate."""

    @property
    def submits(self) -> int:
        """How many processes are submitted one after the other in a round."""

    def running(self) -> AbstractContextManager[Service]:
        """Start the system, and stop it at the end."""

    def in_process(self, runs: int) -> Mapping[str, list[float]]:
        """Return how many seconds each run took in one Python process, by the number of steps: 9, 10 and 30."""
