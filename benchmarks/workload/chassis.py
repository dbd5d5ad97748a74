"""A tree of any size: a chassis with shelves with cards, for both orchestrators."""

from .framework import ProductBlockModel, SubscriptionModel


class CardBlock(ProductBlockModel, product_block_name="Card"):
    serial: str
    slot: int
    working: bool


class ShelfBlock(ProductBlockModel, product_block_name="Shelf"):
    shelf_name: str
    height: int
    cards: list[CardBlock] = []


class ChassisBlock(ProductBlockModel, product_block_name="Chassis"):
    chassis_name: str | None = None
    generation: int = 0
    shelves: list[ShelfBlock] = []


class Chassis(SubscriptionModel, is_base=True):
    chassis: ChassisBlock


def change_deepest(tree: Chassis) -> None:
    """Change one value, as far down as there is a block."""
    shelves = tree.chassis.shelves
    if shelves and shelves[-1].cards:
        shelves[-1].cards[-1].slot += 1000
    else:
        tree.chassis.generation += 1
