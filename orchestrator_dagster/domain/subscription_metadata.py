"""Subscription metadata: free data beside a subscription, which no model declares."""

from collections.abc import Mapping
from typing import Any, TypeVar, overload
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from orchestrator_dagster.domain.identifier import subscription_id_of
from orchestrator_dagster.domain.repository import current_repository
from orchestrator_dagster.errors import ModelError

M = TypeVar("M", bound=BaseModel)


@overload
def get_subscription_metadata(subscription_id: UUID | str) -> dict[str, Any] | None: ...


@overload
def get_subscription_metadata(subscription_id: UUID | str, model: type[M]) -> M | None: ...


def get_subscription_metadata(
    subscription_id: UUID | str, model: type[BaseModel] | None = None
) -> dict[str, Any] | BaseModel | None:
    """Return the metadata of a subscription.

    Args:
        subscription_id: the subscription.
        model: a pydantic class that the metadata is read as.

    Returns:
        The metadata, as a dict or as the model; `None` if there is none.

    Raises:
        pydantic.ValidationError: what is stored does not fit the model.

    Example:
        ```python
        class Ticket(BaseModel):
            number: int
            opened: date


        ticket = get_subscription_metadata(subscription_id, Ticket)
        ```
    """
    found = current_repository().subscription_metadata(subscription_id_of(subscription_id))
    if found is None or model is None:
        return found
    return model.model_validate(found)


def save_subscription_metadata(subscription_id: UUID | str, metadata: Mapping[str, Any] | BaseModel | None) -> None:
    """Store the metadata of a subscription in place of what there was.

    The subscription itself stays in its version: metadata is no part of its history.

    Args:
        subscription_id: the subscription.
        metadata: any data with a JSON form, by name, or a pydantic model, which is checked once more; `None` to have
            none.

    Raises:
        SubscriptionNotFoundError: there is no such subscription.
        ModelError: something in it cannot be stored as JSON.
        pydantic.ValidationError: the model is not valid any more.
    """
    found_id = subscription_id_of(subscription_id)
    if isinstance(metadata, BaseModel):
        metadata = type(metadata).model_validate(metadata.model_dump(by_alias=True))
    try:
        data = None if metadata is None else to_jsonable_python(metadata, by_alias=True, inf_nan_mode="strings")
    except ValueError as error:
        raise ModelError(f"The metadata of subscription {found_id} cannot be stored: {error}") from error
    current_repository().save_subscription_metadata(found_id, data)
