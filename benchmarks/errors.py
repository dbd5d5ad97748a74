"""What can go wrong while measuring."""


class BenchmarkError(Exception):
    """Something could not be measured."""
