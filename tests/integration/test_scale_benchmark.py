"""The benchmark of many subscriptions runs; how fast that is, no test says."""

from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, text

from benchmarks.database import DatabaseServer
from benchmarks.scale.bench import ScaleBench
from benchmarks.scale.data import make_database
from benchmarks.scale.numbers import subscription_id
from benchmarks.scale.plan import ScalePlan
from benchmarks.scale.products import make_orchestrator
from orchestrator_dagster import SubscriptionModel
from orchestrator_dagster.db.subscriptions.repository import AutocommitRepository
from orchestrator_dagster.domain.repository import use_repository

SIZE = 100
MEASURED = 1_000
QUICK = ScalePlan(only=("trees", "many", "lists", "relations"), sizes=(MEASURED,), rounds=1, times=2, trees=2)


@pytest.fixture
def generated(database_url: str, engine: Engine) -> Engine:
    """A database that the generator has filled."""
    make_database(database_url, SIZE, trees=1)
    make_orchestrator(database_url)
    return engine


def test_every_generated_subscription_loads_and_has_nothing_to_save(generated: Engine) -> None:
    """What the generator writes by SQL is what the models would have written."""
    with use_repository(AutocommitRepository(generated, "test")):
        for number in range(1, SIZE + 1):
            subscription = SubscriptionModel.from_subscription(subscription_id(number))
            subscription.save()
            assert subscription.version == 1


def test_every_generated_subscription_can_be_searched_for(generated: Engine) -> None:
    """The documents that the generator writes are those that the triggers keep."""
    with generated.connect() as connection:
        missing = connection.scalar(
            text("""
                SELECT count(*)
                FROM orchestrator.subscription_documents AS wanted
                LEFT JOIN orchestrator.subscription_search AS stored USING (subscription_id)
                WHERE stored.document IS DISTINCT FROM wanted.document
            """)
        )
    assert missing == 0


def test_the_benchmark_fills_its_table(database_server: URL, tmp_path: Path) -> None:
    """Loads, saves, lists and searches all have a cell, and lists have plans."""
    server = DatabaseServer(database_server)
    bench = ScaleBench(QUICK, server, tmp_path)
    bench.run()
    titles = "\n".join(bench.report.lines)
    for measured in ("load, 500 blocks", "save one change, 10 blocks", "1,000 at once", "list: ", "search: "):
        assert measured in titles
    assert all(MEASURED in line.cells for line in bench.report.lines.values())
    assert all("Scan" in plans[MEASURED] for plans in bench.report.plans.values())
