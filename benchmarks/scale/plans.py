"""How Postgres executes a statement: the indexes it uses, and the tables it reads from end to end."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from benchmarks.scale.measured import Sent

# The others have as many rows as there are products and blocks in the code.
BIG_TABLES = frozenset(
    {
        "subscriptions",
        "subscription_instances",
        "subscription_instance_relations",
        "subscription_search",
        "subscription_versions",
    }
)


@dataclass(frozen=True)
class Plan:
    """What matters of a plan.

    Attributes:
        indexes: how each index is read, in the order of the plan: `Index Scan using ix_...`.
        read_whole: the big tables that are read from end to end.
    """

    indexes: tuple[str, ...]
    read_whole: tuple[str, ...]

    def __str__(self) -> str:
        whole = (f"Seq Scan on {table}!" for table in self.read_whole)
        return ", ".join([*whole, *self.indexes])


def plan_of(engine: Engine, sent: Sent) -> Plan:
    """Return the plan of a statement, which is not executed."""
    with engine.connect() as connection:
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sent.statement}", sent.parameters).scalar_one()
    found = explained if isinstance(explained, list) else json.loads(explained)
    nodes = list(_nodes(found[0]["Plan"]))
    indexes = (f"{node['Node Type']} using {node['Index Name']}" for node in nodes if "Index Name" in node)
    whole = (node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan")
    return Plan(tuple(dict.fromkeys(indexes)), tuple(table for table in dict.fromkeys(whole) if table in BIG_TABLES))


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
