"""The words for where a process and its steps stand."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class ProcessStatus(StrEnum):
    """Where a process (one run of a workflow) stands."""

    CREATED = "created"
    RUNNING = "running"
    SUSPENDED = "suspended"
    WAITING = "waiting"
    AWAITING_CALLBACK = "awaiting_callback"
    ABORTED = "aborted"
    FAILED = "failed"
    API_UNAVAILABLE = "api_unavailable"
    INCONSISTENT_DATA = "inconsistent_data"
    COMPLETED = "completed"
    RESUMED = "resumed"

    @classmethod
    def several(cls, given: str | Iterable[str] | None) -> list["ProcessStatus"]:
        """Return what somebody means who names one, several or none, by their texts too.

        Example:
            >>> ProcessStatus.several("failed"), ProcessStatus.several(None)
            ([<ProcessStatus.FAILED: 'failed'>], [])
        """
        return [cls(one) for one in ([given] if isinstance(given, str) else given or ())]

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the process; a failed one has not ended."""
        return self in (ProcessStatus.COMPLETED, ProcessStatus.ABORTED)

    @property
    def failed(self) -> bool:
        """Whether a step failed, and somebody is to look at it."""
        return self in (ProcessStatus.FAILED, ProcessStatus.API_UNAVAILABLE, ProcessStatus.INCONSISTENT_DATA)

    @property
    def halted(self) -> bool:
        """Whether the process has not ended, and goes on only when something happens that it waits for."""
        return self.failed or self in (
            ProcessStatus.SUSPENDED,
            ProcessStatus.WAITING,
            ProcessStatus.AWAITING_CALLBACK,
        )

    @property
    def queued(self) -> bool:
        """Whether the process waits for nothing but a run that picks it up."""
        return self in (ProcessStatus.CREATED, ProcessStatus.RESUMED)


class StepStatus(StrEnum):
    """What a row of the step log says of its step."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    SUSPEND = "suspend"
    WAITING = "waiting"
    AWAITING_CALLBACK = "awaiting_callback"
    FAILED = "failed"
    ABORT = "abort"
    COMPLETE = "complete"

    @property
    def finished(self) -> bool:
        """Whether the step need not run again when the process goes on."""
        return self in (StepStatus.SUCCESS, StepStatus.SKIPPED, StepStatus.COMPLETE)


class Assignee(StrEnum):
    """Who is asked to act on a process that waits."""

    NOC = "NOC"
    SYSTEM = "SYSTEM"
    CHANGES = "CHANGES"
    KLANTSUPPORT = "KLANTSUPPORT"


@dataclass(frozen=True)
class Concerned:
    """The subscriptions that a process works on, and what people look for them by; each thing once.

    Example:
        >>> node, port = Concerned(products=("Node",), customer_ids=("acme",)), Concerned(products=("Port",))
        >>> node | port | node
        Concerned(subscription_ids=(), products=('Node', 'Port'), customer_ids=('acme',))
    """

    subscription_ids: tuple[UUID, ...] = ()
    products: tuple[str, ...] = ()
    customer_ids: tuple[str, ...] = ()

    def __or__(self, more: "Concerned") -> "Concerned":
        return Concerned(
            tuple(dict.fromkeys((*self.subscription_ids, *more.subscription_ids))),
            tuple(dict.fromkeys((*self.products, *more.products))),
            tuple(dict.fromkeys((*self.customer_ids, *more.customer_ids))),
        )
