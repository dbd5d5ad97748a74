"""Whatever a class declares and whatever a value is: what is saved is what is loaded."""

from typing import Any

import pytest
from generated_models import GeneratedModel, fill, generated_models
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from memory_repository import MemoryRepository

from orchestrator_dagster.domain import SubscriptionLifecycle, use_repository
from orchestrator_dagster.domain.exact import same


@pytest.mark.filterwarnings("ignore:__int__ returned non-int")  # pydantic trying an IntEnum as an address of a union
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(generated=generated_models(), data=st.data())
def test_what_is_saved_is_loaded(generated: GeneratedModel, data: st.DataObject) -> None:
    with use_repository(MemoryRepository()) as repository:
        assert isinstance(repository, MemoryRepository)
        product = repository.add_product("Generated")
        subscription: Any = generated.model.from_product_id(product.product_id, "acme")
        try:
            fill(data.draw, generated, subscription)
        except AttributeError:  # pydantic trying a tuple as an interface of a union
            reject()
        before = subscription.root.model_copy(deep=True)
        subscription.save()
        assert same(subscription.root, before)

        loaded: Any = generated.model.from_subscription(subscription.subscription_id)
        assert same(loaded, subscription)

        loaded.save()
        assert loaded.version == subscription.version == 1
        converted: Any = generated.model.from_other_lifecycle(loaded, SubscriptionLifecycle.ACTIVE)
        assert same(converted.root, subscription.root)
