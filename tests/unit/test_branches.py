"""What becomes of the state where branches join."""

from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_dagster.domain.branches import fork_of, indexed, merged, parent_of
from orchestrator_dagster.errors import BranchConflictError

PORT = str(UUID(int=1))
NODE = str(UUID(int=2))

values = st.one_of(
    st.sampled_from([None, True, 1, 1.0, 0, "a", [], [1], {}, {"a": 1}, {"subscription_id": None, "version": 1}]),
    st.builds(
        lambda subscription_id, version: {"subscription_id": subscription_id, "version": version, "name": version},
        st.sampled_from([PORT, NODE]),
        st.integers(1, 3),
    ),
)
states = st.dictionaries(st.sampled_from("abcde"), values, max_size=5)
some_branches = st.lists(states, max_size=4).map(lambda found: {f"both[{i}]": state for i, state in enumerate(found)})


def dump(version: int, subscription_id: str = PORT, **more: Any) -> dict[str, Any]:
    return {"subscription_id": subscription_id, "version": version, **more}


def is_same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def is_one_subscription(found: list[Any]) -> bool:
    return all(isinstance(value, dict) and value.get("subscription_id") for value in found) and (
        len({value["subscription_id"] for value in found}) == 1
    )


def test_what_one_branch_changed_or_added_is_there_after_the_join() -> None:
    after = merged({"a": 1, "b": 2}, {"both[0]": {"a": 10, "b": 2}, "both[1]": {"c": 3}})
    assert list(after.items()) == [("a", 10), ("b", 2), ("c", 3)]


def test_the_state_at_the_fork_stays_as_it_is() -> None:
    fork = {"a": 1}
    merged(fork, {"both[0]": {"a": 2}})
    assert fork == {"a": 1}


def test_branches_that_wrote_the_same_agree() -> None:
    assert merged({"a": 1}, {"both[0]": {"a": 2}, "both[1]": {"a": 2}}) == {"a": 2}


def test_branches_that_wrote_different_values_are_named_with_the_key() -> None:
    branches = {"both[0]": {"b": 1}, "both[1]": {"a": 3}, "both[2]": {"a": 4}}
    with pytest.raises(
        BranchConflictError, match=r"both\[1\] and both\[2\] wrote different values under 'a'"
    ) as refused:
        merged({"a": 1}, branches)
    assert refused.value.key == "a"
    assert refused.value.branches == ("both[1]", "both[2]")


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), ([1], [True])])
def test_values_of_different_types_are_different(one: Any, other: Any) -> None:
    with pytest.raises(BranchConflictError):
        merged({}, {"both[0]": {"a": one}, "both[1]": {"a": other}})


def test_of_two_dumps_of_one_subscription_the_newer_one_is_taken() -> None:
    branches = {"both[0]": {"port": dump(3, name="c")}, "both[1]": {"port": dump(2, name="b")}}
    assert merged({"port": dump(1)}, branches) == {"port": dump(3, name="c")}
    assert merged({"port": dump(1)}, dict(reversed(branches.items()))) == {"port": dump(3, name="c")}


def test_dumps_of_two_subscriptions_are_different_values() -> None:
    with pytest.raises(BranchConflictError):
        merged({}, {"both[0]": {"port": dump(1)}, "both[1]": {"port": dump(2, NODE)}})


def test_a_conflict_names_the_branch_whose_dump_was_taken_so_far() -> None:
    branches = {"both[0]": {"a": dump(1)}, "both[1]": {"a": dump(2)}, "both[2]": {"a": "text"}}
    with pytest.raises(BranchConflictError) as refused:
        merged({}, branches)
    assert refused.value.branches == ("both[1]", "both[2]")


def test_new_keys_of_a_foreach_are_collected_in_the_order_of_its_items() -> None:
    branches = {f"each[{i}]": {"item": name, "index": i, "port": name} for i, name in enumerate("xyz")}
    del branches["each[1]"]["port"]
    assert merged({"a": 1}, branches, collect=True) == {"a": 1, "port": ["x", None, "z"]}


def test_a_key_that_was_there_at_the_fork_is_not_collected() -> None:
    branches = {"each[0]": {"a": 2}, "each[1]": {"a": 2}, "each[2]": {}}
    assert merged({"a": 1}, branches, collect=True) == {"a": 2}
    with pytest.raises(BranchConflictError):
        merged({"a": 1}, branches | {"each[2]": {"a": 3}}, collect=True)


def test_item_and_index_do_not_leave_a_foreach_even_where_the_state_has_such_keys() -> None:
    branches = {f"each[{i}]": {"item": i, "index": i} for i in range(2)}
    assert merged({"item": "mine", "index": "also mine"}, branches, collect=True) == {
        "item": "mine",
        "index": "also mine",
    }
    assert merged({}, branches, collect=True) == {}


@pytest.mark.parametrize("collect", [True, False])
def test_no_branches_change_nothing(collect: bool) -> None:
    assert merged({"a": 1}, {}, collect=collect) == {"a": 1}


@given(states, some_branches)
def test_a_conflict_is_found_exactly_where_two_branches_changed_a_key_differently(
    fork: dict[str, Any], branches: dict[str, dict[str, Any]]
) -> None:
    written: dict[str, list[Any]] = {}
    for state in branches.values():
        for key, value in state.items():
            if key not in fork or not is_same(fork[key], value):
                written.setdefault(key, []).append(value)
    different = {key for key, found in written.items() if any(not is_same(found[0], value) for value in found)}
    conflicting = {key for key in different if not is_one_subscription(written[key])}
    if conflicting:
        with pytest.raises(BranchConflictError) as refused:
            merged(fork, branches)
        assert refused.value.key in conflicting
    else:
        agreed = {**fork, **{key: found[0] for key, found in written.items()}}
        after = merged(fork, branches)
        assert after.keys() == agreed.keys()
        assert all(is_same(after[key], value) for key, value in agreed.items() if key not in different)


@given(states, some_branches)
def test_the_order_of_branches_makes_no_difference_to_values_nor_to_whether_they_conflict(
    fork: dict[str, Any], branches: dict[str, dict[str, Any]]
) -> None:
    found = set()
    for order in permutations(branches):
        try:
            after = merged(fork, {branch: branches[branch] for branch in order})
            found.add(repr(sorted(after.items())))
        except BranchConflictError:
            found.add("conflict")
    assert len(found) == 1


@given(states, some_branches)
def test_a_foreach_collects_one_value_for_each_item(fork: dict[str, Any], branches: dict[str, dict[str, Any]]) -> None:
    only_new = {
        branch: {key: value for key, value in state.items() if key not in fork} for branch, state in branches.items()
    }
    after = merged(fork, only_new, collect=True)
    for key in {key for state in only_new.values() for key in state}:
        assert after[key] == [state.get(key) for state in only_new.values()]


@given(states, some_branches)
def test_what_a_branch_did_not_change_may_be_given_or_left_out(
    fork: dict[str, Any], branches: dict[str, dict[str, Any]]
) -> None:
    whole = {branch: {**fork, **state} for branch, state in branches.items()}
    try:
        expected = merged(fork, branches)
    except BranchConflictError:
        with pytest.raises(BranchConflictError):
            merged(fork, whole)
    else:
        assert repr(merged(fork, whole)) == repr(expected)


def test_a_branch_says_where_it_forked_and_as_which_one() -> None:
    branch = "parallel[1]/provision.foreach_saps[20]"
    assert fork_of(branch) == ("provision.foreach_saps", 20)
    assert fork_of(parent_of(branch)) == ("parallel", 1)
    assert parent_of(parent_of(branch)) == ""
    assert indexed("configure") == ("configure", -1)
