"""The one transaction in which a step runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.subscriptions import PostgresRepository
from orchestrator_dagster.domain import SubscriptionModel
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.forms.page import State


@dataclass(frozen=True)
class StepTransaction:
    """What the built-in steps need beyond the models.

    Attributes:
        connection: where the step's changes go. Only the engine commits it.
        process_id: the process that the step is part of.
    """

    connection: Connection
    process_id: UUID


@contextmanager
def transaction(engine: Engine, *, process_id: UUID, step: str, created_by: str) -> Iterator[StepTransaction]:
    """Run the block in one transaction, in which models load and save too."""
    with engine.begin() as connection:
        repository = PostgresRepository(connection, process_id=process_id, step=step, changed_by=created_by)
        with use_repository(repository):
            yield StepTransaction(connection, process_id)


def save_models(returned: Any) -> None:
    """Save every subscription in what a step returned, at any depth, once."""
    seen: set[int] = set()
    for model in _models(returned):
        if id(model) not in seen:
            seen.add(id(model))
            model.save()


def _models(value: Any) -> Iterator[SubscriptionModel]:
    if isinstance(value, SubscriptionModel):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _models(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _models(item)


def as_state(returned: Any, *, of: Callable[..., Any]) -> State:
    """Return what a step or form returned as state: JSON, by key.

    Args:
        returned: a dict, or nothing.
        of: the function that returned it, for the error.

    Raises:
        TypeError: it returned something else, or something that cannot be written as JSON.
    """
    if returned is None:
        return {}
    if not isinstance(returned, Mapping) or not all(isinstance(key, str) for key in returned):
        raise TypeError(f"{of.__qualname__} must return a dict with text keys or nothing, not {returned!r}")
    state = {}
    for key, value in returned.items():
        try:
            state[key] = to_jsonable_python(value, inf_nan_mode="strings")
        except ValueError as error:
            raise TypeError(f"{of.__qualname__} returned under '{key}' what cannot be stored: {error}") from error
    return state


def subscription_ids(state: Mapping[str, Any]) -> list[str]:
    """Return the ids of the subscriptions that stand at the top level of a state."""
    return [
        value["subscription_id"]
        for value in state.values()
        if isinstance(value, Mapping) and isinstance(value.get("subscription_id"), str) and "product" in value
    ]
