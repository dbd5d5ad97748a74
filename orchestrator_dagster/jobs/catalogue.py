"""The catalogue of an orchestrator: what its code declares, what its database has, and whether they go together."""

import getpass
from collections.abc import Callable
from functools import cached_property
from logging import getLogger
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.catalogue import following as stored
from orchestrator_dagster.db.catalogue.declared import DeclaredCatalogue, declared_catalogue
from orchestrator_dagster.db.catalogue.listing import CatalogueListing, list_catalogue
from orchestrator_dagster.db.catalogue.plan import CataloguePlan
from orchestrator_dagster.db.catalogue.record import newest_fingerprint
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration
from orchestrator_dagster.resources.database import Database

_log = getLogger(__name__)


class DatabaseCatalogue:
    """What `orchestrator.catalogue` gives: the products and workflows of the code, and those of the database.

    Example:
        >>> if plan := orchestrator.catalogue.plan():  # doctest: +SKIP
        ...     print(plan)
        ...     orchestrator.catalogue.apply()
    """

    def __init__(self, database: Database, declare: Callable[[], CatalogueDeclaration]) -> None:
        self._database = database
        self._declare = declare
        self._harmless: WeakKeyDictionary[Engine, str | None] = WeakKeyDictionary()

    def plan(self) -> CataloguePlan:
        """Return what `apply` would do: every difference, and what it means for subscriptions. Nothing is written.

        Raises:
            ConfigurationError: the declaration contradicts itself.
        """
        with self._database.engine.connect() as connection:
            return stored.plan(connection, self._declared)

    def apply(self, *, allow_data_loss: bool = False, force: bool = False, by: str | None = None) -> CataloguePlan:
        """Make the database follow the code, in one transaction: the catalogue, and what subscriptions have stored.

        Args:
            allow_data_loss: delete what is stored of fields and blocks that are not declared any more.
            force: go back to a catalogue that was applied before the newest one.
            by: on whose behalf. Default: the user of the operating system.

        Returns:
            What was done; it is false where there was nothing to do.

        Raises:
            CatalogueRefusedError: something is in the way, needs consent, or the database is ahead of the code.
            CatalogueBusyError: somebody is writing to some of the subscriptions that are to be changed.
            CatalogueDataError: a fill function failed, or blocks are in use that would have to go.
            ConfigurationError: the declaration contradicts itself.
        """
        with self._database.engine.begin() as connection:
            return stored.apply(
                connection, self._declared, allow_data_loss=allow_data_loss, force=force, by=by or _user()
            )

    def check(self) -> None:
        """Make sure that code and database go together; what differs and does no harm is logged as a warning.

        It is one small statement when all is well.

        Raises:
            ConfigurationError: they do not; the message says what differs and what to run.
        """
        with self._database.engine.connect() as connection:
            self._check(connection, newest_fingerprint(connection))

    def show(self) -> CatalogueListing:
        """Return what the database has."""
        with self._database.engine.connect() as connection:
            return list_catalogue(connection)

    def make_ready(self, engine: Engine) -> None:
        """Fill the catalogue of a database that has none; check that of any other.

        Raises:
            ConfigurationError: code and database do not go together.
        """
        with engine.begin() as connection:
            newest = newest_fingerprint(connection)
            if newest is None:
                stored.fill(connection, self._declared, by=_user())
                newest = newest_fingerprint(connection)
            self._check(connection, newest)

    @cached_property
    def _declared(self) -> DeclaredCatalogue:
        return declared_catalogue(self._declare())

    def _check(self, connection: Connection, newest: str | None) -> None:
        if newest == self._declared.fingerprint or self._harmless.get(connection.engine, "") == newest:
            return
        for line in stored.check(connection, self._declared):
            _log.warning("The catalogue in the database differs from the code: %s", line)
        self._harmless[connection.engine] = newest


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container may have a user without a name
        return "SYSTEM"
