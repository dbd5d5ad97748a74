"""What becomes of launched runs: workers that have loaded the code execute them, one after another."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster_home import CAPTURED, WARM, Dagit, DagsterHome, process_ended, until
from golden_example import REPOSITORY
from sqlalchemy import Engine, text

from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.instance.service_folder import ServiceFolder

pytestmark = pytest.mark.long

WORKERS = REPOSITORY / "tests" / "workers"
SUCCESS, FAILURE, CANCELED = (dg.DagsterRunStatus(name) for name in ("SUCCESS", "FAILURE", "CANCELED"))

SAYING = """
from pathlib import Path

import dagster as dg

FACT = Path(__file__).with_suffix(".txt").read_text()

@dg.op
def say(context: dg.OpExecutionContext) -> None:
    context.instance.add_run_tags(context.run_id, {"word": "first", "fact": FACT})

@dg.job
def saying() -> None:
    say()

defs = dg.Definitions(jobs=[saying], executor=dg.in_process_executor)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warm")


@pytest.fixture(scope="module")
def code(folder: Path) -> Path:
    """A code location in a file, for tests that edit it."""
    file = folder / "edited.py"
    file.write_text(SAYING)
    file.with_suffix(".txt").write_text("old")
    return file


@pytest.fixture(scope="module")
def home(folder: Path, module_database_url: str) -> Iterator[DagsterHome]:
    """An instance with two workers for each code location, whose environment this process has too."""
    variables = {"ORCHESTRATOR_DATABASE_URL": module_database_url, "LOADS": str(folder / "loads")}
    home = DagsterHome.make(folder / "home", python_path=[WORKERS], **variables)
    home.configure(
        run_launcher=WARM | {"config": {"workers": 2}}, compute_logs=CAPTURED, run_monitoring={"enabled": True}
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment.items():
            patch.setenv(name, value)
        yield home
        ServiceFolder.of(str(home.folder)).stop_server(now=True)


@pytest.fixture(scope="module")
def dagit(home: DagsterHome, folder: Path, code: Path) -> Iterator[Dagit]:
    copy = Path(shutil.copy(WORKERS / "warm_jobs.py", folder / "jobs_in_a_file.py"))
    with Dagit.opened(home, home.locations("warm_jobs", files=[copy, code])) as dagit:
        yield dagit


@pytest.fixture
def database(home: DagsterHome, module_database_url: str) -> Engine:
    return engine_for(module_database_url)


@pytest.fixture
def signal_file(tmp_path: Path) -> Path:
    """Runs wait until this is there, which it is after the test at the latest."""
    return tmp_path / "go-on"


@pytest.fixture(autouse=True)
def nobody_waits_longer(signal_file: Path) -> Iterator[None]:
    yield
    signal_file.touch()


def worker(dagit: Dagit, run_id: str) -> int:
    """Wait until a run is under way, and return the process that executes it."""
    until(lambda: "worker" in dagit.run(run_id).tags or dagit.run(run_id).is_finished, f"run {run_id} does not begin")
    return int(dagit.run(run_id).tags["worker"])


def children(pid: int) -> list[str]:
    """Return the command lines of the processes that a process has started."""
    out = subprocess.run(["ps", "-o", "args=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return out.stdout.splitlines()


def two_that_wait(dagit: Dagit, signal_file: Path) -> list[str]:
    """Give each of the two workers a run that waits."""
    runs = [dagit.launch("warm_jobs", "waiting", wait={"file": str(signal_file)}) for _ in range(2)]
    assert len({worker(dagit, run) for run in runs}) == 2
    return runs


def in_queue(database: Engine, run_id: str) -> bool:
    with database.connect() as connection:
        statement = "SELECT count(*) FROM orchestrator_instance.launches WHERE run_id = :run_id"
        return bool(connection.execute(text(statement), {"run_id": run_id}).scalar_one())


@pytest.mark.parametrize("location", ["warm_jobs", "jobs_in_a_file"])
def test_runs_and_jobs_of_a_code_location_share_a_worker_that_loads_the_code_once(
    dagit: Dagit, folder: Path, location: str
) -> None:
    runs = [dagit.ended(dagit.launch(location, job)) for job in ("short", "also_short", "short", "also_short")]
    assert {run.status for run in runs} == {SUCCESS}
    (pid,) = {run.tags["worker"] for run in runs}
    loads = [line.split()[0] for line in (folder / "loads").read_text().splitlines()]
    assert loads.count(pid) == 1


def test_a_job_with_dagsters_multiprocess_executor_runs(dagit: Dagit) -> None:
    assert dagit.ended(dagit.launch("warm_jobs", "in_processes")).status is SUCCESS


def test_threads_of_a_process_launch_at_the_same_time(dagit: Dagit) -> None:
    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(lambda _: dagit.launch("warm_jobs", "short"), range(16)))
    assert {dagit.ended(run).status for run in runs} == {SUCCESS}
    assert 1 <= len({dagit.run(run).tags["worker"] for run in runs}) <= 2


class TestDeath:
    def test_a_run_whose_worker_is_killed_fails_by_name_and_alone(self, dagit: Dagit, signal_file: Path) -> None:
        killed, other = two_that_wait(dagit, signal_file)
        os.kill(worker(dagit, killed), signal.SIGKILL)
        assert dagit.ended(killed).status is FAILURE
        assert "SIGKILL" in dagit.messages(killed)
        assert str(worker(dagit, killed)) in dagit.messages(killed)
        replacement = dagit.ended(dagit.launch("warm_jobs", "short"))
        assert replacement.status is SUCCESS
        assert worker(dagit, replacement.run_id) not in (worker(dagit, killed), worker(dagit, other))
        assert dagit.run(other).status is dg.DagsterRunStatus.STARTED
        signal_file.touch()
        assert dagit.ended(other).status is SUCCESS

    def test_the_health_of_a_run_is_that_of_its_worker(self, dagit: Dagit, signal_file: Path) -> None:
        run_id = dagit.launch("warm_jobs", "waiting", wait={"file": str(signal_file)})
        pid = worker(dagit, run_id)
        launcher = dagit.instance.run_launcher
        assert launcher.check_run_worker_health(dagit.run(run_id)).status.value == "RUNNING"
        os.kill(pid, signal.SIGKILL)
        until(lambda: launcher.check_run_worker_health(dagit.run(run_id)).status.value != "RUNNING", "still healthy")
        assert dagit.ended(run_id).status is FAILURE

    def test_a_worker_is_missed_even_if_a_process_that_it_forked_lives_on(self, dagit: Dagit, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        run_id = dagit.launch("warm_jobs", "leaving_a_fork", leave_a_fork_behind_and_die={"pid": str(pid)})
        try:
            assert dagit.ended(run_id).status is FAILURE
            assert "SIGKILL" in dagit.messages(run_id)
        finally:
            os.kill(int(pid.read_text()), signal.SIGKILL)


class TestTermination:
    def test_a_run_that_waits_for_a_worker_is_cancelled_without_ever_starting(
        self, dagit: Dagit, signal_file: Path
    ) -> None:
        busy = two_that_wait(dagit, signal_file)
        run_id = dagit.launch("warm_jobs", "short")
        assert dagit.instance.run_launcher.terminate(run_id)
        assert dagit.run(run_id).status is CANCELED
        signal_file.touch()
        assert {dagit.ended(run).status for run in busy} == {SUCCESS}
        assert dagit.ended(dagit.launch("warm_jobs", "short")).status is SUCCESS
        assert "worker" not in dagit.run(run_id).tags
        assert "Started execution" not in dagit.messages(run_id)

    def test_a_running_step_is_interrupted_and_its_transaction_rolled_back(
        self, dagit: Dagit, database: Engine, signal_file: Path
    ) -> None:
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE written (word text)"))
        run_id = dagit.launch("warm_jobs", "writing", write_and_wait={"file": str(signal_file)})
        pid = worker(dagit, run_id)
        assert dagit.terminate(run_id) == "TerminateRunSuccess"
        assert dagit.ended(run_id).status is CANCELED
        with database.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM written")).scalar_one() == 0
        assert dagit.ended(dagit.launch("warm_jobs", "short")).status is SUCCESS
        assert not process_ended(pid), "an interrupt need not cost a worker"

    def test_another_process_can_terminate_a_run(self, home: DagsterHome, dagit: Dagit, signal_file: Path) -> None:
        run_id = dagit.launch("warm_jobs", "waiting", wait={"file": str(signal_file)})
        worker(dagit, run_id)
        terminate = (
            "import dagster, sys\n"
            "with dagster.DagsterInstance.get() as instance:\n"
            "    print(instance.run_launcher.terminate(sys.argv[1]))"
        )
        assert home.command(sys.executable, "-c", terminate, run_id).output.split() == ["True"]
        assert dagit.ended(run_id).status is CANCELED

    def test_a_run_can_be_terminated_twice(self, dagit: Dagit, signal_file: Path) -> None:
        run_id = dagit.launch("warm_jobs", "waiting", wait={"file": str(signal_file)})
        worker(dagit, run_id)
        assert dagit.instance.run_launcher.terminate(run_id)
        dagit.instance.run_launcher.terminate(run_id)
        assert dagit.ended(run_id).status is CANCELED

    def test_there_is_nothing_to_terminate_in_a_run_that_has_ended(self, dagit: Dagit) -> None:
        run = dagit.ended(dagit.launch("warm_jobs", "short"))
        assert not dagit.instance.run_launcher.terminate(run.run_id)
        assert not dagit.instance.run_launcher.terminate("no such run")
        assert dagit.run(run.run_id).status is SUCCESS

    @pytest.mark.parametrize("attempt", range(3))
    def test_a_run_that_is_terminated_at_once_is_cancelled_and_its_worker_lives(
        self, dagit: Dagit, signal_file: Path, attempt: int
    ) -> None:
        before = dagit.ended(dagit.launch("warm_jobs", "short"))
        run_id = dagit.launch("warm_jobs", "waiting", wait={"file": str(signal_file)})
        assert dagit.instance.run_launcher.terminate(run_id)
        assert dagit.ended(run_id).status is CANCELED
        assert not process_ended(worker(dagit, before.run_id)), "it was killed, not interrupted"
        assert dagit.ended(dagit.launch("warm_jobs", "short")).status is SUCCESS, "the next run was interrupted"

    def test_a_signal_between_two_runs_interrupts_neither(self, dagit: Dagit) -> None:
        before = dagit.ended(dagit.launch("warm_jobs", "short"))
        until(lambda: dagit.instance.run_launcher.queue.empty(), "the queue is not empty")
        os.kill(worker(dagit, before.run_id), signal.SIGINT)
        after = dagit.ended(dagit.launch("warm_jobs", "short"))
        assert after.status is SUCCESS


class TestCode:
    @pytest.fixture(autouse=True)
    def unchanged(self, code: Path) -> Iterator[None]:
        yield
        code.write_text(SAYING)

    def said(self, dagit: Dagit, what: str) -> str:
        run = dagit.ended(dagit.launch("edited", "saying"))
        assert run.status is SUCCESS, dagit.messages(run.run_id)
        return str(run.tags[what])

    def test_an_edited_step_is_executed_as_it_is_now(self, dagit: Dagit, code: Path) -> None:
        for word in ("first", "second"):
            code.write_text(SAYING.replace("first", word))
            assert self.said(dagit, "word") == word

    def test_what_the_code_read_when_it_was_loaded_is_read_anew_after_a_reload(self, dagit: Dagit, code: Path) -> None:
        assert self.said(dagit, "fact") == "old"
        code.with_suffix(".txt").write_text("new")
        dagit.reload("edited")
        assert self.said(dagit, "fact") == "new"

    def test_a_run_of_code_that_cannot_be_loaded_has_the_error_and_the_next_one_runs(
        self, dagit: Dagit, code: Path
    ) -> None:
        code.write_text("raise ZeroDivisionError('never to be loaded')")
        broken = dagit.ended(dagit.launch("edited", "saying"))
        assert broken.status is FAILURE
        assert "never to be loaded" in dagit.messages(broken.run_id)
        code.write_text(SAYING.replace("first", "mended"))
        assert self.said(dagit, "word") == "mended"

    def test_a_run_of_code_that_ends_the_process_fails_and_the_next_one_runs(self, dagit: Dagit, code: Path) -> None:
        code.write_text("import os; os._exit(7)")
        broken = dagit.ended(dagit.launch("edited", "saying"))
        assert broken.status is FAILURE
        assert "status 7 while it loaded the code" in dagit.messages(broken.run_id)
        code.write_text(SAYING)
        assert self.said(dagit, "word") == "first"

    def test_code_whose_files_are_from_the_future_runs(self, dagit: Dagit, code: Path) -> None:
        code.write_text(SAYING.replace("first", "tomorrow"))
        os.utime(code, (4e9, 4e9))
        assert self.said(dagit, "word") == "tomorrow"

    def test_code_that_is_written_while_it_is_loaded_runs(self, dagit: Dagit, code: Path) -> None:
        made = code.with_name("made_by_edited.py")
        write = f"import sys; sys.path.insert(0, {str(code.parent)!r})\nopen({str(made)!r}, 'w').write('WORD = 1')"
        code.write_text(f"{write}\nimport made_by_edited\n{SAYING}")
        assert self.said(dagit, "word") == "first"


class TestOutput:
    CAPTURED = """
    query($run: [String!]!) { capturedLogs(logKey: $run) { stdout stderr } }
    """

    def test_what_a_run_prints_by_whatever_means_is_in_dagit(self, dagit: Dagit) -> None:
        run = dagit.ended(dagit.launch("warm_jobs", "printing"))
        (started,) = [
            record.event_log_entry.dagster_event.logs_captured_data
            for record in dagit.instance.get_records_for_run(
                run.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED
            ).records
        ]
        logs = dagit.ask(self.CAPTURED, run=[run.run_id, "compute_logs", started.file_key])
        assert set(logs["stdout"].split("\n")) >= {"from print", "from the descriptor", "from a subprocess"}
        assert "from stderr" in logs["stderr"]

    def test_no_process_is_started_for_it(self, dagit: Dagit, signal_file: Path) -> None:
        run_id = dagit.launch("warm_jobs", "waiting", wait={"file": str(signal_file)})
        assert children(worker(dagit, run_id)) == []


class TestDatabase:
    def test_the_service_goes_on_when_it_can_no_longer_listen(self, dagit: Dagit, database: Engine) -> None:
        pid = dagit.instance.run_launcher.folder.server()
        with database.begin() as connection:
            statement = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN orchestrator_instance%'"
            )
            assert connection.execute(text(statement)).scalar_one() == 1
        assert dagit.ended(dagit.launch("warm_jobs", "short")).status is SUCCESS
        assert dagit.instance.run_launcher.folder.server() == pid

    def test_a_termination_that_nobody_heard_of_is_heard_of_later(
        self, dagit: Dagit, database: Engine, signal_file: Path
    ) -> None:
        run_id = dagit.launch("warm_jobs", "waiting", wait={"file": str(signal_file)})
        pid = worker(dagit, run_id)
        with database.begin() as connection:
            cut = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'dagster-storage' AND pid <> pg_backend_pid()"
            )
            unheard = "UPDATE orchestrator_instance.launches SET cancel_requested_at = now() WHERE run_id = :run_id"
            connection.execute(text(unheard), {"run_id": run_id})
            connection.execute(text(cut))
        assert dagit.ended(run_id).status in (CANCELED, FAILURE)
        assert not process_ended(pid)

    def test_a_run_that_was_deleted_is_dropped_from_the_queue(
        self, dagit: Dagit, database: Engine, signal_file: Path
    ) -> None:
        busy = two_that_wait(dagit, signal_file)
        deleted = dagit.launch("warm_jobs", "short")
        assert in_queue(database, deleted)
        dagit.instance.delete_run(deleted)
        signal_file.touch()
        assert {dagit.ended(run).status for run in busy} == {SUCCESS}
        until(lambda: not in_queue(database, deleted), "the deleted run is still in the queue")
        assert dagit.ended(dagit.launch("warm_jobs", "short")).status is SUCCESS
