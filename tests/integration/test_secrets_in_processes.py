"""A process that is given secrets, halts, fails and goes on: nowhere is any of them to be found in clear."""

import json
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import secretive
from dagster_home import BIN, CAPTURED, Dagit, DagsterHome
from golden_example import REPOSITORY
from pydantic import SecretStr
from secretive import digest
from sqlalchemy import Engine, text

from orchestrator_dagster import InputError, Process, ProcessStateError, ProcessStatus, RefusalError, Session
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.domain.secret import MASK, seal
from orchestrator_dagster.domain.secret_key import KEY_VARIABLE, new_key

PASSWORD, TOKEN, OF_ACCOUNT = "correct-horse-battery", "staple-4711-token", "of-the-account-99"
DEFAULT = "by-default-public"
SECRETS = (PASSWORD, TOKEN, OF_ACCOUNT, DEFAULT)
SITE, REMARK = "somewhere-in-delft", "remark-that-is-public"
INPUT = {"site": SITE, "password": PASSWORD, "accounts": [{"name": "ada", "password": OF_ACCOUNT}]}
WORKERS = REPOSITORY / "tests" / "workers"
ORCHESTRATOR = secretive.orchestrator

LAUNCH = """
mutation($job: String!, $config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: "secretive"}
    mode: "default"
    runConfigData: $config
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[DagsterHome]:
    """A Dagster home, whose environment this process has too. The tests share it: none leaves a secret behind."""
    folder = tmp_path_factory.mktemp("secrets")
    variables = {
        "ORCHESTRATOR_DATABASE_URL": module_database_url,
        "FAIL_WHILE_THERE": str(folder / "fail"),
        "ROUTER_PASSWORD": PASSWORD,
        KEY_VARIABLE: new_key(),
    }
    home = DagsterHome.make(folder / "home", python_path=[WORKERS], **variables)
    home.configure(compute_logs=CAPTURED)
    with pytest.MonkeyPatch.context() as patch:
        for name in (*variables, "DAGSTER_HOME", "PYTHONPATH"):
            patch.setenv(name, home.environment[name])
        yield home


@pytest.fixture
def key(home: DagsterHome) -> str:
    return home.environment[KEY_VARIABLE]


@pytest.fixture
def failing(home: DagsterHome) -> Iterator[Path]:
    """The step that uses the token fails for as long as this is there."""
    file = Path(home.environment["FAIL_WHILE_THERE"])
    file.touch()
    yield file
    file.unlink(missing_ok=True)


@pytest.fixture
def wfo(home: DagsterHome) -> Iterator[Session]:
    workspace = home.workspace("secretive")
    with home.instance() as instance, ORCHESTRATOR.connect(instance=instance, workspace=workspace) as session:
        yield session


def places(home: DagsterHome, clear: str) -> set[str]:
    """Return the columns, and the files of the Dagster home, that have a text in them."""
    found = {
        f"{table}.{column}"
        for schema, table in tables(database(home))
        for row in rows(database(home), schema, table)
        for column, value in row.items()
        if any(clear.encode() in read for read in readings(value))
    }
    files = (file for file in home.folder.rglob("*") if file.is_file())
    return found | {str(file.relative_to(home.folder)) for file in files if clear.encode() in file.read_bytes()}


def database(home: DagsterHome) -> Engine:
    return engine_for(home.environment["ORCHESTRATOR_DATABASE_URL"])


def tables(engine: Engine) -> list[tuple[str, str]]:
    statement = """
        SELECT table_schema, table_name FROM information_schema.tables
        WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
    """
    with engine.connect() as connection:
        return [(row.table_schema, row.table_name) for row in connection.execute(text(statement))]


def rows(engine: Engine, schema: str, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text(f'SELECT * FROM "{schema}"."{table}"'))  # noqa: S608 - names of tables
        return [dict(row) for row in found.mappings()]


def readings(value: Any) -> Iterator[bytes]:
    """Yield a value as it may be read: Dagster compresses its snapshots."""
    if isinstance(value, bytes | memoryview):
        yield bytes(value)
        try:
            yield zlib.decompress(bytes(value))
        except zlib.error:
            return
    else:
        yield str(value).encode()


def nowhere(home: DagsterHome) -> bool:
    return {clear: found for clear in SECRETS if (found := places(home, clear))} == {}


def test_a_text_that_is_no_secret_is_found_where_it_is_kept(wfo: Session, home: DagsterHome, failing: Path) -> None:
    """So the other tests look in the right places."""
    wfo.run("log_in_somewhere", INPUT).resume({"token": TOKEN, "remark": REMARK})
    found = places(home, SITE)
    assert {"process_inputs.input", "process_inputs.state", "runs.run_body"} <= found
    assert any(place.endswith(".err") for place in found)
    assert {"process_inputs.input", "process_steps.changes"} <= places(home, REMARK)
    assert {"process_steps.error", "processes.failed_reason", "event_logs.event"} <= (places(home, "is not known"))


@pytest.mark.parametrize(
    "given",
    [
        INPUT,
        {**INPUT, "password": SecretStr(PASSWORD)},
        {**INPUT, "password": {"env": "ROUTER_PASSWORD"}},
        {"pages": [{"site": SITE, "password": PASSWORD}, {"accounts": INPUT["accounts"]}]},
    ],
    ids=["in clear", "as a secret", "from the environment", "page by page"],
)
def test_a_process_uses_secrets_that_nobody_can_read(
    wfo: Session, home: DagsterHome, failing: Path, given: dict[str, Any]
) -> None:
    process = wfo.run("log_in_somewhere", given)
    assert process.status is ProcessStatus.SUSPENDED
    process.resume({"token": TOKEN, "remark": REMARK})
    assert process.status is ProcessStatus.FAILED
    assert process.failed_reason == f"the token {MASK} is not known"
    assert f"https://ada:{MASK}@router refused" in str(process.traceback)
    assert nowhere(home)
    failing.unlink()
    process.retry()
    assert process.status is ProcessStatus.COMPLETED
    assert process.state["logged_in"] == digest(SecretStr(PASSWORD))
    assert process.state["used"] == digest(SecretStr(TOKEN))
    assert nowhere(home)


def test_the_schema_of_a_form_that_is_waited_for_shows_a_password(wfo: Session) -> None:
    process = wfo.run("log_in_somewhere", INPUT)
    shown = process.form["properties"]["token"]
    assert (shown["format"], shown["writeOnly"]) == ("password", True)


def test_a_secret_answer_that_is_given_twice_is_one_answer(wfo: Session) -> None:
    process = wfo.run("log_in_somewhere", INPUT)
    answer = {"token": TOKEN, "remark": REMARK}
    process.resume(answer)
    process.resume({**answer, "token": SecretStr(TOKEN)})
    with pytest.raises(ProcessStateError, match="answered already"):
        process.resume({**answer, "token": "another-token"})


def test_a_step_that_passes_a_secret_on_does_not_encrypt_it_again(wfo: Session) -> None:
    process = wfo.run("log_in_somewhere", INPUT)
    (changed,) = (row.changed for row in process.steps if row.step == "log_in")
    assert set(changed) == {"logged_in", "session"}


def test_another_machine_with_the_same_key_goes_on(
    wfo: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = wfo.run("log_in_somewhere", INPUT)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    process.resume({"token": TOKEN, "remark": REMARK})
    assert process.state["used"] == digest(SecretStr(TOKEN))


def test_without_the_key_a_step_fails_and_says_why(wfo: Session, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process = wfo.run("log_in_somewhere", INPUT)
    monkeypatch.setenv(KEY_VARIABLE, new_key())
    process.resume({"token": TOKEN, "remark": REMARK})
    assert process.status is ProcessStatus.FAILED
    assert "another key than ORCHESTRATOR_SECRET_KEY has" in str(process.failed_reason)
    monkeypatch.setenv(KEY_VARIABLE, f"{new_key()},{key},{os.environ[KEY_VARIABLE]}")
    assert process.retry().status is ProcessStatus.COMPLETED


def test_the_instance_gets_no_secret_to_read(wfo: Session, home: DagsterHome) -> None:
    process = wfo.launch("log_in_somewhere", INPUT).wait()
    assert process.status is ProcessStatus.SUSPENDED
    assert nowhere(home)
    process.resume({"token": TOKEN, "remark": REMARK})
    assert process.status is ProcessStatus.COMPLETED
    assert nowhere(home)


def test_what_a_form_says_when_it_fails_has_no_secret(wfo: Session, home: DagsterHome) -> None:
    with pytest.raises(RefusalError, match=r"\*{10} is no good"):
        wfo.run("fail_to_ask", {"password": PASSWORD})
    assert nowhere(home)


@pytest.mark.parametrize(
    ("job", "given"),
    [
        ("log_in_somewhere", INPUT),
        ("log_in_somewhere", {"pages": [{"site": SITE, "password": PASSWORD}, {"accounts": INPUT["accounts"]}]}),
        ("log_in_somewhere", {"pasword": PASSWORD, "site": SITE}),
        ("log_in_somewhere", {"password": PASSWORD}),
        ("fail_to_ask", {"password": PASSWORD}),
    ],
    ids=["valid", "page by page", "misspelled", "not valid", "the form fails"],
)
def test_run_config_with_a_secret_in_clear_is_refused_and_forgotten(
    wfo: Session, home: DagsterHome, job: str, given: dict[str, Any]
) -> None:
    """As it comes from the Launchpad or the command line, where nobody seals it before Dagster stores it."""
    before = wfo.processes()
    result = ORCHESTRATOR.job(job).execute_in_process(run_config=given, instance=wfo.instance, raise_on_error=False)
    assert not result.success
    assert nowhere(home)
    run = wfo.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert len(wfo.processes()) == len(before)


def test_a_refusal_of_what_was_given_in_clear_says_how_to_give_it(wfo: Session) -> None:
    job = ORCHESTRATOR.job("log_in_somewhere")
    with pytest.raises(dg.Failure) as raised:
        job.execute_in_process(run_config=INPUT, instance=wfo.instance)
    assert "password: is a secret and was given in clear" in str(raised.value.description)
    assert "orchestrator-dagster secret" in str(raised.value.description)


def test_what_was_removed_from_a_run_starts_nothing(wfo: Session) -> None:
    job = ORCHESTRATOR.job("log_in_somewhere")
    refused = job.execute_in_process(run_config=INPUT, instance=wfo.instance, raise_on_error=False)
    run = wfo.instance.get_run_by_id(refused.run_id)
    assert run is not None
    assert run.run_config["site"] == SITE
    with pytest.raises(InputError, match="was given in clear, and was removed"):
        wfo.run("log_in_somewhere", dict(run.run_config))


@pytest.mark.parametrize(
    "given",
    [{"token": TOKEN, "remark": REMARK}, {"tokken": TOKEN, "remark": REMARK}, {"token": TOKEN}],
    ids=["valid", "misspelled", "not complete"],
)
def test_an_answer_as_run_config_is_forgotten_if_it_is_in_clear(
    wfo: Session, home: DagsterHome, given: dict[str, Any]
) -> None:
    process = wfo.run("log_in_somewhere", INPUT)
    assert not answer_in_dagit(wfo, process, given).success
    assert nowhere(home)
    assert process.refresh().status is ProcessStatus.SUSPENDED


def test_an_answer_as_run_config_is_taken_if_it_is_sealed_and_forgotten_if_it_comes_again_in_clear(
    wfo: Session, home: DagsterHome
) -> None:
    process = wfo.run("log_in_somewhere", INPUT)
    assert answer_in_dagit(wfo, process, {"token": seal(SecretStr(TOKEN)), "remark": REMARK}).success
    wfo.go_on()
    assert process.refresh().state["used"] == digest(SecretStr(TOKEN))
    assert answer_in_dagit(wfo, process, {"token": TOKEN, "remark": REMARK}).success
    assert nowhere(home)


def answer_in_dagit(wfo: Session, process: Process, given: dict[str, Any]) -> dg.ExecuteInProcessResult:
    job = ORCHESTRATOR.definitions().resolve_job_def("resume_process")
    config = {"process_id": str(process.process_id), "input": given}
    return job.execute_in_process(run_config=config, instance=wfo.instance, raise_on_error=False)


def test_dagit_takes_what_the_command_prints_and_forgets_what_was_typed(wfo: Session, home: DagsterHome) -> None:
    command = [str(BIN / "orchestrator-dagster"), "secret"]
    password = json.loads(subprocess.check_output(command, input=f"{PASSWORD}\n", text=True))
    with Dagit.opened(home, home.workspace("secretive")) as dagit:
        config = {"site": SITE, "password": password}
        runs = {}
        for name, given in (("sealed", config), ("typed", {**config, "password": PASSWORD})):
            answer = dagit.ask(LAUNCH, job="log_in_somewhere", config=json.dumps(given))
            assert answer["__typename"] == "LaunchRunSuccess", answer
            runs[name] = answer["run"]["runId"]
        ended = {name: dagit.ended(run_id) for name, run_id in runs.items()}
        assert ended["sealed"].is_success
        assert ended["typed"].is_failure
        assert "orchestrator-dagster secret" in dagit.messages(runs["typed"])
    assert wfo.process(runs["sealed"]).state["logged_in"] == digest(SecretStr(PASSWORD))
    assert nowhere(home)
