"""What one asks of the subscriptions as a list, and what comes back: filters, order, pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, TypeAlias, TypedDict, TypeVar
from uuid import UUID

from orchestrator_dagster.domain.cursor import Cursor
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.value_filter import ValueFilter
from orchestrator_dagster.errors import QueryError

T = TypeVar("T")

OneOrMore: TypeAlias = T | Sequence[T] | None
"""A value, or a sequence any of which will do; an empty one fits nothing, `None` anything."""

Moment = datetime | date
Period: TypeAlias = tuple[Moment | None, Moment | None] | None
"""From when (inclusive) until when (exclusive); either may be open."""

SORT_COLUMNS = (
    "subscription_id",
    "description",
    "customer_id",
    "status",
    "insync",
    "start_date",
    "end_date",
    "version",
    "created_at",
)
"""The columns of a subscription that a list can be sorted by."""


_LONGEST_TEXT = 500


@dataclass(frozen=True)
class SubscriptionRow:
    """A subscription as a list shows it."""

    subscription_id: UUID
    product_id: UUID
    product: str
    product_type: str
    tag: str
    customer_id: str
    description: str
    status: SubscriptionLifecycle
    insync: bool
    held_by: UUID | None
    start_date: datetime | None
    end_date: datetime | None
    version: int
    created_at: datetime


@dataclass(frozen=True)
class Order:
    """The order of a list; equal ones are in the order of their `subscription_id`, in the same direction."""

    column: str
    descending: bool

    def __str__(self) -> str:
        return f"-{self.column}" if self.descending else self.column


@dataclass(frozen=True, kw_only=True)
class SubscriptionQuery:
    """Which subscriptions, in which order. A subscription has to fit everything that is given.

    Args:
        product: names or ids of their product.
        product_type: types of their product.
        tag: tags of their product.
        status: their lifecycle status.
        customer_id: their customer.
        insync: whether they are in sync.
        created_at: when they were made: `(from, to)`.
        start_date: when they became active: `(from, to)`.
        end_date: when they were terminated: `(from, to)`.
        text: words that description, note, values, product and customer are searched for; see the docs for more.
        where: values of resource types by path, `{"node.node_name": "ams-core-1"}` or
            `{"port.vlan": {">=": 100, "<": 200}}`: a path names the attributes of the model from the subscription
            down, without the places in lists and on into the blocks of other subscriptions, and then the resource type.
        sort: a column of the subscription; `-` before it for descending. Those without a date come after all others; of
            a description the first 100 characters count.
        limit: how many at most.
        after: where to go on: `Page.next` of the page before, which had the same sort.

    Raises:
        QueryError: something of it is not possible; the message says what is.

    Example:
        >>> SubscriptionQuery(status="active", sort="-start_date", limit=50).order
        Order(column='start_date', descending=True)
    """

    product: OneOrMore[str | UUID] = None
    product_type: OneOrMore[str] = None
    tag: OneOrMore[str] = None
    status: OneOrMore[SubscriptionLifecycle | str] = None
    customer_id: OneOrMore[str] = None
    insync: bool | None = None
    created_at: Period = None
    start_date: Period = None
    end_date: Period = None
    text: str | None = None
    where: Mapping[str, Any] | None = None
    sort: str = "-created_at"
    limit: int | None = None
    after: str | None = None
    order: Order = field(init=False, repr=False, compare=False)
    values: tuple[ValueFilter, ...] = field(init=False, repr=False, compare=False)
    cursor: Cursor | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("product", "product_type", "tag", "customer_id"):
            self._set(name, one_or_more(name, getattr(self, name)))
        self._set("status", statuses_of(self.status))
        for name in ("created_at", "start_date", "end_date"):
            self._set(name, _period(name, getattr(self, name)))
        self._set("insync", _checked("insync", self.insync, bool))
        self._set("text", _text(self.text))
        self._set("limit", _limit(self.limit))
        self._set("order", _order(self.sort))
        self._set("values", _values(self.where))
        self._set("cursor", None if self.after is None else Cursor.read(self.after, str(self.order)))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class SubscriptionFilters(TypedDict, total=False):
    """The fields of `SubscriptionQuery`, as keyword arguments of what makes one."""

    product: OneOrMore[str | UUID]
    product_type: OneOrMore[str]
    tag: OneOrMore[str]
    status: OneOrMore[SubscriptionLifecycle | str]
    customer_id: OneOrMore[str]
    insync: bool | None
    created_at: Period
    start_date: Period
    end_date: Period
    text: str | None
    where: Mapping[str, Any] | None
    sort: str
    limit: int | None
    after: str | None


class Page(list[SubscriptionRow]):
    """Some subscriptions, in order.

    Attributes:
        next: what to give as `after` for those that follow; `None` where there are no more.
    """

    def __init__(self, rows: Sequence[SubscriptionRow] = (), following: str | None = None) -> None:
        super().__init__(rows)
        self.next = following

    @classmethod
    def of(cls, query: SubscriptionQuery, found: Sequence[SubscriptionRow]) -> "Page":
        """Return the page of a query.

        Args:
            query: what was asked for.
            found: what there is, in order; one more than `query.limit` says that more follow.
        """
        if query.limit is None or len(found) <= query.limit:
            return cls(found)
        rows = found[: query.limit]
        column = query.order.column
        return cls(rows, Cursor(str(query.order), getattr(rows[-1], column), rows[-1].subscription_id).write())


def one_or_more(name: str, given: Any) -> tuple[Any, ...] | None:
    """Return the texts (for `product` ids, too) any of which will do, `None` for anything.

    Raises:
        QueryError: something else was given as the filter of that name.
    """
    if given is None:
        return None
    items = (given,) if isinstance(given, str | UUID) else tuple(_items(name, given))
    for item in items:
        if not isinstance(item, (str, UUID) if name == "product" else str):
            raise QueryError(name, item, "text, or a list of texts, any of which will do")
    return items


def _items(name: str, given: Any) -> Sequence[Any]:
    if isinstance(given, Sequence | set | frozenset) and not isinstance(given, str | bytes):
        return list(given)
    raise QueryError(name, given, "a value, or a list of values, any of which will do")


def statuses_of(given: Any) -> tuple[SubscriptionLifecycle, ...] | None:
    """Return the statuses any of which will do, `None` for anything.

    Raises:
        QueryError: there is no such status.
    """
    if given is None:
        return None
    try:
        return tuple(map(SubscriptionLifecycle, [given] if isinstance(given, str) else _items("status", given)))
    except ValueError as error:
        if isinstance(error, QueryError):
            raise
        raise QueryError("status", given, ", ".join(SubscriptionLifecycle)) from error


def _period(name: str, given: Any) -> tuple[datetime | None, datetime | None] | None:
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise QueryError(name, given, "a pair (from, to) of dates or datetimes, either of which may be None")
    start, end = (_moment(name, one) for one in given)
    return start, end


def _moment(name: str, given: Any) -> datetime | None:
    if isinstance(given, datetime):
        return given if given.tzinfo else given.replace(tzinfo=UTC)
    if isinstance(given, date):
        return datetime.combine(given, time(), UTC)
    if given is not None:
        raise QueryError(name, given, "a date, a datetime or None")
    return None


def _checked(name: str, given: T, kind: type) -> T:
    if given is None or isinstance(given, kind):
        return given
    raise QueryError(name, given, f"{kind.__name__} or None")


def _text(given: Any) -> str | None:
    text: str | None = _checked("text", given, str)
    if text is not None and len(text) > _LONGEST_TEXT:
        raise QueryError("text", f"{text[:20]}…", f"text of {_LONGEST_TEXT} characters at most")
    return text


def _limit(given: Any) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
        return given
    raise QueryError("limit", given, "a whole number from 1 on, or None for no limit")


def _order(sort: Any) -> Order:
    column = sort.removeprefix("-") if isinstance(sort, str) else None
    if column not in SORT_COLUMNS:
        raise QueryError("sort", sort, f"{', '.join(SORT_COLUMNS)}; with a - before it for descending")
    return Order(column, descending=sort.startswith("-"))


def _values(where: Any) -> tuple[ValueFilter, ...]:
    if where is None:
        return ()
    if not isinstance(where, Mapping):
        raise QueryError("where", where, 'a mapping of paths to values, such as {"node.node_name": "ams-core-1"}')
    return tuple(ValueFilter.of(path, wanted) for path, wanted in where.items())
