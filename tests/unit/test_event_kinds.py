"""Which events can wait a moment before they are written."""

import pytest
from dagster import DagsterEventType
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, PIPELINE_EVENTS

from orchestrator_dagster.instance.event_kinds import Kind, is_storable, kind_of

OUTCOMES = ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED", "STEP_UP_FOR_RETRY", "STEP_RESTARTED")
WRITTEN_BY_DAGSTER = {
    "ALERT_FAILURE",
    "ALERT_START",
    "ALERT_SUCCESS",
    "ASSET_FAILED_TO_MATERIALIZE",
    "ASSET_HEALTH_CHANGED",
    "ASSET_WIPED",
    "CODE_LOCATION_UPDATED",
    "FRESHNESS_STATE_CHANGE",
    "FRESHNESS_STATE_EVALUATION",
    "RUN_RESUMED",
    "RUN_SUSPENDED",
}


def test_a_line_that_the_author_logged_can_wait() -> None:
    assert kind_of(None) is Kind.DEFERRED


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_outcome_of_a_step_cannot_wait(name: str) -> None:
    assert kind_of(DagsterEventType[name]) is Kind.PROMPT


@pytest.mark.parametrize("event_type", sorted(PIPELINE_EVENTS))
def test_the_status_of_a_run_cannot_wait(event_type: DagsterEventType) -> None:
    assert kind_of(event_type) in (Kind.PROMPT, Kind.OTHER)


@pytest.mark.parametrize("event_type", sorted(ASSET_EVENTS))
def test_what_concerns_an_asset_is_written_with_the_tables_about_assets(event_type: DagsterEventType) -> None:
    assert kind_of(event_type) in (Kind.ASSET, Kind.OTHER)


@pytest.mark.parametrize("event_type", sorted(ASSET_CHECK_EVENTS))
def test_what_concerns_a_check_is_written_with_the_table_about_checks(event_type: DagsterEventType) -> None:
    assert kind_of(event_type) is Kind.CHECK


def test_only_events_that_are_rare_are_left_to_dagster() -> None:
    left = {event_type.name for event_type in DagsterEventType if kind_of(event_type) is Kind.OTHER}
    assert left <= WRITTEN_BY_DAGSTER


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 3000])
def test_what_postgres_may_refuse_is_not_written_with_others(text: str) -> None:
    assert not is_storable({"event": "{}", "step_key": text})


@pytest.mark.parametrize("row", [{"event": "x" * 3000}, {"event": "{}", "step_key": "süß"}, {"step_key": None}])
def test_ordinary_rows_are_written_with_others(row: dict[str, str]) -> None:
    assert is_storable(row)
