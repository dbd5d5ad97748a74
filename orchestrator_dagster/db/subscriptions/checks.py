"""What a save asks of the rest of the database before it writes."""

from collections.abc import Mapping, Sequence, Set
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from orchestrator_dagster.db.subscriptions import statements
from orchestrator_dagster.db.subscriptions.difference import Difference
from orchestrator_dagster.db.subscriptions.tree import Tree
from orchestrator_dagster.domain.repository import SubscriptionRecord
from orchestrator_dagster.errors import ModelError


def check_database(
    connection: Connection, record: SubscriptionRecord, difference: Difference, process_id: UUID | None
) -> None:
    """Check what a save says of the rest of the database: in one statement, or none if it says nothing new.

    One more is needed where a process works on a subscription that is going to be linked.

    Args:
        connection: the transaction.
        record: the subscription that is saved.
        difference: what is going to be written.
        process_id: the process that saves, if it is one.

    Raises:
        ModelError: the catalogue lacks the product or a block, a block belongs to another subscription, a linked block
            does not exist or is of a subscription that ends, or a removed block is in use.
    """
    if not difference.concerns_others:
        return
    found = connection.execute(
        statements.CHECK_SAVE,
        {
            "product_id": record.product.product_id,
            "unknown_blocks": sorted(difference.new_blocks | difference.new_links),
            "block_names": sorted(difference.new_block_names),
            "removed_blocks": list(difference.removed_blocks),
            "subscription_id": record.subscription_id,
        },
    ).one()
    owners = {UUID(block_id): UUID(owner) for block_id, owner in (found.owners or {}).items()}
    if not found.product_exists:
        raise ModelError(f"Product {record.product.name} ({record.product.product_id}) is not in the catalogue")
    if found.missing_block_names:
        raise ModelError(f"Not in the catalogue: product block {', '.join(found.missing_block_names)}")
    _check_new_blocks(record, difference.new_blocks, owners)
    _check_new_links(record, difference.new_links, owners)
    _check_not_ending(connection, record, process_id, found.terminated or [], found.holders or [])
    _check_removed(record, difference.before, found.users_of_removed or [])


def _check_new_blocks(record: SubscriptionRecord, new_blocks: Set[UUID], owners: Mapping[UUID, UUID]) -> None:
    for block_id in sorted(new_blocks & owners.keys()):
        raise ModelError(
            f"Block {block_id} belongs to subscription {owners[block_id]}; subscription {record.subscription_id} "
            "cannot take it over"
        )


def _check_new_links(record: SubscriptionRecord, new_links: Set[UUID], owners: Mapping[UUID, UUID]) -> None:
    not_given = sorted(block_id for block_id in new_links if owners.get(block_id) == record.subscription_id)
    if not_given:
        raise ModelError(f"Block {not_given[0]} of subscription {record.subscription_id} is linked but not given")
    missing = sorted(new_links - owners.keys())
    if missing:
        raise ModelError(
            f"Subscription {record.subscription_id} links blocks that do not exist: {', '.join(map(str, missing))}"
        )


def _check_not_ending(
    connection: Connection,
    record: SubscriptionRecord,
    process_id: UUID | None,
    terminated: Sequence[str],
    holders: Sequence[str],
) -> None:
    """Check that nothing is linked that is, or is about to be, terminated."""
    if terminated:
        raise ModelError(
            f"Subscription {record.subscription_id} links blocks of {', '.join(terminated)}, which is terminated"
        )
    if holders:
        parameters = {"holders": list(holders), "process_id": process_id}
        for ending in connection.execute(statements.TERMINATING, parameters):
            raise ModelError(
                f"Subscription {record.subscription_id} links blocks of {ending.subscription_id}, "
                f"which process {ending.process_id} is terminating"
            )


def _check_removed(record: SubscriptionRecord, before: Tree, users: Sequence[Sequence[Any]]) -> None:
    if users:
        in_the_way = sorted(
            f"block {before.blocks[UUID(block_id)].product_block_name} {block_id} is in use by subscription {user} "
            f"({description})"
            for block_id, user, description in users
        )
        raise ModelError(
            f"Subscription {record.subscription_id} cannot remove blocks that others use: {', '.join(in_the_way)}"
        )
