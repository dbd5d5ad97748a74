"""Applies a catalogue and stops at a moment, for a test to kill it there: `applying.py URL MOMENT`."""

import sys
from typing import Annotated

from orchestrator_dagster import ProductBlockModel, SubscriptionModel
from orchestrator_dagster.db.catalogue import following as catalogue
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration
from orchestrator_dagster.domain.stored import Stored, StoredBlock

URL, MOMENT = sys.argv[1:]


def wait_to_be_killed() -> None:
    sys.stdout.write("ready to be killed\n")
    sys.stdout.flush()
    sys.stdin.read()


def serial_number(block: StoredBlock) -> str:
    if MOMENT == "while it fills":
        wait_to_be_killed()
    return f"{block.subscription_instance_id}"


class FanBlock(ProductBlockModel, product_block_name="Fan"):
    speed: int = 1


class RackBlock(ProductBlockModel, product_block_name="Cupboard", renamed_from="Rack"):
    place: Annotated[str | None, Stored(renamed_from="cabinet")] = None
    height: str | None = None
    serial_number: Annotated[str, Stored(fill=serial_number)]
    fans: list[FanBlock] = []


class Rack(SubscriptionModel, is_base=True):
    doors: int = 2
    rack: RackBlock


product = ProductDeclaration("Cupboard", Rack, "A cupboard", "Rack", "RACK", renamed_from=("Rack",))
with engine_for(URL).begin() as connection:
    catalogue.apply(connection, CatalogueDeclaration(products=(product,), workflows=()))
    wait_to_be_killed()
