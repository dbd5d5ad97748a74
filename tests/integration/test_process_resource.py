"""The processes as a Dagster resource."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from orchestrator_dagster import (
    Assignee,
    ConfigurationError,
    Database,
    FormPage,
    Orchestrator,
    Processes,
    ProcessStatus,
    Session,
    StepList,
    done,
    init,
    inputstep,
    workflow,
)

pytestmark = pytest.mark.usefixtures("orchestrator_database")


class Ticket(FormPage):
    ticket: str


@inputstep("Confirm", Assignee.NOC)
def confirm() -> Any:
    answer = yield Ticket
    return answer.model_dump()


@workflow("Ask")
def ask() -> StepList:
    return init >> confirm >> done


@workflow("Do nothing")
def do_nothing() -> StepList:
    return init >> done


@pytest.fixture
def orchestrator() -> Orchestrator:
    return Orchestrator([], workflows=[ask, do_nothing])


@pytest.fixture
def wfo(orchestrator: Orchestrator) -> Iterator[Session]:
    with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as session:
        yield session


@pytest.fixture
def bare(orchestrator_database: str) -> Processes:
    return Processes(database=Database(url=orchestrator_database))


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("suspended", ["ask"]),
        (ProcessStatus.COMPLETED, ["do_nothing"]),
        (["suspended", ProcessStatus.COMPLETED], ["ask", "do_nothing"]),
        (("failed",), []),
        (None, ["ask", "do_nothing"]),
        ([], ["ask", "do_nothing"]),
    ],
)
def test_processes_are_found_by_where_they_stand(wfo: Session, bare: Processes, status: Any, found: list[str]) -> None:
    for name in ("ask", "do_nothing"):
        wfo.run(name)
    assert [process.workflow for process in bare.find(status=status)] == found
    assert [process.workflow for process in wfo.processes(status=status)] == found


def test_a_status_that_there_is_not_is_an_error(bare: Processes) -> None:
    with pytest.raises(ValueError, match="'finished' is not a valid ProcessStatus"):
        bare.find(status="finished")


@pytest.mark.parametrize(
    "act",
    [
        lambda processes, of: processes.resume(of, {"ticket": "CHG1"}),
        lambda processes, of: processes.retry(of),
        lambda processes, of: processes.skip(of, None, "Not needed"),
        lambda processes, of: processes.replace_value(of, "ticket", "CHG1", "A slip of the pen"),
        lambda processes, of: processes.abort(of, "Not wanted"),
    ],
    ids=["resume", "retry", "skip", "replace_value", "abort"],
)
def test_without_the_workflows_nothing_is_done_to_a_process(
    wfo: Session, bare: Processes, act: Callable[..., Any]
) -> None:
    process = wfo.run("ask")
    with pytest.raises(ConfigurationError, match="knows no workflows"):
        act(bare, process.process_id)
    assert process.refresh().status == "suspended"


def test_without_the_workflows_it_reads_and_notes(wfo: Session, bare: Processes) -> None:
    process = wfo.run("ask")
    bare.set_note(process.process_id, "Ask Ada first")
    assert bare.get(process.process_id).note == "Ask Ada first"
    assert [wait.step for wait in bare.waits(process.process_id)] == ["confirm"]


def test_that_of_the_orchestrator_lets_a_process_go_on(wfo: Session, orchestrator: Orchestrator) -> None:
    process = wfo.run("ask")
    processes: Any = (orchestrator.definitions().resources or {})["processes"]
    assert processes.resume(process.process_id, {"ticket": "CHG1"})
    assert process.refresh().status == "resumed"
