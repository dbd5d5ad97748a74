"""Where a process branches, and where its branches join."""

from orchestrator_dagster.domain.branches import merged
from orchestrator_dagster.domain.difference import difference
from orchestrator_dagster.errors import StateKeyError
from orchestrator_dagster.ops.commit_path import CommitPoint, reached
from orchestrator_dagster.ops.plan import Fork
from orchestrator_dagster.ops.work import Circumstances, Effect, Work


def fan_out(work: Work, given: Circumstances) -> Effect:
    """Begin a branch for each item of a list in the state.

    Raises:
        StateKeyError: the state has no such key.
        TypeError: it is no list.
    """
    fork = _fork_of(work)
    key = str(fork.over)
    reached(CommitPoint.BEFORE_EFFECT, work.key)
    if key not in given.state:
        raise StateKeyError(key, f"foreach({key!r})")
    items = given.state[key]
    if not isinstance(items, list):
        raise TypeError(f"foreach({key!r}) needs a list under {key!r} in the state, and found {type(items).__name__}")
    return Effect(detail={"items": items, "key": key})


def join(work: Work, given: Circumstances) -> Effect:
    """Put together what the branches know.

    Raises:
        BranchConflictError: two branches wrote different values under the same key.
    """
    reached(CommitPoint.BEFORE_EFFECT, work.key)
    together = merged(given.state, given.branches, collect=_fork_of(work).over is not None)
    return Effect(difference(given.state, together))


def _fork_of(work: Work) -> Fork:
    fork = work.place.planned.fork if work.place else None
    if fork is None:
        raise TypeError(f"Step {work.title} neither forks nor joins")
    return fork
