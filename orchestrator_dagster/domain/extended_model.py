"""A subscription as a dict for people and other systems: its dump, and the same with what stands around it."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import UUID

from orchestrator_dagster.domain.block import ProductBlockModel
from orchestrator_dagster.domain.conversion import blocks_of
from orchestrator_dagster.domain.customer_description import customer_descriptions
from orchestrator_dagster.domain.fields import fields_of
from orchestrator_dagster.domain.model import DomainModel
from orchestrator_dagster.domain.repository import current_repository
from orchestrator_dagster.domain.subscription import SubscriptionModel


def build_domain_model(subscription_model: SubscriptionModel) -> dict[str, Any]:
    """Return a subscription as a dict: all its fields and computed fields, and those of its blocks."""
    return subscription_model.model_dump()


def build_extended_domain_model(subscription_model: SubscriptionModel) -> dict[str, Any]:
    """Return a subscription as a dict, with what the database knows around it, in two statements.

    Args:
        subscription_model: the subscription.

    Returns:
        What `build_domain_model` returns; in each block `in_use_by_ids`, the ids of the blocks that use it directly,
        and `in_use_by_relations`, the same with the id of their subscription; and `customer_descriptions`.

    Example:
        ```python
        build_extended_domain_model(node)["node"]["in_use_by_ids"]
        ```
    """
    dump = build_domain_model(subscription_model)
    blocks: dict[UUID, list[dict[str, Any]]] = {}
    for block, block_dump in _blocks(subscription_model, dump):
        blocks.setdefault(block.subscription_instance_id, []).append(block_dump)
    users = current_repository().in_use_by(list(blocks))
    for block_id, dumps in blocks.items():
        relations = [
            {"subscription_instance_id": user.subscription_instance_id, "subscription_id": user.subscription_id}
            for user in users.get(block_id, ())
        ]
        for block_dump in dumps:
            block_dump["in_use_by_ids"] = [relation["subscription_instance_id"] for relation in relations]
            block_dump["in_use_by_relations"] = relations
    described = customer_descriptions(subscription_model.subscription_id)
    return dump | {"customer_descriptions": [asdict(description) for description in described]}


def _blocks(model: DomainModel, dump: dict[str, Any]) -> Iterator[tuple[ProductBlockModel, dict[str, Any]]]:
    """Yield the blocks of a model, each with its part of the dump; one that stands in several places has several."""
    waiting = [(model, dump)]
    while waiting:
        holder, part = waiting.pop()
        for at in fields_of(type(holder)).blocks.values():
            found = part.get(at.name)
            dumps = found if at.many else [found]
            for block, block_dump in zip(blocks_of(holder, at), dumps or (), strict=False):
                yield block, block_dump
                waiting.append((block, block_dump))
