"""When the catalogue was made to follow the code, by whom, and which code that was."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.version import __version__

NEWEST = text("""
    SELECT applied_at, applied_by, package_version, fingerprint, plan
    FROM orchestrator.catalogue_changes
    ORDER BY change_id DESC
    LIMIT 1
""")

NEWEST_FINGERPRINT = text("SELECT fingerprint FROM orchestrator.catalogue_changes ORDER BY change_id DESC LIMIT 1")

WAS_APPLIED = text("SELECT EXISTS (SELECT FROM orchestrator.catalogue_changes WHERE fingerprint = :fingerprint)")

RECORD = text("""
    INSERT INTO orchestrator.catalogue_changes (applied_by, package_version, fingerprint, plan)
    VALUES (:applied_by, :package_version, :fingerprint, CAST(:plan AS jsonb))
""")


@dataclass(frozen=True)
class AppliedCatalogue:
    """One time that the catalogue was made to follow the code.

    Attributes:
        package_version: the version of this package that did it.
        fingerprint: of the catalogue that the code declared.
        plan: what was done, a line each.
    """

    applied_at: datetime
    applied_by: str
    package_version: str
    fingerprint: str
    plan: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.applied_at:%Y-%m-%d %H:%M:%S %Z} by {self.applied_by}"


def newest_fingerprint(connection: Connection) -> str | None:
    """Return the fingerprint of the catalogue that was applied last; `None` where none was recorded."""
    newest: str | None = connection.scalar(NEWEST_FINGERPRINT)
    return newest


def newest_applied(connection: Connection) -> AppliedCatalogue | None:
    """Return the last time that a catalogue was applied."""
    row = connection.execute(NEWEST).one_or_none()
    return AppliedCatalogue(**{**row._mapping, "plan": tuple(row.plan)}) if row else None


def applied_ahead_of(connection: Connection, fingerprint: str) -> AppliedCatalogue | None:
    """Return the newest catalogue, if the one with a fingerprint was applied some time before it."""
    newest = newest_applied(connection)
    if newest is None or newest.fingerprint == fingerprint:
        return None
    return newest if connection.scalar(WAS_APPLIED, {"fingerprint": fingerprint}) else None


def record_applied(connection: Connection, *, by: str, fingerprint: str, plan: Sequence[str]) -> None:
    """Record that a catalogue was applied."""
    parameters = {"applied_by": by, "package_version": __version__, "fingerprint": fingerprint}
    connection.execute(RECORD, parameters | {"plan": to_json(list(plan))})
