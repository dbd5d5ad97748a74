"""Our storage answers as Dagster's own does: the same is done on both, and what can be asked is compared.

Ids of events are compared as they are: nothing gets another one because it was written together with others.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSpec,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DynamicPartitionsDefinition,
    EventLogEntry,
    MaterializeResult,
    OpExecutionContext,
    ReexecutionOptions,
    RunsFilter,
    RunStatusChangeRecordsFilter,
    StaticPartitionsDefinition,
    asset,
    execute_job,
    materialize,
    reconstructable,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.errors import DagsterRunAlreadyExists, DagsterRunNotFoundError, DagsterSnapshotDoesNotExist
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, TickData, TickStatus
from dagster._core.storage.event_log.base import EventLogCursor
from dagster._core.storage.schedules import ScheduleStorage
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster._serdes import serialize_value
from dagster._utils.test.schedule_storage import TestScheduleStorage as ScheduleStorageSuite
from dagster_shared.record import as_dict, is_record
from workers.eventful import eventful, eventful_in_processes

from orchestrator_dagster.instance import PostgresStorage
from orchestrator_dagster.instance.engine import dispose_pooled_engine

pytestmark = pytest.mark.long

CLASSES = {
    "stock": ("dagster_postgres", "DagsterPostgresStorage"),
    "ours": ("orchestrator_dagster.instance", "PostgresStorage"),
}
WORKER = Path(__file__).parents[1] / "workers" / "eventful.py"
LONG_AGO = 1_600_000_000.0
Answers = dict[str, Any]

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b(?:[0-9a-f]{40}|[0-9a-f]{64})\b")
_CHANGING = (
    (re.compile(r"\b1[6-9]\d{8}(\.\d+)?\b"), "<seconds>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[T ][\d:.]+(\+00:00)?"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)?(ms|s)\b"), "<duration>"),
    (re.compile(r"(duration_ms\W+)[\d.]+"), r"\1<duration>"),
    (re.compile(r'(?<="file_key": )"\w+"'), "<file>"),
    (re.compile(r"(?<=log_key).*"), "<key>"),
    (re.compile(r"0x[0-9a-f]+"), "<address>"),
)


LETTERS = StaticPartitionsDefinition(["a", "b", "c"])
COLOURS = DynamicPartitionsDefinition(name="colours")


@asset(partitions_def=LETTERS, check_specs=[AssetCheckSpec("is_long", asset="letter")])
def letter(context: OpExecutionContext) -> MaterializeResult:
    context.log_event(AssetObservation("letter", partition=context.partition_key, tags={"seen": "yes"}))
    return MaterializeResult(
        metadata={"length": 1},
        check_results=[AssetCheckResult(passed=context.partition_key == "a", check_name="is_long")],
    )


@asset(partitions_def=COLOURS)
def colour() -> None:
    return None


@asset(deps=[letter], key_prefix="word")
def plain() -> None:
    return None


def play_runs(instance: DagsterInstance) -> Answers:
    """A run that fails, the same executed again from its failure, and one that nobody executes."""
    failed = eventful.execute_in_process(instance=instance, raise_on_error=False)
    again = ReexecutionOptions.from_failure(failed.run_id, instance)
    execute_job(reconstructable(eventful), instance, reexecution_options=again)
    waiting = create_run_for_test(instance, job_name="waiting", tags={"team": "voice"})
    instance.add_run_tags(waiting.run_id, {"team": "video", "floor": "2"})
    instance.report_run_canceled(waiting)
    return _about_runs(instance) | {
        run.run_id: _about_run(instance, run.run_id) for run in reversed(instance.get_runs())
    }


def play_steps_in_processes(instance: DagsterInstance) -> Answers:
    """Steps in processes of their own, which write at the same time as the run."""
    result = execute_job(reconstructable(eventful_in_processes), instance, raise_on_error=False)
    return {
        "run": instance.get_run_by_id(result.run_id),
        "stats": instance.get_run_stats(result.run_id),
        "stats of steps": instance.get_run_step_stats(result.run_id),
        "log, in any order": sorted(map(_in_short, instance.all_logs(result.run_id))),
    }


def _about_runs(instance: DagsterInstance) -> Answers:
    return {
        "records": instance.get_run_records(),
        "ascending, by two": instance.get_run_records(limit=2, ascending=True),
        "failed": instance.get_run_ids(RunsFilter(statuses=[DagsterRunStatus.FAILURE])),
        "by tag": instance.get_run_ids(RunsFilter(tags={"team": ["video", "network"]})),
        "by job": instance.get_runs_count(RunsFilter(job_name="eventful")),
        "tags": instance.get_run_tags(["team", "floor"]),
        "keys of tags": instance.get_run_tag_keys(),
        "changes": instance.fetch_run_status_changes(DagsterEventType.RUN_FAILURE, limit=10),
        "changes after the first event": instance.fetch_run_status_changes(
            RunStatusChangeRecordsFilter(DagsterEventType.RUN_SUCCESS, after_storage_id=1), limit=10
        ),
        "last event": instance.event_log_storage.get_maximum_record_id(),
    }


def _about_run(instance: DagsterInstance, run_id: str) -> Answers:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return {
        "run": run,
        "group": instance.get_run_group(run_id),
        "log": instance.get_records_for_run(run_id),
        "log, by three": list(_pages(instance, run_id)),
        "log, last first": instance.get_records_for_run(run_id, limit=5, ascending=False),
        "failures": instance.all_logs(run_id, of_type={DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}),
        "stats": instance.get_run_stats(run_id),
        "stats of steps": instance.get_run_step_stats(run_id),
        "stats of one step": instance.get_run_step_stats(run_id, ["speak"]),
        "job": run.job_snapshot_id and instance.get_job_snapshot(run.job_snapshot_id),
        "plan": run.execution_plan_snapshot_id and instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id),
        "plan is there": instance.run_storage.has_execution_plan_snapshot(run.execution_plan_snapshot_id or "none"),
    }


def _pages(instance: DagsterInstance, run_id: str) -> Iterator[Any]:
    cursor = None
    while True:
        page = instance.get_records_for_run(run_id, cursor=cursor, limit=3)
        yield page
        if not page.has_more:
            return
        cursor = page.cursor


def play_assets(instance: DagsterInstance) -> Answers:
    """Partitions, static and dynamic, observations, tags, checks; then some are wiped."""
    instance.add_dynamic_partitions("colours", ["red", "green", "blue"])
    instance.delete_dynamic_partition("colours", "green")
    for key in ("a", "b"):
        materialize([letter], instance=instance, partition_key=key, tags={"by": "test"})
    materialize([colour], instance=instance, partition_key="red")
    materialize([letter, plain], instance=instance, selection=[plain])
    instance.report_runless_asset_event(AssetMaterialization("elsewhere", tags={"source": "hand"}))
    before = _about_assets(instance)
    instance.wipe_assets([AssetKey(["word", "plain"])])
    return {"before": before, "after": _about_assets(instance)}


def _about_assets(instance: DagsterInstance) -> Answers:
    storage = instance.event_log_storage
    key = AssetKey("letter")
    check = AssetCheckKey(key, "is_long")
    first = instance.fetch_materializations(key, limit=1)
    return {
        "keys": instance.get_asset_keys(),
        "keys, by prefix": instance.get_asset_keys(prefix=["word"]),
        "keys, a page": instance.get_asset_keys(limit=1, cursor='["colour"]'),
        "has": [instance.has_asset_key(AssetKey(name)) for name in ("letter", "nothing")],
        "records": sorted(instance.get_asset_records(), key=lambda record: str(record.asset_entry.asset_key)),
        "materializations": first,
        "next": instance.fetch_materializations(key, limit=5, cursor=first.cursor),
        "of a partition": instance.fetch_materializations(AssetRecordsFilter(key, asset_partitions=["b"]), limit=5),
        "observations": instance.fetch_observations(key, limit=5, ascending=True),
        "planned": instance.get_latest_planned_materialization_info(key),
        "latest": instance.get_latest_materialization_events([key, AssetKey("elsewhere")]),
        "partitions": sorted(instance.get_materialized_partitions(key)),
        "ids by partition": instance.get_latest_storage_id_by_partition(key, DagsterEventType.ASSET_MATERIALIZATION),
        "tags": storage.get_event_tags_for_asset(key),
        "tags by partition": storage.get_latest_tags_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION, tag_keys=[DATA_VERSION_TAG]
        ),
        "checks": storage.get_asset_check_execution_history(check, limit=5),
        "latest check": storage.get_latest_asset_check_execution_by_key([check]),
        "summary of check": storage.get_asset_check_summary_records([check]),
        "colours": instance.get_dynamic_partitions("colours"),
        "colours, a page": instance.get_paginated_dynamic_partitions("colours", limit=1, ascending=True),
        "has colour": [instance.has_dynamic_partition("colours", name) for name in ("red", "green")],
        "version": instance.get_latest_data_version_record(key),
    }


def play_schedules(instance: DagsterInstance) -> Answers:
    """A schedule and a sensor with ticks, one of them deleted."""
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere"), location_name="here")
    origin = RemoteRepositoryOrigin(location, "repository").get_instigator_origin("sensor")
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    instance.add_instigator_state(state)
    instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
    for number, status in enumerate((TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.STARTED)):
        tick = instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name="sensor",
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.STARTED,
                timestamp=LONG_AGO + number,
                selector_id=state.selector_id,
            )
        )
        instance.update_tick(tick.with_status(status).with_cursor(str(number)))
    before = _about_schedules(instance, state)
    instance.purge_ticks(state.instigator_origin_id, state.selector_id, LONG_AGO + 1, [TickStatus.SUCCESS])
    after = _about_schedules(instance, state)
    instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)
    return {"before": before, "after": after, "deleted": instance.all_instigator_state()}


def _about_schedules(instance: DagsterInstance, state: InstigatorState) -> Answers:
    return {
        "states": instance.all_instigator_state(),
        "state": instance.get_instigator_state(state.instigator_origin_id, state.selector_id),
        "ticks": instance.get_ticks(state.instigator_origin_id, state.selector_id),
        "skipped": instance.get_ticks(state.instigator_origin_id, state.selector_id, statuses=[TickStatus.SKIPPED]),
        "ticks at once": instance.get_batch_ticks([state.selector_id], limit=2),
    }


def play_concurrency(instance: DagsterInstance) -> Answers:
    """Two slots of a pool, claimed by three steps."""
    storage = instance.event_log_storage
    storage.set_concurrency_slots("pool", 2)
    run_ids = [create_run_for_test(instance, job_name="nothing").run_id for _ in range(3)]
    claims = [storage.claim_concurrency_slot("pool", run_id, "step") for run_id in run_ids]
    full = storage.get_concurrency_info("pool")
    storage.free_concurrency_slots_for_run(run_ids[0])
    again = storage.check_concurrency_claim("pool", run_ids[2], "step")
    storage.set_concurrency_slots("pool", 1)
    return {
        "claims": claims,
        "full": full,
        "again": again,
        "less": storage.get_concurrency_info("pool"),
        "limits": storage.get_pool_limits(),
        "keys": sorted(storage.get_concurrency_keys()),
        "config": storage.get_pool_config(),
    }


def play_daemon(instance: DagsterInstance) -> Answers:
    """Heartbeats, cursors and backfills."""
    for seconds in (1, 2):
        instance.add_daemon_heartbeat(DaemonHeartbeat(LONG_AGO + seconds, "SENSOR", f"daemon {seconds}", []))
    cursors = instance.daemon_cursor_storage
    cursors.set_cursor_values({"one": "1", "two": "2"})
    cursors.set_cursor_values({"two": "zwei"})
    requested = PartitionBackfill("backfill", BulkActionStatus.REQUESTED, False, {"team": "network"}, LONG_AGO)
    instance.add_backfill(requested)
    instance.add_backfill(requested._replace(backfill_id="other"))
    instance.update_backfill(requested.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    return {
        "heartbeats": instance.get_daemon_heartbeats(),
        "cursors": cursors.get_cursor_values({"one", "two", "three"}),
        "backfills": instance.get_backfills(),
        "completed": instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.COMPLETED_SUCCESS])),
        "by tag": instance.get_backfills_count(BulkActionsFilter(tags={"team": "network"})),
        "one": instance.get_backfill("backfill"),
    }


def play_deletions(instance: DagsterInstance) -> Answers:
    """A run is deleted, then everything."""
    runs = [eventful.execute_in_process(instance=instance, raise_on_error=False).run_id for _ in range(2)]
    instance.report_engine_event("said after the end", instance.get_run_by_id(runs[0]))
    instance.delete_run(runs[0])
    gone = {"log": instance.all_logs(runs[0]), "run": instance.get_run_by_id(runs[0]), **_about_runs(instance)}
    instance.wipe()
    return {"gone": gone, "wiped": [instance.get_runs(), instance.all_logs(runs[1]), instance.get_asset_keys()]}


def play_refusals(instance: DagsterInstance) -> Answers:
    """What a storage refuses, and what is left of it then."""
    run = create_run_for_test(instance, job_name="nothing", tags={"a": "b"})
    with pytest.raises(DagsterRunAlreadyExists):
        instance.add_run(run)
    with pytest.raises(DagsterSnapshotDoesNotExist):
        instance.add_run(run._replace(run_id="other", job_snapshot_id="nowhere"))
    with pytest.raises(DagsterRunNotFoundError):
        instance.add_run_tags("nobody", {"a": "b"})
    return _about_runs(instance)


def _in_short(entry: EventLogEntry) -> str:
    return f"{entry.step_key}: {entry.dagster_event_type}: {re.sub(r'pid: [0-9]+', 'pid', entry.message)}"


PLAYS = (
    play_runs,
    play_steps_in_processes,
    play_assets,
    play_schedules,
    play_concurrency,
    play_daemon,
    play_deletions,
    play_refusals,
)


@pytest.fixture
def instances(new_database: Callable[..., str]) -> Iterator[Mapping[str, DagsterInstance]]:
    """An instance on Dagster's own storage and one on ours, each with an empty database."""
    with ExitStack() as stack:
        yield {kind: stack.enter_context(opened(kind, new_database())) for kind in CLASSES}


@contextmanager
def opened(kind: str, url: str) -> Iterator[DagsterInstance]:
    module, name = CLASSES[kind]
    overrides = {
        "storage": {"custom": {"module": module, "class": name, "config": {"postgres_url": url}}},
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
    }
    with instance_for_test(overrides=overrides) as instance:
        yield instance
    dispose_pooled_engine(url)


def plain_answer(answer: Any) -> Any:
    """An answer as JSON has it."""
    if isinstance(answer, dict | Mapping):
        return {str(key): plain_answer(value) for key, value in answer.items()}
    if is_record(answer) and not _is_serializable(answer):
        return plain_answer(as_dict(answer))
    if isinstance(answer, tuple) and hasattr(answer, "_asdict") and not _is_serializable(answer):
        return plain_answer(answer._asdict())
    if isinstance(answer, set | frozenset):
        return sorted(map(str, answer))
    if type(answer) in (list, tuple):
        return [plain_answer(value) for value in answer]
    return json.loads(serialize_value(answer)) if _is_serializable(answer) else str(answer)


def _is_serializable(answer: Any) -> bool:
    try:
        serialize_value(answer)
    except Exception:
        return False
    return True


def normalised(answers: Answers) -> list[str]:
    """Lines of text, with a number for each UUID and hash, in the order in which they come, and without times."""
    said = json.dumps(plain_answer(answers), indent=1)
    numbers: dict[str, str] = {}
    said = _ID.sub(lambda found: numbers.setdefault(found[0], f"<id {len(numbers)}>"), said)
    for pattern, replacement in _CHANGING:
        said = pattern.sub(replacement, said)
    return said.splitlines()


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
def test_both_storages_give_the_same_answers(
    play: Callable[[DagsterInstance], Answers], instances: Mapping[str, DagsterInstance]
) -> None:
    stock, ours = (normalised(play(instances[kind])) for kind in ("stock", "ours"))
    assert len(stock) > 20
    assert ours == stock


def test_what_one_storage_wrote_the_other_one_reads(new_database: Callable[..., str]) -> None:
    url = new_database()
    with opened("ours", url) as ours:
        play_runs(ours)
        play_assets(ours)
    with opened("stock", url) as stock:
        theirs = normalised(_about_runs(stock) | _about_assets(stock))
    with opened("ours", url) as ours:
        assert normalised(_about_runs(ours) | _about_assets(ours)) == theirs


def test_threads_and_processes_that_write_at_once_leave_the_same_logs(
    instances: Mapping[str, DagsterInstance],
) -> None:
    logs = {kind: _logs_of_many(instance) for kind, instance in instances.items()}
    assert logs["ours"] == logs["stock"]
    assert len(logs["ours"]) == 8


def _logs_of_many(instance: DagsterInstance) -> list[list[str]]:
    """Processes execute a job; threads report events, since Dagster's logging locks up where threads execute jobs."""
    reported = [create_run_for_test(instance, job_name="reported") for _ in range(4)]
    threads = [threading.Thread(target=_report, args=(instance, run)) for run in reported]
    processes = [threading.Thread(target=_execute_twice, args=(instance,)) for _ in range(2)]
    for thread in threads + processes:
        thread.start()
    for thread in threads + processes:
        thread.join()
    runs = instance.get_runs()
    return sorted(normalised({"log": list(map(_in_short, instance.all_logs(run.run_id)))}) for run in runs)


def _report(instance: DagsterInstance, run: DagsterRun) -> None:
    for number in range(50):
        instance.report_engine_event(f"{number}", run)
    instance.report_run_failed(run)


def _execute_twice(instance: DagsterInstance) -> None:
    ref = serialize_value(instance.get_ref())
    subprocess.run([sys.executable, str(WORKER)], input=ref.encode(), check=True, timeout=120, capture_output=True)


def test_a_run_that_another_process_watches_shows_every_event_once(instances: Mapping[str, DagsterInstance]) -> None:
    writer = instances["ours"]
    run = create_run_for_test(writer, job_name="nothing")
    seen: list[str] = []
    ended = threading.Event()

    def note(entry: EventLogEntry, _cursor: str) -> None:
        seen.append(entry.message)
        if entry.message == "99":
            ended.set()

    with DagsterInstance.from_ref(writer.get_ref()) as reader:
        reader.watch_event_logs(run.run_id, EventLogCursor.from_storage_id(0).to_string(), note)
        for number in range(100):
            writer.report_engine_event(str(number), run)
        assert ended.wait(60)
    assert seen == [str(number) for number in range(100)]


class TestSchedulesAsDagsterTestsThem(ScheduleStorageSuite):
    """Dagster's own tests of a storage of schedules; those of runs and events are not part of its package."""

    __test__ = True

    @pytest.fixture(name="storage")
    def schedule_storage(self, new_database: Callable[..., str]) -> Iterator[ScheduleStorage]:
        url = new_database()
        yield PostgresStorage(url).schedule_storage
        dispose_pooled_engine(url)
