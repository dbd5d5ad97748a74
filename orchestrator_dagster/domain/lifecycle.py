"""The lifecycle statuses of a subscription, and which of them may stand beside each other."""

from enum import StrEnum


class SubscriptionLifecycle(StrEnum):
    """The status of a subscription."""

    INITIAL = "initial"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    MIGRATING = "migrating"
    DISABLED = "disabled"
    TERMINATED = "terminated"
