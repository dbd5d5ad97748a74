"""The one transaction in which a step runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from orchestrator_dagster.domain import SubscriptionModel
from orchestrator_dagster.domain.clock import now
from orchestrator_dagster.domain.process import Concerned
from orchestrator_dagster.domain.repository import SubscriptionRecord, use_repository
from orchestrator_dagster.domain.secret import sealed
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import ConfigurationError

# Steps are declared, and their signatures read, without a database: what talks to one is loaded when one runs.
if TYPE_CHECKING:
    from sqlalchemy import Connection

_SCALARS = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True)
class StepTransaction:
    """What the built-in steps need beyond the models.

    Attributes:
        connection: where the step's changes go. Only the engine commits it.
        process_id: the process that the step is part of.
        step: the step's key in the step log.
        saved: the subscriptions that were saved in it so far, by id.
    """

    connection: "Connection"
    process_id: UUID
    step: str
    saved: Mapping[UUID, SubscriptionRecord]

    def hold(self, subscription_id: UUID) -> bool:
        """Make the process the holder of a subscription; return whether it was that before."""
        from orchestrator_dagster.db.locks import hold

        return hold(self.connection, subscription_id, self.process_id)

    def require_held(self, subscription_id: UUID) -> None:
        """Make sure that the process holds a subscription."""
        from orchestrator_dagster.db.locks import require_held

        require_held(self.connection, subscription_id, self.process_id)

    def lock(self, subscription_id: UUID) -> None:
        """Keep a subscription from being changed by others until the step has ended."""
        from orchestrator_dagster.db.locks import lock_subscription

        lock_subscription(self.connection, subscription_id)

    def open_callback(self, step: str, token: str) -> None:
        """Let another system send something to a step that comes later.

        Args:
            step: key of the step that waits for it.
            token: what the other system proves with that it may; only its hash is kept.
        """
        from orchestrator_dagster.db.callbacks import hash_of, open_callback

        open_callback(self.connection, self.process_id, step, hash_of(token), now())

    @property
    def concerned(self) -> Concerned:
        """The subscriptions that were saved, for people."""
        records = self.saved.values()
        return Concerned(
            tuple(self.saved),
            tuple(dict.fromkeys(record.product.name for record in records)),
            tuple(dict.fromkeys(record.customer_id for record in records)),
        )


@contextmanager
def transaction(connection: "Connection", *, process_id: UUID, step: str, created_by: str) -> Iterator[StepTransaction]:
    """Run the block in one transaction of a connection, in which models load and save too."""
    from sqlalchemy.exc import DBAPIError

    from orchestrator_dagster.db.subscriptions.repository import PostgresRepository

    begun = connection.begin()
    repository = PostgresRepository(connection, process_id=process_id, step=step, changed_by=created_by)
    try:
        with use_repository(repository):
            yield StepTransaction(connection, process_id, step, repository.saved)
        begun.commit()
    except BaseException:
        # the connection may be gone, and what was under way with it; the step's own failure is what counts
        with suppress(DBAPIError):
            begun.rollback()
        raise


def save_models(returned: Any) -> None:
    """Save every subscription in what a step returned, at any depth, once."""
    models = {id(model): model for model in _models(returned)}
    # in an order that is the same for everybody, so that two transactions never wait for each other
    for model in sorted(models.values(), key=lambda model: model.subscription_id):
        model.save()


def _models(returned: Any) -> Iterator[SubscriptionModel]:
    waiting, seen = [returned], set()
    while waiting:
        value = waiting.pop()
        # most of what is returned, and not worth asking what else it may be
        if type(value) in _SCALARS or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, SubscriptionModel):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting.extend(value)


def as_state(returned: Any, *, of: str) -> State:
    """Return what a step or form returned as state: JSON, by key, with its secrets sealed.

    Args:
        returned: a dict, or nothing.
        of: name of the function that returned it, for the error.

    Raises:
        TypeError: it returned something else, or something that is not JSON.
        ConfigurationError: it returned a secret, and there is no key to seal it with.
    """
    if returned is None:
        return {}
    if not isinstance(returned, Mapping) or not all(isinstance(key, str) for key in returned):
        raise TypeError(f"{of} must return a dict with text keys or nothing, not {type(returned).__name__}")
    state = {}
    for key, value in returned.items():
        try:
            state[key] = sealed(value)
        except ConfigurationError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"{of} returned under {key!r} what cannot be stored: {error}") from error
    return state
