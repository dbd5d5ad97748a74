"""What a workflow does to a subscription."""

from enum import StrEnum


class Target(StrEnum):
    """What a workflow does to a subscription."""

    CREATE = "CREATE"
    MODIFY = "MODIFY"
    TERMINATE = "TERMINATE"
    VALIDATE = "VALIDATE"
    RECONCILE = "RECONCILE"
    SYSTEM = "SYSTEM"
