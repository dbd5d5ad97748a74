"""A clock that a test moves on."""

from datetime import UTC, datetime, timedelta

from orchestrator_dagster.domain.clock import machine_time


class JumpingClock:
    """The time of this machine, and as much later as a test has jumped.

    Example:
        >>> clock = JumpingClock()
        >>> before = clock()
        >>> clock() - before < timedelta(hours=1) <= clock.jump(timedelta(hours=1)) - before
        True
    """

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        """The time, in UTC."""
        return machine_time() + self._ahead

    def jump(self, by: timedelta) -> datetime:
        """Move on, and return what time it is then.

        Args:
            by: for how long. Time does not go back.

        Raises:
            ValueError: it would go back.
        """
        if by < timedelta():
            raise ValueError(f"Time does not go back: {by}")
        self._ahead += by
        return self()

    def jump_to(self, moment: datetime) -> datetime:
        """Move on to a moment, and return what time it is then.

        Args:
            moment: without a time zone it is in UTC.

        Raises:
            ValueError: it has passed.
        """
        return self.jump((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - self())
