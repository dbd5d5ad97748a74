"""What a step changed in the state, written small: a model of which one field changed is not written again.

A difference is JSON. Values and edits stand in places of their own, so no key of the state can be taken for a part of
an edit.
"""

import json
import marshal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator_dagster.domain.state import State

Edit = dict[str, Any]
"""What changes inside a value; nothing where it stays as it is.

Inside a dict: `set` has new values by key, `edit` the edits of values that stay, `drop` the keys that go, and `order`
all keys, where they don't just keep their order. Inside a list: `set` and `edit` by index; then, from index `at` on,
`drop` items go and the items of `put` come instead.
"""


@dataclass(frozen=True)
class Difference:
    """What makes one state of another.

    Attributes:
        values: new values by key.
        edits: what changes inside values that stay, by key.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    edits: Mapping[str, Edit] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the state that are new or changed."""
        return (*self.values, *self.edits)

    def applied_to(self, state: State) -> State:
        """Return the state that follows from a state. That one stays as it is; both share what did not change."""
        edited = {key: _edited(state[key], edit) for key, edit in self.edits.items()}
        return {**state, **edited, **self.values}


def difference(state: State, returned: State) -> Difference:
    """Return what a step changed in the state, exactly: `1`, `1.0` and `True` differ, and so does the order of keys.

    What is shorter as a whole stands there as a whole. The time it takes grows with the size of what was returned.

    Args:
        state: JSON by key.
        returned: JSON by key; the keys that it lacks stay as they are.

    Example:
        >>> old = {"lamp": {"name": "hall", "place": "left of the door", "watts": 10}}
        >>> new = {"lamp": {"name": "hall", "place": "left of the door", "watts": 50}, "lit": True}
        >>> difference(old, new)
        Difference(values={'lit': True}, edits={'lamp': {'set': {'watts': 50}}})
        >>> difference(old, new).applied_to(old) == new
        True
    """
    values: dict[str, Any] = {}
    edits: dict[str, Edit] = {}
    for key, new in returned.items():
        try:
            edit = _edit(state[key], new) if key in state else None
        except RecursionError:
            # JSON can be nested more deeply than Python's calls
            edit = None
        if edit is None:
            values[key] = new
        elif edit:
            edits[key] = edit
    return Difference(values, edits)


def _edit(old: Any, new: Any) -> Edit | None:
    """Return what changes inside a value; `None` where the new value is to be written whole."""
    if _is_same(old, new):
        return {}
    if type(old) is not type(new) or type(new) not in (dict, list):
        return None
    edit = _edit_of_dict(old, new) if type(new) is dict else _edit_of_list(old, new)
    return None if _is_shorter_whole(new, edit) else edit


def _edit_of_dict(old: dict[str, Any], new: dict[str, Any]) -> Edit:
    values, edits = {}, {}
    for key, item in new.items():
        edit = _edit(old[key], item) if key in old else None
        if edit is None:
            values[key] = item
        elif edit:
            edits[key] = edit
    if list(old) == list(new):
        return _without_empty(set=values, edit=edits)
    dropped = [key for key in old if key not in new]
    by_itself = [*(key for key in old if key in new), *(key for key in new if key not in old)]
    order = [] if list(new) == by_itself else list(new)
    return _without_empty(set=values, edit=edits, drop=dropped, order=order)


def _edit_of_list(old: list[Any], new: list[Any]) -> Edit:
    if len(old) == len(new):
        return _edit_by_index(old, new)
    shared = min(len(old), len(new))
    start = _count_same(old, new, shared)
    end = _count_same(old[::-1], new[::-1], shared - start)
    in_the_middle = {"at": start, "drop": len(old) - end - start, "put": new[start : len(new) - end]}
    if start + end == shared:
        return in_the_middle
    at_the_end = _edit_by_index(old, new) | {"at": shared, "drop": len(old) - shared, "put": new[shared:]}
    return min(in_the_middle, at_the_end, key=lambda edit: len(_written(edit)))


def _edit_by_index(old: list[Any], new: list[Any]) -> Edit:
    values, edits = {}, {}
    for index, (before, item) in enumerate(zip(old, new, strict=False)):
        edit = _edit(before, item)
        if edit is None:
            values[str(index)] = item
        elif edit:
            edits[str(index)] = edit
    return _without_empty(set=values, edit=edits)


def _count_same(old: list[Any], new: list[Any], most: int) -> int:
    differing = (index for index in range(most) if not _is_same(old[index], new[index]))
    return next(differing, most)


def _is_same(old: Any, new: Any) -> bool:
    # Python takes 1 for 1.0 and True, 0.0 for -0.0, and any order of keys. Marshalled values differ where these do;
    # version 2 does not write down which parts are one object.
    return bool(old == new) and marshal.dumps(old, 2) == marshal.dumps(new, 2)


def _is_shorter_whole(new: dict[str, Any] | list[Any], edit: Edit) -> bool:
    length = len(_written(edit))
    return not _takes_more_than(length, new) and length > len(_written(new))


def _takes_more_than(length: int, value: Any) -> bool:
    """Whether a value is certainly longer than that, without writing all of a large one."""
    left, waiting = length, [value]
    while waiting and left >= 0:
        part = waiting.pop()
        if type(part) is dict:
            left -= sum(map(len, part)) + 6 * len(part)
            waiting.extend(part.values())
        elif type(part) is list:
            left -= 2 * len(part)
            waiting.extend(part)
        elif type(part) is str:
            left -= len(part)
    return left < 0


def _written(value: Any) -> str:
    return json.dumps(value)


def _without_empty(**parts: Any) -> Edit:
    return {name: part for name, part in parts.items() if part}


def _edited(value: Any, edit: Edit) -> Any:
    if type(value) is list:
        return _edited_list(value, edit)
    dropped = edit.get("drop", ())
    result = {key: item for key, item in value.items() if key not in dropped} if dropped else dict(value)
    result.update({key: _edited(value[key], inner) for key, inner in edit.get("edit", {}).items()})
    result.update(edit.get("set", {}))
    return {key: result[key] for key in edit["order"]} if "order" in edit else result


def _edited_list(value: list[Any], edit: Edit) -> list[Any]:
    result = list(value)
    for index, inner in edit.get("edit", {}).items():
        result[int(index)] = _edited(value[int(index)], inner)
    for index, item in edit.get("set", {}).items():
        result[int(index)] = item
    if "at" in edit:
        result[edit["at"] : edit["at"] + edit["drop"]] = edit["put"]
    return result
