"""The functions of orchestrator-core's `services/subscriptions.py`: subscriptions by their id or by a value."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from network_models import (
    ACTIVE,
    INITIAL,
    MIGRATING,
    NODE,
    PORT,
    PROVISIONING,
    TERMINATED,
    ChannelBlockInactive,
    Mode,
    NodeInactive,
    PortInactive,
)
from pydantic import ValidationError
from sqlalchemy import text

from orchestrator_dagster import (
    LifecycleError,
    ModelError,
    ProductModel,
    Session,
    StaleDataError,
    SubscriptionModel,
    SubscriptionNotFoundError,
    SubscriptionNotHeldError,
    SubscriptionNotUniqueError,
    activate_subscription,
    build_domain_model,
    build_extended_domain_model,
    create_subscription,
    find_values_for_resource_types,
    get_subscription,
    get_subscriptions_on_product_table,
    get_subscriptions_on_product_table_in_sync,
    migrate_subscription,
    provision_subscription,
    query_depends_on_subscriptions,
    query_in_use_by_subscriptions,
    resync_subscription,
    retrieve_node_subscriptions_by_name,
    retrieve_subscription_by_subscription_instance_value,
    save_customer_description,
    terminate_subscription,
    unsync_subscription,
    update_subscription_description,
    update_subscription_note,
    update_subscription_status,
)

PRODUCTS = [NODE, PORT]


@pytest.fixture
def node(product_id: Callable[[str], UUID]) -> NodeInactive:
    """A node of a name that no other has."""
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.node.node_name = f"node-{node.subscription_id}"
    node.save()
    return node


@pytest.fixture
def port(product_id: Callable[[str], UUID], node: NodeInactive) -> PortInactive:
    """A port on the node that has all that it needs to be active."""
    port = PortInactive.from_product_id(product_id("Port 10G"), "acme")
    port.port.port_name, port.port.mode, port.port.pool = "xe-0/0/1", Mode.TAGGED, [7, 3]
    port.port.main.vlan, port.port.main.purpose = 1, "internet"
    port.port.channels = [
        ChannelBlockInactive.new(port.subscription_id, vlan=30, purpose="voice"),
        ChannelBlockInactive.new(port.subscription_id, vlan=20),
    ]
    port.port.node = node.node
    port.save()
    return port


class TestLookingUp:
    def test_a_subscription_is_found_by_its_id(self, node: NodeInactive) -> None:
        for given in (node.subscription_id, str(node.subscription_id)):
            found = get_subscription(given)
            assert (found.subscription_id, found.product, found.status) == (node.subscription_id, "Node Cisco", INITIAL)
            assert (found.held_by, found.version, found.customer_id) == (None, 1, "acme")

    @pytest.mark.parametrize("wrong", [uuid4(), "abc"], ids=["id", "no id"])
    def test_what_does_not_exist_is_a_value_error(self, wrong: Any) -> None:
        with pytest.raises(SubscriptionNotFoundError) as error:
            get_subscription(wrong)
        assert isinstance(error.value, ValueError)

    def test_all_are_listed_and_those_in_sync(self, node: NodeInactive, port: PortInactive) -> None:
        resync_subscription(node.subscription_id)
        everything = {row.subscription_id: row.product for row in get_subscriptions_on_product_table()}
        assert everything[node.subscription_id] == "Node Cisco"
        assert everything[port.subscription_id] == "Port 10G"
        in_sync = {row.subscription_id for row in get_subscriptions_on_product_table_in_sync()}
        out_of_sync = {row.subscription_id for row in get_subscriptions_on_product_table_in_sync(in_sync=False)}
        assert node.subscription_id in in_sync - out_of_sync
        assert port.subscription_id in out_of_sync - in_sync

    def test_one_is_found_by_a_value_of_any_of_its_blocks(self, port: PortInactive) -> None:
        purpose = f"purpose of {port.subscription_id}"
        port.port.channels[1].purpose = purpose
        port.save()
        by_value = retrieve_subscription_by_subscription_instance_value
        assert by_value("purpose", purpose) is None
        found = by_value("purpose", purpose, ("initial", ACTIVE))
        assert found is not None
        assert found.subscription_id == port.subscription_id
        assert by_value("port_name", purpose, ["initial"]) is None

    def test_one_is_found_by_what_a_list_has_among_others(self, port: PortInactive) -> None:
        port.port.pool = [1, 987654, 2]
        port.save()
        found = retrieve_subscription_by_subscription_instance_value("pool", 987654, [INITIAL])
        assert found is not None
        assert found.subscription_id == port.subscription_id
        assert retrieve_subscription_by_subscription_instance_value("pool", "987654", [INITIAL]) is None

    def test_several_with_a_value_are_told(self, product_id: Callable[[str], UUID]) -> None:
        nodes = [NodeInactive.from_product_id(product_id("Node Cisco"), "acme") for _ in range(2)]
        for node in nodes:
            node.node.node_name = "twin"
            node.save()
        with pytest.raises(SubscriptionNotUniqueError) as error:
            retrieve_subscription_by_subscription_instance_value("node_name", "twin", [INITIAL])
        assert set(error.value.subscription_ids) == {node.subscription_id for node in nodes}

    def test_nodes_in_service_are_found_by_name(self, node: NodeInactive) -> None:
        assert node.node.node_name is not None
        assert retrieve_node_subscriptions_by_name(node.node.node_name, "node_name") == []
        activate_subscription(node.subscription_id)
        (found,) = retrieve_node_subscriptions_by_name(node.node.node_name, "node_name")
        assert found == get_subscription(node.subscription_id)

    def test_values_are_found_by_resource_type_level_by_level(self, port: PortInactive) -> None:
        assert find_values_for_resource_types(port.subscription_id, ["vlan", "port_name", "mode", "pool"]) == {
            "vlan": [30, 20, 1],
            "port_name": ["xe-0/0/1"],
            "mode": ["tagged"],
            "pool": [7, 3],
        }

    def test_values_of_other_subscriptions_are_not_among_them(self, port: PortInactive) -> None:
        with pytest.raises(ModelError, match="no value for resource type node_name"):
            find_values_for_resource_types(port.subscription_id, ["vlan", "node_name"])
        found = find_values_for_resource_types(port.subscription_id, ["vlan", "node_name"], strict=False)
        assert found == {"vlan": [30, 20, 1], "node_name": []}

    def test_subscriptions_know_who_uses_them_and_what_they_use(self, node: NodeInactive, port: PortInactive) -> None:
        (user,) = query_in_use_by_subscriptions(node.subscription_id)
        (used,) = query_depends_on_subscriptions(port.subscription_id)
        assert (user.subscription_id, user.product, user.status) == (port.subscription_id, "Port 10G", INITIAL)
        assert (used.subscription_id, used.product, used.insync) == (node.subscription_id, "Node Cisco", False)
        assert query_in_use_by_subscriptions(port.subscription_id) == []
        assert query_in_use_by_subscriptions(node.subscription_id, ["active"]) == []
        assert len(query_in_use_by_subscriptions(node.subscription_id, [INITIAL, "active"])) == 1

    def test_each_question_is_one_statement(
        self, node: NodeInactive, port: PortInactive, wfo: Session, count_statements: CountStatements
    ) -> None:
        with count_statements(wfo.orchestrator.database.engine) as statements:
            get_subscription(node.subscription_id)
            retrieve_subscription_by_subscription_instance_value("node_name", node.node.node_name, [INITIAL])
            find_values_for_resource_types(port.subscription_id, ["vlan", "pool"])
            query_in_use_by_subscriptions(node.subscription_id)
        assert len(statements) == 4


class TestChanging:
    def test_a_subscription_is_made_without_blocks(self, product_id: Callable[[str], UUID], wfo: Session) -> None:
        product = NodeInactive.from_product_id(product_id("Node Cisco"), "acme").product
        wanted = uuid4()
        assert create_subscription("acme", product, "Bare", str(wanted)) == wanted
        row = get_subscription(wanted)
        assert (row.description, row.status, row.insync, row.version) == ("Bare", INITIAL, False, 1)
        assert [version.version for version in wfo.history(wanted)] == [1]
        with pytest.raises(StaleDataError):
            create_subscription("acme", product, "Again", wanted)

    def test_a_product_that_is_not_in_the_catalogue_is_refused(self) -> None:
        product = ProductModel(
            product_id=uuid4(),
            name="",
            description="",
            product_type="",
            tag="",
            status="active",  # type: ignore[arg-type]
        )
        with pytest.raises(KeyError, match="Could not find a product"):
            create_subscription("acme", product, "Bare", uuid4())

    def test_a_description_and_a_note_are_changed(self, node: NodeInactive, wfo: Session) -> None:
        row = update_subscription_description(node.subscription_id, "Core of Amsterdam")
        assert row == get_subscription(node.subscription_id)
        assert (row.description, row.version) == ("Core of Amsterdam", 2)
        update_subscription_note(node.subscription_id, "Careful")
        assert NodeInactive.from_subscription(node.subscription_id).note == "Careful"
        _, second, third = wfo.history(node.subscription_id)
        assert second.changes["description"]["after"] == "Core of Amsterdam"
        assert (third.changes, third.changed_by) == ({"note": {"before": None, "after": "Careful"}}, "ada")

    def test_what_stays_the_same_makes_no_version(self, node: NodeInactive) -> None:
        assert update_subscription_description(node.subscription_id, node.description).version == 1

    def test_it_goes_from_status_to_status(self, port: PortInactive) -> None:
        for channel in port.port.channels:
            channel.purpose = "any"
        port.save()
        provisioning = provision_subscription(port.subscription_id)
        assert (provisioning.status, provisioning.insync, provisioning.start_date) == (PROVISIONING, True, None)
        activate_subscription(query_depends_on_subscriptions(port.subscription_id)[0].subscription_id)
        active = activate_subscription(port.subscription_id)
        assert (active.status, active.insync) == (ACTIVE, True)
        assert active.start_date is not None
        assert active == get_subscription(port.subscription_id)
        assert migrate_subscription(port.subscription_id).status == MIGRATING
        assert get_subscription(port.subscription_id).insync is False
        ended = terminate_subscription(port.subscription_id)
        assert (ended.status, ended.insync, ended.start_date) == (TERMINATED, False, active.start_date)
        assert ended.end_date is not None

    def test_a_status_asks_for_what_its_class_asks_for(self, port: PortInactive) -> None:
        """orchestrator-core sets the status, and the subscription does not load any more."""
        with pytest.raises(ValidationError, match="purpose"):
            update_subscription_status(port.subscription_id, "active")
        assert get_subscription(port.subscription_id).status == INITIAL

    def test_a_status_must_go_with_those_of_the_users(self, node: NodeInactive, port: PortInactive) -> None:
        provision_subscription(port.subscription_id)
        with pytest.raises(LifecycleError, match="Unsafe status change"):
            terminate_subscription(node.subscription_id)

    def test_it_is_marked_out_of_sync_and_in_sync(self, node: NodeInactive) -> None:
        assert resync_subscription(node.subscription_id).insync is True
        assert unsync_subscription(node.subscription_id).insync is False
        with pytest.raises(LifecycleError, match="Subscription is already out of sync, cannot continue!"):
            unsync_subscription(node.subscription_id)
        assert unsync_subscription(node.subscription_id, checked=False).version == 3

    def test_only_the_process_that_holds_it_may_say_that_it_is_in_sync(self, node: NodeInactive, wfo: Session) -> None:
        process_id = uuid4()
        with wfo.orchestrator.database.engine.begin() as connection:
            connection.execute(HELD_BY_A_PROCESS, {"process_id": process_id, "subscription_id": node.subscription_id})
        for change in (resync_subscription, unsync_subscription, activate_subscription, terminate_subscription):
            with pytest.raises(SubscriptionNotHeldError) as error:
                change(node.subscription_id)
            assert error.value.held_by == process_id
        update_subscription_note(node.subscription_id, "A note asks for no lock")


HELD_BY_A_PROCESS = text("""
    WITH workflow AS (
        INSERT INTO orchestrator.workflows (name, target, description)
        VALUES ('modify_node', 'MODIFY', 'Modify node')
        RETURNING workflow_id
    ), process AS (
        INSERT INTO orchestrator.processes (process_id, workflow_id, is_task, last_status, run_id, plan)
        SELECT :process_id, workflow_id, false, 'running', 'run', '[]'
        FROM workflow
        RETURNING process_id
    )
    UPDATE orchestrator.subscriptions
    SET held_by = process_id
    FROM process
    WHERE subscription_id = :subscription_id
""")


class TestShowing:
    def test_a_subscription_as_a_dict_is_its_dump(self, port: PortInactive) -> None:
        assert build_domain_model(port) == port.model_dump()
        assert build_domain_model(port)["port"]["title"] == "Port xe-0/0/1"

    def test_the_extended_one_says_who_uses_each_block_and_what_customers_call_it(
        self, node: NodeInactive, port: PortInactive
    ) -> None:
        described = save_customer_description("acme", node.subscription_id, "Our node")
        extended = build_extended_domain_model(node)
        assert extended["node"]["in_use_by_ids"] == [port.port.subscription_instance_id]
        assert extended["node"]["in_use_by_relations"] == [
            {
                "subscription_instance_id": port.port.subscription_instance_id,
                "subscription_id": port.subscription_id,
            }
        ]
        assert [found["description"] for found in extended["customer_descriptions"]] == [described.description]

    def test_every_block_has_it_those_of_others_and_of_lists_included(self, port: PortInactive) -> None:
        extended = build_extended_domain_model(port)["port"]
        root = port.port.subscription_instance_id
        assert extended["in_use_by_ids"] == []
        below = [extended["main"], *extended["channels"], extended["node"]]
        assert [block["in_use_by_ids"] for block in below] == [[root]] * 4
        plain = SubscriptionModel.model_dump(port)["port"]
        assert {key: extended[key] for key in plain if key not in {"main", "channels", "node"}} == {
            key: plain[key] for key in plain if key not in {"main", "channels", "node"}
        }

    def test_it_takes_two_statements_whatever_the_tree(
        self, port: PortInactive, wfo: Session, count_statements: CountStatements
    ) -> None:
        with count_statements(wfo.orchestrator.database.engine) as statements:
            build_extended_domain_model(port)
        assert len(statements) == 2
