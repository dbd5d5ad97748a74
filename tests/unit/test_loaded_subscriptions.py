"""What a store remembers of what it loaded."""

from uuid import UUID

from orchestrator_dagster.db.subscriptions.loaded import MOST_REMEMBERED, LoadedSubscriptions
from orchestrator_dagster.db.subscriptions.tree import StoredSubscription, Tree
from orchestrator_dagster.domain import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductLifecycle, ProductModel
from orchestrator_dagster.domain.repository import SubscriptionRecord

PRODUCT = ProductModel(
    product_id=UUID(int=0),
    name="Box",
    description="A box",
    product_type="Box",
    tag="BOX",
    status=ProductLifecycle.ACTIVE,
)


def stored(number: int) -> StoredSubscription:
    record = SubscriptionRecord(
        subscription_id=UUID(int=number),
        product=PRODUCT,
        customer_id="acme",
        description=f"box {number}",
        status=SubscriptionLifecycle.ACTIVE,
        insync=True,
        start_date=None,
        end_date=None,
        note=None,
        version=1,
    )
    return StoredSubscription(record, Tree())


def test_what_was_loaded_is_remembered_for_one_save() -> None:
    loaded, box = LoadedSubscriptions(), stored(1)
    loaded.remember(UUID(int=1), lambda: box)
    assert loaded.take(UUID(int=1)) is box
    assert loaded.take(UUID(int=1)) is None


def test_what_was_loaded_last_counts() -> None:
    loaded, box = LoadedSubscriptions(), stored(1)
    loaded.remember(UUID(int=1), lambda: stored(2))
    loaded.remember(UUID(int=1), lambda: box)
    assert loaded.take(UUID(int=1)) is box


def test_of_any_number_only_the_last_are_remembered() -> None:
    loaded, box = LoadedSubscriptions(), stored(1)
    for number in range(MOST_REMEMBERED + 1):
        loaded.remember(UUID(int=number), lambda: box)
    assert loaded.take(UUID(int=0)) is None
    assert loaded.take(UUID(int=1)) is not None
    assert loaded.take(UUID(int=MOST_REMEMBERED)) is not None
