"""The data of existing subscriptions follows the code: fields and links that are renamed, filled, converted, removed.

Each operation is one difference between code and database, with what it does to what is stored. All that are applied
together are one transaction, and leave one new version of each subscription that they change. Removals and renames
speak of what is stored, and happen at the same time; conversions and fills come after them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from sqlalchemy import Connection

from orchestrator_dagster.db.catalogue.data import moves, selection
from orchestrator_dagster.db.catalogue.data.functions import Rewrite, rewrite_values
from orchestrator_dagster.db.catalogue.data.history import Lists
from orchestrator_dagster.db.catalogue.data.locks import PATIENCE, lock_subscriptions, patient
from orchestrator_dagster.db.catalogue.data.selection import Affected, Blocks
from orchestrator_dagster.db.subscriptions.writer import Author
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.stored import Fill, StoredBlock

Dump = Callable[[Any], Any]
"""Turns a value of Python into JSON; raises `ModelError` for one that is not valid."""

Statuses = frozenset[SubscriptionLifecycle]


class Operation(ABC):
    """One difference between code and database, with what it does to stored data."""

    @abstractmethod
    def concerned(self) -> Blocks:
        """Select the blocks that it may change: not those below them, which may go with them."""

    def affected(self, connection: Connection, limit: int = 10) -> Affected:
        """Return how many subscriptions it would change, and the first `limit` of them; nothing is written."""
        return selection.count_affected(connection, self.concerned(), limit)


@dataclass(frozen=True)
class RenameField(Operation):
    """A resource type of a product block gets another name, and its values move along."""

    block: str
    old: str
    new: str

    def concerned(self) -> Blocks:
        """Select the blocks that have it."""
        return selection.blocks_with(self.block, self.old)


@dataclass(frozen=True)
class RemoveField(Operation):
    """A resource type of a product block is deleted with its values."""

    block: str
    field: str

    def concerned(self) -> Blocks:
        """Select the blocks that have it."""
        return selection.blocks_with(self.block, self.field)


@dataclass(frozen=True)
class FillField(Operation):
    """A field gets a value where it has none and needs one.

    Attributes:
        block: the product block.
        field: the resource type.
        statuses: the statuses of subscriptions that need a value; others stay as they are.
        fill: the value, or a function of the stored block that returns it.
        dump: turns it into JSON.
        optional: null will do as a value.
        stored_as: the names that it has in the store, where an operation that is applied with this one renames it.
    """

    block: str
    field: str
    statuses: Statuses
    fill: Any = attribute(hash=False)
    dump: Dump
    optional: bool
    stored_as: tuple[str, ...] = ()

    def concerned(self) -> Blocks:
        """Select the blocks that have no value."""
        names = self.stored_as or (self.field,)
        return selection.blocks_without(self.block, names, self.statuses, null_will_do=self.optional)

    def wants(self, block: StoredBlock) -> bool:
        """Whether a block has no value."""
        return self.field not in block.values if self.optional else block.values.get(self.field) is None


@dataclass(frozen=True)
class ConvertField(Operation):
    """Stored values other than null that do not fit the type of a field any more are replaced.

    Attributes:
        block: the product block.
        field: the resource type.
        statuses: the statuses of subscriptions that are looked at; others stay as they are.
        fits: whether a value as it is stored, in JSON, fits.
        fill: a function of the stored block that returns the new value; without one nothing is replaced.
        dump: turns the new value into JSON.
        stored_as: the names that it has in the store, where an operation that is applied with this one renames it.
    """

    block: str
    field: str
    statuses: Statuses
    fits: Callable[[Any], bool]
    fill: Fill | None
    dump: Dump
    stored_as: tuple[str, ...] = ()

    def concerned(self) -> Blocks:
        """Select the blocks that have a value, whether it fits or not."""
        names = self.stored_as or (self.field,)
        return selection.blocks_with_value(self.block, names, self.statuses)

    def affected(self, connection: Connection, limit: int = 10) -> Affected:
        """Return how many subscriptions have a value that does not fit; all values are read, in constant memory."""
        names = self.stored_as or (self.field,)
        return selection.count_unfit(connection, self.concerned(), names, self.fits, limit)

    def wants(self, block: StoredBlock) -> bool:
        """Whether a block has a value that does not fit."""
        value = block.values.get(self.field)
        return value is not None and not self.fits(value)


@dataclass(frozen=True)
class RenameLink(Operation):
    """A field that holds blocks gets another name.

    Attributes:
        block: the product block whose field it is; none for a field of subscriptions.
        products: the products to which these are subscriptions.
        old: the attribute as it is stored.
        new: the attribute as it is to be.
    """

    block: str | None
    products: frozenset[str]
    old: str
    new: str

    def concerned(self) -> Blocks:
        """Select the blocks that hold others in it, or that stand in it directly below subscriptions."""
        return selection.blocks_at(self.block, self.products, self.old)


@dataclass(frozen=True)
class RemoveLink(Operation):
    """A field that holds blocks is deleted, with the blocks that nothing leads to any more.

    Blocks of other subscriptions lose the link only. It is refused where blocks would have to go that others use.

    Attributes:
        block: the product block whose field it is; none for a field of subscriptions.
        products: the products to which these are subscriptions.
        attribute: the field.
    """

    block: str | None
    products: frozenset[str]
    attribute: str

    def concerned(self) -> Blocks:
        """Select the blocks that hold others in it, or that stand in it directly below subscriptions."""
        return selection.blocks_at(self.block, self.products, self.attribute)


@dataclass(frozen=True)
class RemoveBlock(Operation):
    """A product block is deleted with all that is stored of it: nothing may hold such blocks any more.

    The links to them are removed by a `RemoveLink` that is applied with it.
    """

    block: str

    def concerned(self) -> Blocks:
        """Select all of its blocks."""
        return selection.blocks_named(self.block)


def apply_all(
    connection: Connection,
    operations: Sequence[Operation],
    author: Author,
    *,
    lists: Lists = frozenset(),
    patience: float = PATIENCE,
) -> Mapping[Operation, int]:
    """Make what is stored follow the code; every subscription that is changed gets one new version.

    Subscriptions are locked first, in the order of their ids. Somebody who saves one of them at the same time comes
    before, or gets a `StaleDataError`.

    Args:
        connection: the transaction. Nothing remains in it of what ends in an error.
        operations: what differs; products and blocks have the names that the database has then.
        author: who does it, as the history names it.
        lists: the fields that hold lists of blocks, before and after, each as the name of the product or product block
            and the attribute: their places have a number in the history's paths, even where there is one block only.
        patience: for how many seconds to wait for each subscription that somebody else is writing to.

    Returns:
        The number of subscriptions that each operation changed, in the order given.

    Raises:
        CatalogueBusyError: somebody else is writing to some of the subscriptions.
        CatalogueDataError: what is stored is in the way: a place to move to is taken, blocks are in use that would have
            to go, or a function cannot say what to fill in.
        ModelError: a constant to fill in is not valid.

    Example:
        ```python
        with engine.begin() as connection:
            apply_all(connection, [RenameField("Rack", "cabinet", "rack")], Author(changed_by="jan"))
        ```
    """
    distinct = tuple(dict.fromkeys(operations))
    counts: dict[int, int] = {}
    concerned = [operation.concerned() for operation in distinct]
    if concerned:
        with patient(connection, concerned, patience), moves.temporary_tables(connection):
            if lock_subscriptions(connection, concerned):
                moves.take_in(connection, concerned)
                counts = _work_out(connection, distinct)
                moves.write(connection, author, lists)
    return {operation: counts.get(number, 0) for number, operation in enumerate(distinct)}


def _work_out(connection: Connection, operations: Sequence[Operation]) -> dict[int, int]:
    """Work out what is to become of the blocks that were taken in; count the subscriptions by number of operation."""
    removed_blocks = {
        operation.block: number for number, operation in enumerate(operations) if isinstance(operation, RemoveBlock)
    }
    counts = moves.move_fields(connection, _fields_to_move(operations))
    links = _links_to_move(operations)
    counts |= moves.move_links(connection, links)
    if links or removed_blocks:
        removed = moves.remove_unreached(connection, list(removed_blocks))
        counts |= {removed_blocks[block]: count for block, count in removed.items()}
    counts |= moves.fill_fields(connection, _constants(operations))
    for number, operation in enumerate(operations):
        rewrite = _rewrite(operation)
        if rewrite is not None:
            counts[number] = rewrite_values(connection, rewrite)
    return counts


def _fields_to_move(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, operation in enumerate(operations):
        match operation:
            case RenameField(block, old, new):
                found.append({"operation": number, "block": block, "old": old, "new": new})
            case RemoveField(block, name):
                found.append({"operation": number, "block": block, "old": name, "new": None})
    return found


def _links_to_move(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, operation in enumerate(operations):
        match operation:
            case RenameLink(block, products, old, new):
                target: str | None = new
            case RemoveLink(block, products, old):
                target = None
            case _:
                continue
        item = {"operation": number, "block": block, "products": sorted(products), "old": old, "new": target}
        found.append(item)
    return found


def _constants(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    return [
        {
            "operation": number,
            "block": operation.block,
            "field": operation.field,
            "statuses": sorted(operation.statuses),
            "optional": operation.optional,
            "value": operation.dump(operation.fill),
        }
        for number, operation in enumerate(operations)
        if isinstance(operation, FillField) and not callable(operation.fill)
    ]


def _rewrite(operation: Operation) -> Rewrite | None:
    """Return what an operation does by a function."""
    if not isinstance(operation, FillField | ConvertField) or not callable(operation.fill):
        return None
    fill, dump = operation.fill, operation.dump
    return Rewrite(
        block=operation.block,
        field=operation.field,
        statuses=operation.statuses,
        wants=operation.wants,
        value=lambda block: dump(fill(block)),
    )
