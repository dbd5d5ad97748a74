"""Every change makes a version, and an old version cannot overwrite a new one."""

from collections.abc import Callable
from uuid import UUID

import pytest
from network_models import ACTIVE, NODE, Node, NodeInactive

from orchestrator_dagster import Session, StaleDataError, SubscriptionModel, get_subscription

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


def save_and_roll_back(wfo: Session, *models: SubscriptionModel) -> None:
    def save_and_fail() -> None:
        with wfo.transaction():
            for model in models:
                model.save()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_and_fail()


def test_a_model_whose_save_was_rolled_back_does_not_overwrite_what_somebody_else_saved_then(
    node: NodeInactive, wfo: Session
) -> None:
    other = NodeInactive.from_subscription(node.subscription_id)
    node.node.site = "Delft"
    save_and_roll_back(wfo, node)
    other.node.site = "Breda"
    other.save()
    with pytest.raises(StaleDataError):
        node.save()
    assert NodeInactive.from_subscription(node.subscription_id) == other


def test_a_model_whose_save_was_rolled_back_can_be_saved_again(
    product_id: Callable[[str], UUID], node: NodeInactive, wfo: Session
) -> None:
    new = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.node.node_name = node.node.site = "Delft"
    save_and_roll_back(wfo, new, node)
    assert (new.version, node.version) == (0, 1)
    for model in (new, node):
        model.save()
        assert NodeInactive.from_subscription(model.subscription_id) == model


def test_a_model_of_another_status_that_was_rolled_back_too_has_the_version_that_is_stored(
    node: NodeInactive, wfo: Session
) -> None:
    node.node.node_name = "ams-core-1"
    made: list[Node] = []

    def activate_and_fail() -> None:
        with wfo.transaction():
            node.save()
            made.append(Node.from_other_lifecycle(node, ACTIVE))
            made[0].save()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        activate_and_fail()
    assert (node.version, made[0].version) == (1, 1)


def test_a_version_says_who_changed_what(node: NodeInactive, wfo: Session) -> None:
    node.node.site = "Delft"
    node.save()
    first, second = wfo.history(node.subscription_id)
    assert (first.version, second.version, second.changed_by, second.process_id) == (1, 2, "ada", None)
    assert second.changes == {"node.site": {"before": None, "after": "Delft"}}
