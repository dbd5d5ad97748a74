"""Changes of a subscription by its id, for steps and scripts that need no model in their hands.

Every change is a save: it makes a version, stands in the history, and is refused where somebody else was faster.
"""

from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID, uuid4

from orchestrator_dagster.domain.identifier import subscription_id_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.query import SubscriptionRow
from orchestrator_dagster.domain.repository import SubscriptionRecord, current_repository
from orchestrator_dagster.domain.subscription import SubscriptionModel
from orchestrator_dagster.errors import LifecycleError, SubscriptionNotHeldError


class _HasProductId(Protocol):
    @property
    def product_id(self) -> UUID: ...


def create_subscription(
    customer_id: str, product: _HasProductId, subscription_name: str, subscription_id: UUID | str | None = None
) -> UUID:
    """Store a new subscription without blocks.

    It can be looked up and changed, but loaded as a model only if its class needs no block. Where there are classes
    of models, `from_product_id` is the way.

    Args:
        customer_id: the customer.
        product: the product, as a model, a row or whatever else has its `product_id`.
        subscription_name: the description.
        subscription_id: its id. Default: a new one.

    Returns:
        The subscription's id.

    Raises:
        ProductNotFoundError: there is no such product.
        StaleDataError: there is a subscription of that id already.
    """
    repository = current_repository()
    new_id = uuid4() if subscription_id is None else subscription_id_of(subscription_id)
    repository.save_subscription(
        SubscriptionRecord(
            subscription_id=new_id,
            product=repository.product(product.product_id).product,
            customer_id=customer_id,
            description=subscription_name,
            status=SubscriptionLifecycle.INITIAL,
            insync=False,
            start_date=None,
            end_date=None,
            note=None,
            version=0,
        )
    )
    return new_id


def update_subscription_description(subscription_id: UUID | str, description: str) -> SubscriptionRow:
    """Give a subscription another description.

    Returns:
        The subscription as it is stored now.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
    """
    return _save(_locked(subscription_id), description=description)


def update_subscription_note(subscription_id: UUID | str, note: str | None) -> SubscriptionRow:
    """Give a subscription another note, or none. Like the workflow `modify_note` it asks for no lock.

    Returns:
        The subscription as it is stored now.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
    """
    return _save(_locked(subscription_id), note=note or None)


def update_subscription_status(subscription_id: UUID | str, status: SubscriptionLifecycle | str) -> SubscriptionRow:
    """Move a subscription to a lifecycle status, as `from_other_lifecycle` and `save` do.

    Args:
        subscription_id: the subscription.
        status: the status.

    Returns:
        The subscription as it is stored now.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        SubscriptionNotHeldError: another process works on it.
        LifecycleError: a subscription that uses it has a status that does not go with the new one.
        pydantic.ValidationError: something that the status asks for is missing.
    """
    return _move(subscription_id, SubscriptionLifecycle(status))


def activate_subscription(subscription_id: UUID | str) -> SubscriptionRow:
    """Make a subscription active and in sync; its start date is now, unless it has one. See above for the errors."""
    return _move(subscription_id, SubscriptionLifecycle.ACTIVE, insync=True)


def provision_subscription(subscription_id: UUID | str) -> SubscriptionRow:
    """Move a subscription to provisioning and in sync; see `update_subscription_status` for the errors."""
    return _move(subscription_id, SubscriptionLifecycle.PROVISIONING, insync=True)


def migrate_subscription(subscription_id: UUID | str) -> SubscriptionRow:
    """Move a subscription to migrating and out of sync; see `update_subscription_status` for the errors."""
    return _move(subscription_id, SubscriptionLifecycle.MIGRATING, insync=False)


def terminate_subscription(subscription_id: UUID | str) -> SubscriptionRow:
    """Terminate a subscription; its end date is now, unless it has one. See `update_subscription_status`."""
    return _move(subscription_id, SubscriptionLifecycle.TERMINATED)


def unsync_subscription(subscription_id: UUID | str, checked: bool = True) -> SubscriptionRow:
    """Mark a subscription out of sync.

    Unlike the step `unsync` this takes no hold of it: it says something about the subscription, and locks nothing.

    Args:
        subscription_id: the subscription.
        checked: refuse a subscription that is out of sync already.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        SubscriptionNotHeldError: another process works on it.
        LifecycleError: it is out of sync already.
    """
    row = _locked_for_this_process(subscription_id)
    if checked and not row.insync:
        raise LifecycleError("Subscription is already out of sync, cannot continue!")
    return _save(row, insync=False)


def resync_subscription(subscription_id: UUID | str) -> SubscriptionRow:
    """Mark a subscription in sync.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        SubscriptionNotHeldError: another process works on it; only that may say so.
    """
    return _save(_locked_for_this_process(subscription_id), insync=True)


def _locked(subscription_id: UUID | str) -> SubscriptionRow:
    return current_repository().subscription_row(subscription_id_of(subscription_id), for_update=True)


def _locked_for_this_process(subscription_id: UUID | str) -> SubscriptionRow:
    row = _locked(subscription_id)
    if row.held_by not in (None, current_repository().process_id):
        raise SubscriptionNotHeldError(subscription_id=row.subscription_id, held_by=row.held_by)
    return row


def _save(row: SubscriptionRow, **changes: Any) -> SubscriptionRow:
    repository = current_repository()
    record = replace(repository.load_subscription(row.subscription_id), **changes)
    return _row_after(row, record, repository.save_subscription(record))


def _move(subscription_id: UUID | str, status: SubscriptionLifecycle, **changes: Any) -> SubscriptionRow:
    row = _locked_for_this_process(subscription_id)
    subscription = SubscriptionModel.from_subscription(row.subscription_id)
    moved = SubscriptionModel.from_other_lifecycle(subscription, status)
    for name, value in changes.items():
        setattr(moved, name, value)
    moved.save()
    return _row_after(row, moved, moved.version)


def _row_after(row: SubscriptionRow, saved: SubscriptionRecord | SubscriptionModel, version: int) -> SubscriptionRow:
    return replace(
        row,
        description=saved.description,
        status=saved.status,
        insync=saved.insync,
        start_date=saved.start_date,
        end_date=saved.end_date,
        version=version,
    )
