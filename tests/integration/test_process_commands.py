"""`orchestrator-dagster process` and `engine`: what a person does at a terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import waiting_workflows
from click.testing import CliRunner, Result
from waiting_workflows import broken, orchestrator

from orchestrator_dagster import Session
from orchestrator_dagster.cli.main import main


@pytest.fixture
def wfo(orchestrator_database: str) -> Iterator[Session]:
    waiting_workflows.forget()
    with orchestrator.connect() as session:  # type: ignore[attr-defined]
        yield session


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "-m", "waiting_workflows"])


def test_a_process_that_asks_is_shown_with_its_form(wfo: Session) -> None:
    asking = wfo.run("ask").set_note("call ada")
    result = run("process", "show", asking.process_id)
    assert result.exit_code == 0, result.output
    for said in ("suspended at confirm", "note: call ada", "confirm: input", "CHANGES", "ticket: string, required"):
        assert said in result.output


def test_a_process_is_answered_and_goes_on(wfo: Session) -> None:
    asking = wfo.run("ask")
    answered = run("process", "resume", asking.process_id, "--input", '{"ticket": "CHG1"}', "--user", "ada")
    assert answered.exit_code == 0, answered.output
    assert "completed" in answered.output


def test_an_answer_can_be_a_file(wfo: Session, tmp_path: Path) -> None:
    asking = wfo.run("ask")
    (tmp_path / "answer.yaml").write_text("ticket: CHG1\nhours: 2\n")
    assert run("process", "resume", asking.process_id, "--input-file", tmp_path / "answer.yaml").exit_code == 0
    assert asking.refresh().state["hours"] == 2


def test_a_wrong_answer_is_refused_with_a_line_for_each_mistake(wfo: Session) -> None:
    asking = wfo.run("ask")
    refused = run("process", "resume", asking.process_id, "--input", "{hours: 0, colour: red}")
    assert refused.exit_code == 1
    lines = [line.strip() for line in refused.output.splitlines()]
    for field in ("ticket", "hours", "colour"):
        assert any(line.startswith(f"{field}: ") for line in lines)
    assert asking.refresh().status == "suspended"


@pytest.mark.parametrize("given", ["[1, 2]", "{"])
def test_an_answer_that_is_no_mapping_is_a_mistake_of_usage(wfo: Session, given: str) -> None:
    assert run("process", "resume", wfo.run("ask").process_id, "--input", given).exit_code == 2


def test_what_failed_is_retried_and_fails_the_command_when_it_fails_again(wfo: Session) -> None:
    broken.add("configure")
    failed = wfo.run("do_plainly")
    assert run("process", "retry", failed.process_id).exit_code == 1
    broken.clear()
    assert run("process", "retry", failed.process_id, "--step", "configure").exit_code == 0
    assert failed.refresh().status == "completed"


def test_a_step_is_skipped_and_a_value_replaced(wfo: Session) -> None:
    broken.add("configure")
    failed = wfo.run("do_plainly")
    replaced = run(
        "process", "replace", failed.process_id, "--key", "speed", "--value", "{down: 40}", "--reason", "wrong"
    )
    assert replaced.exit_code == 0, replaced.output
    assert run("process", "skip", failed.process_id, "--reason", "by hand").exit_code == 0
    assert failed.refresh().status == "completed"
    assert failed.state["speed"] == {"down": 40}


def test_a_process_is_aborted_and_has_a_note(wfo: Session) -> None:
    asking = wfo.run("ask")
    assert run("process", "note", asking.process_id, "ask ada").exit_code == 0
    assert run("process", "abort", asking.process_id, "--reason", "not wanted").exit_code == 0
    assert (asking.refresh().status, asking.note) == ("aborted", "ask ada")


def test_whatever_is_due_goes_on(wfo: Session) -> None:
    answering = wfo.run("answer", {"other": str((asking := wfo.run("ask")).process_id), "ticket": "CHG1"})
    assert (answering.status, asking.refresh().status) == ("completed", "resumed")
    result = run("process", "go-on")
    assert str(asking.process_id) in result.output
    assert asking.refresh().status == "completed"


def test_the_engine_is_paused_and_resumed(wfo: Session) -> None:
    asking = wfo.run("ask")
    assert "Paused by ada" in run("engine", "pause", "--reason", "maintenance", "--user", "ada").output
    refused = run("process", "resume", asking.process_id, "--input", "{ticket: CHG1}")
    assert refused.exit_code == 1
    assert "paused by ada: maintenance" in refused.output
    assert "maintenance" in run("engine", "status").output
    assert "Going on" in run("engine", "resume").output
    assert run("process", "resume", asking.process_id, "--input", "{ticket: CHG1}").exit_code == 0
