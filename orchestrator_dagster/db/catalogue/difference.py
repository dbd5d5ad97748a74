"""One difference between code and database, and what it means for what is stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator_dagster.db.catalogue.data.operations import Operation
from orchestrator_dagster.db.catalogue.questions import Question


class ChangeKind(StrEnum):
    """What happens to an entry of the catalogue, or to a part of one."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"


class Verdict(StrEnum):
    """What it means that stored subscriptions are concerned."""

    TOLD = "told"
    CONSENT = "consent"
    REFUSED = "refused"


@dataclass(frozen=True)
class Effect:
    """What a difference means for stored subscriptions, if it concerns some.

    Attributes:
        question: which ones it concerns, asked under the names that the database has now.
        verdict: whether that is all right.
        says: what happens to them, or what to do about them.
        operation: what is done to them, under the names that the database has then.
    """

    question: Question
    verdict: Verdict
    says: str
    operation: Operation | None = None


@dataclass(frozen=True)
class Difference:
    """One difference between what is declared and what is stored.

    Attributes:
        title: what differs, as in `product block Node: field rack`.
        says: how it differs.
        harmless: code that does not know of it can go on.
        effects: what it means for stored subscriptions.
        only_if_concerned: there is no difference where no subscription is concerned.
        refusal: why it cannot be done, whatever is stored.
    """

    kind: ChangeKind
    title: str
    says: str
    harmless: bool = False
    effects: tuple[Effect, ...] = ()
    only_if_concerned: bool = False
    refusal: str | None = None


Differences = Iterator[Difference]
