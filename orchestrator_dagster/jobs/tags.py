"""The tags by which Dagit finds the runs of a process."""

from collections.abc import Mapping, Sequence
from logging import Logger
from uuid import UUID

from dagster import DagsterInstance, DagsterRun

from orchestrator_dagster.domain.process import Concerned

PREFIX = "orchestrator/"
PROCESS_ID = f"{PREFIX}process_id"
WORKFLOW = f"{PREFIX}workflow"
TARGET = f"{PREFIX}target"
PRODUCT = f"{PREFIX}product"
SUBSCRIPTION_ID = f"{PREFIX}subscription_id"
CUSTOMER_ID = f"{PREFIX}customer_id"
STATUS = f"{PREFIX}status"
WAITS_FOR = f"{PREFIX}waits_for"
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


def inherited_from_another(process_id: UUID, run_tags: Mapping[str, str]) -> dict[str, str]:
    """Return what takes back the tags of another process that a run has from the run that it re-executes."""
    return {} if run_tags.get(PROCESS_ID) == str(process_id) else without_process(run_tags)


def about(process_id: UUID, concerned: Concerned) -> dict[str, str]:
    """Return the tags that say which process it is, and whose subscriptions it works on."""
    found = {
        PROCESS_ID: str(process_id),
        PRODUCT: min(concerned.products, default=""),
        SUBSCRIPTION_ID: joined(concerned.subscription_ids),
        CUSTOMER_ID: joined(sorted(concerned.customer_ids)),
    }
    return {tag: value for tag, value in found.items() if value}


def joined(values: Sequence[object]) -> str:
    """Return several values as the text of one tag: as many as Dagster's index of tags can take."""
    shown = ",".join(map(str, values[:_MOST_VALUES]))
    return f"{shown},…" if len(values) > _MOST_VALUES else shown


class RunTags:
    """The tags of a run, which are written as seldom as that does: each time costs Dagster several statements.

    They help people to find the run; that they cannot be written must not stop a process.

    Args:
        run: the run as it was when it began.
        instance: where its tags are.
        log: what is told when they cannot be written.

    Attributes:
        at_first: the tags that the run had then, some of them inherited.
    """

    def __init__(self, run: DagsterRun, instance: DagsterInstance, log: Logger | None) -> None:
        self._run_id = run.run_id
        self._instance = instance
        self._log = log
        self.at_first: Mapping[str, str] = dict(run.tags)
        self._written = dict(run.tags)

    def write(self, tags: Mapping[str, str]) -> None:
        """Write those of the tags that the run doesn't have yet."""
        new = {tag: value for tag, value in tags.items() if self._written.get(tag) != value}
        if not new:
            return
        try:
            self._instance.add_run_tags(self._run_id, new)
            self._written |= new
        except Exception as error:
            if self._log:
                self._log.warning(f"The run's tags could not be written: {error}")
