"""Loading many subscriptions from any store, and each of them once."""

import gc
from uuid import UUID, uuid4

import pytest
from memory_repository import MemoryRepository

from orchestrator_dagster import SUBSCRIPTION_MODEL_REGISTRY, cache_subscription_models
from orchestrator_dagster.domain import ProductBlockModel, SubscriptionModel
from orchestrator_dagster.domain.subscription_loading import batches
from orchestrator_dagster.errors import SubscriptionNotFoundError


class LampBlock(ProductBlockModel, product_block_name="Lamp"):
    colour: str = "white"


class LampService(SubscriptionModel, is_base=True):
    lamp: LampBlock


def saved_lamps(repository: MemoryRepository, count: int) -> list[LampService]:
    product = repository.add_product("Lamp")
    SUBSCRIPTION_MODEL_REGISTRY["Lamp"] = LampService
    lamps = [LampService.from_product_id(product.product_id, "acme") for _ in range(count)]
    for lamp in lamps:
        lamp.save()
    return lamps


def test_many_load_in_the_order_of_their_ids(repository: MemoryRepository) -> None:
    lamps = saved_lamps(repository, 3)[::-1]
    ids = [str(lamp.subscription_id) for lamp in lamps]
    assert LampService.from_subscriptions(ids) == SubscriptionModel.from_subscriptions(ids) == lamps
    assert LampService.from_subscriptions([]) == []


def test_the_first_that_is_missing_is_named(repository: MemoryRepository) -> None:
    (lamp,) = saved_lamps(repository, 1)
    first = uuid4()
    with pytest.raises(SubscriptionNotFoundError, match=str(first)):
        LampService.from_subscriptions([lamp.subscription_id, first, uuid4()])


@pytest.mark.parametrize(
    ("count", "statements"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (5000, 5), (5001, 5), (10**5, 5)]
)
def test_any_number_of_ids_makes_five_batches_at_most(count: int, statements: int) -> None:
    ids = [UUID(int=number) for number in range(count)]
    found = list(batches(ids))
    assert len(found) == statements
    assert [one for batch in found for one in batch] == ids


def test_garbage_is_looked_for_again_after_many_were_loaded(repository: MemoryRepository) -> None:
    with pytest.raises(SubscriptionNotFoundError):
        LampService.from_subscriptions([uuid4()])
    assert gc.isenabled()


def test_garbage_that_nobody_looks_for_is_left(repository: MemoryRepository) -> None:
    gc.disable()
    try:
        with pytest.raises(SubscriptionNotFoundError):
            LampService.from_subscriptions([uuid4()])
        assert not gc.isenabled()
    finally:
        gc.enable()


class TestCache:
    def test_a_subscription_is_loaded_once(self, repository: MemoryRepository) -> None:
        one, other = saved_lamps(repository, 2)
        with cache_subscription_models():
            lamp = LampService.from_subscription(one.subscription_id)
            assert LampService.from_subscription(str(one.subscription_id)) is lamp
            assert LampService.from_subscriptions([other.subscription_id, one.subscription_id])[1] is lamp
            assert SubscriptionModel.from_subscription(one.subscription_id) is lamp, "it is of the same class"
        assert LampService.from_subscription(one.subscription_id) is not lamp

    def test_nested_use_shares_the_outer_cache(self, repository: MemoryRepository) -> None:
        (saved,) = saved_lamps(repository, 1)
        with cache_subscription_models():
            with cache_subscription_models():
                lamp = LampService.from_subscription(saved.subscription_id)
            assert LampService.from_subscription(saved.subscription_id) is lamp

    def test_what_was_loaded_as_one_class_is_not_returned_as_another(self, repository: MemoryRepository) -> None:
        (saved,) = saved_lamps(repository, 1)

        class Lantern(LampService):
            pass

        with cache_subscription_models():
            lamp = LampService.from_subscription(saved.subscription_id)
            lantern = Lantern.from_subscription(saved.subscription_id)
            assert type(lantern) is Lantern
            assert LampService.from_subscription(saved.subscription_id) is lamp

    def test_a_cache_ends_with_an_error(self, repository: MemoryRepository) -> None:
        (saved,) = saved_lamps(repository, 1)
        lamps = []

        def fail() -> None:
            with cache_subscription_models():
                lamps.append(LampService.from_subscription(saved.subscription_id))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert LampService.from_subscription(saved.subscription_id) is not lamps[0]
