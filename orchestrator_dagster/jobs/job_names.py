"""The names of the orchestrator's own jobs."""

from collections.abc import Iterable

from orchestrator_dagster.errors import DefinitionError

PERSON_JOBS = (
    "resume_process",
    "retry_process",
    "skip_step",
    "abort_process",
    "replace_value",
    "pause_engine",
    "resume_engine",
)
"""The jobs for what a person does to a process, or to the engine."""


def require_free(names: Iterable[str]) -> None:
    """Make sure that workflows don't have the names of the orchestrator's own jobs.

    Args:
        names: the names of workflows.

    Raises:
        DefinitionError: one has.

    Example:
        >>> require_free(["create_node"])
    """
    if taken := [name for name in names if name in PERSON_JOBS]:
        raise DefinitionError(f"No workflow can be called {', '.join(taken)}: the orchestrator has a job of that name")
