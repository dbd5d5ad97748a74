"""What is kept beside subscriptions, and how they are looked up: what a port from orchestrator-core brings along."""

from collections.abc import Iterator
from types import ModuleType
from uuid import uuid4

import pytest
from user_project import FIRST_VERSION, UserProject, make_link, make_node, product_id

from orchestrator_dagster import (
    LifecycleError,
    Session,
    StaleDataError,
    SubscriptionNotFoundError,
    cache_subscription_models,
    customer_description,
    customer_descriptions,
    find_values_for_resource_types,
    get_subscription,
    get_subscription_metadata,
    query_depends_on_subscriptions,
    query_in_use_by_subscriptions,
    remove_customer_description,
    retrieve_subscription_by_subscription_instance_value,
    save_customer_description,
    save_subscription_metadata,
    update_subscription_note,
)

LINK_NAME = "    link_name: str | None = None\n"

Connected = tuple[ModuleType, Session]


@pytest.fixture
def connected(project: UserProject) -> Iterator[Connected]:
    with project.connected(user="ada") as (code, wfo):
        yield code, wfo


@pytest.fixture
def code(connected: Connected) -> ModuleType:
    return connected[0]


@pytest.fixture
def wfo(connected: Connected) -> Session:
    return connected[1]


class TestCustomerDescriptions:
    def test_each_customer_has_a_name_of_its_own_with_a_version_of_its_own(
        self, wfo: Session, code: ModuleType
    ) -> None:
        node_id = make_node(code, "n")
        before = get_subscription(node_id).version
        assert save_customer_description("bits", node_id, "Head office").version == 1
        assert save_customer_description("acme", node_id, "Warehouse").version == 1
        assert save_customer_description("bits", node_id, "Old head office", 1).version == 2
        found = {one.customer_id: one.description for one in customer_descriptions(node_id)}
        assert found == {"bits": "Old head office", "acme": "Warehouse"}
        assert get_subscription(node_id).version == before
        assert [row.subscription_id for row in wfo.subscriptions(text="warehouse")] == [node_id]

    def test_a_change_by_somebody_else_is_not_overwritten(self, code: ModuleType) -> None:
        node_id = make_node(code, "n")
        save_customer_description("bits", node_id, "first")
        save_customer_description("bits", node_id, "second", 1)
        with pytest.raises(StaleDataError, match="bits"):
            save_customer_description("bits", node_id, "third", 1)
        with pytest.raises(StaleDataError):
            remove_customer_description("bits", node_id, 1)
        remove_customer_description("bits", node_id, 2)
        assert customer_description("bits", node_id) is None

    def test_they_need_a_subscription(self, code: ModuleType) -> None:
        with pytest.raises(SubscriptionNotFoundError):
            save_customer_description("bits", uuid4(), "nothing")


def test_metadata_is_any_json_beside_the_subscription(code: ModuleType) -> None:
    node_id = make_node(code, "n")
    assert get_subscription_metadata(node_id) is None
    save_subscription_metadata(node_id, {"ticket": 7, "tags": ["a", {"b": None}]})
    assert get_subscription_metadata(node_id) == {"ticket": 7, "tags": ["a", {"b": None}]}


def test_a_note_is_part_of_the_subscription_and_found(wfo: Session, code: ModuleType) -> None:
    node_id = make_node(code, "n")
    update_subscription_note(node_id, "beware of the dog")
    assert code.Node.from_subscription(node_id).note == "beware of the dog"
    assert wfo.history(node_id)[-1].changes["note"]["after"] == "beware of the dog"
    assert [row.subscription_id for row in wfo.subscriptions(text="dog")] == [node_id]


def test_subscriptions_are_looked_up_by_value_and_relation(code: ModuleType) -> None:
    node_id = make_node(code, "ams-1", height=3, ports=["eth0", "eth1"])
    link_id = make_link(code, "ring", [node_id])
    found = retrieve_subscription_by_subscription_instance_value("node_name", "ams-1")
    assert found is not None
    assert found.subscription_id == node_id
    assert retrieve_subscription_by_subscription_instance_value("node_name", "rtm-1") is None
    assert find_values_for_resource_types(node_id, ["height", "port_name"]) == {
        "height": [3],
        "port_name": ["eth0", "eth1"],
    }
    assert [row.subscription_id for row in query_in_use_by_subscriptions(node_id)] == [link_id]
    assert [row.subscription_id for row in query_depends_on_subscriptions(link_id)] == [node_id]
    assert [block.subscription_id for block in code.Node.from_subscription(node_id).node.in_use_by] == [link_id]


def test_within_a_cache_a_subscription_is_one_object(code: ModuleType) -> None:
    node_id = make_node(code, "n")
    with cache_subscription_models():
        first = code.Node.from_subscription(node_id)
        assert code.Node.from_subscription(node_id) is first
        with cache_subscription_models():
            assert code.Node.from_subscriptions([node_id])[0] is first
    assert code.Node.from_subscription(node_id) is not first


def test_a_subscription_moves_to_another_product_with_its_data(project: UserProject) -> None:
    project.edit(
        (
            '        Product("Link", Link, tag="LINK"),\n',
            '        Product("Link", Link, tag="LINK"),\n'
            '        Product("Node Nokia", Node, tag="NODE", fixed_inputs={"vendor": Vendor.NOKIA}),\n',
        )
    )
    with project.connected() as (code, wfo):
        node_id = make_node(code, "n", ports=["eth0"])
        old = code.Node.from_subscription(node_id)
        moved = code.Node.from_other_product(old, product_id("Node Nokia"))
        moved.save()
        found = code.Node.from_subscription(node_id)
        assert (found.product.name, found.vendor) == ("Node Nokia", "Nokia")
        assert found.node == old.node
        assert [row.subscription_id for row in wfo.subscriptions(product="Node Nokia")] == [node_id]
        assert code.Node.as_of(node_id, version=1).product.name == "Node Cisco"


def test_a_model_says_what_differs_from_its_product_in_the_database(project: UserProject) -> None:
    with project.connected() as (code, _):
        node_product = product_id("Node Cisco")
        assert code.Node.diff_product_in_database(node_product) == {}
    project.edit(("    serial: str | None = None\n", "    serial: str | None = None\n    colour: str | None = None\n"))
    changed = project.load()
    project.write(FIRST_VERSION.read_text())
    with project.connected():
        found = changed.Node.diff_product_in_database(node_product)
    assert "colour" in str(found)


def test_a_class_that_is_too_general_for_a_status_is_refused(code: ModuleType) -> None:
    node_id = make_node(code, "n")
    with pytest.raises(LifecycleError):
        code.NodeInactive.from_subscription(node_id)


def test_abstract_blocks_unions_and_several_parents_are_saved_and_come_back(project: UserProject) -> None:
    project.edit(
        (
            "class LinkBlock(",
            """class NamedBlock(ProductBlockModel):
    end_name: str


class ShelfBlock(NamedBlock, product_block_name="Shelf"):
    units: int


class CageBlock(NamedBlock, product_block_name="Cage"):
    locked: bool


class LockedShelfBlock(ShelfBlock, CageBlock, product_block_name="Locked shelf"):
    pass


class LinkBlock(""",
        ),
        (
            LINK_NAME,
            LINK_NAME + "    places: list[NamedBlock] = []\n    main: ShelfBlock | CageBlock | None = None\n",
        ),
    )
    with project.connected() as (code, _):
        link_id = make_link(code, "ring", [make_node(code, "n")])
        link = code.Link.from_subscription(link_id)
        link.link.places = [
            code.CageBlock.new(link_id, end_name="c", locked=True),
            code.LockedShelfBlock.new(link_id, end_name="l", units=2, locked=False),
            code.ShelfBlock.new(link_id, end_name="s", units=1),
        ]
        link.link.main = code.CageBlock.new(link_id, end_name="m", locked=False)
        link.save()
        found = code.Link.from_subscription(link_id).link
        assert found == link.link
        assert [type(place) for place in found.places] == [code.CageBlock, code.LockedShelfBlock, code.ShelfBlock]
        assert type(found.main) is code.CageBlock
