"""Other systems call back over HTTP: what they say is kept once, and the process goes on."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
import uvicorn
from dagster_home import DagsterHome, until
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    Database,
    Orchestrator,
    Process,
    Session,
    State,
    StepList,
    begin,
    callback_app,
    callback_step,
    done,
    init,
    step,
    task,
    workflow,
)
from orchestrator_dagster.db.callbacks import close_callback, hash_of, open_callback
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.engine_settings import pause_engine, resume_engine
from orchestrator_dagster.db.processes import insert_process
from orchestrator_dagster.domain.clock import now, use_clock

MOST_BYTES = 4096
calls: list[Callable[[str], object]] = []
"""What the other system does as soon as it is asked."""


@step("Ask the other system")
def ask(callback_route: str) -> None:
    for call in calls:
        call(callback_route)


@step("Look at what came")
def look(callback_result: Any) -> State:
    return {"seen": callback_result}


@task("Ask somebody else")
def ask_somebody() -> StepList:
    return begin >> callback_step("Ask", ask, look)


@step("Take only what is good")
def take_only_what_is_good(answer: Any) -> None:
    if answer != "good":
        raise ValueError(f"{answer} is not good")


@task("Ask somebody else, who has an hour")
def ask_in_time() -> StepList:
    return begin >> callback_step("Ask", ask, take_only_what_is_good, result_key="answer", timeout=timedelta(hours=1))


@workflow("Nothing")
def nothing() -> StepList:
    return init >> done


ORCHESTRATOR = Orchestrator([], workflows=[ask_somebody, ask_in_time, nothing])


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Server:
    """The app under a real server, as another system sees it."""

    port: int

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """Send bytes as they are, an iterable in chunks, and anything else as JSON."""
        is_json = not isinstance(body, (bytes, Iterator, type(None)))
        sent = json.dumps(body).encode() if is_json else body
        return self._request("POST", path, sent, headers)

    def get(self, path: str) -> Answer:
        return self._request("GET", path, None, {})

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            content = answer.read()
            return Answer(answer.status, json.loads(content) if content else None, dict(answer.getheaders()))
        finally:
            connection.close()


def serve(orchestrator: Orchestrator) -> Iterator[Server]:
    app = callback_app(orchestrator, most_bytes=MOST_BYTES)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the server does not start")
        yield Server(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def database(module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", module_database_url)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    calls.clear()
    return module_database_url


@pytest.fixture
def server(database: str) -> Iterator[Server]:
    yield from serve(ORCHESTRATOR)


@pytest.fixture
def wfo() -> Iterator[Session]:
    with dg.DagsterInstance.ephemeral() as instance, ORCHESTRATOR.connect(instance=instance) as session:
        yield session


@pytest.fixture
def module_engine(database: str) -> Engine:
    return engine_for(database)


@pytest.fixture
def process_id(wfo: Session, module_engine: Engine) -> UUID:
    """A process that is on its way to the step that awaits a callback."""
    process_id = uuid4()
    with module_engine.begin() as connection:
        insert_process(
            connection,
            process_id=process_id,
            workflow="ask_somebody",
            run_id=str(process_id),
            created_by="SYSTEM",
            plan=[],
            given={},
            state="{}",
        )
        open_callback(connection, process_id, "ask.await_callback", hash_of("secret"), now())
    return process_id


@pytest.fixture
def route(process_id: UUID) -> str:
    return f"/api/processes/{process_id}/callback/secret"


def callbacks(engine: Engine, process_id: UUID) -> list[Any]:
    query = "SELECT body, progress FROM orchestrator.process_callbacks WHERE process_id = :process_id"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query), {"process_id": process_id})]


class TestAProcessThatWaits:
    @pytest.fixture
    def waiting(self, wfo: Session) -> Process:
        process = wfo.run("ask_somebody")
        assert process.status == "awaiting_callback"
        return process

    def test_goes_on_with_what_the_other_system_says(self, wfo: Session, server: Server, waiting: Process) -> None:
        assert server.post(waiting.state["callback_route"], {"port": 7}).status == 200
        assert wfo.process(waiting.process_id).status == "resumed"
        wfo.go_on()
        ended = wfo.process(waiting.process_id)
        assert (ended.status, ended.state["seen"]) == ("completed", {"port": 7})

    def test_may_be_answered_by_nothing(self, wfo: Session, server: Server, waiting: Process) -> None:
        assert server.post(waiting.state["callback_route"]).status == 200
        wfo.go_on()
        assert wfo.process(waiting.process_id).state["seen"] == {}

    def test_is_answered_before_it_waits(self, wfo: Session, server: Server) -> None:
        calls.append(lambda route: server.post(route, ["at", "once"]))
        ended = wfo.run("ask_somebody")
        assert (ended.status, ended.state["seen"]) == ("completed", ["at", "once"])

    def test_takes_no_answer_once_it_has_ended(self, wfo: Session, server: Server, waiting: Process) -> None:
        waiting.abort("nobody needs it")
        wfo.go_on()
        refused = server.post(waiting.state["callback_route"], {"port": 7})
        assert (refused.status, "does not wait for this any more" in refused.body["detail"]) == (409, True)


class TestASecondAddress:
    """Where what came was not right, or nothing came, a retry asks again, under another address."""

    def test_comes_after_an_answer_that_is_not_right(self, wfo: Session, server: Server) -> None:
        process = wfo.run("ask_in_time")
        first = process.state["callback_route"]
        server.post(first, "bad")
        wfo.go_on()
        assert process.refresh().failed_reason == "bad is not good"
        process.retry()
        second = process.state["callback_route"]
        assert (process.status, second != first) == ("awaiting_callback", True)
        assert server.post(first, "good").status == 409
        assert server.post(second, "good").body == {"status": "received"}
        wfo.go_on()
        assert process.refresh().status == "completed"

    def test_comes_after_the_time_was_up(self, wfo: Session, server: Server) -> None:
        process = wfo.run("ask_in_time")
        first = process.state["callback_route"]
        with use_clock(lambda: datetime.now(UTC) + timedelta(hours=2)):
            wfo.go_on()
            assert (process.refresh().status, "1:00:00" in (process.failed_reason or "")) == ("failed", True)
            assert server.post(first, "good").status == 409
            assert process.retry().status == "awaiting_callback"
            assert server.post(process.state["callback_route"], "good").status == 200
            wfo.go_on()
        assert process.refresh().status == "completed"


class TestWhatIsReceived:
    @pytest.mark.parametrize("body", [{"a": [1, None, 1e16]}, [], "text", 3, None, True, {"name": "Zürich ☃"}])
    def test_any_json_is_kept_as_it_is(
        self, server: Server, module_engine: Engine, process_id: UUID, route: str, body: Any
    ) -> None:
        answer = server.post(route, json.dumps(body).encode())
        assert (answer.status, answer.body) == (200, {"status": "received"})
        assert callbacks(module_engine, process_id) == [(body, None)]

    def test_the_same_again_is_welcome_and_has_no_effect(self, server: Server, route: str) -> None:
        server.post(route, {"a": 1, "b": 2})
        again = server.post(route, {"b": 2, "a": 1})
        assert (again.status, again.body) == (200, {"status": "already received"})

    def test_something_else_after_it_is_refused(
        self, server: Server, module_engine: Engine, process_id: UUID, route: str
    ) -> None:
        server.post(route, {"a": 1})
        other = server.post(route, {"a": 2})
        assert (other.status, "something else" in other.body["detail"]) == (409, True)
        assert callbacks(module_engine, process_id) == [({"a": 1}, None)]

    def test_of_ten_at_once_that_say_the_same_one_is_new(self, server: Server, route: str) -> None:
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda _: server.post(route, {"a": 1}), range(10)))
        assert sorted((answer.status, answer.body["status"]) for answer in answers) == [
            *[(200, "already received")] * 9,
            (200, "received"),
        ]

    def test_of_ten_at_once_that_differ_one_is_taken(
        self, server: Server, module_engine: Engine, process_id: UUID, route: str
    ) -> None:
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda number: server.post(route, number), range(10)))
        assert sorted(answer.status for answer in answers) == [200, *[409] * 9]
        (taken,) = [number for number, answer in enumerate(answers) if answer.status == 200]
        assert callbacks(module_engine, process_id) == [(taken, None)]

    def test_what_is_not_waited_for_any_more_is_refused(
        self, server: Server, module_engine: Engine, process_id: UUID, route: str
    ) -> None:
        with module_engine.begin() as connection:
            close_callback(connection, process_id, "ask.await_callback", now())
        assert server.post(route, {}).status == 409
        assert server.post(f"{route}/progress", b"50%").status == 409


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "path", ["{process_id}/callback/guess", "{other}/callback/secret", "nonsense/callback/secret"]
    )
    @pytest.mark.parametrize("end", ["", "/progress"])
    def test_an_address_that_nobody_gave_out(self, server: Server, process_id: UUID, path: str, end: str) -> None:
        answer = server.post(f"/api/processes/{path.format(process_id=process_id, other=uuid4())}{end}", {})
        assert (answer.status, answer.body) == (
            404,
            {"detail": "No process waits for a callback under that address."},
        )

    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/api/processes"])
    def test_everything_else(self, server: Server, path: str) -> None:
        answer = server.get(path)
        assert (answer.status, answer.body) == (404, {"detail": "Not Found"})

    @pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"port=7", b"[" * 2000])
    def test_what_is_not_json(self, server: Server, route: str, body: bytes) -> None:
        answer = server.post(route, body)
        assert (answer.status, answer.body["detail"][:20]) == (400, "The body is not JSON")

    @pytest.mark.parametrize(
        "body",
        [b'"\\u0000"', b'["\\ud800"]', b'{"a": NaN}', b"1e999", b"[" * 101 + b"]" * 101],
        ids=["NUL", "half a character", "no number", "endless", "too deep"],
    )
    @pytest.mark.parametrize("end", ["", "/progress"])
    def test_json_that_postgres_cannot_hold(
        self, server: Server, module_engine: Engine, process_id: UUID, route: str, body: bytes, end: str
    ) -> None:
        answer = server.post(f"{route}{end}", body)
        assert (answer.status, answer.body["detail"][:26]) == (422, "The body cannot be stored:")
        assert callbacks(module_engine, process_id) == [(None, None)]

    @pytest.mark.parametrize("end", ["", "/progress"])
    @pytest.mark.parametrize("in_chunks", [False, True], ids=["with its length", "in chunks"])
    def test_a_body_that_is_too_long(self, server: Server, route: str, end: str, in_chunks: bool) -> None:
        long = json.dumps("x" * MOST_BYTES).encode()
        answer = server.post(f"{route}{end}", iter([long]) if in_chunks else long)
        assert (answer.status, answer.body) == (413, {"detail": f"The body is longer than {MOST_BYTES} bytes"})

    @pytest.mark.parametrize("end", ["", "/progress"])
    def test_everything_while_the_engine_is_paused_and_nothing_is_lost(
        self, server: Server, module_engine: Engine, route: str, end: str
    ) -> None:
        with module_engine.begin() as connection:
            pause_engine(connection, "ada", "cable cut")
        try:
            paused = server.post(f"{route}{end}", {"a": 1})
            assert (paused.status, paused.headers["retry-after"]) == (503, "30")
            assert "paused by ada: cable cut" in paused.body["detail"]
        finally:
            with module_engine.begin() as connection:
                resume_engine(connection, "ada")
        assert server.post(f"{route}{end}", {"a": 1}).status in (200, 204)


class TestProgress:
    @pytest.mark.parametrize(
        ("sent", "content_type", "kept"),
        [
            (b'{"done": 3}', "application/json", {"done": 3}),
            (b"three of five", "text/plain", "three of five"),
            (b"50", "text/plain; charset=utf-8", "50"),
            (b"50", "application/json", 50),
            (b"50%", "application/x-www-form-urlencoded", "50%"),
        ],
    )
    def test_is_text_or_json(
        self,
        server: Server,
        module_engine: Engine,
        process_id: UUID,
        route: str,
        sent: bytes,
        content_type: str,
        kept: Any,
    ) -> None:
        assert server.post(f"{route}/progress", sent, content_type=content_type).status == 204
        assert callbacks(module_engine, process_id) == [(None, kept)]

    def test_the_last_one_is_kept(self, server: Server, module_engine: Engine, process_id: UUID, route: str) -> None:
        for number in range(3):
            assert server.post(f"{route}/progress", number).status == 204
        assert callbacks(module_engine, process_id) == [(None, 2)]

    def test_comes_too_late_after_the_callback(self, server: Server, route: str) -> None:
        server.post(route, {})
        assert server.post(f"{route}/progress", b"50%").status == 409


class TestTheServer:
    def test_says_that_it_is_well(self, server: Server) -> None:
        assert server.get("/health").body == {"status": "ok"}

    def test_asks_to_come_again_while_its_database_is_away(
        self, server: Server, route: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        away = "postgresql+psycopg2://nobody@127.0.0.1:1/nothing"
        monkeypatch.setattr(Database, "engine", property(lambda _: engine_for(away)))
        for answer in (server.get("/health"), server.post(route, {})):
            assert (answer.status, answer.headers["retry-after"]) == (503, "30")
            assert answer.body == {"detail": "The database cannot be reached"}

    def test_is_a_command_whose_log_has_no_tokens(self, dagster_home: DagsterHome) -> None:
        workspace = dagster_home.workspace("golden.definitions")
        command = ("orchestrator-dagster", "callbacks", "-p", "0", "-w", workspace)
        with dagster_home.process(*command, PYTHONUNBUFFERED="1") as process:
            assert process.stdout
            heard: list[str] = []
            while "running on" not in "".join(heard):
                heard.append(process.stdout.readline())
                assert heard[-1], "".join(heard)
            server = Server(int(heard[-1].split(":")[-1].split()[0]))
            assert server.get("/health").body == {"status": "ok"}
            assert server.post(f"/api/processes/{uuid4()}/callback/secret", {}).status == 404
            process.terminate()
            heard.append(process.stdout.read())
        assert "secret" not in "".join(heard)
