"""For a while, each subscription is loaded once."""

from collections.abc import Callable
from uuid import UUID

import pytest
from conftest import CountStatements
from network_models import NODE, Node, NodeInactive

from orchestrator_dagster import Session, SubscriptionModel
from orchestrator_dagster.domain.context_cache import cache_subscription_models

PRODUCTS = [NODE]


@pytest.fixture
def node(product_id: Callable[[str], UUID]) -> NodeInactive:
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.node.node_name = "ams-core-1"
    node.save()
    return node


def test_within_it_a_subscription_is_one_object(
    node: NodeInactive, wfo: Session, count_statements: CountStatements
) -> None:
    with cache_subscription_models(), count_statements(wfo.orchestrator.database.engine) as statements:
        first = NodeInactive.from_subscription(node.subscription_id)
        assert NodeInactive.from_subscription(str(node.subscription_id)) is first
    assert len(statements) == 1
    assert NodeInactive.from_subscription(node.subscription_id) is not first


def test_a_cache_within_a_cache_is_the_same(node: NodeInactive) -> None:
    with cache_subscription_models():
        first = NodeInactive.from_subscription(node.subscription_id)
        with cache_subscription_models():
            assert NodeInactive.from_subscription(node.subscription_id) is first
        assert NodeInactive.from_subscription(node.subscription_id) is first


def test_the_object_has_the_class_that_is_asked_for(node: NodeInactive) -> None:
    """orchestrator-core gives what it has, whatever is asked for."""
    with cache_subscription_models():
        assert type(NodeInactive.from_subscription(node.subscription_id)) is NodeInactive
        assert type(Node.from_subscription(node.subscription_id)) is Node
        assert type(SubscriptionModel.from_subscription(node.subscription_id)) is NodeInactive
