"""orchestrator-core in a virtual environment of its own, on the same database server."""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from benchmarks.children import HOST, Child, Children, free_port, run_to_end, wait_until
from benchmarks.errors import BenchmarkError

BENCHMARKS = Path(__file__).resolve().parent.parent
APPLICATION = BENCHMARKS / "core_app"
PLACE = BENCHMARKS.parent / ".venv-orchestrator-core"
PYTHON = PLACE / "bin" / "python"
START_SECONDS = 120.0
REQUEST_SECONDS = 300.0
FORM = {"customer_id": "acme", "circuit_name": "circuit", "bandwidth": 1000}
ENDED = text(
    "SELECT pid::text, last_status, extract(epoch FROM last_modified_at)::float8 AS ended FROM processes"
    " WHERE pid = ANY (CAST(:ids AS uuid[])) AND last_status NOT IN ('created', 'running')"
)


def installed() -> bool:
    """Whether `install_orchestrator_core.sh` has been run to its end."""
    return (PLACE / ".installed").exists()


@dataclass(frozen=True)
class OrchestratorCoreSide:
    """An application under uvicorn, with the thread pool that executes processes by default.

    Attributes:
        home: where its files are.
        database: URL of its database.
        key: what the command line and the results call it.
        title: what the table calls it.
        burst: how many processes are submitted at once.
        submits: how many processes are submitted one after the other in a round.
    """

    home: Path
    database: str
    key: str = "orchestrator-core"
    title: str = "orchestrator-core"
    burst: int = 200
    submits: int = 20

    @contextmanager
    def running(self) -> Iterator["OrchestratorCoreService"]:
        """Start the application."""
        self.prepare()
        port = free_port()
        with Children(self.environment, "BENCHMARK_HOME", self.home) as children:
            children.start("uvicorn", str(PYTHON), "-m", "uvicorn", "main:app", "--host", HOST, "--port", str(port))
            service = OrchestratorCoreService(self, children, f"http://{HOST}:{port}/api")
            service.wait_for_start()
            yield service

    def in_process(self, runs: int) -> Mapping[str, list[float]]:
        """Run the workflows in a Python process of their own, without HTTP and thread pool."""
        self.prepare()
        probe = str(BENCHMARKS / "probes" / "in_process_core.py")
        printed = run_to_end([str(PYTHON), probe, str(runs)], self.environment, self.home)
        seconds: dict[str, list[float]] = json.loads(printed.strip().splitlines()[-1])
        return seconds

    def prepare(self) -> None:
        """Make tables and catalogue, as a user does, unless they are there."""
        if self.home.exists():
            return
        self.home.mkdir(parents=True)
        main = str(APPLICATION / "main.py")
        for words in ([main, "db", "init"], [main, "db", "upgrade", "heads"], [str(APPLICATION / "catalogue.py")]):
            run_to_end([str(PYTHON), *words], self.environment, self.home)

    @cached_property
    def engine(self) -> Engine:
        """The application's database, for looking up when processes ended."""
        return create_engine(self.database, poolclass=NullPool)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all of its processes: its defaults, less logins and chatter."""
        url = make_url(self.database).set(drivername="postgresql+psycopg")
        return os.environ | {
            "BENCHMARK_HOME": str(self.home),
            "DATABASE_URI": url.render_as_string(hide_password=False),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LOG_LEVEL": "WARNING",
            "OAUTH2_ACTIVE": "False",
            "OAUTH2_AUTHORIZATION_ACTIVE": "False",
            "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), str(APPLICATION)]),
            "PYTHONWARNINGS": "ignore",
        }


class OrchestratorCoreService:
    """A running application, by way of its REST interface.

    When processes ended stands in its database, where looking costs the application nothing.
    """

    def __init__(self, side: OrchestratorCoreSide, children: Children, address: str) -> None:
        self._side = side
        self._children = children
        self._address = address
        self._local = threading.local()

    def wait_for_start(self) -> None:
        if not wait_until(self._answers, START_SECONDS):
            raise BenchmarkError(f"orchestrator-core did not start; see {self._side.home}")

    def submit(self) -> str:
        """Start a process, as its user interface does."""
        pages: Any = [{"product": self._product_id}, FORM]
        url = f"{self._address}/processes/create_circuit"
        answer = self._session.post(url, json=pages, timeout=REQUEST_SECONDS)
        if not answer.ok:
            raise BenchmarkError(f"The process was not started: {answer.text}")
        process_id: str = answer.json()["id"]
        return process_id

    def ended(self, ids: Sequence[str]) -> dict[str, float]:
        """Return when the last step of these processes was written."""
        with self._side.engine.connect() as connection:
            rows = connection.execute(ENDED, {"ids": list(ids)}).all()
        failed = [row.pid for row in rows if row.last_status != "completed"]
        if failed:
            raise BenchmarkError(f"Process {failed[0]} failed; see {self._side.home}")
        return {row.pid: row.ended for row in rows}

    def memory(self) -> dict[str, list[Child]]:
        """Return its one process."""
        return {"application": self._children.find()}

    @cached_property
    def _product_id(self) -> str:
        with self._side.engine.connect() as connection:
            found: Any = connection.execute(text("SELECT product_id FROM products WHERE name = 'Circuit'")).scalar_one()
        return str(found)

    def _answers(self) -> bool:
        self._children.require_alive()
        try:
            return self._session.get(f"{self._address}/health/", timeout=5).ok
        except requests.ConnectionError:
            return False

    @property
    def _session(self) -> requests.Session:
        """The connection of this thread."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session
