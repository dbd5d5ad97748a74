"""The history of subscriptions: who changed what, and how a subscription was at any version or moment.

How it was follows from what is stored now, by undoing what was changed since, the newest change first. A version stands
for the moment at which it was saved (its `changed_at`): blocks of other subscriptions are shown as they were then.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, text

from orchestrator_dagster.db.subscriptions import reader
from orchestrator_dagster.db.subscriptions.changes import Changes, changes_of, field_changes
from orchestrator_dagster.db.subscriptions.difference import Difference
from orchestrator_dagster.db.subscriptions.tree import BlockRow, loaded_tree
from orchestrator_dagster.db.subscriptions.undo import SubscriptionState
from orchestrator_dagster.db.tables import subscription_versions as versions_table
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.record_view import with_lists
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord
from orchestrator_dagster.errors import HistoryIncompleteError, HistoryNotFoundError, SubscriptionNotFoundError

_VERSION = text("""
    SELECT subscription.version AS newest, version.changed_at
    FROM orchestrator.subscriptions AS subscription
    LEFT JOIN orchestrator.subscription_versions AS version
      ON version.subscription_id = subscription.subscription_id
     AND version.version = :version
    WHERE subscription.subscription_id = :subscription_id
""")

# Subscriptions as they are, each with the versions to undo, the newest first: those that came after a version or, where
# none is given, the first one after the moment and all that came after it. Asked for by their own ids, and by the ids
# of blocks, of which some are not there any more: then the version that removed them says whose they were.
_SUBSCRIPTIONS = text("""
    WITH wanted AS (
        SELECT unnest(CAST(:subscription_ids AS uuid[])) AS subscription_id
        UNION
        SELECT instance.subscription_id
        FROM orchestrator.subscription_instances AS instance
        WHERE instance.subscription_instance_id = ANY(CAST(:block_ids AS uuid[]))
        UNION
        SELECT version.subscription_id
        FROM orchestrator.subscription_versions AS version
        WHERE jsonb_path_exists(version.undo, '$.blocks.*.product_block')
          AND jsonb_path_query_array(version.undo, '$.blocks.keyvalue() ? (exists (@.value.product_block)).key')
              ?| CAST(:block_ids AS text[])
    )
    SELECT subscription.*,
           (SELECT json_agg(json_build_array(instance.subscription_instance_id, block.name, instance.label,
                                             instance.values, instance.attribute, instance.position))
            FROM orchestrator.subscription_instances AS instance
            JOIN orchestrator.product_blocks AS block USING (product_block_id)
            WHERE instance.subscription_id = subscription.subscription_id) AS blocks,
           (SELECT json_agg(json_build_array(relation.in_use_by_id, relation.attribute, relation.position,
                                             relation.depends_on_id))
            FROM orchestrator.subscription_instances AS instance
            JOIN orchestrator.subscription_instance_relations AS relation
              ON relation.in_use_by_id = instance.subscription_instance_id
            WHERE instance.subscription_id = subscription.subscription_id) AS links,
           (SELECT json_agg(json_build_array(version.version, version.undo) ORDER BY version.version DESC)
            FROM orchestrator.subscription_versions AS version
            WHERE version.subscription_id = subscription.subscription_id
              AND version.version >= COALESCE(
                      CAST(:version AS integer) + 1,
                      (SELECT min(later.version)
                       FROM orchestrator.subscription_versions AS later
                       WHERE later.subscription_id = subscription.subscription_id
                         AND later.changed_at > :moment)
                  )) AS newer
    FROM orchestrator.subscriptions AS subscription
    WHERE subscription.subscription_id = ANY(ARRAY(SELECT subscription_id FROM wanted))
      AND subscription.subscription_id <> ALL(CAST(:known AS uuid[]))
""")


@dataclass(frozen=True)
class SubscriptionVersion:
    """One change of a subscription.

    Attributes:
        changes: what changed, as `{path: {"before": …, "after": …}}`.
    """

    subscription_id: UUID
    version: int
    changed_at: datetime
    changed_by: str
    process_id: UUID | None
    step: str | None
    changes: Changes


def subscription_versions(connection: Connection, subscription_id: UUID) -> list[SubscriptionVersion]:
    """Return the history of a subscription, oldest first; empty for one that does not exist."""
    shown = [versions_table.c[name] for name in SubscriptionVersion.__dataclass_fields__]
    statement = select(*shown).where(versions_table.c.subscription_id == subscription_id)
    return [
        SubscriptionVersion(**row._asdict()) for row in connection.execute(statement.order_by(versions_table.c.version))
    ]


def subscription_as_of(
    connection: Connection, subscription_id: UUID, *, version: int | None = None, at: datetime | None = None
) -> SubscriptionRecord:
    """Return a subscription with its tree as it was, in two statements and one for each step into other subscriptions.

    Args:
        connection: where to look.
        subscription_id: the subscription.
        version: the version. One statement more finds the moment at which it was saved.
        at: the moment; without a time zone it is in UTC. A change counts from the moment at which it was written, which
            is a little before its transaction ended.

    Returns:
        The subscription as it was loaded then. The product has its present name and fixed inputs. A block that another
        subscription had then is missing where that subscription has been deleted since, and its history with it.

    Raises:
        TypeError: not exactly one of `version` and `at` is given.
        SubscriptionNotFoundError: there is no such subscription.
        HistoryNotFoundError: it has no such version, or did not exist at that moment.
        HistoryIncompleteError: a change that came later was not recorded in a way that can be undone.
        ProductNotFoundError: it was a subscription to another product, which has been deleted since.

    Example:
        ```python
        before = subscription_as_of(connection, subscription_id, version=3)
        ```
    """
    if (version is None) == (at is None):
        raise TypeError("A subscription is shown as of either a version or a moment: give one of `version` and `at`")
    asked = _Asked(subscription_id, version, at.replace(tzinfo=UTC) if at and at.tzinfo is None else at)
    moment = asked.at or _moment_of(connection, asked)
    own = _own_state(connection, asked, moment)
    blocks = _Blocks(connection, asked, moment)
    blocks.add(own)
    return _record(connection, own, blocks.reached(own.state.blocks))


def subscription_difference(
    connection: Connection, subscription_id: UUID, before: int | datetime, after: int | datetime
) -> Changes:
    """Return what differs between two versions or moments of a subscription, in either order.

    Args:
        connection: where to look.
        subscription_id: the subscription.
        before: a version, or a moment.
        after: another one.

    Returns:
        `{path: {"before": …, "after": …}}`; blocks of other subscriptions count by their ids only.

    Raises:
        HistoryNotFoundError: it has no such version, or did not exist at that moment.
        HistoryIncompleteError: a change that came later was not recorded in a way that can be undone.
    """
    old, new = (with_lists(_as_of(connection, subscription_id, point)) for point in (before, after))
    return changes_of(Difference.between(field_changes(old, new), loaded_tree(old), loaded_tree(new)))


def _as_of(connection: Connection, subscription_id: UUID, point: int | datetime) -> SubscriptionRecord:
    if isinstance(point, datetime):
        return subscription_as_of(connection, subscription_id, at=point)
    return subscription_as_of(connection, subscription_id, version=point)


@dataclass(frozen=True)
class _Asked:
    """What was asked for, for messages."""

    subscription_id: UUID
    version: int | None
    at: datetime | None

    def not_found(self, why: str) -> HistoryNotFoundError:
        return HistoryNotFoundError(why, subscription_id=self.subscription_id, version=self.version, at=self.at)

    def incomplete(self, incomplete_id: UUID, oldest_version: int) -> HistoryIncompleteError:
        return HistoryIncompleteError(
            subscription_id=self.subscription_id,
            version=self.version,
            at=self.at,
            incomplete_id=incomplete_id,
            oldest_version=oldest_version,
        )


@dataclass(frozen=True)
class _Past:
    """One subscription as it was."""

    subscription_id: UUID
    version: int
    state: SubscriptionState

    @property
    def status(self) -> SubscriptionLifecycle:
        return SubscriptionLifecycle(self.state.columns["status"])


def _moment_of(connection: Connection, asked: _Asked) -> datetime:
    parameters = {"subscription_id": asked.subscription_id, "version": asked.version}
    row = connection.execute(_VERSION, parameters).one_or_none()
    if row is None:
        raise SubscriptionNotFoundError(asked.subscription_id)
    if row.changed_at is None:
        raise asked.not_found(f"its history has no such version; the newest is {row.newest}")
    moment: datetime = row.changed_at
    return moment


def _own_state(connection: Connection, asked: _Asked, moment: datetime) -> _Past:
    row = _rows(connection, moment, subscription_ids=[asked.subscription_id], version=asked.version).one_or_none()
    if row is None:
        raise SubscriptionNotFoundError(asked.subscription_id)
    past = _past(row, asked)
    if past is None or (asked.version is None and row.created_at > moment):
        raise asked.not_found(f"it was created at {row.created_at.astimezone(UTC).isoformat()}")
    if asked.version not in (None, past.version):
        raise asked.incomplete(row.subscription_id, past.version)
    return past


def _rows(
    connection: Connection,
    moment: datetime,
    *,
    subscription_ids: Sequence[UUID] = (),
    block_ids: Sequence[UUID] = (),
    known: Sequence[UUID] = (),
    version: int | None = None,
) -> Any:
    return connection.execute(
        _SUBSCRIPTIONS,
        {
            "subscription_ids": list(subscription_ids),
            "block_ids": [str(block_id) for block_id in block_ids],
            "known": list(known),
            "version": version,
            "moment": moment,
        },
    )


def _past(row: Row[Any], asked: _Asked) -> _Past | None:
    """Return a subscription as it was; nothing where its first version is one of those to undo."""
    newer: Sequence[tuple[int, dict[str, Any] | None]] = row.newer or []
    undos: list[dict[str, Any]] = []
    for expected, (version, undo) in zip(range(row.version, 0, -1), newer, strict=False):
        if version == expected == 1:
            return None
        if version != expected or undo is None:
            raise asked.incomplete(row.subscription_id, expected)
        undos.append(undo)
    return _Past(row.subscription_id, row.version - len(undos), _present(row).undone(undos))


_COLUMNS = ("product_id", "customer_id", "description", "status", "insync", "start_date", "end_date", "note")


def _present(row: Row[Any]) -> SubscriptionState:
    links: dict[UUID, dict[tuple[str, int], UUID]] = {}
    for in_use_by_id, attribute, position, depends_on_id in row.links or []:
        links.setdefault(UUID(in_use_by_id), {})[attribute, position] = UUID(depends_on_id)
    blocks = {UUID(block_id): BlockRow(*columns) for block_id, *columns in row.blocks or []}
    return SubscriptionState({name: getattr(row, name) for name in _COLUMNS}, blocks, links)


@dataclass
class _Blocks:
    """The blocks of all subscriptions that one leads to, as they were at a moment."""

    connection: Connection
    asked: _Asked
    moment: datetime
    owners: dict[UUID, _Past] = field(default_factory=dict)
    known: set[UUID] = field(default_factory=set)

    def add(self, past: _Past) -> None:
        self.known.add(past.subscription_id)
        self.owners |= dict.fromkeys(past.state.blocks, past)

    def reached(self, own: Mapping[UUID, BlockRow]) -> dict[UUID, BlockRecord]:
        """Return a subscription's own blocks and all that they lead to."""
        found: dict[UUID, BlockRecord] = {}
        waiting = list(own)
        while waiting:
            missing = set(self._follow(waiting, found))
            self._load(sorted(missing))
            waiting = sorted(missing & self.owners.keys())
        return found

    def _follow(self, waiting: list[UUID], found: dict[UUID, BlockRecord]) -> Iterator[UUID]:
        """Follow the links as far as the owners of the blocks are known; yield the blocks where that ends."""
        while waiting:
            block_id = waiting.pop()
            if block_id in found:
                continue
            if block_id not in self.owners:
                yield block_id
                continue
            found[block_id] = _block_record(block_id, self.owners[block_id])
            waiting += [linked for ids in found[block_id].links.values() for linked in ids]

    def _load(self, block_ids: Sequence[UUID]) -> None:
        if not block_ids:
            return
        for row in _rows(self.connection, self.moment, block_ids=block_ids, known=sorted(self.known)):
            self.known.add(row.subscription_id)
            past = _past(row, self.asked)
            if past is not None and row.created_at <= self.moment:
                self.add(past)


def _block_record(block_id: UUID, owner: _Past) -> BlockRecord:
    row = owner.state.blocks[block_id]
    return BlockRecord(
        subscription_instance_id=block_id,
        owner_subscription_id=owner.subscription_id,
        owner_status=owner.status,
        product_block_name=row.product_block_name,
        label=row.label,
        values=row.values,
        links=_in_order(owner.state.links.get(block_id, {})),
    )


def _record(connection: Connection, own: _Past, blocks: Mapping[UUID, BlockRecord]) -> SubscriptionRecord:
    columns = own.state.columns
    product = reader.product(connection, UUID(str(columns["product_id"])))
    roots = {
        (row.attribute, row.position or 0): block_id
        for block_id, row in own.state.blocks.items()
        if row.attribute is not None
    }
    return SubscriptionRecord(
        subscription_id=own.subscription_id,
        product=product.product,
        customer_id=columns["customer_id"],
        description=columns["description"],
        status=own.status,
        insync=columns["insync"],
        start_date=_as_moment(columns["start_date"]),
        end_date=_as_moment(columns["end_date"]),
        note=columns["note"],
        version=own.version,
        fixed_inputs=product.fixed_inputs,
        roots=_in_order(roots),
        blocks=blocks,
    )


def _in_order(links: Mapping[tuple[str, int], UUID]) -> dict[str, list[UUID]]:
    grouped: dict[str, list[UUID]] = {}
    for (attribute, _), block_id in sorted(links.items()):
        grouped.setdefault(attribute, []).append(block_id)
    return grouped


def _as_moment(stored: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored
