"""Between models and the records of a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from orchestrator_dagster.domain.conversion import blocks_of
from orchestrator_dagster.domain.exact import same
from orchestrator_dagster.domain.fields import ValueField, fields_of
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord
from orchestrator_dagster.domain.tree import Node, Tree
from orchestrator_dagster.errors import ModelError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.block import ProductBlockModel
    from orchestrator_dagster.domain.model import DomainModel
    from orchestrator_dagster.domain.subscription import SubscriptionModel


def read_values(model: type["DomainModel"], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what validation of a model takes as its values, from what is stored.

    A value that was never stored is left to the field's default; without one it is `None` where that is allowed.
    """
    values: dict[str, Any] = {}
    for name, at in fields_of(model).values.items():
        if at.key in stored:
            values[name] = at.codec.load(stored[at.key])
        elif at.none_if_missing:
            values[name] = None
    return values


def tree_of_records(records: Mapping[UUID, BlockRecord], subscription_id: UUID | None) -> Tree:
    """Return a tree that builds the blocks of the records."""
    return Tree(
        {
            block_id: _node(record, is_own=record.owner_subscription_id == subscription_id)
            for block_id, record in records.items()
        }
    )


def _node(record: BlockRecord, *, is_own: bool) -> Node:
    return Node(
        block_id=record.subscription_instance_id,
        owner_id=record.owner_subscription_id,
        is_own=is_own,
        name=record.product_block_name,
        label=record.label,
        status=record.owner_status,
        links=record.links,
        values=lambda model: read_values(model, record.values),
    )


def record_of(subscription: "SubscriptionModel") -> SubscriptionRecord:
    """Return a subscription as it is to be stored, after a check of its whole own tree.

    Args:
        subscription: the subscription; neither it nor its blocks are replaced.

    Raises:
        ModelError: something in the tree is not valid, or cannot be stored; the message says where.
    """
    recording = _Recording(subscription)
    roots = recording.run()
    return SubscriptionRecord(
        subscription_id=subscription.subscription_id,
        product=subscription.product,
        customer_id=subscription.customer_id,
        description=subscription.description,
        status=subscription.status,
        insync=subscription.insync,
        start_date=subscription.start_date,
        end_date=subscription.end_date,
        note=subscription.note,
        version=subscription.version,
        roots=roots,
        blocks=recording.blocks,
        lists=_lists(subscription),
    )


@dataclass
class _Recording:
    """One walk through the own blocks of a subscription."""

    subscription: "SubscriptionModel"
    blocks: dict[UUID, BlockRecord] = field(default_factory=dict)
    seen: "dict[UUID, ProductBlockModel]" = field(default_factory=dict)

    def run(self) -> dict[str, list[UUID]]:
        pending: list[tuple[str, ProductBlockModel]] = []
        checked_values(self.subscription, "")
        roots = self._links(self.subscription, "", pending)
        self._refuse_foreign_roots(pending)
        while pending:
            path, block = pending.pop()
            if self._is_recorded(path, block):
                continue
            self.seen[block.subscription_instance_id] = block
            self._record(path, block, pending)
        self._refuse_circles()
        return roots

    def _refuse_foreign_roots(self, roots: "Sequence[tuple[str, ProductBlockModel]]") -> None:
        if any(block.owner_subscription_id != self.subscription.subscription_id for _, block in roots):
            raise ModelError(
                "Attempting to save a Foreign `Subscription Instance` directly below a subscription. "
                "This is not allowed."
            )

    def _refuse_circles(self) -> None:
        uses = {block_id: chain(*block.links.values()) for block_id, block in self.blocks.items()}
        try:
            TopologicalSorter(uses).prepare()
        except CycleError as error:
            circle = " -> ".join(map(str, reversed(error.args[1])))
            raise ModelError(f"A block of the subscription uses itself: {circle}") from error

    def _is_recorded(self, path: str, block: "ProductBlockModel") -> bool:
        present = self.seen.get(block.subscription_instance_id)
        if present is None or present is block:
            return present is not None
        is_own = block.owner_subscription_id == self.subscription.subscription_id
        if is_own and present != block:
            raise ModelError(
                f"{path}: block {block.subscription_instance_id} is in the tree twice, as two objects that differ"
            )
        return True

    def _record(self, path: str, block: "ProductBlockModel", pending: "list[tuple[str, ProductBlockModel]]") -> None:
        is_own = block.owner_subscription_id == self.subscription.subscription_id
        self.blocks[block.subscription_instance_id] = BlockRecord(
            subscription_instance_id=block.subscription_instance_id,
            owner_subscription_id=block.owner_subscription_id,
            owner_status=self.subscription.status,
            product_block_name=block.product_block_name or "",
            label=block.label,
            values=checked_values(block, path) if is_own else {},
            links=self._links(block, path, pending) if is_own else {},
            lists=_lists(block),
        )

    def _links(
        self, model: "DomainModel", path: str, pending: "list[tuple[str, ProductBlockModel]]"
    ) -> dict[str, list[UUID]]:
        links: dict[str, list[UUID]] = {}
        used: dict[UUID, list[str]] = {}
        for at in fields_of(type(model)).blocks.values():
            for index, block in enumerate(blocks_of(model, at)):
                links.setdefault(at.key, []).append(block.subscription_instance_id)
                used.setdefault(block.subscription_instance_id, []).append(at.name)
                pending.append((_join(path, at.name, index if at.many else ""), block))
        for block_id, names in used.items():
            if len(names) > 1:
                raise ModelError(
                    f"Cannot link the same subscription instance multiple times: instance {block_id} is used in "
                    f"fields {names}" + (f" of {path}" if path else "")
                )
        return links


def checked_values(model: "DomainModel", path: str) -> dict[str, Any]:
    """Return the values of a model as JSON, after a check of what was changed in place.

    Args:
        model: a subscription or a block; the blocks that it holds are not looked into.
        path: where it is, for messages.

    Raises:
        ModelError: it is not valid, or a value cannot be stored.
    """
    cls = type(model)
    given = {name: model.__dict__[name] for name in cls.model_fields if name in model.__dict__}
    try:
        valid = cls.model_validate(given)
    except ValidationError as error:
        lines = [f"{_join(path, *item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)]
        raise ModelError("\n".join([f"{cls.__name__} is not valid:", *lines])) from error
    return {
        at.key: _dumped(at, given.get(name), getattr(valid, name), path) for name, at in fields_of(cls).values.items()
    }


def _dumped(at: ValueField, given: Any, valid: Any, path: str) -> Any:
    if not same(given, valid) and given != valid:
        raise ModelError(
            f"{_join(path, at.name)}: validation makes {valid!r} of {given!r}; assign such a value instead of changing "
            "it in place, and let validators give back what they gave before"
        )
    try:
        return at.codec.dump(valid)
    except ModelError as error:
        raise ModelError(f"{_join(path, at.name)}: {error}") from error


def _join(*parts: str | int) -> str:
    return ".".join(str(part) for part in parts if part != "")


def _lists(model: "DomainModel") -> frozenset[str]:
    return frozenset(at.key for at in fields_of(type(model)).blocks.values() if at.many)
