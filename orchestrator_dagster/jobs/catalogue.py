"""The catalogue of a database that is used for the first time."""

from weakref import WeakSet

from sqlalchemy import Engine, select

from orchestrator_dagster.db.catalogue import apply
from orchestrator_dagster.db.tables import workflows
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration

_known_to_be_filled: WeakSet[Engine] = WeakSet()


def fill_if_empty(engine: Engine, declaration: CatalogueDeclaration) -> None:
    """Write the catalogue into a database that has none. Later changes of the code are applied on request only."""
    if engine in _known_to_be_filled:
        return
    with engine.begin() as connection:
        if connection.execute(select(workflows.c.workflow_id).limit(1)).first() is None:
            apply(connection, declaration)
    if declaration.workflows:
        _known_to_be_filled.add(engine)
