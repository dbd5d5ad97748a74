"""Processes that change one run at the same time."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import CountStatements
from dagster import DagsterEvent, DagsterRun
from sqlalchemy import event
from stored_events import PATIENCE, wait_until_blocked

from orchestrator_dagster.instance import PostgresStorage
from orchestrator_dagster.instance.engine import dispose_pooled_engine, pooled_engine
from orchestrator_dagster.instance.run_storage import PooledRunStorage

RUN_ID = "run"

Change = Callable[[PooledRunStorage], None]


def succeed(runs: PooledRunStorage) -> None:
    runs.handle_run_event(RUN_ID, DagsterEvent("PIPELINE_SUCCESS", "job"))


def tag(runs: PooledRunStorage) -> None:
    runs.add_run_tags(RUN_ID, {"team": "video", "floor": "2"})


def tag_otherwise(runs: PooledRunStorage) -> None:
    runs.add_run_tags(RUN_ID, {"team": "video", "desk": "7"})


@pytest.fixture
def url(new_database: Callable[..., str]) -> Iterator[str]:
    """An empty database."""
    url = new_database()
    yield url
    dispose_pooled_engine(url)


@pytest.fixture
def runs(url: str) -> PooledRunStorage:
    """A storage with one run."""
    runs = PostgresStorage(url).run_storage
    runs.add_run(DagsterRun(job_name="job", run_id=RUN_ID))
    return runs


@pytest.mark.parametrize(
    ("first", "second", "tags", "status"),
    [
        (tag, succeed, {"floor": "2", "team": "video"}, "SUCCESS"),
        (succeed, tag, {"floor": "2", "team": "video"}, "SUCCESS"),
        (tag, tag_otherwise, {"desk": "7", "floor": "2", "team": "video"}, "NOT_STARTED"),
    ],
)
def test_no_change_of_a_run_is_lost(
    url: str, runs: PooledRunStorage, first: Change, second: Change, tags: dict[str, str], status: str
) -> None:
    changing = threading.Thread(target=second, args=(runs,))

    def come_between(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE runs") and not changing.ident:
            changing.start()
            wait_until_blocked(url, lambda: not changing.is_alive())

    event.listen(pooled_engine(url), "before_cursor_execute", come_between)
    first(runs)
    changing.join(PATIENCE)
    (run,) = runs.get_runs()
    assert (run.status.value, run.tags) == (status, tags)
    assert runs.get_run_tags(list(tags)) == [(name, {value}) for name, value in tags.items()]


def test_a_change_of_status_takes_two_statements(
    url: str, runs: PooledRunStorage, count_statements: CountStatements
) -> None:
    tag(runs)
    runs.handle_run_event(RUN_ID, DagsterEvent("PIPELINE_STARTING", "job"))  # looks at the columns of the table
    with count_statements(pooled_engine(url)) as statements:
        succeed(runs)
    assert [statement.split()[0] for statement in statements] == ["SELECT", "UPDATE"]
