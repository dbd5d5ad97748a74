"""The launched runs that wait for a worker or have one, in Postgres."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import CursorResult, Engine, text

CHANNEL = "orchestrator_instance"
"""Where worker services hear that the queue has something for them: the payload is the service's name."""

SECONDS_UNTIL_DEAD = 6
"""A worker service that was not seen for so long counts as dead. It says every second that it is there."""

SECONDS_UNTIL_ADOPTED = 60
"""After so long another machine that shares the instance's folder takes over what a service left."""

# What is in these tables lasts as long as a run: they are made when they are missed, and need no migrations.
_TABLES = """
SELECT pg_advisory_xact_lock(7360412958117302201);

CREATE SCHEMA IF NOT EXISTS orchestrator_instance;

CREATE TABLE IF NOT EXISTS orchestrator_instance.launches (
    launch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL UNIQUE,
    service text NOT NULL,
    code text NOT NULL,
    code_version text NOT NULL,
    not_before double precision NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    shown_as_queued boolean NOT NULL DEFAULT false,
    claimed_at timestamptz,
    cancel_requested_at timestamptz,
    cancel_requests integer NOT NULL DEFAULT 0
);

ALTER TABLE orchestrator_instance.launches ADD COLUMN IF NOT EXISTS cancel_requests integer NOT NULL DEFAULT 0;

CREATE INDEX IF NOT EXISTS launches_waiting ON orchestrator_instance.launches (service, launch_id)
    WHERE claimed_at IS NULL;

CREATE TABLE IF NOT EXISTS orchestrator_instance.services (
    service text PRIMARY KEY,
    process integer NOT NULL,
    seen_at timestamptz NOT NULL
);
"""

_ADD = """
WITH added AS (
    INSERT INTO orchestrator_instance.launches (run_id, service, code, code_version, not_before)
    VALUES (:run_id, :service, :code, :code_version, :not_before)
    ON CONFLICT (run_id) DO UPDATE SET shown_as_queued = false, queued_at = excluded.queued_at
        WHERE launches.claimed_at IS NULL
    RETURNING service
)
SELECT pg_notify(:channel, service) FROM added
"""

_DEMAND = """
SELECT code, code_version, max(not_before) AS not_before, count(*) AS runs
FROM orchestrator_instance.launches
WHERE service = :service AND claimed_at IS NULL
GROUP BY code, code_version
ORDER BY min(launch_id)
"""

# Locked rows are skipped: somebody is just taking such a run out of the queue.
_CLAIM = """
UPDATE orchestrator_instance.launches SET claimed_at = clock_timestamp()
WHERE launch_id IN (
    SELECT launch_id FROM orchestrator_instance.launches
    WHERE service = :service AND claimed_at IS NULL AND code = :code
        AND code_version = coalesce(:code_version, code_version)
    ORDER BY launch_id LIMIT :most
    FOR UPDATE SKIP LOCKED
)
RETURNING *
"""

_GIVE_BACK = "UPDATE orchestrator_instance.launches SET claimed_at = NULL WHERE run_id = :run_id"

_REMOVE = "DELETE FROM orchestrator_instance.launches WHERE run_id = :run_id RETURNING cancel_requested_at"

_REMOVE_WAITING = "DELETE FROM orchestrator_instance.launches WHERE run_id = :run_id AND claimed_at IS NULL"

_REQUEST_CANCEL = """
WITH requested AS (
    UPDATE orchestrator_instance.launches
    SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()), cancel_requests = cancel_requests + 1
    WHERE run_id = :run_id
    RETURNING service
)
SELECT pg_notify(:channel, service) FROM requested
"""

_CLAIMED = "SELECT * FROM orchestrator_instance.launches WHERE service = :service AND claimed_at IS NOT NULL"

_EXISTS = "SELECT EXISTS (SELECT FROM orchestrator_instance.launches WHERE service = :service)"

_FIND = "SELECT * FROM orchestrator_instance.launches WHERE run_id = :run_id"

# The service of a machine that is no more, or that has another name since it was started anew.
_ADOPT = """
UPDATE orchestrator_instance.launches AS launch SET service = :service
WHERE service <> :service
    AND substr(service, strpos(service, ':')) = substr(:service, strpos(:service, ':'))
    AND queued_at < clock_timestamp() - make_interval(secs => :seconds)
    AND NOT EXISTS (
        SELECT FROM orchestrator_instance.services
        WHERE services.service = launch.service AND seen_at > clock_timestamp() - make_interval(secs => :seconds)
    )
RETURNING *
"""

_SHOW_AS_QUEUED = """
UPDATE orchestrator_instance.launches SET shown_as_queued = true
WHERE service = :service AND claimed_at IS NULL AND NOT shown_as_queued
    AND queued_at < clock_timestamp() - make_interval(secs => :seconds)
RETURNING *
"""

_SAY_ALIVE = """
INSERT INTO orchestrator_instance.services (service, process, seen_at)
VALUES (:service, :process, clock_timestamp())
ON CONFLICT (service) DO UPDATE SET process = excluded.process, seen_at = excluded.seen_at
"""

_ALIVE = """
SELECT EXISTS (
    SELECT FROM orchestrator_instance.services
    WHERE service = :service AND seen_at > clock_timestamp() - make_interval(secs => :seconds)
)
"""


@dataclass(frozen=True)
class Launch:
    """A launched run that has not ended.

    Attributes:
        run_id: id of the Dagster run.
        service: name of the worker service that is to execute it.
        code: where its code is: Dagster's repository origin as JSON.
        queued_at: when it was launched.
        claimed_at: when a worker took it; `None` while it waits.
        cancel_requested_at: when somebody terminated it first.
        cancel_requests: how often somebody did.
        shown_as_queued: whether Dagster was told that it waits.
    """

    run_id: str
    service: str
    code: str
    queued_at: datetime
    claimed_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_requests: int
    shown_as_queued: bool


@dataclass(frozen=True)
class Demand:
    """Runs of the same code that wait for workers.

    Attributes:
        code: where the code is: Dagster's repository origin as JSON.
        code_version: which load of the code the launching process has seen.
        not_before: a worker must have loaded the code later than that, in seconds since 1970, or for that very version.
        runs: how many wait.
    """

    code: str
    code_version: str
    not_before: float
    runs: int


class LaunchQueue:
    """The queue between those who launch runs and the worker services that execute them.

    Args:
        engine: the database, in autocommit: each call is one short transaction.
        service: name of the worker service that is meant.
    """

    def __init__(self, engine: Engine, service: str) -> None:
        self.engine = engine
        self.service = service
        _create_tables(engine)

    def add(self, run_id: str, *, code: str, code_version: str, not_before: float) -> None:
        """Put a run into the queue and wake the service.

        A run that is there already keeps its place: Dagster's own queue launches again what is shown as queued.
        """
        self._execute(_ADD, channel=CHANNEL, run_id=run_id, code=code, code_version=code_version, not_before=not_before)

    def demand(self) -> list[Demand]:
        """Return what waits for workers, oldest first."""
        return [Demand(**row) for row in self._rows(_DEMAND)]

    def claim(self, code: str, code_version: str | None, most: int) -> list[Launch]:
        """Take the oldest waiting runs of a code, at most so many.

        Args:
            code: where the code is: Dagster's repository origin as JSON.
            code_version: take only runs that were launched with that version; `None` is any.
            most: how many.
        """
        return self._launches(_CLAIM, code=code, code_version=code_version, most=most)

    def give_back(self, run_id: str) -> None:
        """Let a run that was taken wait again, in its old place."""
        self._execute(_GIVE_BACK, run_id=run_id)

    def remove(self, run_id: str) -> bool:
        """Forget a run that has ended; return whether somebody terminated it meanwhile."""
        return any(row["cancel_requested_at"] for row in self._rows(_REMOVE, run_id=run_id))

    def remove_waiting(self, run_id: str) -> bool:
        """Take a run out of the queue, unless a worker has it; return whether that was so."""
        return self._execute(_REMOVE_WAITING, run_id=run_id) > 0

    def request_cancel(self, run_id: str) -> bool:
        """Ask for a run to be stopped; return whether anybody is there to do so."""
        return self._execute(_REQUEST_CANCEL, channel=CHANNEL, run_id=run_id) > 0

    def adopt(self) -> list[Launch]:
        """Make ours what a service of the same instance left on a machine where none has been seen for long.

        Returns:
            What had a worker there.
        """
        adopted = self._launches(_ADOPT, seconds=SECONDS_UNTIL_ADOPTED)
        return [launch for launch in adopted if launch.claimed_at is not None]

    def claimed(self) -> list[Launch]:
        """Return the runs of the service that have a worker."""
        return self._launches(_CLAIMED)

    def empty(self) -> bool:
        """Whether the service has nothing to do."""
        return not self._rows(_EXISTS)[0]["exists"]

    def find(self, run_id: str) -> Launch | None:
        """Return a run that waits or has a worker."""
        return next(iter(self._launches(_FIND, run_id=run_id)), None)

    @contextmanager
    def long_waiting(self, seconds: float) -> Iterator[list[Launch]]:
        """Yield the runs that have waited for so long by now, each of them once.

        Nobody takes them out of the queue before the block ends.
        """
        with self.engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            rows = connection.execute(text(_SHOW_AS_QUEUED), self._with_name({"seconds": seconds})).mappings()
            yield [_launch(row) for row in rows]

    def say_alive(self, process: int) -> None:
        """Let everybody know that the service is there.

        Args:
            process: its process id.
        """
        self._execute(_SAY_ALIVE, process=process)

    def alive(self, service: str) -> bool:
        """Whether a worker service, of this machine or another, said lately that it is there."""
        return bool(self._rows(_ALIVE, service=service, seconds=SECONDS_UNTIL_DEAD)[0]["exists"])

    def _launches(self, statement: str, **values: Any) -> list[Launch]:
        rows = sorted(self._rows(statement, **values), key=lambda row: row["launch_id"])
        return [_launch(row) for row in rows]

    def _rows(self, statement: str, **values: Any) -> list[Mapping[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(statement), self._with_name(values)).mappings()]

    def _execute(self, statement: str, **values: Any) -> int:
        with self.engine.connect() as connection:
            result: CursorResult[Any] = connection.execute(text(statement), self._with_name(values))
            return result.rowcount

    def _with_name(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"service": self.service, **values}


def _launch(row: Mapping[Any, Any]) -> Launch:
    return Launch(**{name: row[name] for name in Launch.__dataclass_fields__})


@cache
def _create_tables(engine: Engine) -> None:
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        connection.execute(text(_TABLES))
