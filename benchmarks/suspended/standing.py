"""What suspended processes hold, and what it takes to go on with one of them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import dagster as dg
from sqlalchemy import Engine, text

from benchmarks.suspended.approval import make_orchestrator
from benchmarks.suspended.data import copy_process
from orchestrator_dagster import Session
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrate import upgrade

_CONNECTIONS = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
""")
_LOCKS = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
_A_SUSPENDED_ONE = text("""
    SELECT process_id FROM orchestrator.processes WHERE last_status = 'suspended' ORDER BY process_id LIMIT 1
""")
_SUSPENDED = text("SELECT count(*) FROM orchestrator.processes WHERE last_status = 'suspended'")
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.QUEUED]


@dataclass(frozen=True)
class Held:
    """What is held while processes are suspended and nothing else goes on.

    Attributes:
        threads: of this Python process, more than before the first process was started.
        connections: to the database, other than the one that counts.
        locks: leases of processes.
        runs: Dagster runs that have not ended.
    """

    threads: int
    connections: int
    locks: int
    runs: int


@dataclass
class Standing:
    """A database in which so many processes are suspended.

    Attributes:
        session: goes on with them.
        engine: the database.
        threads_before: how many threads there were before the first process.
        resumes: seconds from the answer of a person to the end of the process.
        ticks: seconds that the sensor looks for something to do.
    """

    session: Session
    engine: Engine
    threads_before: int
    resumes: list[float] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, url: str, count: int) -> Iterator["Standing"]:
        """Have so many suspended processes in a database: a few by real runs, the others copies of one of those.

        Args:
            url: an empty database.
            count: how many.
        """
        engine = engine_for(url)
        upgrade(engine)
        threads = threading.active_count()
        orchestrator = make_orchestrator(url)
        with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as session:
            ran = [session.run("approval") for _ in range(min(count, 10))]
            copy_process(engine, ran[0].process_id, count - len(ran))
            yield cls(session, engine, threads)

    @property
    def suspended(self) -> int:
        """How many are."""
        with self.engine.connect() as connection:
            return int(connection.execute(_SUSPENDED).scalar_one())

    def held(self) -> Held:
        """Return what the suspended processes hold."""
        self.engine.dispose()
        runs = self.session.instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
        with self.engine.connect() as connection:
            return Held(
                threads=threading.active_count() - self.threads_before,
                connections=int(connection.execute(_CONNECTIONS).scalar_one()),
                locks=int(connection.execute(_LOCKS).scalar_one()),
                runs=len(runs),
            )

    def resume_one(self) -> None:
        """Answer what one of them asks for; it runs to its end. Another one takes its place."""
        with self.engine.connect() as connection:
            process_id: UUID = connection.execute(_A_SUSPENDED_ONE).scalar_one()
        process = self.session.process(process_id)
        started = time.perf_counter()
        process.resume({"approved": True})
        self.resumes.append(time.perf_counter() - started)
        assert process.status == "completed", process
        self.session.run("approval")

    def tick(self) -> None:
        """Have the sensor look for something to do, of which there is nothing."""
        sensor, database = self._sensor, self.session.orchestrator.database
        context = dg.build_sensor_context(instance=self.session.instance, resources={"orchestrator_database": database})
        started = time.perf_counter()
        outcome = sensor.evaluate_tick(context)
        self.ticks.append(time.perf_counter() - started)
        assert not outcome.run_requests, outcome

    @property
    def _sensor(self) -> dg.SensorDefinition:
        (sensor,) = [
            sensor for sensor in self.session.orchestrator.definitions().sensors or () if sensor.name == "go_on"
        ]
        assert isinstance(sensor, dg.SensorDefinition)
        return sensor
