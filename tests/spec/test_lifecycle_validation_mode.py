"""A step asks for a subscription as a class: what happens if that is not the one for its status.

A class that is too general is never given. One that is more specialised than the status asks for is, if all that it
needs is there; the mode says whether that is an error, a warning or nothing.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import UUID

import pytest
from network_models import (
    ACTIVE,
    INITIAL,
    MIGRATING,
    NODE,
    PROVISIONING,
    Node,
    NodeBlock,
    NodeInactive,
)

from orchestrator_dagster import (
    SUBSCRIPTION_MODEL_REGISTRY,
    WF_USABLE_MAP,
    ConfigurationError,
    LifecycleError,
    LifecycleValidationMode,
    Orchestrator,
    Session,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    begin,
    modify_workflow,
    step,
)
from orchestrator_dagster.ops.injection import Ambient, Signature

STRICT, LOOSE, IGNORED = LifecycleValidationMode


@step("Look at the node")
def look(subscription: Node) -> State:
    return {"seen": subscription.node.node_name}


@modify_workflow("Look at node")
def look_at_node() -> StepList:
    return begin >> look


WF_USABLE_MAP["look_at_node"] = [PROVISIONING]
PRODUCTS = [replace(NODE, workflows=[look_at_node])]


@pytest.fixture(autouse=True)
def mode() -> Iterator[None]:
    """The mode is put back after each test."""
    yield
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = LOOSE


@pytest.fixture
def node(product_id: Callable[[str], UUID]) -> NodeInactive:
    """A node that has all that an active one needs."""
    node = NodeInactive.from_product_id(product_id("Node Cisco"), "acme")
    node.node.node_name = "ams-core-1"
    return node


def in_status(node: NodeInactive, status: SubscriptionLifecycle) -> UUID:
    SubscriptionModel.from_other_lifecycle(node, status).save()
    return node.subscription_id


def take_active(subscription: Node) -> State:
    return {"given": type(subscription)}


def take_several(subscriptions: list[Node]) -> State:
    return {}


def take_any(subscription: SubscriptionModel) -> State:
    return {}


def take_block(block: NodeBlock) -> State:
    return {}


def given(function: Callable[..., State], **state: object) -> dict[str, object]:
    return Signature(function).arguments(dict(state), Ambient())


def test_the_class_for_the_status_is_always_right(node: NodeInactive, caplog: pytest.LogCaptureFixture) -> None:
    subscription_id = str(in_status(node, ACTIVE))
    for SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation in LifecycleValidationMode:
        assert type(given(take_active, subscription=subscription_id)["subscription"]) is Node
        given(take_any, subscription=subscription_id)
    assert caplog.records == []


@pytest.mark.parametrize("status", [INITIAL, PROVISIONING, MIGRATING])
def test_strict_refuses_another_class(node: NodeInactive, status: SubscriptionLifecycle) -> None:
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = STRICT
    message = f"Subscription of type Node should use NodeInactive for lifecycle status '{status}'"
    subscription_id = str(in_status(node, status))
    with pytest.raises(LifecycleError, match=message):
        given(take_active, subscription=subscription_id)
    with pytest.raises(LifecycleError, match=message):
        given(take_several, subscriptions=[subscription_id])


def test_loose_warns_and_gives_it(node: NodeInactive, caplog: pytest.LogCaptureFixture) -> None:
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = LOOSE
    subscription_id = str(in_status(node, PROVISIONING))
    with caplog.at_level(logging.WARNING):
        assert type(given(take_active, subscription=subscription_id)["subscription"]) is Node
    (record,) = caplog.records
    assert record.getMessage() == (
        "Subscription of type Node should use NodeInactive for lifecycle status 'provisioning'"
    )


def test_ignored_gives_it_without_a_word(node: NodeInactive, caplog: pytest.LogCaptureFixture) -> None:
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = IGNORED
    given(take_active, subscription=str(in_status(node, PROVISIONING)))
    assert caplog.records == []


def test_blocks_are_given_as_the_class_that_is_asked_for(node: NodeInactive) -> None:
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = STRICT
    in_status(node, INITIAL)
    assert type(given(take_block, block=str(node.node.subscription_instance_id))["block"]) is NodeBlock


def test_nothing_but_steps_is_concerned(node: NodeInactive, caplog: pytest.LogCaptureFixture) -> None:
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = STRICT
    assert type(Node.from_subscription(in_status(node, INITIAL))) is Node


def test_the_mode_is_loose_unless_orchestrator_or_environment_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Orchestrator([]).lifecycle_validation is LOOSE
    monkeypatch.setenv("ORCHESTRATOR_LIFECYCLE_VALIDATION_MODE", "strict")
    assert Orchestrator([]).lifecycle_validation is STRICT
    assert SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation is STRICT
    assert Orchestrator([], lifecycle_validation="ignored").lifecycle_validation is IGNORED


def test_a_mode_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no lifecycle validation mode 'lose'; there are strict, loose, ign"):
        Orchestrator([], lifecycle_validation="lose")
    monkeypatch.setenv("ORCHESTRATOR_LIFECYCLE_VALIDATION_MODE", "never")
    with pytest.raises(ConfigurationError):
        Orchestrator([])


def test_a_step_of_a_process_fails_or_warns(node: NodeInactive, wfo: Session) -> None:
    node.insync = True
    given_input = {"subscription_id": str(in_status(node, PROVISIONING))}
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = STRICT
    process = wfo.run("look_at_node", given_input)
    assert (process.status, process.state.get("seen")) == ("failed", None)
    SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = LOOSE
    process = wfo.retry(process.process_id)
    assert (process.status, process.state["seen"]) == ("completed", "ams-core-1")
