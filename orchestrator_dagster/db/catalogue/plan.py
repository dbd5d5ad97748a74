"""What applying the catalogue would do: every difference, and what it means for the subscriptions that are stored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from orchestrator_dagster.db.catalogue.comparison import differences
from orchestrator_dagster.db.catalogue.data.operations import Operation
from orchestrator_dagster.db.catalogue.data.selection import Affected
from orchestrator_dagster.db.catalogue.declared import DeclaredCatalogue
from orchestrator_dagster.db.catalogue.difference import ChangeKind, Difference, Effect, Verdict
from orchestrator_dagster.db.catalogue.record import AppliedCatalogue, applied_ahead_of, newest_fingerprint
from orchestrator_dagster.db.catalogue.rows import read_catalogue

_DESCRIPTIONS = text("""
    SELECT subscription_id, description
    FROM orchestrator.subscriptions
    WHERE subscription_id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True)
class Consequence:
    """What a change means for subscriptions that are stored.

    Attributes:
        says: what apply does to them, or what to do about them first.
        affected: how many there are, and up to ten of them.
        verdict: whether apply does it, needs consent for it, or refuses.
        descriptions: of those that are named.
    """

    says: str
    affected: Affected
    verdict: Verdict
    descriptions: Mapping[UUID, str] = field(default_factory=dict)

    def __str__(self) -> str:
        count, ids = self.affected.count, self.affected.subscription_ids
        named = ", ".join(f"{key} {self.descriptions[key]}" if key in self.descriptions else f"{key}" for key in ids)
        more = ", …" if count > len(ids) else ""
        return f"{count} subscription{'' if count == 1 else 's'}: {self.says} ({named}{more})"


@dataclass(frozen=True)
class CatalogueChange:
    """One difference between code and database, and what it means for subscriptions.

    Attributes:
        kind: added, removed, changed or renamed.
        title: what differs, as in `product block Node: field rack`.
        says: how it differs.
        harmless: code that does not know of it can go on.
        consequences: what it means, one for each thing that happens to some subscriptions.
        refusal: why it cannot be done, whatever is stored.
    """

    kind: ChangeKind
    title: str
    says: str
    harmless: bool = False
    consequences: tuple[Consequence, ...] = ()
    refusal: str | None = None

    @property
    def affected(self) -> int:
        """How many subscriptions it concerns, those of the consequence that concerns most."""
        return max((consequence.affected.count for consequence in self.consequences), default=0)

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {self.says}", *(f"    {told}" for told in self.consequences)])

    def lines_for(self, verdict: Verdict) -> Iterator[str]:
        """Yield its consequences of one kind."""
        yield from (f"{self.title}: {told}" for told in self.consequences if told.verdict is verdict)


@dataclass(frozen=True)
class CataloguePlan:
    """What applying the catalogue would do, or did. It is true where there is something to do; its text says what.

    Attributes:
        changes: every difference between code and database.
        ahead: the catalogue that was applied after that of the code, where the database is ahead of the code.
        unrecorded: the database does not know that it follows this code, even if nothing differs.
        operations: what is done to stored data.
    """

    changes: tuple[CatalogueChange, ...]
    ahead: AppliedCatalogue | None = None
    unrecorded: bool = False
    operations: tuple[Operation, ...] = field(default=(), repr=False)

    @property
    def refusals(self) -> tuple[str, ...]:
        """What keeps it from being applied: each with the subscriptions in the way, and what to declare or do."""
        lines = [line for change in self.changes for line in change.lines_for(Verdict.REFUSED)]
        return (*(change.refusal for change in self.changes if change.refusal), *lines)

    @property
    def consents(self) -> tuple[str, ...]:
        """What deletes data, and is done with consent only."""
        return tuple(line for change in self.changes for line in change.lines_for(Verdict.CONSENT))

    @property
    def lines(self) -> tuple[str, ...]:
        """Each change in a line."""
        return tuple(f"{change.title}: {change.says}" for change in self.changes)

    def __bool__(self) -> bool:
        return bool(self.changes) or self.unrecorded

    def __str__(self) -> str:
        parts = [*map(str, self.changes)]
        if not self.changes:
            parts += [_UNRECORDED if self.unrecorded else _NOTHING]
        if self.ahead:
            parts += ["", f"The database is ahead of the code: a newer catalogue was applied {self.ahead}."]
        if self.refusals:
            parts += ["", "Refused:", *_indented(self.refusals)]
        if self.consents:
            parts += ["", "Deletes data, and needs consent:", *_indented(self.consents)]
        return "\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, for programs."""
        return {
            "changes": [_change_json(change) for change in self.changes],
            "refusals": list(self.refusals),
            "consents": list(self.consents),
            "ahead": str(self.ahead) if self.ahead else None,
            "something_to_do": bool(self),
        }


_NOTHING = "Nothing to do: the database follows the code."
_UNRECORDED = "Nothing differs; apply records that the database follows this code, and the types of its fields."


def make_plan(connection: Connection, declared: DeclaredCatalogue) -> CataloguePlan:
    """Return what applying a catalogue would do; nothing is written."""
    found = differences(declared, read_catalogue(connection))
    asked = [_asked(connection, difference) for difference in found]
    wanted = [(difference, answers) for difference, answers in asked if answers or not difference.only_if_concerned]
    named = _descriptions(connection, (affected for _, answers in wanted for _, affected in answers))
    return CataloguePlan(
        changes=tuple(_change(difference, answers, named) for difference, answers in wanted),
        ahead=applied_ahead_of(connection, declared.fingerprint),
        unrecorded=newest_fingerprint(connection) != declared.fingerprint,
        operations=tuple(effect.operation for _, answers in wanted for effect, _ in answers if effect.operation),
    )


_Answers = Sequence[tuple[Effect, Affected]]


def _asked(connection: Connection, difference: Difference) -> tuple[Difference, _Answers]:
    """Return a difference with those of its effects that concern subscriptions."""
    answers = [(effect, effect.question.affected(connection)) for effect in difference.effects]
    return difference, [(effect, affected) for effect, affected in answers if affected.count]


def _change(difference: Difference, answers: _Answers, descriptions: Mapping[UUID, str]) -> CatalogueChange:
    return CatalogueChange(
        kind=difference.kind,
        title=difference.title,
        says=difference.says,
        harmless=difference.harmless and not answers,
        consequences=tuple(
            Consequence(effect.says, affected, effect.verdict, _of(affected, descriptions))
            for effect, affected in answers
        ),
        refusal=difference.refusal,
    )


def _descriptions(connection: Connection, affected: Iterable[Affected]) -> Mapping[UUID, str]:
    ids = sorted({str(key) for found in affected for key in found.subscription_ids})
    rows = connection.execute(_DESCRIPTIONS, {"ids": ids}).all() if ids else []
    return {row.subscription_id: row.description for row in rows}


def _of(affected: Affected, descriptions: Mapping[UUID, str]) -> Mapping[UUID, str]:
    return {key: descriptions[key] for key in affected.subscription_ids if key in descriptions}


def _indented(lines: Iterable[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines)


def _change_json(change: CatalogueChange) -> dict[str, Any]:
    return {
        "kind": change.kind.value,
        "title": change.title,
        "says": change.says,
        "refusal": change.refusal,
        "consequences": [
            {
                "says": told.says,
                "verdict": told.verdict.value,
                "count": told.affected.count,
                "subscriptions": [str(key) for key in told.affected.subscription_ids],
            }
            for told in change.consequences
        ],
    }
