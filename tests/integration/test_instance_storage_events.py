"""Events that are written together: nothing is lost, doubled or out of order."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterInstance
from dagster._core.test_utils import instance_for_test
from sqlalchemy import NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from stored_events import NEVER, PATIENCE, eventually, line, opened, status, written

from orchestrator_dagster.instance.engine import dispose_pooled_engine, pooled_engine
from orchestrator_dagster.instance.event_log import PooledEventLogStorage

MORTAL = """
import os, signal, sys
from dagster import In, Nothing, Out, job, op
from dagster._core.test_utils import instance_for_test

@op(out=Out(Nothing))
def first(context):
    context.log.info("said by first")

@op(ins={{"before": In(Nothing)}}, out=Out(Nothing))
def second(context):
    context.log.info("said by second")
    os.kill(os.getpid(), signal.SIGKILL)

@job
def mortal():
    second(before=first())

storage = {{"module": "orchestrator_dagster.instance", "class": "PostgresStorage", "config": {config}}}
with instance_for_test(overrides={{"storage": {{"custom": storage}}}}) as instance:
    mortal.execute_in_process(instance=instance)
"""

LOGS_ONE_LINE = """
from dagster import EventLogEntry
from orchestrator_dagster.instance import PostgresStorage

log = PostgresStorage({url!r}, batch_milliseconds={never}).event_log_storage
log.store_event(EventLogEntry(error_info=None, level=20, user_message="one", run_id="run", timestamp=0.0))
"""


@pytest.fixture
def url(new_database: Callable[..., str]) -> Iterator[str]:
    """An empty database."""
    url = new_database()
    yield url
    dispose_pooled_engine(url)


@pytest.fixture
def storage(url: str) -> Iterator[PooledEventLogStorage]:
    storage = opened(url)
    yield storage
    storage._writer.forget()
    storage.dispose()


def test_a_line_waits_for_the_next_event_that_cannot(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("one"))
    assert written(url) == []
    storage.store_event(status(DagsterEventType.RUN_SUCCESS))
    assert written(url) == ["one", "PIPELINE_SUCCESS"]


def test_a_line_is_written_after_the_stated_time(url: str) -> None:
    storage = opened(url, batch_milliseconds=20)
    for message in ("one", "two"):
        storage.store_event(line(message))
    eventually(url, ["one", "two"])
    storage.store_event(line("three"))
    eventually(url, ["one", "two", "three"])


def test_without_a_time_to_wait_each_line_is_written_at_once(url: str) -> None:
    opened(url, batch_milliseconds=0).store_event(line("one"))
    assert written(url) == ["one"]


def test_who_reads_sees_what_this_process_stored(storage: PooledEventLogStorage) -> None:
    storage.store_event(line("one"))
    assert [entry.user_message for entry in storage.get_logs_for_run("run")] == ["one"]
    storage.store_event(line("two"))
    cursor = storage.get_records_for_run("run", limit=1).cursor
    assert [record.event_log_entry.user_message for record in storage.get_records_for_run("run", cursor).records] == [
        "two"
    ]


def test_deleted_events_do_not_come_back(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("one"))
    storage.delete_events("run")
    storage.store_event(line("two"))
    storage.wipe()
    storage.store_event(status(DagsterEventType.RUN_START))
    assert written(url) == ["PIPELINE_START"]


def test_a_closed_storage_has_written_everything(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("one"))
    storage.dispose()
    assert written(url) == ["one"]


def test_very_many_lines_are_not_kept_in_memory(url: str, storage: PooledEventLogStorage) -> None:
    for number in range(1200):
        storage.store_event(line(str(number)))
    assert written(url) == [str(number) for number in range(1000)]
    storage.store_event(line("x" * 5_000_000))
    assert len(written(url)) == 1201


def test_the_events_of_threads_and_runs_have_the_order_in_which_they_were_stored(url: str) -> None:
    storage = opened(url, batch_milliseconds=1)

    def log(run_id: str) -> None:
        for number in range(100):
            storage.store_event(line(f"{run_id} {number}", run_id))
            if number % 10 == 9:
                storage.store_event(status(DagsterEventType.RUN_START, run_id))

    threads = [threading.Thread(target=log, args=(f"run {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        records = storage.get_records_for_run(f"run {number}").records
        lines = [record.event_log_entry.user_message for record in records]
        expected = [message for n in range(100) for message in _with_status(f"run {number}", n)]
        assert lines == expected


def _with_status(run_id: str, number: int) -> list[str]:
    return [f"{run_id} {number}"] + (["PIPELINE_START"] if number % 10 == 9 else [])


def test_an_event_that_postgres_refuses_takes_no_other_with_it(url: str, storage: PooledEventLogStorage) -> None:
    storage.store_event(line("before"))
    for refused in ("a\0b", "\ud800"):
        with pytest.raises(ValueError):  # noqa: PT011 - psycopg2 and Python's encoder have no more to say
            storage.store_event(line("refused", step_key=refused))
    storage.store_event(line("nul \0 in a message"))
    storage.store_event(line("lone surrogate \ud800 in a message"))
    assert [entry.user_message for entry in storage.get_logs_for_run("run")] == [
        "before",
        "nul \0 in a message",
        "lone surrogate \ud800 in a message",
    ]


@pytest.mark.parametrize("batch_milliseconds", [0, 20])
def test_what_is_logged_during_a_write_is_written_after_it(url: str, batch_milliseconds: int) -> None:
    storage = opened(url, batch_milliseconds)
    left_to_say = ["about the write"]

    def log(*_: Any) -> None:
        if left_to_say:
            storage.store_event(line(left_to_say.pop()))

    event.listen(pooled_engine(url), "do_execute", log)
    storage.store_event(status(DagsterEventType.RUN_SUCCESS))
    eventually(url, ["PIPELINE_SUCCESS", "about the write"])


def test_what_could_not_be_written_is_kept_and_the_next_prompt_event_says_so(
    url: str, storage: PooledEventLogStorage
) -> None:
    storage.store_event(line("one"))
    admin = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("ALTER TABLE event_logs RENAME TO elsewhere"))
    with pytest.raises(DBAPIError):
        storage.store_event(status(DagsterEventType.RUN_START))
    with admin.connect() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO event_logs"))
    storage.store_event(status(DagsterEventType.RUN_SUCCESS))
    assert written(url) == ["one", "PIPELINE_SUCCESS"]


def test_what_could_not_be_written_in_time_is_written_later(url: str, caplog: pytest.LogCaptureFixture) -> None:
    storage = opened(url, batch_milliseconds=10)
    admin = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("ALTER TABLE event_logs RENAME TO elsewhere"))
    storage.store_event(line("one"))
    deadline = time.monotonic() + PATIENCE
    while "could not be written" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    storage.store_event(line("two"))
    with admin.connect() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO event_logs"))
    eventually(url, ["one", "two"])


def test_a_process_that_ends_writes_what_it_kept(url: str) -> None:
    subprocess.run([sys.executable, "-c", LOGS_ONE_LINE.format(url=url, never=NEVER)], check=True, timeout=PATIENCE)
    assert written(url) == ["one"]


def test_a_worker_that_is_killed_in_a_step_loses_no_outcome(url: str, tmp_path: Path) -> None:
    script = tmp_path / "mortal.py"
    script.write_text(MORTAL.format(config={"postgres_url": url, "batch_milliseconds": NEVER}))
    killed = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=PATIENCE, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with instance_of(url) as instance:
        (record,) = instance.get_run_records()
        events = instance.all_logs(record.dagster_run.run_id)
        assert record.dagster_run.status.value == "STARTED"
        assert [e.step_key for e in events if e.dagster_event_type is DagsterEventType.STEP_SUCCESS] == ["first"]
        messages = [entry.user_message for entry in events]
        assert "said by first" in messages
        assert "said by second" not in messages


def instance_of(url: str, **config: int) -> AbstractContextManager[DagsterInstance]:
    storage = {"module": "orchestrator_dagster.instance", "class": "PostgresStorage"}
    return instance_for_test(overrides={"storage": {"custom": {**storage, "config": {"postgres_url": url, **config}}}})
