"""Every change makes a version, and an old version cannot overwrite a new one."""

from collections.abc import Callable
from uuid import UUID

import pytest
from network_models import NODE, NodeInactive

from orchestrator_dagster import Session, StaleDataError, get_subscription

PRODUCTS = [NODE]


@pytest.fixture
def node(product_id: Callable[[str], UUID]) -> NodeInactive:
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.save()
    return node


def test_a_subscription_has_version_1_after_its_first_save(node: NodeInactive) -> None:
    assert (node.version, get_subscription(node.subscription_id).version) == (1, 1)


def test_every_save_that_changes_something_makes_the_next_version(node: NodeInactive) -> None:
    for version, site in enumerate(["Delft", "Breda"], start=2):
        node.node.site = site
        node.save()
        assert node.version == NodeInactive.from_subscription(node.subscription_id).version == version


def test_a_change_of_a_block_alone_is_a_change_of_its_subscription(node: NodeInactive) -> None:
    """orchestrator-core counts only what changes in the subscription's own row."""
    node.node.label = "Core"
    node.save()
    assert node.version == 2


def test_a_save_that_changes_nothing_makes_none(node: NodeInactive) -> None:
    node.save()
    assert node.version == 1


def test_an_older_version_cannot_be_saved(node: NodeInactive) -> None:
    """orchestrator-core lets the last one win; only its forms compare versions."""
    other = NodeInactive.from_subscription(node.subscription_id)
    other.node.site = "Delft"
    other.save()
    node.node.site = "Breda"
    with pytest.raises(StaleDataError) as error:
        node.save()
    assert (error.value.given_version, error.value.current_version) == (1, 2)
    assert str(error.value).startswith("Stale data: given version (1) does not match the current version (2)")
    assert NodeInactive.from_subscription(node.subscription_id) == other


def test_a_version_says_who_changed_what(node: NodeInactive, wfo: Session) -> None:
    node.node.site = "Delft"
    node.save()
    first, second = wfo.history(node.subscription_id)
    assert (first.version, second.version, second.changed_by, second.process_id) == (1, 2, "ada", None)
    assert second.changes == {"node.site": {"before": None, "after": "Delft"}}
