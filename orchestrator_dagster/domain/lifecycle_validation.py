"""Whether a step may be given a subscription as a class that is not the one for its lifecycle status."""

import os
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator_dagster.domain.lifecycle import lookup_specialized_type
from orchestrator_dagster.errors import ConfigurationError, LifecycleError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.subscription import SubscriptionModel

MODE_VARIABLE = "ORCHESTRATOR_LIFECYCLE_VALIDATION_MODE"


class LifecycleValidationMode(StrEnum):
    """What happens when a step asks for a subscription as a class that its status does not ask for.

    A class that is too general for the status is never given. This is about one that is more specialised, which
    happens to fit what is stored: `Node` for a node that is still in `provisioning`.
    """

    STRICT = "strict"
    """The step fails."""
    LOOSE = "loose"
    """The step's log has a warning."""
    IGNORED = "ignored"
    """Nothing."""


def lifecycle_validation_mode(given: LifecycleValidationMode | str | None = None) -> LifecycleValidationMode:
    """Return the mode that counts: what was given, else what `ORCHESTRATOR_LIFECYCLE_VALIDATION_MODE` says, else loose.

    Raises:
        ConfigurationError: there is no such mode.

    Example:
        >>> lifecycle_validation_mode("strict")
        <LifecycleValidationMode.STRICT: 'strict'>
    """
    wanted = given or os.environ.get(MODE_VARIABLE) or LifecycleValidationMode.LOOSE
    try:
        return LifecycleValidationMode(wanted)
    except ValueError as error:
        modes = ", ".join(LifecycleValidationMode)
        raise ConfigurationError(f"There is no lifecycle validation mode {wanted!r}; there are {modes}") from error


def validate_lifecycle_class(
    subscription: "SubscriptionModel", mode: LifecycleValidationMode, warn: Callable[[str], object]
) -> None:
    """Check that a subscription has the class for its lifecycle status.

    Args:
        subscription: the subscription.
        mode: what to do if it does not.
        warn: takes the warning.

    Raises:
        LifecycleError: it does not, and the mode is strict.
    """
    if mode is LifecycleValidationMode.IGNORED:
        return
    found, wanted = type(subscription), lookup_specialized_type(type(subscription), subscription.status)
    if found is wanted:
        return
    message = (
        f"Subscription of type {found.__name__} should use {wanted.__name__} for lifecycle status "
        f"'{subscription.status}'"
    )
    if mode is LifecycleValidationMode.STRICT:
        raise LifecycleError(message)
    warn(message)
