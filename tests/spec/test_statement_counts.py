"""What a load and a save cost does not depend on the tree: neither on its width nor on its depth."""

from collections.abc import Callable
from uuid import UUID

import pytest
from conftest import CountStatements

from orchestrator_dagster import Product, ProductBlockModel, Session, SubscriptionModel

LOAD, SAVE = 1, 6


class LeafBlock(ProductBlockModel, product_block_name="Leaf"):
    number: int


class TrunkBlock(ProductBlockModel, product_block_name="Trunk"):
    leaves: list[LeafBlock] = []
    above: "TrunkBlock | None" = None


class Tree(SubscriptionModel, is_base=True):
    trunk: TrunkBlock


PRODUCTS = [Product("Tree", Tree)]


def wide(tree: Tree) -> None:
    tree.trunk.leaves = [LeafBlock.new(tree.subscription_id, number=number) for number in range(100)]


def deep(tree: Tree) -> None:
    trunk = tree.trunk
    for number in range(10):
        trunk.above = TrunkBlock.new(tree.subscription_id, leaves=[LeafBlock.new(tree.subscription_id, number=number)])
        trunk = trunk.above


@pytest.mark.parametrize("grow", [wide, deep])
def test_a_tree_of_any_shape_is_saved_and_loaded_in_few_statements(
    product_id: Callable[[str], UUID], wfo: Session, count_statements: CountStatements, grow: Callable[[Tree], None]
) -> None:
    engine = wfo.orchestrator.database.engine
    tree = Tree.from_product_id(product_id("Tree"), "acme")
    grow(tree)
    with count_statements(engine) as statements:
        tree.save()
    assert len(statements) <= SAVE
    with count_statements(engine) as statements:
        loaded = Tree.from_subscription(tree.subscription_id)
    assert len(statements) == LOAD
    assert loaded == tree
    loaded.trunk.label = "Changed"
    with count_statements(engine) as statements:
        loaded.save()
    assert len(statements) <= SAVE
