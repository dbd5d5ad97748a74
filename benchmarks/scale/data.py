"""A database with as many subscriptions as one likes; `python -m benchmarks.scale.data URL COUNT` makes one."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, text

from benchmarks.progress import say
from benchmarks.scale import data_statements as statements
from benchmarks.scale.products import make_orchestrator
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrate import upgrade
from orchestrator_dagster.db.url import normalise_url

FEWEST = 100
TREE_SIZES = (1, 10, 100, 500)
TREES = 30
CUSTOMERS = 5_000

TABLES = ("subscriptions", "subscription_instances", "subscription_instance_relations", "subscription_versions")
SEARCH_TABLES = ("subscription_search",)

ROWS = (
    statements.SUBSCRIPTIONS,
    statements.NODES,
    statements.PORTS,
    statements.CHANNELS,
    statements.CIRCUITS,
    statements.ENDS,
    statements.RELATIONS,
    statements.VERSIONS,
    statements.TREE_SUBSCRIPTIONS,
    statements.TREE_BLOCKS,
    statements.TREE_RELATIONS,
    statements.TREE_VERSIONS,
)


def make_database(url: str, count: int, trees: int = TREES) -> None:
    """Give an empty database our schema, the catalogue of `products.py` and subscriptions.

    Args:
        url: an account that owns the server: triggers are off while the rows are written.
        count: how many subscriptions of one to three blocks; at least 100.
        trees: how many chassis there are of each size in `TREE_SIZES`.
    """
    if count < FEWEST:
        raise ValueError(f"At least {FEWEST} subscriptions are needed, so that each finds others to use")
    engine = engine_for(normalise_url(url))
    upgrade(engine)
    make_orchestrator(url).catalogue.apply(by="benchmark")
    sizes = [size for size in TREE_SIZES for _ in range(trees)]
    given = {"count": count, "customers": min(CUSTOMERS, count // 20), "sizes": sizes}
    _fill(engine, TABLES, (statements.FUNCTIONS, statements.FACTS, statements.TREES, *ROWS), given)
    # the documents are put together by index, which needs statistics
    _vacuum(engine)
    _fill(engine, SEARCH_TABLES, (statements.SEARCH,), {})
    _vacuum(engine)
    say(f"{count:,} subscriptions are ready")


def _fill(engine: Engine, tables: Sequence[str], rows: Sequence[TextClause], given: Mapping[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(statements.WITHOUT_TRIGGERS)
        connection.execute(statements.MEMORY)
        with _indexes_made_anew(connection, tables):
            for statement in rows:
                connection.execute(statement, given)
            say("   rows are written; now the indexes")


@contextmanager
def _indexes_made_anew(connection: Connection, tables: Sequence[str]) -> Iterator[None]:
    indexes = connection.execute(statements.SECONDARY_INDEXES, {"tables": list(tables)}).all()
    for index in indexes:
        connection.execute(text(f"DROP INDEX {index.name}"))
    yield
    for index in indexes:
        connection.exec_driver_sql(index.definition)


def _vacuum(engine: Engine) -> None:
    """Leave the database as autovacuum would, some time later: with statistics and a visibility map."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE)"))


if __name__ == "__main__":
    make_database(sys.argv[1], int(sys.argv[2]))
