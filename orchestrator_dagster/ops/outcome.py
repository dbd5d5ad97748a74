"""What came of a step in a run."""

from dataclasses import dataclass
from uuid import UUID

from orchestrator_dagster.domain.process import StepStatus
from orchestrator_dagster.domain.secret import Hiding
from orchestrator_dagster.domain.waiting import Wait


@dataclass(frozen=True)
class StepOutcome:
    """What came of a step in a run.

    Attributes:
        key: the step's key in the step log.
        status: what the step log says of it; `None` where the run did nothing, since the process stands still.
        replayed: whether that was so before this run, which passed it by.
        changed: the keys of the state that it changed.
        subscription_ids: the subscriptions that it saved.
        wait: what it waits for, if it does.
        branches: how many branches begin there, where they are made at run time.
    """

    key: str
    status: StepStatus | None = None
    replayed: bool = False
    changed: tuple[str, ...] = ()
    subscription_ids: tuple[UUID, ...] = ()
    wait: Wait | None = None
    branches: int = 0

    @property
    def finished(self) -> bool:
        """Whether what comes after the step may run."""
        return self.status is not None and self.status.finished


class StepFailedError(Exception):
    """A step failed, and the step log says so. The cause is what the step raised.

    Attributes:
        hide: hides the secrets that the step was given, in whatever the cause says.
    """

    def __init__(self, message: str, hide: Hiding) -> None:
        self.hide = hide
        super().__init__(message)
