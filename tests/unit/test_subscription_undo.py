"""Going back from a version of a subscription to the one before it, as values."""

from typing import Any
from uuid import UUID

import pytest

from orchestrator_dagster.db.subscriptions.tree import BlockRow
from orchestrator_dagster.db.subscriptions.undo import SubscriptionState

PORT, FIRST, SECOND = UUID(int=1), UUID(int=2), UUID(int=3)

NOW = SubscriptionState(
    columns={"status": "active", "note": "now"},
    blocks={
        PORT: BlockRow("Port", "label", {"speed": 1, "mtu": None}, "port", 0),
        FIRST: BlockRow("Channel", None, {"vlan": 10}),
    },
    links={PORT: {("channels", 0): FIRST}},
)


@pytest.mark.parametrize(
    ("entry", "before"),
    [
        ({}, NOW.blocks[PORT]),
        ({"label": None}, BlockRow("Port", None, {"speed": 1, "mtu": None}, "port", 0)),
        ({"product_block": "Old Port"}, BlockRow("Old Port", "label", {"speed": 1, "mtu": None}, "port", 0)),
        ({"attribute": None, "position": None}, BlockRow("Port", "label", {"speed": 1, "mtu": None})),
        ({"set": {"speed": None}}, BlockRow("Port", "label", {"speed": None, "mtu": None}, "port", 0)),
        ({"set": {"rate": 1}, "unset": ["speed"]}, BlockRow("Port", "label", {"mtu": None, "rate": 1}, "port", 0)),
    ],
)
def test_of_a_block_that_changed_the_rest_stays_as_it_is(entry: dict[str, Any], before: BlockRow) -> None:
    assert NOW.undone([{"blocks": {str(PORT): entry}}]).blocks == {**NOW.blocks, PORT: before}


def test_a_block_that_came_goes_with_its_links() -> None:
    before = NOW.undone([{"blocks": {str(PORT): None}}])
    assert (before.blocks.keys(), before.links) == ({FIRST}, {})


def test_a_block_that_went_comes_back_and_what_is_not_said_of_it_is_empty() -> None:
    undo = {"blocks": {str(SECOND): {"product_block": "Channel"}}, "links": [[str(PORT), "channels", 1, str(SECOND)]]}
    before = NOW.undone([undo])
    assert before.blocks[SECOND] == BlockRow("Channel", None, {})
    assert before.links == {PORT: {("channels", 0): FIRST, ("channels", 1): SECOND}}


def test_a_place_where_nothing_was_becomes_empty() -> None:
    assert NOW.undone([{"links": [[str(PORT), "channels", 0, None], [str(PORT), "spare", 5, None]]}]).links == {
        PORT: {}
    }


def test_versions_are_undone_in_the_order_given() -> None:
    undos = [{"subscription": {"note": "before"}}, {"subscription": {"note": None, "status": "initial"}}]
    assert NOW.undone(undos).columns == {"status": "initial", "note": None}


def test_the_state_that_one_starts_from_is_left_as_it_is() -> None:
    NOW.undone([{"blocks": {str(PORT): None}, "subscription": {"note": None}}])
    assert PORT in NOW.blocks
    assert PORT in NOW.links
    assert NOW.columns["note"] == "now"
