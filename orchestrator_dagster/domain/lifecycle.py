"""The lifecycle statuses of a subscription, and which class of a model serves which status."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from orchestrator_dagster.errors import DefinitionError, LifecycleError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.repository import InstanceReference

T = TypeVar("T")


class SubscriptionLifecycle(StrEnum):
    """The status of a subscription."""

    INITIAL = "initial"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    MIGRATING = "migrating"
    DISABLED = "disabled"
    TERMINATED = "terminated"


SAFE_USED_BY_TRANSITIONS_FOR_STATUS: Mapping[SubscriptionLifecycle, Sequence[SubscriptionLifecycle]] = {
    SubscriptionLifecycle.INITIAL: [SubscriptionLifecycle.INITIAL],
    SubscriptionLifecycle.PROVISIONING: [
        SubscriptionLifecycle.INITIAL,
        SubscriptionLifecycle.PROVISIONING,
        SubscriptionLifecycle.ACTIVE,
        SubscriptionLifecycle.TERMINATED,
    ],
    SubscriptionLifecycle.ACTIVE: [
        SubscriptionLifecycle.INITIAL,
        SubscriptionLifecycle.PROVISIONING,
        SubscriptionLifecycle.MIGRATING,
        SubscriptionLifecycle.ACTIVE,
        SubscriptionLifecycle.TERMINATED,
        SubscriptionLifecycle.DISABLED,
    ],
    SubscriptionLifecycle.MIGRATING: [
        SubscriptionLifecycle.INITIAL,
        SubscriptionLifecycle.MIGRATING,
        SubscriptionLifecycle.TERMINATED,
    ],
    SubscriptionLifecycle.DISABLED: [
        SubscriptionLifecycle.INITIAL,
        SubscriptionLifecycle.DISABLED,
        SubscriptionLifecycle.TERMINATED,
    ],
    SubscriptionLifecycle.TERMINATED: [SubscriptionLifecycle.INITIAL, SubscriptionLifecycle.TERMINATED],
}
"""The statuses that subscriptions may have which use a subscription that gets the status."""

_families: dict[type, dict[SubscriptionLifecycle | None, type]] = {}


def base_type_of(cls: type) -> type | None:
    """Return the class that a family of lifecycle classes starts with; `None` for a class outside of any family."""
    base: type | None = getattr(cls, "__base_type__", None)
    return base


def register_specialized_type(cls: type, statuses: Iterable[SubscriptionLifecycle] | None = None) -> None:
    """Make `cls` the class of its family for each of the statuses, or for all that have no class of their own.

    Args:
        cls: the class.
        statuses: the statuses that it serves; `None` for the base of the family.

    Raises:
        LifecycleError: the class belongs to no family.
        DefinitionError: another class of the family serves the status already.
    """
    base = base_type_of(cls)
    if base is None:
        raise LifecycleError("Cannot register a type that has no __base_type__")
    for status in [None] if statuses is None else [SubscriptionLifecycle(status) for status in statuses]:
        family = _families.setdefault(base, {})
        present = family.get(status, cls)
        if _full_name(present) != _full_name(cls):
            raise DefinitionError(f"{cls} is declared for lifecycle {status}, but {present} is so already")
        family[status] = cls


def lookup_specialized_type(cls: type[T], status: SubscriptionLifecycle | None) -> type[T]:
    """Return the class of a model's family that fits a lifecycle status.

    Args:
        cls: any class of the family.
        status: the lifecycle status.

    Returns:
        The class declared with `lifecycle=[status]`, else the base of the family.

    Raises:
        LifecycleError: the class belongs to no family.

    Example:
        ```python
        lookup_specialized_type(NodeBlockInactive, SubscriptionLifecycle.ACTIVE)  # NodeBlock
        ```
    """
    base = base_type_of(cls)
    if base is None:
        raise LifecycleError("Cannot instantiate a class that has no __base_type__")
    family = _families.get(base, {})
    return family.get(status) or family.get(None) or cls


def check_field_lifecycle(field: str, types: Iterable[type[Any]], statuses: Iterable[SubscriptionLifecycle]) -> None:
    """Check that each block type of a field is as specialised as the statuses of its model ask.

    Raises:
        LifecycleError: one is not.
    """
    for status in statuses:
        for block_type in filter(base_type_of, types):
            specialized = lookup_specialized_type(block_type, status)
            if not issubclass(block_type, specialized):
                raise LifecycleError(
                    f"The lifecycle status of the type for the field: {field}, {specialized} "
                    f"(based on {block_type}) is not suitable for the lifecycle status ({status}) of this model"
                )


def validate_lifecycle_change(
    status: SubscriptionLifecycle, subscription_id: UUID, in_use_by: Iterable["InstanceReference"]
) -> None:
    """Check that a subscription may get a status, given the blocks that use any of its blocks.

    Args:
        status: the new status.
        subscription_id: the subscription that gets it.
        in_use_by: the blocks that use one of its blocks, those of itself included.

    Raises:
        LifecycleError: a subscription that uses it has a status that does not go with the new one.
    """
    safe = SAFE_USED_BY_TRANSITIONS_FOR_STATUS[status]
    unsafe = {
        user.subscription_id: f"{user.subscription_id} ({user.subscription_description}, {user.subscription_status})"
        for user in in_use_by
        if user.subscription_id != subscription_id and user.subscription_status not in safe
    }
    if unsafe:
        raise LifecycleError(
            f"Unsafe status change of Subscription with depending subscriptions: [{', '.join(unsafe.values())}]"
        )


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
