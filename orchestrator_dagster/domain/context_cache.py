"""Loading each subscription once, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar, cast
from uuid import UUID

if TYPE_CHECKING:
    from orchestrator_dagster.domain.subscription_loading import LoadedModel

M = TypeVar("M", bound="LoadedModel")

_cache: "ContextVar[dict[tuple[UUID, type], LoadedModel] | None]" = ContextVar("orchestrator_models", default=None)


@contextmanager
def cache_subscription_models() -> Iterator[None]:
    """Load each subscription once within the block: `from_subscription` gives the same object for the same id.

    What was loaded as one class is not returned as another. Nested use shares the outer cache. Whoever changes a
    subscription within the block changes it for all that asked for it, saved or not; what others save is not seen
    before the block ends.

    Example:
        ```python
        with cache_subscription_models():
            assert Node.from_subscription(subscription_id) is Node.from_subscription(subscription_id)
        ```
    """
    if _cache.get() is not None:
        yield
        return
    token = _cache.set({})
    try:
        yield
    finally:
        _cache.reset(token)


def cached(asked: type[M], subscription_id: UUID) -> M | None:
    """Return a subscription that was loaded as a class before, if there is a cache and it has it."""
    cache = _cache.get()
    return cast("M | None", cache.get((subscription_id, asked))) if cache else None


def remember(asked: type[M], made: M, subscription_id: UUID) -> M:
    """Remember a subscription, if there is a cache.

    Args:
        asked: the class that it was asked for as; its own may be a narrower one.
        made: the subscription.
        subscription_id: its id.

    Returns:
        The subscription, or the one that is remembered as the same class already.
    """
    cache = _cache.get()
    if cache is None:
        return made
    kept = cast("M", cache.setdefault((subscription_id, type(made)), made))
    cache[subscription_id, asked] = kept
    return kept
