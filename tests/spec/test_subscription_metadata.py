"""Metadata: free data beside a subscription, as JSON, read as a pydantic model where one is given."""

from collections.abc import Callable
from datetime import date
from uuid import UUID, uuid4

import pytest
from network_models import NODE, NodeInactive
from pydantic import BaseModel, Field, ValidationError

from orchestrator_dagster import (
    ModelError,
    SubscriptionNotFoundError,
    get_subscription,
    get_subscription_metadata,
    save_subscription_metadata,
)

PRODUCTS = [NODE]


class Ticket(BaseModel):
    number: int = Field(alias="ticket", ge=1)
    opened: date


@pytest.fixture
def node(product_id: Callable[[str], UUID]) -> NodeInactive:
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.save()
    return node


def test_there_is_none_at_first(node: NodeInactive) -> None:
    assert get_subscription_metadata(node.subscription_id) is None


def test_anything_with_a_json_form_can_be_stored(node: NodeInactive) -> None:
    save_subscription_metadata(node.subscription_id, {"on": date(2026, 5, 1), "tags": ["b", "a"], "cost": 1e16})
    assert get_subscription_metadata(node.subscription_id) == {
        "on": "2026-05-01",
        "tags": ["b", "a"],
        "cost": 1e16,
    }


def test_it_takes_the_place_of_what_there_was(node: NodeInactive) -> None:
    save_subscription_metadata(node.subscription_id, {"a": 1})
    save_subscription_metadata(node.subscription_id, {"b": 2})
    assert get_subscription_metadata(node.subscription_id) == {"b": 2}
    save_subscription_metadata(node.subscription_id, None)
    assert get_subscription_metadata(node.subscription_id) is None


def test_a_model_goes_in_and_comes_out(node: NodeInactive) -> None:
    ticket = Ticket(ticket=12, opened=date(2026, 5, 1))
    save_subscription_metadata(node.subscription_id, ticket)
    assert get_subscription_metadata(node.subscription_id, Ticket) == ticket
    assert get_subscription_metadata(node.subscription_id) == {"ticket": 12, "opened": "2026-05-01"}


def test_a_model_that_is_not_valid_any_more_is_refused(node: NodeInactive) -> None:
    ticket = Ticket(ticket=12, opened=date(2026, 5, 1))
    ticket.number = 0
    with pytest.raises(ValidationError):
        save_subscription_metadata(node.subscription_id, ticket)


def test_what_does_not_fit_the_model_is_told(node: NodeInactive) -> None:
    save_subscription_metadata(node.subscription_id, {"ticket": "none"})
    with pytest.raises(ValidationError):
        get_subscription_metadata(node.subscription_id, Ticket)


@pytest.mark.parametrize("wrong", [{"a": object()}, {"a": "\0"}, {"a": "\ud800"}])
def test_what_postgres_cannot_hold_is_refused(node: NodeInactive, wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=f"metadata of subscription {node.subscription_id} cannot be stored"):
        save_subscription_metadata(node.subscription_id, wrong)


def test_a_subscription_that_does_not_exist_is_told() -> None:
    with pytest.raises(SubscriptionNotFoundError):
        save_subscription_metadata(uuid4(), {"a": 1})


def test_it_is_no_change_of_the_subscription(node: NodeInactive) -> None:
    save_subscription_metadata(node.subscription_id, {"a": 1})
    assert get_subscription(node.subscription_id).version == 1
