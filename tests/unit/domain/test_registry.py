"""Which class the subscriptions to a product have."""

from typing import Any

import pytest
from pydantic import BaseModel

from orchestrator_dagster.domain import SubscriptionLifecycle, SubscriptionModel, SubscriptionModelRegistry
from orchestrator_dagster.domain.lifecycle import SAFE_USED_BY_TRANSITIONS_FOR_STATUS
from orchestrator_dagster.errors import ModelError, ProductNotInRegistryError


class Settings(BaseModel):
    mtu: int = 1500


class Inactive(SubscriptionModel, is_base=True):
    settings: Settings


class Active(Inactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    pass


class Other(SubscriptionModel, is_base=True):
    pass


def test_classes_go_in_by_every_way_that_a_dict_has() -> None:
    registry = SubscriptionModelRegistry({"a": Inactive})
    registry["b"] = Active
    registry.update({"c": Active})
    registry.update([("d", Active)])
    registry.update(e=Active)
    registry |= {"f": Active}
    assert registry.setdefault("g", Active) is Active
    assert registry.setdefault("a", Active) is Inactive
    assert list(registry) == list("abcdefg")


@pytest.mark.parametrize("wrong", [Settings, "Inactive", None, int])
def test_what_is_no_class_of_subscriptions_is_refused_and_nothing_is_put_in(wrong: Any) -> None:
    registry = SubscriptionModelRegistry()
    with pytest.raises(TypeError, match=r"bad: .* is not a subclass of SubscriptionModel"):
        registry["bad"] = wrong
    with pytest.raises(TypeError):
        registry.update({"good": Active, "bad": wrong})
    with pytest.raises(TypeError):
        registry.update(bad=wrong)
    with pytest.raises(TypeError):
        registry |= {"bad": wrong}
    with pytest.raises(TypeError):
        registry.setdefault("bad", wrong)
    assert registry == {}


def test_the_base_asks_for_the_class_of_the_product_and_status() -> None:
    registry = SubscriptionModelRegistry(a=Inactive)
    assert registry.class_for(SubscriptionModel, "a", SubscriptionLifecycle.ACTIVE) is Active
    assert registry.class_for(SubscriptionModel, "a", SubscriptionLifecycle.TERMINATED) is Inactive
    assert registry.class_for(Active, "unknown", SubscriptionLifecycle.ACTIVE) is Active
    with pytest.raises(ProductNotInRegistryError):
        registry.class_for(SubscriptionModel, "unknown", SubscriptionLifecycle.ACTIVE)
    with pytest.raises(ModelError, match="are of"):
        registry.class_for(Other, "a", SubscriptionLifecycle.ACTIVE)


def test_every_status_says_which_statuses_its_users_may_have() -> None:
    assert set(SAFE_USED_BY_TRANSITIONS_FOR_STATUS) == set(SubscriptionLifecycle)
    assert all(SubscriptionLifecycle.INITIAL in safe for safe in SAFE_USED_BY_TRANSITIONS_FOR_STATUS.values())
