"""Fields that hold one of several kinds of blocks: the stored name of the block says which."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from orchestrator_dagster import LifecycleError, ModelError, Product, ProductBlockModel, SubscriptionLifecycle
from orchestrator_dagster import SubscriptionModel as Subscription

ACTIVE, TERMINATED = SubscriptionLifecycle.ACTIVE, SubscriptionLifecycle.TERMINATED


class FiberBlockInactive(ProductBlockModel, product_block_name="Fiber"):
    length: int | None = None


class FiberBlock(FiberBlockInactive, lifecycle=[ACTIVE]):
    length: int


class RadioBlockInactive(ProductBlockModel, product_block_name="Radio"):
    length: int | None = None


class RadioBlock(RadioBlockInactive, lifecycle=[ACTIVE]):
    length: int


class FiberInactive(Subscription, is_base=True):
    fiber: FiberBlockInactive


class Fiber(FiberInactive, lifecycle=[ACTIVE]):
    fiber: FiberBlock


class RadioInactive(Subscription, is_base=True):
    radio: RadioBlockInactive


class Radio(RadioInactive, lifecycle=[ACTIVE]):
    radio: RadioBlock


class LinkBlockInactive(ProductBlockModel, product_block_name="Link"):
    medium: FiberBlockInactive | RadioBlockInactive | None = None
    media: list[FiberBlockInactive | RadioBlockInactive] = []


class LinkBlock(LinkBlockInactive, lifecycle=[ACTIVE]):
    medium: FiberBlock | RadioBlock
    media: list[FiberBlock | RadioBlock] = []


class LinkInactive(Subscription, is_base=True):
    link: LinkBlockInactive


class Link(LinkInactive, lifecycle=[ACTIVE]):
    link: LinkBlock


class PathInactive(Subscription, is_base=True):
    """Unions directly below a subscription, one of which overlaps with a field of its own."""

    fiber: FiberBlockInactive | None = None
    first: FiberBlockInactive | RadioBlockInactive | None = None
    others: list[FiberBlockInactive | RadioBlockInactive] = []


class Path(PathInactive, lifecycle=[ACTIVE]):
    first: FiberBlock | RadioBlock
    fiber: FiberBlock | None = None
    others: list[FiberBlock | RadioBlock] = []


PRODUCTS = [Product("Fiber", Fiber), Product("Radio", Radio), Product("Link", Link), Product("Path", Path)]


@pytest.fixture
def fiber(product_id: Callable[[str], UUID]) -> Fiber:
    initial = FiberInactive.from_product_id(product_id("Fiber"), "acme")
    initial.fiber.length = 10
    fiber = Fiber.from_other_lifecycle(initial, ACTIVE)
    fiber.save()
    return fiber


@pytest.fixture
def radio(product_id: Callable[[str], UUID]) -> Radio:
    initial = RadioInactive.from_product_id(product_id("Radio"), "acme")
    initial.radio.length = 20
    radio = Radio.from_other_lifecycle(initial, ACTIVE)
    radio.save()
    return radio


@pytest.fixture
def link(product_id: Callable[[str], UUID]) -> LinkInactive:
    link = LinkInactive.from_product_id(product_id("Link"), "acme")
    link.save()
    return link


def test_a_union_below_a_block_holds_a_block_of_another_subscription(link: LinkInactive, radio: Radio) -> None:
    link.link.medium = radio.radio
    active = Link.from_other_lifecycle(link, ACTIVE)
    active.save()
    loaded = Link.from_subscription(link.subscription_id)
    assert loaded == active
    assert (type(loaded.link.medium), loaded.link.medium) == (RadioBlock, radio.radio)


def test_a_list_of_a_union_keeps_kinds_and_order(link: LinkInactive, fiber: Fiber, radio: Radio) -> None:
    link.link.media = [radio.radio, fiber.fiber]
    link.save()
    loaded = LinkInactive.from_subscription(link.subscription_id).link.media
    assert [type(medium) for medium in loaded] == [RadioBlock, FiberBlock]
    assert loaded == [radio.radio, fiber.fiber]


def test_an_active_link_needs_its_medium(link: LinkInactive) -> None:
    with pytest.raises(ValidationError):
        Link.from_other_lifecycle(link, ACTIVE)


def test_what_is_used_by_way_of_a_union_is_safe_from_termination(
    link: LinkInactive, fiber: Fiber, radio: Radio
) -> None:
    link.link.medium, link.link.media = fiber.fiber, [radio.radio]
    Link.from_other_lifecycle(link, ACTIVE).save()
    for used in (fiber, radio):
        with pytest.raises(LifecycleError, match="Unsafe status change"):
            Subscription.from_other_lifecycle(used, TERMINATED)


def test_a_union_directly_below_a_subscription_holds_own_blocks(product_id: Callable[[str], UUID]) -> None:
    path = PathInactive.from_product_id(product_id("Path"), "acme")
    with pytest.raises(ValidationError):
        Path.from_other_lifecycle(path, ACTIVE)
    path.first = RadioBlockInactive.new(path.subscription_id, length=1)
    path.save()
    active = Path.from_other_lifecycle(path, ACTIVE)
    active.save()
    assert Path.from_subscription(path.subscription_id) == active
    assert type(active.first) is RadioBlock


def test_fields_below_a_subscription_that_overlap_keep_their_blocks_apart(product_id: Callable[[str], UUID]) -> None:
    """orchestrator-core loads every block that fits into each of the fields."""
    path = PathInactive.from_product_id(product_id("Path"), "acme")
    path.fiber = FiberBlockInactive.new(path.subscription_id, length=1)
    path.first = FiberBlockInactive.new(path.subscription_id, length=2)
    path.others = [
        RadioBlockInactive.new(path.subscription_id, length=3),
        FiberBlockInactive.new(path.subscription_id, length=4),
    ]
    path.save()
    loaded = PathInactive.from_subscription(path.subscription_id)
    assert loaded == path
    assert [block.length for block in loaded.others] == [3, 4]


def test_a_block_of_another_subscription_cannot_be_directly_below_a_subscription(
    product_id: Callable[[str], UUID], radio: Radio
) -> None:
    path = PathInactive.from_product_id(product_id("Path"), "acme")
    path.first = radio.radio
    with pytest.raises(ModelError, match="Attempting to save a Foreign `Subscription Instance` directly below"):
        path.save()


def test_a_union_that_is_not_optional_must_be_given() -> None:
    with pytest.raises(ModelError, match="Union Types must always be `Optional`"):
        LinkBlock.new(uuid4())
    medium = RadioBlock.new(uuid4(), length=1)
    assert LinkBlock.new(uuid4(), medium=medium).medium is medium


def test_the_catalogue_has_all_members_of_a_union(link: LinkInactive) -> None:
    assert Link.diff_product_in_database(link.product.product_id) == {}
