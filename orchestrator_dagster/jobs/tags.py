"""The tags by which Dagit finds the runs of a process."""

from collections.abc import Mapping, Sequence

from dagster import DagsterRun

PREFIX = "orchestrator/"
PROCESS_ID = f"{PREFIX}process_id"
WORKFLOW = f"{PREFIX}workflow"
TARGET = f"{PREFIX}target"
PRODUCT = f"{PREFIX}product"
SUBSCRIPTION_ID = f"{PREFIX}subscription_id"
CUSTOMER_ID = f"{PREFIX}customer_id"
STATUS = f"{PREFIX}status"
RESUME_TOKEN = f"{PREFIX}resume_token"
USER = f"{PREFIX}user"
TITLE = f"{PREFIX}title"

_MOST_VALUES = 20

REFUSED = "refused"
"""The status of a run whose process was not started."""

OF_PROCESS = (PROCESS_ID, PRODUCT, SUBSCRIPTION_ID, CUSTOMER_ID)


def user_of(run: DagsterRun) -> str:
    """Return on whose behalf a run was started."""
    return run.tags.get(USER, "SYSTEM")


def without_process(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what makes a run's tags say that it belongs to no process, whatever it inherited."""
    return {tag: "" for tag in OF_PROCESS if tag in inherited}


def joined(values: Sequence[object]) -> str:
    """Return several values as the text of one tag: as many as Dagster's index of tags can take."""
    shown = ",".join(map(str, values[:_MOST_VALUES]))
    return f"{shown},…" if len(values) > _MOST_VALUES else shown
