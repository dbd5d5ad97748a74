"""All errors of the package.

OrchestratorError
├── DefinitionError                 (TypeError)    code that declares something impossible
│   └── WorkflowImportError         (ValueError)   a workflow is not where it was said to be
├── ConfigurationError              (RuntimeError) the installation: database, Dagster home, catalogue
│   ├── CatalogueRefusedError                      the catalogue cannot follow the code as it is
│   ├── CatalogueDataError                         stored data is in the way of the catalogue
│   └── CatalogueBusyError                         somebody works on subscriptions that it is to change
├── NotFoundError                   (LookupError)
│   ├── SubscriptionNotFoundError   (ValueError)
│   ├── ProductNotFoundError        (KeyError)
│   ├── ProductNotInRegistryError   (KeyError)
│   ├── ProductBlockNotFoundError   (KeyError)
│   ├── WorkflowNotFoundError       (KeyError)
│   ├── HistoryNotFoundError                       the subscription as of a version or moment
│   │   └── HistoryIncompleteError                 it cannot be told from what the history holds
│   ├── ProcessNotFoundError        (KeyError)
│   └── CallbackNotFoundError                      no process waits for it under that address
├── LifecycleError                  (ValueError)   a model and a lifecycle status do not fit
├── ModelError                      (ValueError)   a block or subscription that cannot be built or saved
├── QueryError                      (ValueError)   a filter, an order or a search that is not possible
├── StaleDataError                  (ValueError)   somebody else changed the subscription
│   └── StaleCustomerDescriptionError              or what a customer calls it
├── SubscriptionNotUniqueError      (ValueError)   several subscriptions are found where one was asked for
├── InjectionError                  (ValueError)   a step's parameter cannot be filled
│   └── StateKeyError               (KeyError)     because the state does not have it
├── RefusalError                    (ValueError)   what was asked for is not done, and nothing of it is kept
│   ├── EnginePausedError                          nothing is started or goes on for now
│   ├── NotAuthorizedError                         the user may not do it
│   ├── InputError                                 wrong input, with the error of every field
│   └── StartConditionError                        the subscription may not be worked on now
│       ├── SubscriptionOutOfSyncError
│       ├── SubscriptionBusyError
│       ├── RelationsOutOfSyncError
│       ├── SubscriptionStatusError
│       ├── ProductStatusError
│       ├── SubscriptionInUseError
│       └── StartPredicateError                    the workflow's own run predicate says no
├── SubscriptionNotHeldError        (ValueError)   a step touches the lock of another process
├── CallbackBodyError               (ValueError)   what a callback brings cannot be stored
├── BranchConflictError             (ValueError)   branches of a process wrote different values under one key
├── ProcessFailureError                            raised by a step, with details
├── StepError                                      what makes a step fail that no code of its own raises
│   ├── StepTimeoutError            (TimeoutError) it took longer than it may
│   ├── CallbackTimeoutError        (TimeoutError) what it waits for did not come in time
│   └── ChildProcessAbortedError                   the process that it started was aborted
└── ProcessStateError               (ValueError)   the process cannot do that now
    ├── ProcessTakenOverError                      another run goes on with the process
    ├── WorkflowEditedError                        its workflow was edited, and does not fit it any more
    └── CallbackRefusedError                       the callback came too late, or a different one came before
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID


class OrchestratorError(Exception):
    """Something went wrong in the orchestrator."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or type(self).__doc__ or type(self).__name__
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class DefinitionError(OrchestratorError, TypeError):
    """The definition is not possible."""


class WorkflowImportError(DefinitionError, ValueError):
    """A workflow that is named by its module cannot be imported.

    Attributes:
        workflow: name of the workflow.
        module: name of the module.
    """

    def __init__(self, *, workflow: str, module: str, why: str) -> None:
        self.workflow = workflow
        self.module = module
        super().__init__(f"Workflow {workflow} cannot be loaded: {why}")


class ConfigurationError(OrchestratorError, RuntimeError):
    """The installation is not usable."""


class CatalogueRefusedError(ConfigurationError):
    """The catalogue cannot follow the code as it is, or not without consent.

    Attributes:
        plan: the `CataloguePlan`, with what is in the way, and what would be deleted.
    """

    def __init__(self, message: str, *, plan: Any) -> None:
        self.plan = plan
        super().__init__(message)


class CatalogueDataError(ConfigurationError):
    """Stored data cannot follow the code.

    Attributes:
        subscription_ids: the subscriptions that are in the way.
    """

    def __init__(self, message: str, *, subscription_ids: Sequence[UUID]) -> None:
        self.subscription_ids = tuple(dict.fromkeys(subscription_ids))
        super().__init__(message)


class CatalogueBusyError(ConfigurationError):
    """Somebody works on subscriptions that the catalogue is to change.

    Attributes:
        held_by: the subscriptions that could not be locked, each with the process that holds it, if one does.
    """

    _SHOWN = 10

    def __init__(self, held_by: Mapping[UUID, UUID | None]) -> None:
        self.held_by = dict(held_by)
        shown = [
            f"{subscription_id} (held by process {process_id})" if process_id else str(subscription_id)
            for subscription_id, process_id in list(held_by.items())[: self._SHOWN]
        ]
        more = f" and {len(held_by) - self._SHOWN} more" if len(held_by) > self._SHOWN else ""
        which = f": {', '.join(shown)}{more}" if shown else ""
        super().__init__(
            f"Somebody is writing to subscriptions that are to be changed{which}. Nothing was changed; try again when "
            "that has ended"
        )


class NotFoundError(OrchestratorError, LookupError):
    """Not found."""


class SubscriptionNotFoundError(NotFoundError, ValueError):
    """The subscription does not exist."""

    def __init__(self, subscription_id: object) -> None:
        self.subscription_id = subscription_id
        super().__init__(f"Subscription with id: {subscription_id}, does not exist")


class ProductNotFoundError(NotFoundError, KeyError):
    """Could not find a product for the given product_id."""

    def __init__(self, product: object) -> None:
        self.product = product
        super().__init__(f"Could not find a product for the given product_id: {product}")


class ProductNotInRegistryError(NotFoundError, KeyError):
    """The product has no class of subscriptions."""

    def __init__(self, product_name: str) -> None:
        self.product_name = product_name
        super().__init__(f"'{product_name}' is not found within the SUBSCRIPTION_MODEL_REGISTRY")


class ProductBlockNotFoundError(NotFoundError, KeyError):
    """The product block, or the instance of one, does not exist."""

    def __init__(self, product_block: object) -> None:
        self.product_block = product_block
        super().__init__(f"Product block {product_block} does not exist")


class WorkflowNotFoundError(NotFoundError, KeyError):
    """The workflow does not exist."""

    def __init__(self, workflow: str, known: Sequence[str] = ()) -> None:
        self.workflow = workflow
        self.known = tuple(known)
        hint = f"; known are {', '.join(sorted(known))}" if known else ""
        super().__init__(f"Workflow {workflow} does not exist{hint}")


class ProcessNotFoundError(NotFoundError, KeyError):
    """The process does not exist."""

    def __init__(self, process_id: object) -> None:
        self.process_id = process_id
        super().__init__(f"Process {process_id} does not exist")


class CallbackNotFoundError(NotFoundError):
    """No process waits for a callback under that address."""


class HistoryNotFoundError(NotFoundError):
    """The subscription did not exist then, or has no such version.

    Attributes:
        subscription_id: the subscription that was asked for.
        version: the version that was asked for, if it was one.
        at: the moment that was asked for, if it was one.
    """

    def __init__(self, why: str, *, subscription_id: UUID, version: int | None, at: datetime | None) -> None:
        self.subscription_id = subscription_id
        self.version = version
        self.at = at
        asked = at.isoformat() if version is None and at else f"version {version}"
        super().__init__(f"Subscription {subscription_id} cannot be shown as of {asked}: {why}")


class HistoryIncompleteError(HistoryNotFoundError):
    """The history does not say how the subscription, or one of which it uses blocks, was then.

    Attributes:
        incomplete_id: the subscription whose history is incomplete.
        oldest_version: its oldest version that can be shown.
    """

    def __init__(
        self,
        *,
        subscription_id: UUID,
        version: int | None,
        at: datetime | None,
        incomplete_id: UUID,
        oldest_version: int,
    ) -> None:
        self.incomplete_id = incomplete_id
        self.oldest_version = oldest_version
        super().__init__(
            f"the change that made version {oldest_version} of subscription {incomplete_id} was not recorded in a way "
            f"that can be undone (it is older than schema revision 0003, or was made by hand); ask for that version "
            "or a later one",
            subscription_id=subscription_id,
            version=version,
            at=at,
        )


class LifecycleError(OrchestratorError, ValueError):
    """The model does not fit the lifecycle status."""


class ModelError(OrchestratorError, ValueError):
    """The model cannot be built or saved."""


class QueryError(OrchestratorError, ValueError):
    """Subscriptions cannot be looked for in that way.

    Attributes:
        name: what of the query is not possible, such as `sort`.
        given: what was given.
        allowed: what is possible.
    """

    def __init__(self, name: str, given: object, allowed: str) -> None:
        self.name = name
        self.given = given
        self.allowed = allowed
        super().__init__(f"{name} cannot be {given!r}; it can be {allowed}")


class StaleDataError(OrchestratorError, ValueError):
    """Somebody else changed the subscription since it was loaded."""

    def __init__(
        self, *, subscription_id: UUID, given_version: int, current_version: int, of: str | None = None
    ) -> None:
        self.subscription_id = subscription_id
        self.given_version = given_version
        self.current_version = current_version
        super().__init__(
            f"Stale data: given version ({given_version}) does not match the current version ({current_version}) "
            f"of {of or f'subscription {subscription_id}'}"
        )


class StaleCustomerDescriptionError(StaleDataError):
    """Somebody else changed what the customer calls the subscription."""

    def __init__(self, *, customer_id: str, subscription_id: UUID, given_version: int, current_version: int) -> None:
        self.customer_id = customer_id
        super().__init__(
            subscription_id=subscription_id,
            given_version=given_version,
            current_version=current_version,
            of=f"the description that customer {customer_id} gave to subscription {subscription_id}",
        )


class SubscriptionNotUniqueError(OrchestratorError, ValueError):
    """Several subscriptions fit where one was asked for."""

    def __init__(self, asked_for: str, subscription_ids: Sequence[UUID]) -> None:
        self.asked_for = asked_for
        self.subscription_ids = tuple(subscription_ids)
        super().__init__(f"Several subscriptions have {asked_for}: {', '.join(map(str, subscription_ids))}")


class InjectionError(OrchestratorError, ValueError):
    """A parameter of a step cannot be filled."""


class StateKeyError(InjectionError, KeyError):
    """The state has no such key."""

    def __init__(self, key: str, function: str) -> None:
        self.key = key
        super().__init__(f"Could not find key '{key}' in state. for function {function}")


class RefusalError(OrchestratorError, ValueError):
    """The process is not started."""


class EnginePausedError(RefusalError):
    """The engine is paused: nothing is started or goes on.

    Attributes:
        by: who paused it.
        reason: why.
    """

    def __init__(self, *, by: str | None, reason: str | None) -> None:
        self.by = by
        self.reason = reason
        who = f" by {by}" if by else ""
        why = f": {reason}" if reason else ""
        super().__init__(f"The engine is paused{who}{why}. Try again when it was resumed")


class NotAuthorizedError(RefusalError):
    """The user may not do that.

    Attributes:
        user: who wanted it.
        action: what, as the reference calls it: `start_workflow`, `resume_workflow`, `retry_workflow`.
        workflow: the name of the workflow.
    """

    _WORDS = {"start_workflow": "start", "resume_workflow": "resume", "retry_workflow": "retry"}

    def __init__(self, *, user: str, action: str, workflow: str) -> None:
        self.user = user
        self.action = action
        self.workflow = workflow
        super().__init__(f"{user} is not authorized to {self._WORDS.get(action, action)} {workflow}")


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of the input.

    Attributes:
        loc: the field's path, as in `("channel_vlans", 0)`.
        msg: what is wrong, for a person.
        type: pydantic's name of the error, such as `missing`.
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str

    @property
    def path(self) -> str:
        """The path as text, as in `channel_vlans.0`."""
        return ".".join(str(part) for part in self.loc)


class InputError(RefusalError):
    """The input is not valid.

    Attributes:
        workflow: the name of the workflow.
        errors: one `FieldError` for each thing that is wrong, those of all pages.
        stopped: why checking ended before the last page, if it did.
    """

    def __init__(self, *, workflow: str, errors: Sequence[FieldError], stopped: str | None = None) -> None:
        self.workflow = workflow
        self.errors = tuple(errors)
        self.stopped = stopped
        lines = [f"The input of {workflow} is not valid:"]
        lines += [f"  {error.path}: {error.msg}" for error in self.errors]
        if stopped:
            lines.append(f"  {stopped}")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class RelatedSubscription:
    """A subscription that stands in the way, as a refusal names it."""

    subscription_id: UUID
    description: str
    status: str
    insync: bool
    held_by: UUID | None = None

    def __str__(self) -> str:
        held = f", held by process {self.held_by}" if self.held_by else "" if self.insync else ", out of sync"
        return f"{self.subscription_id} ({self.description}, {self.status}{held})"


class StartConditionError(RefusalError):
    """The workflow cannot be started on the subscription.

    Attributes:
        workflow: the name of the workflow.
        subscription_id: the subscription that was asked for, where it is about one.
        reason: the reason's key, the same as in orchestrator-core, for translation.
    """

    reason = ""

    def __init__(self, message: str, *, workflow: str, subscription_id: UUID | None) -> None:
        self.workflow = workflow
        self.subscription_id = subscription_id
        super().__init__(f"{workflow} cannot be started: {message}")


class SubscriptionOutOfSyncError(StartConditionError):
    """The subscription is held by a process, or out of sync.

    Attributes:
        held_by: the process that holds it, if one does.
        waits_for_it: whether that process would wait for the one that is to start, which can never go well.
    """

    reason = "subscription.not_in_sync"

    def __init__(
        self, *, workflow: str, subscription_id: UUID, held_by: UUID | None, waits_for_it: bool = False
    ) -> None:
        self.held_by = held_by
        self.waits_for_it = waits_for_it
        message = (
            f"subscription {subscription_id} is held by process {held_by}"
            if held_by
            else f"subscription {subscription_id} is out of sync; validate or reconcile it first"
        )
        if waits_for_it:
            message += ", which starts this one and keeps what it holds until this one has ended"
        super().__init__(message, workflow=workflow, subscription_id=subscription_id)


class SubscriptionBusyError(StartConditionError):
    """Somebody else is writing to the subscription right now."""

    reason = "subscription.not_in_sync"

    def __init__(self, *, workflow: str, subscription_id: UUID, held_by: UUID | None) -> None:
        self.held_by = held_by
        who = f"process {held_by}, which holds it," if held_by else "somebody else"
        super().__init__(
            f"{who} is writing to subscription {subscription_id} or to one related to it; try again",
            workflow=workflow,
            subscription_id=subscription_id,
        )


class RelationsOutOfSyncError(StartConditionError):
    """Subscriptions that use it, or that it depends on, are out of sync."""

    reason = "subscription.relations_not_in_sync"

    def __init__(
        self, *, workflow: str, subscription_id: UUID, locked_relations: Sequence[RelatedSubscription]
    ) -> None:
        self.locked_relations = tuple(locked_relations)
        names = ", ".join(map(str, locked_relations))
        super().__init__(
            f"subscription {subscription_id} is related to subscriptions that are out of sync: {names}",
            workflow=workflow,
            subscription_id=subscription_id,
        )


class SubscriptionStatusError(StartConditionError):
    """The subscription's status does not allow the workflow."""

    reason = "subscription.no_modify_invalid_status"

    def __init__(self, *, workflow: str, subscription_id: UUID, status: str, usable_when: Sequence[str]) -> None:
        self.status = status
        self.usable_when = tuple(usable_when)
        super().__init__(
            f"subscription {subscription_id} is {status}; it must be {' or '.join(usable_when) or 'new'}",
            workflow=workflow,
            subscription_id=subscription_id,
        )


class ProductStatusError(StartConditionError):
    """The status of the subscription's product does not allow the workflow."""

    reason = "product.no_workflow_invalid_status"

    def __init__(self, *, workflow: str, subscription_id: UUID, product: str, status: str) -> None:
        self.product = product
        self.status = status
        super().__init__(
            f"product {product} of subscription {subscription_id} is {status}: its subscriptions can be terminated, "
            "validated and reconciled only",
            workflow=workflow,
            subscription_id=subscription_id,
        )


class SubscriptionInUseError(StartConditionError):
    """Other subscriptions still use it."""

    reason = "subscription.no_modify_subscription_in_use_by_others"

    def __init__(
        self, *, workflow: str, subscription_id: UUID, unterminated_in_use_by: Sequence[RelatedSubscription]
    ) -> None:
        self.unterminated_in_use_by = tuple(unterminated_in_use_by)
        names = ", ".join(map(str, unterminated_in_use_by))
        super().__init__(
            f"subscription {subscription_id} is in use by {names}", workflow=workflow, subscription_id=subscription_id
        )


class StartPredicateError(StartConditionError):
    """The workflow's own run predicate does not allow another process now.

    Attributes:
        failure: what the predicate said.
    """

    reason = "workflow.run_predicate"

    def __init__(self, *, workflow: str, failure: str) -> None:
        self.failure = failure
        super().__init__(failure, workflow=workflow, subscription_id=None)


class SubscriptionNotHeldError(OrchestratorError, ValueError):
    """Only the process that holds a subscription may change its lock."""

    def __init__(self, *, subscription_id: UUID, held_by: UUID | None) -> None:
        self.subscription_id = subscription_id
        self.held_by = held_by
        holder = f"process {held_by}" if held_by else "no process"
        super().__init__(f"Subscription {subscription_id} is held by {holder}, not by this one")


class BranchConflictError(OrchestratorError, ValueError):
    """Two branches wrote different values under the same key.

    Attributes:
        key: the key of the state.
        branches: the two branches.
    """

    def __init__(self, *, key: str, branches: tuple[str, str]) -> None:
        self.key = key
        self.branches = branches
        super().__init__(
            f"Branches {branches[0]} and {branches[1]} wrote different values under {key!r}; give each a key of its own"
        )


class ProcessStateError(OrchestratorError, ValueError):
    """The process cannot do that now."""


class ProcessBusyError(ProcessStateError):
    """Another run goes on with the process already."""

    def __init__(self, *, process_id: UUID, why: str) -> None:
        self.process_id = process_id
        super().__init__(f"Process {process_id} {why}")


class WorkflowEditedError(ProcessStateError):
    """The workflow was edited while the process was under way, and the process cannot go on with it."""

    def __init__(self, *, process_id: UUID, why: str) -> None:
        self.process_id = process_id
        super().__init__(f"Process {process_id} cannot go on: {why}")


class ProcessTakenOverError(ProcessStateError):
    """Another run goes on with the process; this one may not write any more."""

    def __init__(self, *, process_id: UUID, run_id: str) -> None:
        self.process_id = process_id
        self.run_id = run_id
        super().__init__(f"Run {run_id} is not the active run of process {process_id} any more")


class CallbackRefusedError(ProcessStateError):
    """The process does not wait for this callback any more.

    Attributes:
        process_id: the process.
    """

    def __init__(self, message: str, *, process_id: UUID) -> None:
        self.process_id = process_id
        super().__init__(message)


class CallbackBodyError(OrchestratorError, ValueError):
    """What the callback brings cannot be stored."""


Details = dict[str, Any]


class StepError(OrchestratorError):
    """The step failed."""


class StepTimeoutError(StepError, TimeoutError):
    """The step took longer than it may.

    Attributes:
        step: title of the step.
        seconds: how long it may take.
    """

    def __init__(self, *, step: str, seconds: float) -> None:
        self.step = step
        self.seconds = seconds
        super().__init__(f"Step {step} took longer than the {seconds:g} seconds that it may")


class CallbackTimeoutError(StepError, TimeoutError):
    """The callback that the step waits for did not come in time.

    Attributes:
        step: title of the step.
        timeout: how long it waited.
    """

    def __init__(self, *, step: str, timeout: timedelta) -> None:
        self.step = step
        self.timeout = timeout
        super().__init__(f"Callback timed out after {timeout}")


class ChildProcessAbortedError(StepError):
    """The process that the step started, and waits for, was aborted.

    Attributes:
        process_id: that process.
        workflow: its workflow.
    """

    def __init__(self, *, process_id: UUID, workflow: str, reason: str | None) -> None:
        self.process_id = process_id
        self.workflow = workflow
        why = f": {reason}" if reason else ""
        super().__init__(f"Process {process_id} of {workflow} was aborted{why}")


class ProcessFailureError(OrchestratorError):
    """Raised by a step to fail with details that the step log keeps.

    Args:
        message: what went wrong, for a person.
        details: anything that can be written as JSON.

    Example:
        >>> raise ProcessFailureError("no route", {"router": "ams-core-1"})
        Traceback (most recent call last):
            ...
        orchestrator_dagster.errors.ProcessFailureError: no route
    """

    def __init__(self, message: str, details: Details | list[Any] | str | None = None) -> None:
        self.details = details
        super().__init__(message)
