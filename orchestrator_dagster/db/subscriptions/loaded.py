"""What a store remembers of the subscriptions that it loaded, so that a save need not load them again."""

import threading
from collections.abc import Callable
from uuid import UUID

from orchestrator_dagster.db.subscriptions.tree import StoredSubscription

MOST_REMEMBERED = 100


class LoadedSubscriptions:
    """The subscriptions that were loaded last, each as it was then; the oldest are forgotten.

    Every change of a subscription makes a new version, so what is remembered is right as long as the version is.
    """

    def __init__(self) -> None:
        self._kept: dict[UUID, Callable[[], StoredSubscription]] = {}
        self._lock = threading.Lock()

    def remember(self, subscription_id: UUID, make: Callable[[], StoredSubscription]) -> None:
        """Remember a subscription.

        Args:
            subscription_id: its id.
            make: gives it, when it is asked for, without anything in it that a model may have changed since.
        """
        with self._lock:
            self._kept.pop(subscription_id, None)
            self._kept[subscription_id] = make
            if len(self._kept) > MOST_REMEMBERED:
                del self._kept[next(iter(self._kept))]

    def take(self, subscription_id: UUID) -> StoredSubscription | None:
        """Return a subscription as it was loaded, and forget it; `None` for one that is not remembered."""
        with self._lock:
            make = self._kept.pop(subscription_id, None)
        return make() if make else None
