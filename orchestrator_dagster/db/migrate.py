"""Bringing the schema of a database up to the code."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.schema import CreateSchema

from orchestrator_dagster.db.tables import SCHEMA
from orchestrator_dagster.errors import ConfigurationError

# Every process looks whether the schema is the right one, and hardly any has to change it: Alembic, and the folder of
# the migrations, are loaded by those that do.
if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE_COMMAND = "orchestrator-dagster db upgrade"

_NEWEST = "0007"

_HAS_REVISION = text("SELECT to_regclass('orchestrator.schema_revision') IS NOT NULL")
_REVISION = text("SELECT version_num FROM orchestrator.schema_revision")

_WAIT_FOR_OTHER_UPGRADES = text("SELECT pg_advisory_xact_lock(hashtext('orchestrator_dagster'), hashtext('upgrade'))")

# A role finds and creates tables in the schema of its own name first. Dagster would not find its tables in `public` any
# more once there is a schema `orchestrator`, and make new ones there, if that were also the name of its role.
_ROLE_NEEDS_SEARCH_PATH = text("""
    SELECT current_user = :schema
       AND NOT EXISTS (SELECT
                       FROM pg_db_role_setting AS setting, unnest(setting.setconfig) AS assignment
                       WHERE assignment LIKE 'search_path=%'
                         AND setting.setrole IN (0, current_user::regrole)
                         AND setting.setdatabase IN (0, (SELECT database.oid
                                                         FROM pg_database AS database
                                                         WHERE datname = current_database())))
""")
_SET_SEARCH_PATH = text("""
    DO $$ BEGIN
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET search_path = public', current_database());
    END $$
""")


def upgrade(engine: Engine) -> None:
    """Run the migrations that the database does not have yet, all of them in one transaction.

    Two at once are safe, and one that is killed leaves nothing behind.

    Raises:
        ConfigurationError: the database was upgraded by a newer version of the package.
    """
    if is_current(engine):
        return
    from alembic import command

    with engine.begin() as connection:
        connection.execute(_WAIT_FOR_OTHER_UPGRADES)
        _refuse_newer(_revision(connection))
        if not inspect(connection).has_schema(SCHEMA):
            connection.execute(CreateSchema(SCHEMA))
        command.upgrade(_config(connection), "head")
        _keep_others_out(connection)


def downgrade(engine: Engine, revision: str) -> None:
    """Undo the migrations after a revision; `base` undoes all of them and deletes everything that they made."""
    from alembic import command

    with engine.begin() as connection:
        connection.execute(_WAIT_FOR_OTHER_UPGRADES)
        command.downgrade(_config(connection), revision)


def current_revision(engine: Engine) -> str | None:
    """Return the revision of a database, `None` for one that was never migrated."""
    with engine.connect() as connection:
        return _revision(connection)


def newest_revision() -> str:
    """Return the revision that the code needs."""
    return _NEWEST


def is_current(engine: Engine) -> bool:
    """Whether the database has the schema that the code needs."""
    return current_revision(engine) == newest_revision()


def require_current(engine: Engine) -> None:
    """Check that the database has the schema that the code needs.

    Raises:
        ConfigurationError: it has not; the message says what to do.
    """
    revision = current_revision(engine)
    if revision == newest_revision():
        return
    _refuse_newer(revision)
    state = f"is at revision {revision}, the code needs {newest_revision()}" if revision else "has no tables yet"
    raise ConfigurationError(f"The database {state}. Run `{UPGRADE_COMMAND}`.")


def _keep_others_out(connection: Connection) -> None:
    if connection.scalar(_ROLE_NEEDS_SEARCH_PATH, {"schema": SCHEMA}):
        connection.execute(_SET_SEARCH_PATH)


def _refuse_newer(revision: str | None) -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is not None and revision not in known:
        raise ConfigurationError(
            f"The database is ahead of the code: it is at revision {revision}, the newest that the code knows is "
            f"{newest_revision()}. Install the version of orchestrator-dagster that upgraded it; "
            f"`{UPGRADE_COMMAND}` of this version cannot help."
        )


def _revision(connection: Connection) -> str | None:
    return connection.scalar(_REVISION) if connection.scalar(_HAS_REVISION) else None


def _config(connection: Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "orchestrator_dagster.db:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
