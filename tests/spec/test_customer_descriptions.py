"""What a customer calls a subscription: a text for each customer and subscription, with a version of its own."""

from collections.abc import Callable
from threading import Barrier, Thread
from uuid import UUID, uuid4

import pytest
from conftest import CountStatements
from network_models import NODE, NodeInactive

from orchestrator_dagster import (
    Session,
    StaleDataError,
    SubscriptionNotFoundError,
    customer_description,
    customer_descriptions,
    get_subscription,
    remove_customer_description,
    save_customer_description,
)
from orchestrator_dagster.domain import use_repository
from orchestrator_dagster.domain.repository import current_repository

PRODUCTS = [NODE]


@pytest.fixture
def node(product_id: Callable[[str], UUID]) -> NodeInactive:
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.save()
    return node


def test_a_description_is_made_with_version_1(node: NodeInactive) -> None:
    made = save_customer_description("acme", node.subscription_id, "Uplink of our head office")
    assert (made.customer_id, made.subscription_id, made.version) == ("acme", node.subscription_id, 1)
    assert made.created_at.tzinfo is not None
    assert customer_description("acme", node.subscription_id) == made


def test_a_change_makes_the_next_version_and_keeps_the_rest(node: NodeInactive) -> None:
    made = save_customer_description("acme", node.subscription_id, "Uplink")
    changed = save_customer_description("acme", node.subscription_id, "Uplink 2")
    assert (changed.description, changed.version) == ("Uplink 2", 2)
    assert (changed.id, changed.created_at) == (made.id, made.created_at)


@pytest.mark.parametrize("version", [None, 1])
def test_the_same_text_makes_no_version(node: NodeInactive, version: int | None) -> None:
    made = save_customer_description("acme", node.subscription_id, "Uplink")
    assert save_customer_description("acme", node.subscription_id, "Uplink", version) == made


def test_an_older_version_cannot_be_replaced_or_removed(node: NodeInactive) -> None:
    save_customer_description("acme", node.subscription_id, "Uplink")
    second = save_customer_description("acme", node.subscription_id, "Uplink 2", version=1)
    with pytest.raises(StaleDataError, match=r"given version \(1\) does not match the current version \(2\)") as error:
        save_customer_description("acme", node.subscription_id, "Uplink 3", version=1)
    assert (error.value.given_version, error.value.current_version) == (1, 2)
    with pytest.raises(StaleDataError):
        remove_customer_description("acme", node.subscription_id, version=1)
    assert customer_description("acme", node.subscription_id) == second


def test_version_0_says_that_there_is_none_yet(node: NodeInactive) -> None:
    save_customer_description("acme", node.subscription_id, "Uplink", version=0)
    with pytest.raises(StaleDataError, match="description that customer acme gave"):
        save_customer_description("acme", node.subscription_id, "Other", version=0)


def test_what_was_removed_meanwhile_does_not_come_back(node: NodeInactive) -> None:
    made = save_customer_description("acme", node.subscription_id, "Uplink")
    assert remove_customer_description("acme", node.subscription_id) == made
    with pytest.raises(StaleDataError) as error:
        save_customer_description("acme", node.subscription_id, "Uplink 2", version=made.version)
    assert error.value.current_version == 0


def test_removing_what_is_not_there_does_nothing(node: NodeInactive) -> None:
    assert remove_customer_description("acme", node.subscription_id) is None


def test_every_customer_has_a_description_of_its_own(node: NodeInactive) -> None:
    for customer in ("zeta", "acme"):
        save_customer_description(customer, node.subscription_id, f"Link of {customer}")
    assert [found.description for found in customer_descriptions(node.subscription_id)] == [
        "Link of acme",
        "Link of zeta",
    ]


@pytest.mark.parametrize("unknown", [uuid4(), "no id"], ids=["id", "no id"])
def test_a_subscription_that_does_not_exist_is_told(unknown: UUID | str) -> None:
    with pytest.raises(SubscriptionNotFoundError):
        save_customer_description("acme", unknown, "Uplink")


def test_it_is_no_change_of_the_subscription(node: NodeInactive, wfo: Session) -> None:
    save_customer_description("acme", node.subscription_id, "Uplink")
    assert get_subscription(node.subscription_id).version == 1
    node.node.site = "Delft"
    node.save()


def test_it_is_part_of_the_transaction(node: NodeInactive, wfo: Session) -> None:
    def save_and_fail() -> None:
        with wfo.transaction():
            save_customer_description("acme", node.subscription_id, "Uplink")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_and_fail()
    assert customer_descriptions(node.subscription_id) == []


def test_the_search_finds_a_subscription_by_it(node: NodeInactive, wfo: Session) -> None:
    save_customer_description("acme", node.subscription_id, "Zeppelin")
    assert [row.subscription_id for row in wfo.subscriptions(text="zeppelin")] == [node.subscription_id]
    remove_customer_description("acme", node.subscription_id)
    assert wfo.subscriptions(text="zeppelin") == []


def test_of_several_who_make_it_at_once_one_does(node: NodeInactive) -> None:
    """Each says that there is none yet."""
    ready, repository, outcomes = Barrier(4), current_repository(), []

    def make(text: str) -> None:
        with use_repository(repository):
            ready.wait()
            try:
                save_customer_description("acme", node.subscription_id, text, version=0)
            except StaleDataError:
                outcomes.append("refused")
            else:
                outcomes.append("made")

    threads = [Thread(target=make, args=[text]) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused", "refused", "refused"]


def test_each_question_and_change_is_one_statement(
    node: NodeInactive, wfo: Session, count_statements: CountStatements
) -> None:
    with count_statements(wfo.orchestrator.database.engine) as statements:
        save_customer_description("acme", node.subscription_id, "Uplink")
        save_customer_description("acme", node.subscription_id, "Uplink 2", version=1)
        customer_descriptions(node.subscription_id)
        remove_customer_description("acme", node.subscription_id)
    assert len(statements) == 4
