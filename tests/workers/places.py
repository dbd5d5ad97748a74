"""Names for the points that a process comes by."""

from collections import Counter

from orchestrator_dagster.ops.commit_path import CommitPoint


class Places:
    """Gives names to points as a process comes by them; those that have had a name already are numbered.

    Example:
        >>> name = Places()
        >>> [name(CommitPoint.AFTER_COMMIT, "init") for _ in "again"][:2]
        ['after commit/init', 'after commit/init#2']
    """

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def __call__(self, point: CommitPoint, step: str) -> str:
        """Return the name of a point of a step."""
        place = f"{point.value}/{step}"
        self._times[place] += 1
        return place if self._times[place] == 1 else f"{place}#{self._times[place]}"


def without_number(place: str) -> str:
    """Return the point and the step of a place, however often a process came there before."""
    return place.partition("#")[0]
