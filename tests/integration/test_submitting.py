"""Processes go on through the Dagster instance, submitted by runs that have no workspace loaded."""

from pathlib import Path

import pytest
import waiting_workflows
from dagster_home import WARM, DagsterHome, until
from waiting_workflows import orchestrator

from orchestrator_dagster import Process, Session


@pytest.fixture
def home(orchestrator_database: str, tmp_path: Path) -> DagsterHome:
    tests = Path(waiting_workflows.__file__).parent
    home = DagsterHome.make(
        tmp_path / "home", python_path=[tests, tests.parent], ORCHESTRATOR_DATABASE_URL=orchestrator_database
    )
    home.configure(run_launcher=WARM)
    return home


def launch(home: DagsterHome, job: str, **config: object) -> None:
    workspace = home.workspace("waiting_workflows")
    launched = home.command("dagster", "job", "launch", "-w", workspace, "-j", job, "-c", home.run_config(config))
    assert launched.status == 0, launched.output


def process_of(session: Session, workflow: str, status: str) -> Process:
    def find() -> Process | None:
        return next(iter(session.processes(workflow=workflow, status=status)), None)

    found: Process = until(find, f"no process of {workflow} is {status}: {session.processes()!r}")
    return found


def test_an_answered_process_and_the_one_that_waits_for_it_go_on_without_a_daemon(home: DagsterHome) -> None:
    waiting_workflows.forget()
    with home.instance() as instance, orchestrator.connect(instance=instance) as wfo:
        launch(home, "have_asked")
        asking = process_of(wfo, "ask", "suspended")
        launch(home, "resume_process", process_id=str(asking.process_id), input={"ticket": "CHG1"})
        process_of(wfo, "ask", "completed")
        process_of(wfo, "have_asked", "completed")
        assert all(run.is_success for run in until(lambda: _ended(home), "some run has not ended"))


def _ended(home: DagsterHome) -> list[object]:
    with home.instance() as instance:
        runs = instance.get_runs()
        return list(runs) if all(run.is_finished for run in runs) else []
