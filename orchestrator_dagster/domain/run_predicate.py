"""Whether a workflow may start another process now: a rule of the workflow's own, asked before its form.

A predicate is a function of a `PredicateContext`. It is asked in the transaction that starts the process, under a lock
that all starts of the workflow take: of two at once, the second sees the process of the first.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator_dagster.domain.process import ProcessStatus


class CountProcesses(Protocol):
    """Counts processes as they are in the transaction that starts another one."""

    def __call__(self, status: Collection[ProcessStatus], *, workflow: str | None = None) -> int:
        """Return how many processes stand in one of the statuses, of one workflow or of all."""


def count_none(status: Collection[ProcessStatus], *, workflow: str | None = None) -> int:  # noqa: ARG001 - a protocol
    """Count as if there were no processes at all: for predicates that are tried out by themselves."""
    return 0


@dataclass(frozen=True)
class PredicateContext:
    """What a run predicate gets.

    Attributes:
        workflow: the `Workflow` that is to start.
        workflow_key: its name.
        count_processes: counts processes by status, as in `count_processes([ProcessStatus.FAILED], workflow="x")`.
    """

    workflow: Any
    workflow_key: str
    count_processes: CountProcesses = count_none


@dataclass(frozen=True)
class RunPredicatePass:
    """The workflow may start."""


@dataclass(frozen=True)
class RunPredicateFail:
    """The workflow may not start now.

    Attributes:
        message: why, for a person.
    """

    message: str


RunPredicateResult = RunPredicatePass | RunPredicateFail
RunPredicate = Callable[[PredicateContext], RunPredicateResult]

UNCOMPLETED = tuple(status for status in ProcessStatus if not status.ended)


def no_uncompleted_instance(context: PredicateContext) -> RunPredicateResult:
    """Let a workflow start only while none of its processes is unfinished; a failed one is.

    Example:
        >>> no_uncompleted_instance(PredicateContext(None, "clean_up"))
        RunPredicatePass()
        >>> no_uncompleted_instance(PredicateContext(None, "clean_up", lambda status, workflow: 2)).message
        'clean_up has 2 processes that are not finished'
    """
    found = context.count_processes(UNCOMPLETED, workflow=context.workflow_key)
    if not found:
        return RunPredicatePass()
    which = "a process that is" if found == 1 else f"{found} processes that are"
    return RunPredicateFail(f"{context.workflow_key} has {which} not finished")


def awaiting_callbacks_exist(context: PredicateContext) -> RunPredicateResult:
    """Let a workflow start only while a process, of any workflow, waits for a callback.

    Example:
        >>> awaiting_callbacks_exist(PredicateContext(None, "chase_callbacks"))
        RunPredicateFail(message='no process waits for a callback')
    """
    if context.count_processes([ProcessStatus.AWAITING_CALLBACK]):
        return RunPredicatePass()
    return RunPredicateFail("no process waits for a callback")
