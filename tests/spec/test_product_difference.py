"""Where the catalogue in the database differs from what a class declares."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from network_models import NODE, PORT, Node, NodeInactive, Port, PortInactive, PortProvisioning
from sqlalchemy import text

from orchestrator_dagster import ProductBlockModel, Session, SubscriptionModel

PRODUCTS = [NODE, PORT]


@pytest.mark.parametrize("model", [PortInactive, PortProvisioning, Port])
def test_there_is_none_after_the_catalogue_was_applied(
    product_id: Callable[[str], UUID], model: type[SubscriptionModel]
) -> None:
    assert model.diff_product_in_database(product_id("Port 10G")) == {}


@pytest.mark.parametrize("unknown", [uuid4(), str(uuid4()), "no id"], ids=["id", "text", "no id"])
def test_there_is_none_for_a_product_that_does_not_exist(unknown: UUID | str) -> None:
    assert Node.diff_product_in_database(unknown) == {}


def test_a_class_without_fields_lacks_all(product_id: Callable[[str], UUID]) -> None:
    class Empty(SubscriptionModel):
        pass

    assert Empty.diff_product_in_database(product_id("Port 10G")) == {
        "Port 10G": {
            "missing_fixed_inputs_in_model": {"protected"},
            "missing_product_blocks_in_model": {"Port"},
        }
    }


def test_a_product_without_anything_lacks_all(wfo: Session) -> None:
    """The blocks that it should have are in the catalogue, so of them nothing is missing."""
    assert PortInactive.diff_product_in_database(an_empty_product(wfo)) == {
        "Empty": {"missing_fixed_inputs_in_db": {"protected"}, "missing_product_blocks_in_db": {"Port"}}
    }


def test_blocks_that_are_not_in_the_catalogue_lack_all(wfo: Session) -> None:
    class InnerBlock(ProductBlockModel, product_block_name="Inner"):
        number: int

    class OuterBlock(ProductBlockModel, product_block_name="Outer"):
        name_of_it: str
        inner: InnerBlock

    class Outer(SubscriptionModel, is_base=True):
        outer: OuterBlock

    (difference,) = Outer.diff_product_in_database(an_empty_product(wfo)).values()
    assert difference == {
        "missing_product_blocks_in_db": {"Outer"},
        "missing_in_depends_on_blocks": {
            "Outer": {"missing_resource_types_in_db": {"name_of_it"}, "missing_product_blocks_in_db": {"Inner"}},
            "Inner": {"missing_resource_types_in_db": {"number"}},
        },
    }


def test_what_only_one_side_of_a_block_has_is_told(product_id: Callable[[str], UUID]) -> None:
    class OtherNodeBlock(ProductBlockModel, product_block_name="Node"):
        node_name: str
        rack: int

    class OtherNode(SubscriptionModel, is_base=True):
        node: OtherNodeBlock

    assert OtherNode.diff_product_in_database(product_id("Node Cisco")) == {
        "Node Cisco": {
            "missing_in_depends_on_blocks": {
                "Node": {"missing_resource_types_in_db": {"rack"}, "missing_resource_types_in_model": {"site"}}
            }
        }
    }


def test_it_is_one_statement(
    product_id: Callable[[str], UUID], wfo: Session, count_statements: CountStatements
) -> None:
    wanted = product_id("Port 10G")
    with count_statements(wfo.orchestrator.database.engine) as statements:
        NodeInactive.diff_product_in_database(wanted)
    assert len(statements) == 1


def an_empty_product(wfo: Session) -> UUID:
    with wfo.orchestrator.database.engine.begin() as connection:
        product_id: UUID = connection.scalar(EMPTY_PRODUCT, {"name": "Empty"})
    return product_id


EMPTY_PRODUCT = text("""
    INSERT INTO orchestrator.products (name, description, product_type, tag, status)
    VALUES (:name, :name, :name, :name, 'active')
    ON CONFLICT (name) DO UPDATE
    SET tag = excluded.tag
    RETURNING product_id
""")
