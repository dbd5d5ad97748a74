"""The filters on values of resource types as SQL: to test a subscription, and to find blocks by the index of values."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Numeric,
    Text,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from orchestrator_dagster.db.tables import subscription_instance_relations, subscription_instances
from orchestrator_dagster.domain.value_filter import RANGES, ValueFilter, ValueTest

# An alias of a table takes longer to make than all that is done with it here
_ROOT: FromClause = subscription_instances.alias("root")
_BLOCK: FromClause = subscription_instances.alias("block")


@cache
def relation_below(number: int) -> FromClause:
    """Return the relations of blocks so many blocks below that of the subscription, under a name of their own."""
    return subscription_instance_relations.alias(f"relation_{number}")


def has_value(wanted: ValueFilter, subscription: FromClause) -> ColumnElement[bool]:
    """Return the condition that a subscription has a block with a value.

    It is looked for from the subscription down, one subscription after the other. `OFFSET 0` keeps Postgres from
    turning that round, which it would do where it takes the value for a rare one, and be wrong.

    Args:
        wanted: where and what the value is.
        subscription: what has the `subscription_id`.
    """
    blocks, joined, held = _ROOT, _ROOT, _ROOT.c.subscription_instance_id
    for number, attribute in enumerate(wanted.attributes[1:]):
        relation = relation_below(number)
        is_of = and_(relation.c.in_use_by_id == held, relation.c.attribute == attribute)
        joined, blocks, held = joined.join(relation, is_of), _BLOCK, relation.c.depends_on_id
    if blocks is not _ROOT:
        joined = joined.join(blocks, blocks.c.subscription_instance_id == held)
    statement = (
        select(_ROOT.c.subscription_id)
        .select_from(joined)
        .where(
            _ROOT.c.subscription_id == subscription.c.subscription_id,
            _ROOT.c.attribute == wanted.attributes[0],
            *(_passes(blocks, wanted.resource_type, test) for test in wanted.tests),
        )
    )
    return statement.offset(0).correlate(subscription).exists()


def of_blocks_with(wanted: ValueFilter) -> list[ColumnElement[bool]]:
    """Return the conditions on `subscription_instances` that select the blocks that have a value, by an index."""
    found = [_contained(test, wanted.resource_type) for test in wanted.tests if test.indexable]
    return found + [_passes(subscription_instances, wanted.resource_type, test) for test in wanted.tests]


def _contained(test: ValueTest, name: str) -> ColumnElement[bool]:
    values = subscription_instances.c["values"]
    return or_(false(), *(values.contains(cast({name: form}, JSONB)) for form in test.alternatives))


def _passes(block: FromClause, name: str, test: ValueTest) -> ColumnElement[bool]:
    value: ColumnElement[Any] = block.c["values"].op("->", return_type=JSONB())(literal(name, Text))
    if test.operator in RANGES:
        return _compared(value, test)
    if test.operator == "contains":
        return or_(false(), *(value.contains(cast(form, JSONB)) for form in test.alternatives))
    equal = or_(false(), *_equals(value, test))
    return equal if test.operator == "=" else not_(func.coalesce(equal, false()))


def _equals(value: ColumnElement[Any], test: ValueTest) -> Iterator[ColumnElement[bool]]:
    for form in test.alternatives:
        yield value == cast(form, JSONB)
    if test.moments:
        yield _moment(value) == any_(cast(list(test.moments), ARRAY(DateTime(timezone=True))))
    if test.or_nothing:
        yield func.coalesce(func.jsonb_typeof(value), "null") == "null"


def _compared(value: ColumnElement[Any], test: ValueTest) -> ColumnElement[bool]:
    """Compare what is stored as the same kind of thing; nothing else passes."""
    if test.moments:
        return _moment(value).op(test.operator, is_comparison=True)(test.moments[0])
    wanted, kind = test.alternatives[0], func.jsonb_typeof(value)
    if isinstance(wanted, str):
        written = value.op("#>>", return_type=Text())(cast([], ARRAY(Text))).collate("C")
        return case((kind == "string", written.op(test.operator, is_comparison=True)(wanted)))
    if test.number_in_text:
        read = func.orchestrator.value_as_number(value, type_=Numeric())
        return read.op(test.operator, is_comparison=True)(wanted)
    number = cast(value, Numeric).op(test.operator, is_comparison=True)(wanted)
    return case((kind == "number", number))


def _moment(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.orchestrator.value_as_moment(value, type_=DateTime(timezone=True))
