"""The catalogue follows the code: what differs, and making the database follow."""

from sqlalchemy import Connection

from orchestrator_dagster.db.catalogue.comparison import differences
from orchestrator_dagster.db.catalogue.data.locks import patient
from orchestrator_dagster.db.catalogue.data.operations import apply_all
from orchestrator_dagster.db.catalogue.declared import DeclaredCatalogue, declared_catalogue
from orchestrator_dagster.db.catalogue.entries import Catalogue, LinkShape
from orchestrator_dagster.db.catalogue.plan import CataloguePlan, make_plan
from orchestrator_dagster.db.catalogue.record import applied_ahead_of, newest_fingerprint, record_applied
from orchestrator_dagster.db.catalogue.renames import Renames, renames_to_do
from orchestrator_dagster.db.catalogue.rows import read_catalogue, rename_rows, write_catalogue
from orchestrator_dagster.db.catalogue.statements import LOCK
from orchestrator_dagster.db.subscriptions.writer import Author
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration
from orchestrator_dagster.errors import CatalogueRefusedError, ConfigurationError

APPLY_COMMAND = "orchestrator-dagster catalogue apply"

_SHOWN = 10

Declared = CatalogueDeclaration | DeclaredCatalogue


def plan(connection: Connection, declaration: Declared) -> CataloguePlan:
    """Return what `apply` would do, without doing it.

    Raises:
        ConfigurationError: the declaration contradicts itself.
    """
    return make_plan(connection, _declared(declaration))


def apply(
    connection: Connection,
    declaration: Declared,
    *,
    allow_data_loss: bool = False,
    force: bool = False,
    by: str = "SYSTEM",
) -> CataloguePlan:
    """Make the catalogue of the database, and what is stored of subscriptions, follow the code.

    Two that do this at once wait for each other, and the second finds nothing to do. Subscriptions whose data changes
    are locked in the order of their ids; a step that loaded one before cannot save it after that.

    Args:
        connection: the transaction; all is done in it or nothing.
        declaration: what the code declares.
        allow_data_loss: delete what is stored of fields and blocks that are not declared any more.
        force: go back to a catalogue that was applied before the newest one.
        by: on whose behalf, as the record and the history of subscriptions say.

    Returns:
        What was done.

    Raises:
        CatalogueRefusedError: something is in the way, needs consent, or the database is ahead of the code; its `plan`
            has it all.
        CatalogueBusyError: somebody is writing to some of the subscriptions.
        CatalogueDataError: a fill function failed, or blocks are in use that would have to go.
        ConfigurationError: the declaration contradicts itself.
    """
    declared = _declared(declaration)
    connection.execute(LOCK)
    found = make_plan(connection, declared)
    _require_possible(found, allow_data_loss=allow_data_loss, force=force)
    if found:
        with patient(connection):
            _do(connection, declared, found, by)
    return found


def fill(connection: Connection, declaration: Declared, *, by: str = "SYSTEM") -> None:
    """Make the catalogue of a database that has none that of the code. Of two that do this at once, the first does."""
    connection.execute(LOCK)
    if newest_fingerprint(connection) is None and not read_catalogue(connection):
        apply(connection, declaration, by=by)


def check(connection: Connection, declaration: Declared) -> list[str]:
    """Check that code and database go together.

    Returns:
        What differs and does no harm: descriptions, the status of products, what is not declared any more.

    Raises:
        ConfigurationError: they do not; the message says what differs and what to run.
    """
    declared = _declared(declaration)
    if newest_fingerprint(connection) == declared.fingerprint:
        return []
    found = list(differences(declared, read_catalogue(connection)))
    harmful = [f"{one.title}: {one.says}" for one in found if not (one.harmless or one.only_if_concerned)]
    if harmful:
        raise ConfigurationError(_mismatch(connection, declared, harmful))
    return [f"{one.title}: {one.says}" for one in found if one.harmless]


def _declared(declaration: Declared) -> DeclaredCatalogue:
    return declaration if isinstance(declaration, DeclaredCatalogue) else declared_catalogue(declaration)


def _do(connection: Connection, declared: DeclaredCatalogue, found: CataloguePlan, by: str) -> None:
    stored = read_catalogue(connection)
    renames = renames_to_do(declared, stored)
    rename_rows(connection, renames)
    lists = _lists(declared.entries, stored, renames)
    apply_all(connection, found.operations, Author(changed_by=by), lists=lists)
    write_catalogue(connection, declared.entries)
    record_applied(connection, by=by, fingerprint=declared.fingerprint, plan=found.lines)


def _require_possible(found: CataloguePlan, *, allow_data_loss: bool, force: bool) -> None:
    if found.ahead and not force:
        raise CatalogueRefusedError(
            f"The database is ahead of the code: a newer catalogue was applied {found.ahead}. Run the code that it is "
            f"from; or, to go back to this one, `{APPLY_COMMAND} --force`, which does this:\n{found}",
            plan=found,
        )
    if found.refusals:
        raise CatalogueRefusedError(f"The catalogue cannot be applied:\n{found}", plan=found)
    if found.consents and not allow_data_loss:
        raise CatalogueRefusedError(
            f"Applying the catalogue deletes data; run `{APPLY_COMMAND} --allow-data-loss` if that is right:\n{found}",
            plan=found,
        )


def _mismatch(connection: Connection, declared: DeclaredCatalogue, harmful: list[str]) -> str:
    shown = [*harmful[:_SHOWN], f"and {len(harmful) - _SHOWN} more"] if len(harmful) > _SHOWN else harmful
    lines = "".join(f"\n  {line}" for line in shown)
    ahead = applied_ahead_of(connection, declared.fingerprint)
    if ahead:
        return (
            f"The database is ahead of the code: a newer catalogue was applied {ahead}. Run the code that it is from. "
            f"What this code has otherwise:{lines}"
        )
    return f"The catalogue in the database does not follow the code. Run `{APPLY_COMMAND}`, which does this:{lines}"


def _lists(declared: Catalogue, stored: Catalogue, renames: Renames) -> frozenset[tuple[str, str]]:
    """Return the fields that hold lists of blocks, before and after: the name of the holder then, and the field's."""
    before = (
        (names.get(name, name), entry.fields)
        for names, entries in ((renames.products, stored.products), (renames.blocks, stored.blocks))
        for name, entry in entries.items()
    )
    after = (
        (name, entry.fields) for entries in (declared.products, declared.blocks) for name, entry in entries.items()
    )
    return frozenset(
        (holder, name)
        for holder, shapes in (*before, *after)
        for name, shape in (shapes or {}).items()
        if isinstance(shape, LinkShape) and shape.many
    )
