"""What Alembic runs: the revisions, inside the caller's transaction, on our own schema and nothing else."""

from alembic import context
from sqlalchemy import Connection

from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrations.scope import context_options
from orchestrator_dagster.db.tables import metadata


def run(connection: Connection) -> None:
    """Run what was asked of Alembic on a connection."""
    context.configure(connection=connection, target_metadata=metadata, **context_options())
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    # `alembic revision --autogenerate`, run by somebody who works on the package
    from orchestrator_dagster.db.url import database_url

    with engine_for(database_url()).connect() as own:
        run(own)
