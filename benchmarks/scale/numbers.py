"""What follows from a subscription's number, in the database of the generator."""

from hashlib import md5
from uuid import UUID


def subscription_id(number: int) -> UUID:
    """Return the id that the generator gives a subscription."""
    return UUID(md5(f"subscription {number}".encode(), usedforsecurity=False).hexdigest())


def some_tens(size: int, count: int) -> list[int]:
    """Return so many numbers of active nodes, from everywhere among so many subscriptions, the same in every run.

    What comes 8 after one of them is a circuit.
    """
    return [10 * (number * 7919 % (size // 10 - 1) + 1) for number in range(count)]
