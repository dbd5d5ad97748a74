"""Load and save trees by the domain models of orchestrator-core; print seconds and statements as JSON.

The arguments are how many subscriptions there are, how many of them are trees of ten blocks, and how many rounds.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import main  # noqa: F401 - opens the database
from catalogue import block
from orchestrator.core.db import ProductTable, db
from orchestrator.core.db.models import ProductBlockRelationTable
from orchestrator.core.domain import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator.core.types import SubscriptionLifecycle
from sqlalchemy import event, text
from workload.chassis import CardBlock, Chassis, ShelfBlock, change_deepest

SHELVES, CARDS = 3, 6
sent: list[str] = []


def write_catalogue() -> UUID:
    chassis, shelf, card = (
        block("Chassis", "chassis_name", "generation"),
        block("Shelf", "shelf_name", "height"),
        block("Card", "serial", "slot", "working"),
    )
    relations = [
        ProductBlockRelationTable(in_use_by=chassis, depends_on=shelf, min=0, max=None),
        ProductBlockRelationTable(in_use_by=shelf, depends_on=card, min=0, max=None),
    ]
    facts = {"description": "Chassis", "product_type": "Chassis", "tag": "CHASSIS", "status": "active"}
    product = ProductTable(name="Chassis", product_blocks=[chassis], workflows=[], **facts)
    with db.database_scope():
        db.session.add_all([*relations, product])
        db.session.commit()
        product_id: UUID = product.product_id
    SUBSCRIPTION_MODEL_REGISTRY["Chassis"] = Chassis
    return product_id


def make_tree(product_id: UUID, shelves: int, cards: int) -> UUID:
    with db.database_scope():
        tree = Chassis.from_product_id(product_id, "trees", SubscriptionLifecycle.ACTIVE)
        tree.chassis.chassis_name = "chassis"
        owner = tree.subscription_id
        tree.chassis.shelves = [
            ShelfBlock.new(
                owner,
                shelf_name=f"shelf {shelf}",
                height=1,
                cards=[
                    CardBlock.new(owner, serial=f"{shelf} {card}", slot=card, working=True)
                    for card in range(shelf, cards, shelves)
                ],
            )
            for shelf in range(shelves)
        ]
        tree.save()
        db.session.commit()
    return UUID(str(owner))


def timed(samples: dict[str, list[float]], call: Callable[[], Any]) -> Any:
    sent.clear()
    started = time.perf_counter()
    result = call()
    samples["seconds"].append(time.perf_counter() - started)
    samples["statements"].append(len(sent))
    return result


def block_count(tree: Chassis) -> int:
    return 1 + len(tree.chassis.shelves) + sum(len(shelf.cards) for shelf in tree.chassis.shelves)


def save_and_commit(tree: Chassis) -> None:
    tree.save()
    db.session.commit()


def measure(count: int, trees: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    product_id = write_catalogue()
    ids = {
        1: [make_tree(product_id, 0, 0) for _ in range(count - trees)][:trees],
        10: [make_tree(product_id, SHELVES, CARDS) for _ in range(trees)],
    }
    with db.database_scope():
        # what autovacuum would do some time later; our database has its statistics too
        db.session.execute(text("ANALYZE"))
        db.session.commit()
    event.listen(db.engine, "before_cursor_execute", lambda _c, _u, statement, *_: sent.append(statement))
    loads: dict[int, dict[str, list[float]]] = {blocks: {"seconds": [], "statements": []} for blocks in ids}
    saves: dict[int, dict[str, list[float]]] = {blocks: {"seconds": [], "statements": []} for blocks in ids}
    for number in range(rounds + 1):
        for blocks, of_size in ids.items():
            for subscription_id in of_size:
                with db.database_scope():
                    tree = timed(loads[blocks], lambda found=subscription_id: Chassis.from_subscription(found))
                    assert block_count(tree) == blocks, "the tree did not load whole"
                    change_deepest(tree)
                    timed(saves[blocks], lambda changed=tree: save_and_commit(changed))
        if not number:
            # the first round is for warming up
            for samples in (*loads.values(), *saves.values()):
                for values in samples.values():
                    values.clear()
    titled = {f"load, {blocks} blocks": samples for blocks, samples in loads.items()}
    return titled | {f"save one change, {blocks} blocks": samples for blocks, samples in saves.items()}


print(json.dumps(measure(*map(int, sys.argv[1:]))))
