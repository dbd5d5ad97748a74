"""Looking subscriptions up without loading models: rows for lists, and values by resource type."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from orchestrator_dagster.domain.identifier import subscription_id_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import SubscriptionQuery, SubscriptionRow
from orchestrator_dagster.domain.related import RelatedQuery, RelatedSubscriptionRow
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord, current_repository
from orchestrator_dagster.domain.value_filter import ValueFilter
from orchestrator_dagster.errors import ModelError, SubscriptionNotUniqueError

_IN_SERVICE = (SubscriptionLifecycle.PROVISIONING, SubscriptionLifecycle.ACTIVE)


def get_subscription(subscription_id: UUID | str, for_update: bool = False) -> SubscriptionRow:
    """Return a subscription as a row, without its blocks.

    Args:
        subscription_id: the subscription.
        for_update: keep others from changing it until the transaction ends; without a transaction that is at once.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.

    Example:
        ```python
        get_subscription(subscription_id).status
        ```
    """
    return current_repository().subscription_row(subscription_id_of(subscription_id), for_update=for_update)


def get_subscriptions_on_product_table() -> Sequence[SubscriptionRow]:
    """Return all subscriptions with what one asks of their product, newest first."""
    return current_repository().find_subscriptions(SubscriptionQuery())


def get_subscriptions_on_product_table_in_sync(in_sync: bool = True) -> Sequence[SubscriptionRow]:
    """Return all subscriptions that are in sync, or that are not, newest first."""
    return current_repository().find_subscriptions(SubscriptionQuery(insync=in_sync))


def retrieve_subscription_by_subscription_instance_value(
    resource_type: str,
    value: Any,
    sub_status: Sequence[SubscriptionLifecycle | str] = _IN_SERVICE,
) -> SubscriptionRow | None:
    """Return the one subscription of which a block has a value.

    Args:
        resource_type: the name of the value, in whichever block.
        value: what it is, or what its list has among others. It is compared with its type: `20` is not `"20"`.
        sub_status: the statuses that the subscription may have.

    Returns:
        The subscription, or `None` if there is none.

    Raises:
        SubscriptionNotUniqueError: there are several.

    Example:
        ```python
        retrieve_subscription_by_subscription_instance_value("node_name", "ams-core-1")
        ```
    """
    found = _with_value(resource_type, value, sub_status)
    if len(found) > 1:
        raise SubscriptionNotUniqueError(f"{resource_type} {value!r}", [row.subscription_id for row in found])
    return found[0] if found else None


def retrieve_node_subscriptions_by_name(
    node_name: str, resource_type: str = "nso_device_id"
) -> Sequence[SubscriptionRow]:
    """Return the subscriptions in service of which a block has a name, oldest first.

    Args:
        node_name: the name.
        resource_type: the resource type that has the names; the default is orchestrator-core's.
    """
    return _with_value(resource_type, node_name, _IN_SERVICE)


def query_in_use_by_subscriptions(
    subscription_id: UUID | str, filter_statuses: Sequence[SubscriptionLifecycle | str] | None = None
) -> Sequence[RelatedSubscriptionRow]:
    """Return the other subscriptions that use a block of a subscription directly, oldest first.

    Args:
        subscription_id: the subscription.
        filter_statuses: the statuses that they may have; any where it is empty.
    """
    query = RelatedQuery(subscription_id, depth=1, status=filter_statuses or None)
    return current_repository().related_subscriptions(query, in_use_by=True)


def query_depends_on_subscriptions(
    subscription_id: UUID | str, filter_statuses: Sequence[SubscriptionLifecycle | str] | None = None
) -> Sequence[RelatedSubscriptionRow]:
    """Return the other subscriptions of which a subscription uses a block directly, oldest first.

    Args:
        subscription_id: the subscription.
        filter_statuses: the statuses that they may have; any where it is empty.
    """
    query = RelatedQuery(subscription_id, depth=1, status=filter_statuses or None)
    return current_repository().related_subscriptions(query, in_use_by=False)


def find_values_for_resource_types(
    subscription_id: UUID | str, resource_types: Sequence[str], strict: bool = True
) -> dict[str, list[Any]]:
    """Return the values that the blocks of a subscription have, by resource type.

    Args:
        subscription_id: the subscription.
        resource_types: the names of the values.
        strict: refuse names that no block has a value for.

    Returns:
        For each name the values of all own blocks that have one, level by level from the top of the tree down, and
        within a level by the name of the field and in the order of its list: so values of one block stand at the same
        place where all blocks have them. They are as they are stored: JSON. Items of a list stand each by itself.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        ModelError: there is no value for a name, and `strict` asks for one.

    Example:
        ```python
        find_values_for_resource_types(subscription_id, ["vlan", "mtu"])  # {"vlan": [20, 30], "mtu": [1500, 9000]}
        ```
    """
    record = current_repository().load_subscription(subscription_id_of(subscription_id))
    blocks = list(_own_blocks(record))
    found = {name: [item for block in blocks for item in _items(block.values.get(name))] for name in resource_types}
    missing = [name for name, values in found.items() if not values]
    if strict and missing:
        raise ModelError(f"Subscription {subscription_id} has no value for resource type {', '.join(missing)}")
    return found


def _with_value(
    resource_type: str, value: Any, status: Sequence[SubscriptionLifecycle | str]
) -> Sequence[SubscriptionRow]:
    path = f"block.{resource_type}"
    tests = (*ValueFilter.of(path, {"=": value}).tests, *ValueFilter.of(path, {"contains": value}).tests)
    wanted = ValueFilter(attributes=(), resource_type=resource_type, tests=tests)
    return current_repository().subscriptions_with_value(wanted, [SubscriptionLifecycle(one) for one in status])


def _own_blocks(record: SubscriptionRecord) -> Iterator[BlockRecord]:
    """Yield the own blocks level by level, each once."""
    waiting = _in_order(record.roots)
    seen = set()
    for block_id in waiting:
        block = record.blocks[block_id]
        if block_id not in seen and block.owner_subscription_id == record.subscription_id:
            seen.add(block_id)
            yield block
            waiting += _in_order(block.links)


def _in_order(links: Mapping[str, Sequence[UUID]]) -> list[UUID]:
    return [block_id for attribute in sorted(links) for block_id in links[attribute]]


def _items(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)
