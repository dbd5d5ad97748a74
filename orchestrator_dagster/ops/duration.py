"""How long something may take, as workflow authors give it."""

from datetime import timedelta

from orchestrator_dagster.errors import DefinitionError

Duration = timedelta | float
"""A `timedelta`, or seconds."""


def duration(given: Duration, of: str) -> timedelta:
    """Return a duration as a `timedelta`.

    Args:
        given: a `timedelta`, or seconds.
        of: what it is the duration of, for the error.

    Raises:
        DefinitionError: it is not longer than nothing.

    Example:
        >>> duration(90, of="the timeout").total_seconds()
        90.0
    """
    length = given if isinstance(given, timedelta) else timedelta(seconds=given)
    if length <= timedelta():
        raise DefinitionError(f"{of} is longer than nothing, not {given}")
    return length
