"""What a run prints is kept, and shown on the terminal where there is one, without another process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster_home import BIN, CAPTURED, DagsterHome
from golden_example import REPOSITORY

PRINTED = ["from print", "from the descriptor", "from a subprocess"]

COPYING = """
import os, subprocess, sys
from orchestrator_dagster.instance.compute_logs import copy_to_file

def main(path, words):
    with copy_to_file(sys.stdout, path):
        for word in words:
            print(word, flush=True)
    print("after", flush=True)
"""


@pytest.fixture
def home(tmp_path: Path, orchestrator_database: str) -> DagsterHome:
    variables = {"ORCHESTRATOR_DATABASE_URL": orchestrator_database, "LOADS": str(tmp_path / "loads")}
    home = DagsterHome.make(tmp_path / "home", python_path=[REPOSITORY / "tests" / "workers"], **variables)
    home.configure(compute_logs=CAPTURED)
    return home


@pytest.fixture
def instance(home: DagsterHome) -> Iterator[dg.DagsterInstance]:
    with home.instance() as instance:
        yield instance


def test_a_run_in_the_terminals_own_process_prints_there_and_into_its_log(
    home: DagsterHome, instance: dg.DagsterInstance
) -> None:
    executed = home.command("dagster", "job", "execute", "-m", "warm_jobs", "-j", "printing")
    assert executed.status == 0, executed.output
    assert [word for word in (*PRINTED, "from stderr") if word not in executed.output] == []
    (run,) = instance.get_runs()
    logs = instance.compute_log_manager
    (key,) = logs.get_log_keys_for_log_key_prefix([run.run_id, "compute_logs"], ComputeIOType.STDOUT)
    data = logs.get_log_data(key)
    assert sorted(data.stdout.decode().splitlines()) == sorted(PRINTED)
    assert "from stderr" in data.stderr.decode().splitlines()
    assert logs.is_capture_complete(key)


def copying(tmp_path: Path, body: str, **where: object) -> "subprocess.Popen[str]":
    """Run Python that copies what it prints to a file."""
    code = f"{COPYING}\npath = {str(tmp_path / 'copy')!r}\n{body}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen([str(BIN / "python"), "-c", code], text=True, env=environment, **where)  # type: ignore[call-overload, no-any-return]


def test_more_than_a_pipe_holds_is_copied_whole(tmp_path: Path) -> None:
    words = [f"word {number}" for number in range(50_000)]
    process = copying(tmp_path, 'main(path, [f"word {number}" for number in range(50_000)])', stdout=subprocess.PIPE)
    shown, _ = process.communicate(timeout=60)
    assert shown.splitlines() == [*words, "after"]
    assert (tmp_path / "copy").read_text().splitlines() == words


def test_a_run_goes_on_when_nobody_looks_at_its_terminal_any_more(tmp_path: Path) -> None:
    process = copying(tmp_path, 'main(path, ["word"] * 100_000)', stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    process.wait(60)
    assert (tmp_path / "copy").read_text().splitlines() == ["word"] * 100_000


def test_a_process_that_a_step_leaves_behind_keeps_nobody(tmp_path: Path) -> None:
    body = (
        "with copy_to_file(sys.stdout, path):\n"
        "    left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    print('word', flush=True)\n"
        "print('after', flush=True)\n"
        "left.kill()\n"
        "left.wait()\n"
    )
    process = copying(tmp_path, body, stdout=subprocess.PIPE)
    shown, _ = process.communicate(timeout=45)
    assert shown.splitlines() == ["word", "after"]
    assert (tmp_path / "copy").read_text() == "word\n"


def test_a_stream_that_is_no_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator_dagster.instance.compute_logs import copy_to_file

    with copy_to_file(sys.stdout, str(tmp_path / "copy")):
        print("word")  # noqa: T201
    assert capsys.readouterr().out == "word\n"
