"""The one transaction in which a step runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import SecretBytes, SecretStr
from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.subscriptions import PostgresRepository
from orchestrator_dagster.domain import SubscriptionModel
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.domain.state import State


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


def save_models(returned: Any) -> list[UUID]:
    """Save every subscription in what a step returned, at any depth, once; return their ids."""
    models = {id(model): model for model in _models(returned)}
    # in an order that is the same for everybody, so that two transactions never wait for each other
    for model in sorted(models.values(), key=lambda model: model.subscription_id):
        model.save()
    return list(dict.fromkeys(model.subscription_id for model in models.values()))


def _models(value: Any) -> Iterator[SubscriptionModel]:
    if isinstance(value, SubscriptionModel):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _models(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _models(item)


def as_state(returned: Any, *, of: str) -> State:
    """Return what a step or form returned as state: JSON, by key.

    Args:
        returned: a dict, or nothing.
        of: name of the function that returned it, for the error.

    Raises:
        TypeError: it returned something else, or something that cannot be written as JSON.
    """
    if returned is None:
        return {}
    if not isinstance(returned, Mapping) or not all(isinstance(key, str) for key in returned):
        raise TypeError(f"{of} must return a dict with text keys or nothing, not {type(returned).__name__}")
    state = {}
    for key, value in returned.items():
        if isinstance(value, (SecretStr, SecretBytes)):
            raise TypeError(f"{of} returned a secret under {key!r}, and the state is stored in clear")
        try:
            state[key] = to_jsonable_python(value)
            to_json({key: state[key]}).encode()
        except (ValueError, RecursionError) as error:
            raise TypeError(f"{of} returned under {key!r} what cannot be stored: {error}") from error
    return state
