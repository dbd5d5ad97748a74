"""Where the catalogue in the database differs from what a model of subscriptions declares."""

from collections.abc import Iterable, Mapping, Set
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from orchestrator_dagster.db.catalogue.models import BlockType, children_of, name_of, roots_of, variants_of
from orchestrator_dagster.domain.subscription import SubscriptionModel

# The product, and the blocks of the given names, whether they belong to the product or not.
STORED_PRODUCT = text("""
    SELECT product.name,
           ARRAY(SELECT name FROM orchestrator.fixed_inputs WHERE product_id = :product_id) AS fixed_inputs,
           ARRAY(SELECT block.name
                 FROM orchestrator.product_product_blocks AS link
                 JOIN orchestrator.product_blocks AS block USING (product_block_id)
                 WHERE link.product_id = :product_id) AS blocks,
           (SELECT json_object_agg(block.name, json_build_object(
                       'resource_types',
                       ARRAY(SELECT resource_type.resource_type
                             FROM orchestrator.product_block_resource_types AS link
                             JOIN orchestrator.resource_types AS resource_type USING (resource_type_id)
                             WHERE link.product_block_id = block.product_block_id),
                       'blocks',
                       ARRAY(SELECT other.name
                             FROM orchestrator.product_block_relations AS link
                             JOIN orchestrator.product_blocks AS other ON other.product_block_id = link.depends_on_id
                             WHERE link.in_use_by_id = block.product_block_id)))
            FROM orchestrator.product_blocks AS block
            WHERE block.name = ANY(:names)) AS known
    FROM orchestrator.products AS product
    WHERE product.product_id = :product_id
""")

_NAMES = {"blocks": "product_blocks", "fixed_inputs": "fixed_inputs", "resource_types": "resource_types"}


def product_difference(connection: Connection, model: type[SubscriptionModel], product_id: UUID) -> dict[str, Any]:
    """Return what only one of the database and a model has, by the product's name; empty if there is nothing.

    Args:
        connection: where to look.
        model: any class of the subscriptions to the product; the other classes of its family count as well.
        product_id: the product.
    """
    blocks = _declared_blocks(model)
    parameters = {"product_id": product_id, "names": list(blocks)}
    stored = connection.execute(STORED_PRODUCT, parameters).one_or_none()
    if stored is None:
        return {}
    known = stored.known or {}
    below = {name: found for name, declared in blocks.items() if (found := _difference(declared, known.get(name, {})))}
    difference = _difference(
        {"blocks": set(map(name_of, roots_of(model))), "fixed_inputs": _fixed_inputs(model)},
        {"blocks": stored.blocks, "fixed_inputs": stored.fixed_inputs},
    )
    if below:
        difference["missing_in_depends_on_blocks"] = below
    return {stored.name: difference} if difference else {}


def _difference(declared: Mapping[str, Set[str]], stored: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    found = {}
    for kind, names in declared.items():
        present = set(stored.get(kind, ()))
        found[f"missing_{_NAMES[kind]}_in_db"] = set(names - present)
        found[f"missing_{_NAMES[kind]}_in_model"] = present - names
    return {key: names for key, names in found.items() if names}


def _fixed_inputs(model: type[SubscriptionModel]) -> set[str]:
    return {name for variant in variants_of(model) for name in variant.fixed_input_fields()}


def _declared_blocks(model: type[SubscriptionModel]) -> dict[str, dict[str, set[str]]]:
    """Return the values and the blocks of every block that a model can hold at any depth, by name."""
    declared: dict[str, dict[str, set[str]]] = {}
    waiting: list[BlockType] = list(roots_of(model))
    while waiting:
        block = waiting.pop()
        if name_of(block) in declared:
            continue
        family = variants_of(block)
        children = [child for variant in family for child in children_of(variant)]
        declared[name_of(block)] = {
            "resource_types": {key for variant in family for key in variant.value_fields()},
            "blocks": set(map(name_of, children)),
        }
        waiting += children
    return declared
