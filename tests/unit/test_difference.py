"""What a step changed in the state: written small, and exactly what follows from it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from orchestrator_dagster.domain.difference import Difference, difference

KEYS = some.sampled_from(["a", "b", "c", "set", "edit", "drop", "order", "at", "put", "0", "1", ""]) | some.text(
    max_size=3
)
SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(-3, 3)
    | some.integers()
    | some.sampled_from([0.0, -0.0, 1.0, 1e16, 0.1])
    | some.text(max_size=5)
)
VALUES = some.recursive(
    SCALARS,
    lambda inner: some.lists(inner, max_size=6) | some.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
STATES = some.dictionaries(KEYS, VALUES, max_size=4)


def written(value: Any) -> str:
    """JSON that shows order and types."""
    return json.dumps(value)


def stored(found: Difference) -> Difference:
    """The difference as it comes back from the database."""
    return Difference(json.loads(json.dumps(found.values)), json.loads(json.dumps(found.edits)))


@some.composite
def changed(draw: some.DrawFn, value: Any) -> Any:
    """A value that resembles another: here and there something is new, gone, moved or inserted."""
    if draw(some.integers(0, 9)) == 0:
        return draw(VALUES)
    if isinstance(value, dict):
        items = [(key, draw(changed(item))) for key, item in value.items() if draw(some.integers(0, 9))]
        items += draw(some.lists(some.tuples(KEYS, VALUES), max_size=1))
        return dict(draw(some.permutations(items)) if draw(some.booleans()) else items)
    if isinstance(value, list):
        items = [draw(changed(item)) if draw(some.booleans()) else item for item in value]
        start, end = sorted(draw(some.tuples(some.integers(0, len(items)), some.integers(0, len(items)))))
        return items[:start] + draw(some.lists(VALUES, max_size=2)) + items[end:]
    return value


PAIRS = STATES.flatmap(lambda old: some.tuples(some.just(old), changed(old).filter(lambda new: type(new) is dict)))


@given(PAIRS)
def test_the_difference_makes_the_new_state_of_the_old_one(pair: tuple[Any, Any]) -> None:
    old, new = pair
    found = stored(difference(old, new))
    assert written(found.applied_to(old)) == written({**old, **new})


@given(PAIRS)
def test_nothing_that_is_given_is_changed(pair: tuple[Any, Any]) -> None:
    before = copy.deepcopy(pair)
    difference(*pair).applied_to(pair[0])
    assert written(before) == written(pair)


@given(STATES)
def test_a_state_does_not_differ_from_itself(state: Any) -> None:
    assert difference(state, copy.deepcopy(state)) == Difference()


@given(PAIRS)
def test_a_difference_is_never_longer_than_what_it_stands_for(pair: tuple[Any, Any]) -> None:
    old, new = pair
    found = difference(old, new)
    for key, edit in found.edits.items():
        assert len(written(edit)) <= len(written(new[key]))


@given(PAIRS)
def test_its_keys_are_those_that_are_new_or_not_the_same(pair: tuple[Any, Any]) -> None:
    old, new = pair
    assert set(difference(old, new).keys) == {
        key for key in new if key not in old or written(old[key]) != written(new[key])
    }


@pytest.mark.parametrize("one", [1, 1.0, True, "1", [1], None, 0.0, -0.0, {}, []], ids=repr)
@pytest.mark.parametrize("other", [1, 1.0, True, "1", [1], None, 0.0, -0.0, {}, []], ids=repr)
def test_values_that_python_takes_for_equal_are_told_apart(one: Any, other: Any) -> None:
    long = "a text that is longer than an edit"
    old, new = {"deep": [{"value": one, "long": long}, long]}, {"deep": [{"value": other, "long": long}, long]}
    assert written(difference(old, new).applied_to(old)) == written(new)
    assert bool(difference(old, new).keys) == (repr(one) != repr(other))


def test_the_order_of_keys_is_part_of_a_value() -> None:
    old = {"node": {"name": "ams-core-1", "site": "Amsterdam", "ports": [{"speed": 10, "name": "xe-0/0/1"}]}}
    new = {"node": {"site": "Amsterdam", "name": "ams-core-1", "ports": [{"name": "xe-0/0/1", "speed": 10}]}}
    assert written(difference(old, new).applied_to(old)) == written(new)


class TestWhatIsWritten:
    """With items of a length at which an edit is worth while."""

    items = tuple({"name": f"port {number}", "description": "x" * 100} for number in range(100))

    def edit(self, new: Any, old: Any = None) -> Any:
        found = difference({"ports": list(self.items) if old is None else old}, {"ports": new})
        assert not found.values
        return found.edits["ports"]

    def test_a_changed_field_is_written_alone(self) -> None:
        new = copy.deepcopy(list(self.items))
        new[50]["name"] = "uplink"
        assert self.edit(new) == {"edit": {"50": {"set": {"name": "uplink"}}}}

    def test_a_field_that_goes_is_named(self) -> None:
        new = copy.deepcopy(list(self.items))
        del new[50]["name"]
        assert self.edit(new) == {"edit": {"50": {"drop": ["name"]}}}

    @pytest.mark.parametrize("at", [0, 50, 100])
    def test_an_item_that_is_put_in_is_written_alone(self, at: int) -> None:
        assert self.edit([*self.items[:at], "new", *self.items[at:]]) == {"at": at, "drop": 0, "put": ["new"]}

    @pytest.mark.parametrize("at", [0, 50, 99])
    def test_an_item_that_is_taken_out_is_not_written(self, at: int) -> None:
        assert self.edit([*self.items[:at], *self.items[at + 1 :]]) == {"at": at, "drop": 1, "put": []}

    def test_an_item_that_changes_while_another_is_added_is_not_written_whole(self) -> None:
        new = [*copy.deepcopy(list(self.items)), "new"]
        new[1]["name"] = "uplink"  # type: ignore[index]
        assert self.edit(new) == {"edit": {"1": {"set": {"name": "uplink"}}}, "at": 100, "drop": 0, "put": ["new"]}

    @pytest.mark.parametrize(
        ("old", "new"),
        [({"a": 1, "b": 2}, {"a": 1, "b": 3}), ([1, 2], [1, 3]), (list(range(100)), []), ({"a": "x" * 99}, {})],
        ids=["dict", "list", "emptied list", "emptied dict"],
    )
    def test_what_is_shorter_as_a_whole_is_written_whole(self, old: Any, new: Any) -> None:
        assert difference({"value": old}, {"value": new}) == Difference(values={"value": new})

    def test_keys_that_look_like_an_edit_are_keys_like_others(self) -> None:
        old = {"node": {"set": {"a": "x" * 100, "at": 1}, "edit": {}, "drop": ["a"], "order": "x" * 100}}
        new = {"node": {"set": {"a": "x" * 100, "at": 2}, "edit": {}, "put": ["a"], "order": "x" * 100}}
        assert difference(old, new).edits
        assert written(difference(old, new).applied_to(old)) == written(new)


def test_deep_values_are_written_whole_rather_than_refused() -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = [deep]
    other = [[deep]]
    assert difference({"deep": deep}, {"deep": other}).applied_to({"deep": deep}) == {"deep": other}
