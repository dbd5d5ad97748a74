"""Blocks that hold blocks of their own kind: across subscriptions, and within one.

orchestrator-core cannot load the second: it looks for the one root block by its name, and finds several.
"""

from collections.abc import Callable
from uuid import UUID

import pytest

from orchestrator_dagster import ModelError, Product, ProductBlockModel, SubscriptionLifecycle, SubscriptionModel

ACTIVE = SubscriptionLifecycle.ACTIVE


class FolderBlockInactive(ProductBlockModel, product_block_name="Folder"):
    number: int | None = None
    inner: "FolderBlockInactive | None" = None
    others: "list[FolderBlockInactive]" = []


class FolderBlock(FolderBlockInactive, lifecycle=[ACTIVE]):
    number: int
    inner: "FolderBlock | None" = None
    others: "list[FolderBlock]" = []


class FolderInactive(SubscriptionModel, is_base=True):
    folder: FolderBlockInactive


class Folder(FolderInactive, lifecycle=[ACTIVE]):
    folder: FolderBlock


PRODUCTS = [Product("Folder", Folder)]

Make = Callable[..., Folder]


@pytest.fixture
def make(product_id: Callable[[str], UUID]) -> Make:
    def make_folder(
        number: int, inner: FolderBlockInactive | None = None, others: list[FolderBlockInactive] | None = None
    ) -> Folder:
        folder = FolderInactive.from_product_id(product_id("Folder"), "acme", insync=True)
        folder.folder = FolderBlockInactive.new(folder.subscription_id, number=number, inner=inner, others=others or [])
        active = Folder.from_other_lifecycle(folder, ACTIVE)
        active.save()
        return active

    return make_folder


def loaded(folder: FolderInactive) -> Folder:
    found = SubscriptionModel.from_subscription(folder.subscription_id)
    assert isinstance(found, Folder)
    return found


def chain(folder: Folder) -> list[int]:
    block: FolderBlock | None = folder.folder
    numbers = []
    while block is not None:
        numbers.append(block.number)
        block = block.inner
    return numbers


def test_a_chain_across_subscriptions_loads_from_any_of_its_links(make: Make) -> None:
    third = make(30)
    second = make(20, third.folder)
    first, other = make(10, second.folder), make(11, second.folder)
    assert [chain(loaded(folder)) for folder in (first, other, second)] == [[10, 20, 30], [11, 20, 30], [20, 30]]


def test_unlinking_in_one_subscription_leaves_the_others_as_they_are(make: Make) -> None:
    second = make(20, make(30).folder)
    first, other = make(10, second.folder), make(11, second.folder)
    first.folder.inner = None
    first.save()
    assert [chain(loaded(first)), chain(loaded(other))] == [[10], [11, 20, 30]]


def test_lists_across_subscriptions_show_a_later_change_of_those_they_use(make: Make) -> None:
    leaves = [make(30), make(31)]
    middle = [make(number, others=[leaf.folder for leaf in leaves]) for number in (20, 21)]
    tops = [make(number, others=[folder.folder for folder in middle]) for number in (10, 11)]
    changed = loaded(middle[0])
    changed.folder.others.append(make(32).folder)
    changed.save()
    for top in tops:
        assert [(folder.number, [leaf.number for leaf in folder.others]) for folder in loaded(top).folder.others] == [
            (20, [30, 31, 32]),
            (21, [30, 31]),
        ]


def test_blocks_of_one_subscription_nest_in_their_own_kind(product_id: Callable[[str], UUID]) -> None:
    folder = FolderInactive.from_product_id(product_id("Folder"), "acme")
    new = FolderBlockInactive.new
    of = folder.subscription_id
    folder.folder.number = 1
    folder.folder.inner = new(of, number=2, inner=new(of, number=3), others=[new(of, number=5), new(of, number=4)])
    folder.save()
    assert FolderInactive.from_subscription(folder.subscription_id) == folder
    active = Folder.from_other_lifecycle(folder, ACTIVE)
    active.save()
    assert loaded(folder) == active
    assert chain(loaded(folder)) == [1, 2, 3]


def test_a_block_cannot_hold_itself(make: Make) -> None:
    folder = make(10)
    inner = FolderBlock.new(folder.subscription_id, number=11)
    inner.inner = folder.folder
    folder.folder.inner = inner
    with pytest.raises(ModelError, match="uses itself"):
        folder.save()
