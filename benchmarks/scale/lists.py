"""Lists of subscriptions, full-text search and what uses what, each with its plan."""

import statistics
from collections.abc import Callable, Iterable
from functools import partial

from sqlalchemy import Engine

from benchmarks.errors import BenchmarkError
from benchmarks.samples import percentile, short
from benchmarks.scale.measured import Measured, measure, sent_to
from benchmarks.scale.numbers import some_tens, subscription_id
from benchmarks.scale.plans import plan_of
from benchmarks.scale.questions import Question, known_values, questions, searches
from benchmarks.scale.report import Report
from orchestrator_dagster.jobs.session import Session

PAGE = 50
MILLISECONDS = 20.0
Call = Callable[[], object]


def measure_lists(wfo: Session, engine: Engine, report: Report, size: int, times: int) -> None:
    """Ask every question so many times, once more before that."""
    with engine.connect() as connection:
        known = known_values(connection, size, times + 1)
    for kind, asked in (("list", questions(known)), ("search", searches(known))):
        for question in asked:
            _require_filtered(wfo, question)
            calls = [_page(wfo, question, number) for number in range(times + 1)]
            _measure(engine, report, size, f"{kind}: {question.title}", calls)


def measure_relations(wfo: Session, engine: Engine, report: Report, size: int, times: int) -> None:
    """Ask what uses a node, and what a circuit uses, all the way."""
    tens = some_tens(size, times + 1)
    users = [partial(wfo.in_use_by, subscription_id(number)) for number in tens]
    _measure(engine, report, size, "what uses a node, all the way", users)
    used = [partial(wfo.depends_on, subscription_id(number + 8)) for number in tens]
    _measure(engine, report, size, "what a circuit depends on, all the way", used)


def _require_filtered(wfo: Session, question: Question) -> None:
    """Make sure that a filter is not ignored, which would be quick."""
    filters = dict(question.filters(0))
    sort = {"sort": filters["sort"]} if "sort" in filters else {}
    if filters.keys() == sort.keys():
        return
    found, everything = (wfo.subscriptions(**given, limit=PAGE) for given in (filters, sort))
    if [row.subscription_id for row in found] == [row.subscription_id for row in everything]:
        raise BenchmarkError(f"{question.title}: with {filters} the same subscriptions are listed as without")


def _page(wfo: Session, question: Question, number: int) -> Call:
    filters = {**question.filters(number), "limit": PAGE}
    for _ in range(question.pages):
        filters["after"] = wfo.subscriptions(**filters).next
    return partial(wfo.subscriptions, **filters)


def _measure(engine: Engine, report: Report, size: int, title: str, calls: Iterable[Call]) -> None:
    warm_up, *measured_calls = calls
    with sent_to(engine) as sent:
        warm_up()
    plan = plan_of(engine, sent[-1])
    _add(report, size, title, measure(engine, measured_calls))
    report.add_plan(title, size, str(plan), by_index=not plan.read_whole)


def _add(report: Report, size: int, title: str, measured: Measured) -> None:
    milliseconds = [second * 1000 for second in measured.seconds]
    report.samples.setdefault(title, {})[size] = {"seconds": measured.seconds, "rows": measured.results}
    rows = statistics.median(measured.results)
    report.add(
        f"{title} (ms)",
        size,
        f"{short(measured.median * 1000)}, p95 {short(percentile(milliseconds, 95))} [{short(rows)} rows]",
        goal=f"p50 < {MILLISECONDS:g}",
        reached=measured.median * 1000 < MILLISECONDS,
    )
