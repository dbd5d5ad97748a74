"""What is said while the benchmarks run."""

import sys
import time

_started = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress, apart from the results."""
    print(f"[{time.monotonic() - _started:6.0f} s] {text}", file=sys.stderr, flush=True)
