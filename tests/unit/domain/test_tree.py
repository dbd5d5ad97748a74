"""How trees of blocks are put together: unions, abstract blocks, blocks of other subscriptions, circles."""

from typing import Any
from uuid import UUID

import pytest
from memory_repository import MemoryRepository
from pydantic import ValidationError

from orchestrator_dagster.domain import ProductBlockModel, SubscriptionLifecycle, SubscriptionModel
from orchestrator_dagster.errors import ModelError

INITIAL, PROVISIONING, ACTIVE, TERMINATED = (
    SubscriptionLifecycle.INITIAL,
    SubscriptionLifecycle.PROVISIONING,
    SubscriptionLifecycle.ACTIVE,
    SubscriptionLifecycle.TERMINATED,
)


class EndBlockInactive(ProductBlockModel):
    """Abstract: what ends have in common."""

    speed: int | None = None


class EndBlock(EndBlockInactive, lifecycle=[ACTIVE]):
    speed: int


class FiberBlockInactive(EndBlockInactive, product_block_name="Fiber"):
    colour: str | None = None


class FiberBlock(FiberBlockInactive, EndBlock, lifecycle=[ACTIVE]):
    colour: str


class RadioBlockInactive(EndBlockInactive, product_block_name="Radio"):
    colour: str | None = None


class RadioBlock(RadioBlockInactive, EndBlock, lifecycle=[ACTIVE]):
    pass


class FiberInactive(SubscriptionModel, is_base=True):
    fiber: FiberBlockInactive


class Fiber(FiberInactive, lifecycle=[ACTIVE]):
    fiber: FiberBlock


class LinkBlockInactive(ProductBlockModel, product_block_name="Link"):
    either: FiberBlockInactive | RadioBlockInactive | None = None
    ends: list[FiberBlockInactive | RadioBlockInactive] = []
    any_end: EndBlockInactive | None = None
    any_ends: list[EndBlockInactive] | None = None


class LinkBlock(LinkBlockInactive, lifecycle=[ACTIVE]):
    either: FiberBlock | RadioBlock | None = None
    ends: list[FiberBlock | RadioBlock] = []  # type: ignore[assignment]
    any_end: EndBlock | None = None
    any_ends: list[EndBlock] | None = None  # type: ignore[assignment]


class LinkInactive(SubscriptionModel, is_base=True):
    link: LinkBlockInactive


class Link(LinkInactive, lifecycle=[ACTIVE]):
    link: LinkBlock


class PeerBlockInactive(ProductBlockModel, product_block_name="Peer"):
    title: str = ""
    peer: "PeerBlockInactive | None" = None
    peers: "list[PeerBlockInactive]" = []


class PeerService(SubscriptionModel, is_base=True):
    top: PeerBlockInactive


def make(repository: MemoryRepository, model: type[Any], **kwargs: Any) -> Any:
    return model.from_product_id(repository.add_product(model.__name__).product_id, "acme", **kwargs)


def saved_fiber(repository: MemoryRepository) -> FiberInactive:
    fiber: FiberInactive = make(repository, FiberInactive)
    fiber.fiber.speed, fiber.fiber.colour = 10, "red"
    fiber.save()
    return fiber


class TestMembers:
    def test_a_member_of_a_union_is_chosen_by_its_name(self, repository: MemoryRepository) -> None:
        link = make(repository, LinkInactive)
        new = (RadioBlockInactive.new, FiberBlockInactive.new)
        link.link.either = RadioBlockInactive.new(link.subscription_id, speed=1, colour="blue")
        link.link.ends = [make_end(link.subscription_id, speed=2, colour="red") for make_end in new]
        link.link.any_end = FiberBlockInactive.new(link.subscription_id, speed=3, colour="red")
        link.link.any_ends = [make_end(link.subscription_id, speed=4, colour="red") for make_end in new]
        link.save()
        loaded = LinkInactive.from_subscription(link.subscription_id)
        assert loaded == link
        assert type(loaded.link.either) is RadioBlockInactive
        assert [type(end) for end in loaded.link.ends] == [RadioBlockInactive, FiberBlockInactive]
        assert type(loaded.link.any_end) is FiberBlockInactive

        active = Link.from_other_lifecycle(loaded, ACTIVE)
        assert type(active.link.either) is RadioBlock
        assert [type(end) for end in active.link.ends] == [RadioBlock, FiberBlock]
        assert type(active.link.any_end) is FiberBlock
        assert [type(end) for end in active.link.any_ends or []] == [RadioBlock, FiberBlock]
        active.save()
        assert Link.from_subscription(link.subscription_id) == active

        terminated = LinkInactive.from_other_lifecycle(active, TERMINATED)
        assert type(terminated.link.any_end) is FiberBlockInactive

    def test_a_stored_block_that_no_member_takes_is_named(self, repository: MemoryRepository) -> None:
        class Narrow(ProductBlockModel, product_block_name="Link"):
            either: RadioBlockInactive | None = None

        class NarrowService(SubscriptionModel, is_base=True):
            link: Narrow

        link = make(repository, LinkInactive)
        link.link.either = FiberBlockInactive.new(link.subscription_id)
        link.save()
        with pytest.raises(ModelError, match=r"is a Fiber, but field either takes Radio"):
            NarrowService.from_subscription(link.subscription_id)

    def test_an_optional_list_without_blocks_loads_as_its_default(self, repository: MemoryRepository) -> None:
        link = make(repository, LinkInactive)
        assert link.link.any_ends is None
        link.save()
        assert LinkInactive.from_subscription(link.subscription_id).link.any_ends is None


class TestBlocksOfOthers:
    def test_they_load_as_the_class_for_their_owners_status(self, repository: MemoryRepository) -> None:
        fiber = saved_fiber(repository)
        link = make(repository, LinkInactive)
        link.link.either = fiber.fiber
        link.link.any_ends = [saved_fiber(repository).fiber]
        link.save()
        loaded = LinkInactive.from_subscription(link.subscription_id).link
        assert type(loaded.either) is FiberBlockInactive
        Fiber.from_other_lifecycle(fiber, ACTIVE).save()
        loaded = LinkInactive.from_subscription(link.subscription_id).link
        assert type(loaded.either) is FiberBlock
        assert [type(end) for end in loaded.any_ends or []] == [FiberBlockInactive]

    def test_they_load_at_least_as_what_the_field_declares(self, repository: MemoryRepository) -> None:
        class UserBlock(ProductBlockModel, product_block_name="Fiber user"):
            fiber: FiberBlock | None = None

        class User(SubscriptionModel, is_base=True):
            user: UserBlock

        fiber = saved_fiber(repository)
        user = make(repository, User)
        user.user.fiber = FiberBlock(**fiber.fiber.model_dump())
        user.save()
        assert type(User.from_subscription(user.subscription_id).user.fiber) is FiberBlock
        fiber.fiber.colour = None
        fiber.save()
        with pytest.raises(ValidationError, match=r"FiberBlock\ncolour"):
            User.from_subscription(user.subscription_id)

    def test_a_block_used_twice_is_one_object(self, repository: MemoryRepository) -> None:
        shared = make(repository, PeerService)
        shared.save()
        service = make(repository, PeerService)
        service.top.peers = [PeerBlockInactive.new(service.subscription_id, peer=shared.top) for _ in range(2)]
        service.save()
        one, two = PeerService.from_subscription(service.subscription_id).top.peers
        assert one.peer is two.peer
        assert one.peer == shared.top

    def test_an_own_block_may_sit_below_a_field_that_asks_for_more(self, repository: MemoryRepository) -> None:
        class SplitBlock(ProductBlockModel, product_block_name="Split"):
            loose: FiberBlockInactive | None = None
            strict: "StrictBlock | None" = None

        class StrictBlock(ProductBlockModel, product_block_name="Strict"):
            fiber: FiberBlock | None = None

        class Split(SubscriptionModel, is_base=True):
            split: SplitBlock

        SplitBlock.model_rebuild()
        service = make(repository, Split)
        fiber = FiberBlock.new(service.subscription_id, speed=1, colour="red")
        service.split.loose = fiber
        service.split.strict = StrictBlock.new(service.subscription_id, fiber=fiber)
        service.save()
        loaded = Split.from_subscription(service.subscription_id).split
        assert loaded.strict is not None
        assert type(loaded.loose) is FiberBlock
        assert loaded.loose is loaded.strict.fiber


class TestCircles:
    def test_a_circle_by_way_of_another_subscription_closes_with_the_values_alone(
        self, repository: MemoryRepository
    ) -> None:
        one, two = make(repository, PeerService), make(repository, PeerService)
        one.top.title, two.top.title = "one", "two"
        one.save()
        two.top.peer = one.top
        two.save()
        one.top.peer = PeerService.from_subscription(two.subscription_id).top
        one.save()

        loaded = PeerService.from_subscription(one.subscription_id)
        assert loaded.top.peer is not None
        assert loaded.top.peer.peer is not None
        assert loaded.top.peer.title == "two"
        assert loaded.top.peer.peer.title == "one"
        assert loaded.top.peer.peer.peer is None
        assert loaded.model_dump(mode="json")["top"]["peer"]["peer"]["title"] == "one"
        assert "two" in repr(loaded)

        version = loaded.version
        loaded.save()
        assert loaded.version == version
        assert PeerService.from_other_lifecycle(loaded, TERMINATED).top.peer == loaded.top.peer

    def test_a_block_may_use_a_block_of_another_that_uses_itself(self, repository: MemoryRepository) -> None:
        services = [make(repository, PeerService) for _ in range(3)]
        for service in services:
            service.save()
        for service, used in zip(services, services[1:] + services[:1], strict=True):
            service.top.peer = PeerService.from_subscription(used.subscription_id).top
            service.save()
        outside = make(repository, PeerService)
        outside.top.peer = PeerService.from_subscription(services[0].subscription_id).top
        outside.save()
        found: PeerBlockInactive | None = PeerService.from_subscription(outside.subscription_id).top
        seen: list[UUID] = []
        while found:
            seen.append(found.owner_subscription_id)
            found = found.peer
        first, second, third = (service.subscription_id for service in services)
        assert seen == [outside.subscription_id, first, second, third, first]
        assert PeerBlockInactive.from_db(outside.top.subscription_instance_id).peer

    def test_a_circle_of_required_blocks_closes_without_the_attribute(self, repository: MemoryRepository) -> None:
        class Strict(PeerBlockInactive, lifecycle=[ACTIVE]):
            peer: "Strict"

        class StrictService(PeerService, lifecycle=[ACTIVE]):
            top: Strict

        one, two = make(repository, PeerService), make(repository, PeerService)
        one.save()
        two.top.peer = one.top
        two.save()
        one.top.peer = two.top
        one.top.peer.peer = None
        one.save()
        repository.subscriptions = {
            key: record.__class__(**{**vars(record), "status": ACTIVE})
            for key, record in repository.subscriptions.items()
        }
        loaded = StrictService.from_subscription(one.subscription_id)
        closing = loaded.top.peer.peer
        assert closing.subscription_instance_id == loaded.top.subscription_instance_id
        assert not hasattr(closing, "peer")
        assert loaded.model_dump(mode="json")["top"]["peer"]["peer"].keys().isdisjoint({"peer"})

    def test_own_blocks_are_whole_in_whatever_order_a_circle_is_met(self, repository: MemoryRepository) -> None:
        one, two = make(repository, PeerService), make(repository, PeerService)
        inner = PeerBlockInactive.new(one.subscription_id, title="inner")
        one.top.peers = [inner]
        one.save()
        two.top.peer = inner
        two.save()
        inner.peer = PeerService.from_subscription(two.subscription_id).top
        inner.peer.peer = None
        one.top.peer = inner.peer
        one.save()
        loaded = PeerService.from_subscription(one.subscription_id).top
        assert loaded.peers[0].peer is loaded.peer
        assert loaded.peer is not None
        assert loaded.peer.peer is not None
        assert (loaded.peer.peer.title, loaded.peer.peer.peer) == ("inner", None)


def test_a_deep_chain_of_subscriptions_loads(repository: MemoryRepository) -> None:
    below = None
    for depth in range(1500):
        service = make(repository, PeerService)
        service.top.title = str(depth)
        if below is not None:
            service.top.peer = PeerBlockInactive.model_construct(**dict(below.top))
        service.save()
        below = service
    assert below is not None
    found: PeerBlockInactive | None = PeerService.from_subscription(below.subscription_id).top
    depth = 0
    while found:
        found, depth = found.peer, depth + 1
    assert depth == 1500
