"""The lists and searches that `docs/finding-subscriptions.md` names, each with other values every time it is asked."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from benchmarks.scale.numbers import some_tens, subscription_id

CITIES = ("Utrecht", "Rotterdam", "Groningen", "Eindhoven", "Delft", "Leiden", "Nijmegen", "Maastricht")
# A circuit, and the address of the node that its first end is connected to.
VALUES = text("""
    SELECT subscription.customer_id, circuit.values ->> 'circuit_name' AS circuit_name,
           node.values ->> 'loopback' AS loopback
    FROM orchestrator.subscriptions AS subscription
    JOIN orchestrator.subscription_instances AS circuit USING (subscription_id)
    JOIN orchestrator.subscription_instance_relations AS at_end
      ON at_end.in_use_by_id = circuit.subscription_instance_id AND at_end.position = 0
    JOIN orchestrator.subscription_instance_relations AS at_port ON at_port.in_use_by_id = at_end.depends_on_id
    JOIN orchestrator.subscription_instance_relations AS at_node
      ON at_node.in_use_by_id = at_port.depends_on_id AND at_node.attribute = 'node'
    JOIN orchestrator.subscription_instances AS node ON node.subscription_instance_id = at_node.depends_on_id
    WHERE subscription.subscription_id = ANY(:ids)
      AND circuit.attribute = 'circuit'
    ORDER BY subscription.subscription_id
""")


@dataclass(frozen=True)
class Question:
    """Something one asks of the subscriptions.

    Attributes:
        title: what it is.
        filters: the arguments of `wfo.subscriptions`, for a number that is another one each time.
        pages: how many pages are turned before the one that is measured.
    """

    title: str
    filters: Callable[[int], Mapping[str, Any]]
    pages: int = 0


@dataclass(frozen=True)
class Known:
    """Values that are in the database, from everywhere in it.

    Attributes:
        customers: of circuits.
        circuit_names: unique values.
        loopbacks: unique values of the nodes that those circuits use.
    """

    customers: Sequence[str]
    circuit_names: Sequence[str]
    loopbacks: Sequence[str]


def known_values(connection: Connection, size: int, count: int) -> Known:
    """Return so many values of each kind out of a database with so many subscriptions."""
    circuits = [subscription_id(number + 8) for number in some_tens(size, count)]
    rows = connection.execute(VALUES, {"ids": circuits}).all()
    asked = list(itertools.islice(itertools.cycle(rows), count))
    return Known(
        customers=[row.customer_id for row in asked],
        circuit_names=[row.circuit_name for row in asked],
        loopbacks=[row.loopback for row in asked],
    )


def questions(known: Known) -> tuple[Question, ...]:
    """Return the lists."""
    return (
        Question("newest first", lambda _: {}),
        Question("newest first, tenth page", lambda _: {}, pages=9),
        Question("by description", lambda _: {"sort": "description"}),
        Question("of a product", lambda n: {"product": f"Port {(1, 10, 100)[n % 3]}G"}),
        Question("of a product type and a status", lambda _: {"product_type": "Connection", "status": "provisioning"}),
        Question("of a tag, out of sync", lambda _: {"tag": "NODE", "insync": False}),
        Question("of a customer", lambda n: {"customer_id": known.customers[n]}),
        Question(
            "of a customer, two statuses, by start date",
            lambda n: {
                "customer_id": known.customers[n],
                "status": ["active", "provisioning"],
                "sort": "start_date",
            },
        ),
        Question("made in a week", lambda n: {"created_at": _week(n)}),
        Question("terminated in a week, last first", lambda n: {"end_date": _week(n), "sort": "-end_date"}),
        Question("unique value", lambda n: {"where": {"circuit.circuit_name": known.circuit_names[n]}}),
        Question("value that 30 % of nodes have", lambda _: {"where": {"node.site": "Amsterdam"}}),
        Question("value of few, and a status", lambda n: {"where": {"node.site": _city(n)}, "status": "disabled"}),
        Question("number in a range", lambda n: {"where": {"node.rack": {">=": n % 50, "<": n % 50 + 5}}}),
        Question("boolean, of a product", lambda _: {"where": {"node.managed": False}, "product": "Node Nokia"}),
        Question("member of a list", lambda n: {"where": {"port.allowed_vlans": {"contains": 200 + n}}}),
        Question("two values", lambda n: {"where": {"node.site": _city(n), "node.role": "core"}}),
        Question("value of a block that it uses", lambda n: {"where": {"port.node.loopback": known.loopbacks[n]}}),
        Question(
            "value three subscriptions away",
            lambda n: {"where": {"circuit.ends.port.node.loopback": known.loopbacks[n]}},
        ),
    )


def searches(known: Known) -> tuple[Question, ...]:
    """Return the full-text searches."""
    return (
        Question("rare word", lambda _: {"text": "wavelength"}),
        Question("unique word", lambda n: {"text": known.circuit_names[n]}),
        Question("common word", lambda _: {"text": "Amsterdam"}),
        Question("two words", lambda n: {"text": f"{_city(n)} telescope"}),
        Question("phrase", lambda _: {"text": '"student housing"'}),
        Question("prefix", lambda n: {"text": f"{_city(n)[:4].lower()}*"}),
        Question(
            "common word, filter and sort", lambda _: {"text": "Amsterdam", "status": "disabled", "sort": "-start_date"}
        ),
        Question("word and customer", lambda n: {"text": "telescope", "customer_id": known.customers[n]}),
    )


def _city(number: int) -> str:
    return CITIES[number % len(CITIES)]


def _week(number: int) -> tuple[datetime, datetime]:
    start = datetime(2020, 3, 1, tzinfo=UTC) + timedelta(weeks=number % 200)
    return start, start + timedelta(weeks=1)
