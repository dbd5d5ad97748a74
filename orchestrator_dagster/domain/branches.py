"""What the branches of a process know, and what becomes of it where they join."""

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator_dagster.domain.difference import difference
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import BranchConflictError

ITEM_KEYS = ("item", "index")
"""What a branch of a foreach knows beside the state; it does not leave the branch."""


def parent_of(branch: str) -> str:
    """Return the branch that a branch forked from; the root is empty.

    Example:
        >>> parent_of("parallel[1]/foreach_saps[0]"), parent_of("parallel[1]")
        ('parallel[1]', '')
    """
    return branch.rpartition("/")[0]


def fork_of(branch: str) -> tuple[str, int]:
    """Return the key of the innermost fork of a branch, and the branch's number in it.

    Example:
        >>> fork_of("parallel[1]/foreach_saps[0]")
        ('foreach_saps', 0)
    """
    return indexed(branch.rpartition("/")[2])


def indexed(key: str) -> tuple[str, int]:
    """Split a key from the number at its end; without one that is -1.

    Example:
        >>> indexed("provision.configure[3]"), indexed("provision.configure")
        (('provision.configure', 3), ('provision.configure', -1))
    """
    name, bracket, number = key.rpartition("[")
    return (name, int(number[:-1])) if bracket and key.endswith("]") else (key, -1)


def merged(fork: State, branches: Mapping[str, State], *, collect: bool = False) -> State:
    """Return the state after branches joined.

    A key that branches changed has the value that they agree on. Dumps of one subscription always agree: the one with
    the newest version is taken. What a branch did not change does not count.

    Args:
        fork: the state at the fork.
        branches: what every branch knows, or at least what it changed, by branch, in their order. When they finished
            makes no difference.
        collect: whether the branches are those of a foreach. Keys that were not there at the fork become lists then, in
            the order of the items, with `None` where a branch has no such key.

    Raises:
        BranchConflictError: two branches wrote different values under the same key.

    Example:
        >>> merged({"a": 1}, {"both[0]": {"a": 1, "b": 2}, "both[1]": {"a": 3}})
        {'a': 3, 'b': 2}
        >>> merged({"a": 1}, {"each[0]": {"b": 2}, "each[1]": {}}, collect=True)
        {'a': 1, 'b': [2, None]}
    """
    kept = ITEM_KEYS if collect else ()
    changed = {branch: _changed(fork, state, kept) for branch, state in branches.items()}
    result = dict(fork)
    for key in dict.fromkeys(key for values in changed.values() for key in values):
        if collect and key not in fork:
            result[key] = [values.get(key) for values in changed.values()]
        else:
            result[key] = _agreed(key, {branch: values[key] for branch, values in changed.items() if key in values})
    return result


def _changed(fork: State, state: State, kept: Iterable[str]) -> State:
    return {key: state[key] for key in difference(fork, state).keys if key not in kept}


def _agreed(key: str, written: Mapping[str, Any]) -> Any:
    """Return the value that branches agree on."""
    (first, agreed), *others = written.items()
    for branch, value in others:
        if _is_same_subscription(agreed, value):
            agreed, first = (value, branch) if value["version"] > agreed["version"] else (agreed, first)
        elif difference({key: agreed}, {key: value}).keys:
            raise BranchConflictError(key=key, branches=(first, branch))
    return agreed


def _is_same_subscription(one: Any, other: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(other, dict)
        and one.get("subscription_id") is not None
        and one["subscription_id"] == other.get("subscription_id")
        and type(one.get("version")) is type(other.get("version")) is int
    )
