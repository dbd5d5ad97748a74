"""The worker service of an instance on a machine: it keeps workers and hands them the runs of the launch queue."""

import json
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from dagster import DagsterInstance
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.origin import RepositoryPythonOrigin
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._serdes import deserialize_value, serialize_value
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import Connection, text
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError  # noqa: A004 - it means SQLAlchemy's

from orchestrator_dagster.instance.crew import Crew
from orchestrator_dagster.instance.launch_queue import CHANNEL, Launch, LaunchQueue
from orchestrator_dagster.instance.service_folder import ServiceFolder
from orchestrator_dagster.instance.worker_process import WorkerProcess

_TICK_SECONDS = 1.0
_LINGER_SECONDS = 10.0
"""For so long a service without clients waits for the next one."""

_KILL_SECONDS = 30.0
"""For so long a run that was terminated may clean up."""

_MOST_SECONDS_UNSEEN = 5.0
"""A run that waits longer is shown as queued rather than as starting: waiting is not a bad start, and can be ended."""

_TERMINATED = "Terminated before a worker began it"

_NOT_BEGUN = {DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING}

logger = logging.getLogger("orchestrator_dagster.worker_service")


@dataclass(frozen=True)
class WorkerSettings:
    """How many workers there are and how long they stay.

    Attributes:
        workers: most workers of one code location.
        runs: a worker is replaced after so many runs.
        mebibytes: a worker is replaced once it has that much resident memory after a run.
        idle_seconds: a worker that had no run for so long ends, and so does the service.
    """

    workers: int = 4
    runs: int = 1000
    mebibytes: int = 1024
    idle_seconds: int = 900


@dataclass(frozen=True)
class Ended:
    """A run that no worker has any more.

    Attributes:
        launch: the run.
        reason: why it ended before it was finished; `None` where the worker saw it through.
    """

    launch: Launch
    reason: str | None = None


@contextmanager
def not_in_the_way_of_others(launch: Launch) -> Iterator[None]:
    """Log what cannot be done about a run, unless it can be done later, when Postgres is there again."""
    try:
        yield
    except (DagsterPostgresException, InterfaceError, OperationalError, TimeoutError):
        raise
    except Exception:
        logger.exception("Run %s", launch.run_id)


class WorkerService:
    """Executes the launched runs of an instance on this machine, each in one of its workers.

    All of it happens in one thread, which waits for Postgres, its workers and signals.

    Args:
        instance: the Dagster instance.
        queue: the launch queue, in the name of this service.
        folder: where the machine's processes of the instance meet.
        settings: how many workers, and for how long.
        stays: whether the service stays when it has nothing to do.

    Attributes:
        stopping: whether it was told to stop.
    """

    def __init__(
        self,
        instance: DagsterInstance,
        queue: LaunchQueue,
        folder: ServiceFolder,
        settings: WorkerSettings,
        *,
        stays: bool = False,
    ) -> None:
        self._instance = instance
        self._queue = queue
        self._folder = folder
        self._settings = settings
        self._stays = stays
        self._log = folder.open_log()
        self._crews: dict[str, Crew] = {}
        self._ended: list[Ended] = []
        self._returned: list[Launch] = []
        self._hopeless: list[tuple[str, str]] = []
        self._listening: Connection | None = None
        self._cancelling = True
        self.stopping = False
        self._next_tick = 0.0
        self._needed_at = time.monotonic()

    def serve(self) -> None:
        """Serve until there is nothing to do and nobody to do it for, or until told to stop."""
        woken = self._wake_up_for_signals()
        logger.info("Worker service %s: process %s", self._queue.service, os.getpid())
        while not self._done():
            self._try(self._act)
            self._try(lambda: self._wait(woken))
        for crew in self._crews.values():
            crew.renew()
        logger.info("Worker service %s ends", self._queue.service)

    def _try(self, act: Callable[[], None]) -> None:
        """Do something that may fail, most often for want of Postgres: runs that have a worker go on all the same."""
        try:
            act()
        except Exception:
            logger.exception("Trying again")
            self._stop_listening()

    def _wake_up_for_signals(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        woken, waker = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        return woken

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """Stop after the runs that have a worker; at the second time, at once."""
        if self.stopping:
            for worker in self._workers:
                worker.kill()
        self.stopping = True

    def _done(self) -> bool:
        if self._ended or self._returned or any(worker.launch for worker in self._workers):
            return False
        if self.stopping or self._stays:
            return self.stopping
        idle = time.monotonic() - self._needed_at
        return idle > self._settings.idle_seconds or (idle > _LINGER_SECONDS and not self._folder.has_clients())

    def _act(self) -> None:
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + _TICK_SECONDS
            self._tick()
        if self._cancelling:
            self._cancel()
        self._settle()
        if not self.stopping:
            self._hand_out()

    def _tick(self) -> None:
        """Do what is to be done every second."""
        if self._listening is None:
            self._listen()
        self._queue.say_alive(os.getpid())
        self._folder.shorten_log()
        for launch in self._queue.adopt():
            with not_in_the_way_of_others(launch):
                self._take_over(launch)
        for worker in self._workers:
            if worker.gone:
                self._part_with(worker)
            elif worker.seconds_since_cancelled > _KILL_SECONDS:
                worker.kill()
            elif worker.free and time.monotonic() - worker.idle_since > self._settings.idle_seconds:
                worker.retire()
        self._break_in()
        self._show_what_waits()

    def _listen(self) -> None:
        """Listen for launches; end the runs that a service before this one had when it died."""
        connection = self._queue.engine.connect()
        connection.detach()
        connection.execute(text(f"LISTEN {CHANNEL}"))
        self._listening = connection
        self._cancelling = True  # nobody was listening until now
        ours = {worker.launch.run_id for worker in self._workers if worker.launch}
        ours |= {launch.run_id for launch in (*self._returned, *(ended.launch for ended in self._ended))}
        for launch in self._queue.claimed():
            if launch.run_id not in ours:
                with not_in_the_way_of_others(launch):
                    self._take_over(launch)

    def _take_over(self, launch: Launch) -> None:
        run = self._instance.get_run_by_id(launch.run_id)
        if run is not None and run.status in _NOT_BEGUN and not launch.cancel_requested_at:
            self._queue.give_back(launch.run_id)
        else:
            self._ended.append(Ended(launch, "The worker service that executed the run died"))

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.invalidate()
            self._listening.close()
            self._listening = None

    def _show_what_waits(self) -> None:
        timeout = self._instance.run_monitoring_start_timeout_seconds
        unseen = min(_MOST_SECONDS_UNSEEN, timeout / 2) if timeout else _MOST_SECONDS_UNSEEN
        with self._queue.long_waiting(unseen) as launches:
            for launch in launches:
                with not_in_the_way_of_others(launch):
                    self._show_as_queued(launch)

    def _show_as_queued(self, launch: Launch) -> None:
        run = self._instance.get_run_by_id(launch.run_id)
        # of a run that no workspace knows Dagster cannot say that it is queued
        if run is not None and run.remote_job_origin is not None:
            self._report(launch, DagsterEventType.PIPELINE_ENQUEUED, "Waiting for a worker")

    def _cancel(self) -> None:
        """Interrupt the runs that somebody has terminated, as often as that was done."""
        self._cancelling = False
        terminated = {launch.run_id: launch for launch in self._queue.claimed() if launch.cancel_requested_at}
        for worker in self._workers:
            if worker.launch and worker.launch.run_id in terminated:
                worker.cancel(max(1, terminated[worker.launch.run_id].cancel_requests))

    def _break_in(self) -> None:
        """Interrupt the runs once more that were marked as canceled by force: Dagster asks no launcher for that."""
        for worker in self._workers:
            if worker.launch and worker.cancelled_once:
                run = self._instance.get_run_by_id(worker.launch.run_id)
                if run is not None and run.is_finished:
                    worker.cancel(2)

    def _settle(self) -> None:
        """Forget the runs that have ended; those that did not finish by themselves are finished for them."""
        while self._returned:
            self._queue.give_back(self._returned[0].run_id)
            self._returned.pop(0)
        while self._hopeless:
            self._fail_oldest(*self._hopeless[0])
            self._hopeless.pop(0)
        while self._ended:
            ended = self._ended[0]
            with not_in_the_way_of_others(ended.launch):
                if ended.reason is not None:
                    self._finish(ended.launch, ended.reason, cancelled=ended.launch.cancel_requested_at is not None)
            if self._queue.remove(ended.launch.run_id):
                with not_in_the_way_of_others(ended.launch):
                    self._finish(ended.launch, _TERMINATED, cancelled=True)
            self._ended.pop(0)

    def _finish(self, launch: Launch, reason: str, *, cancelled: bool) -> None:
        run = self._instance.get_run_by_id(launch.run_id)
        if run is None or run.is_finished:
            return
        if cancelled or run.status == DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, reason)
        else:
            self._instance.report_run_failed(run, reason)

    def _report(self, launch: Launch, kind: DagsterEventType, message: str) -> None:
        run = self._instance.get_run_by_id(launch.run_id)
        if run is not None and not run.is_finished:
            event = DagsterEvent(event_type_value=kind.value, job_name=run.job_name, message=message)
            self._instance.report_dagster_event(event, run_id=run.run_id)

    def _hand_out(self) -> None:
        """Give waiting runs to free workers; hire more where there are too few."""
        for demand in self._queue.demand():
            self._needed_at = time.monotonic()
            crew = self._crew(demand.code)
            try:
                crew.prepare_for(demand)
            except Exception as error:
                logger.exception("No worker could be started")
                self._hopeless.append((demand.code, f"No worker could be started: {error}"))
            free = crew.free
            for launch in self._queue.claim(demand.code, demand.code_version, len(free)) if free else ():
                self._give(launch, free.pop())

    def _give(self, launch: Launch, worker: WorkerProcess) -> None:
        if launch.cancel_requested_at:
            self._ended.append(Ended(launch, _TERMINATED))
            return
        if launch.shown_as_queued:
            with not_in_the_way_of_others(launch):
                self._report(launch, DagsterEventType.PIPELINE_STARTING, "A worker is free")
        worker.run(launch)

    def _fail_oldest(self, code: str, reason: str) -> None:
        """Let a run fail for want of a worker: somebody must hear of it, and trying must come to an end."""
        for launch in self._queue.claim(code, None, 1):
            self._ended.append(Ended(launch, f"{reason}. See {self._folder.log}"))

    def _wait(self, woken: int) -> None:
        """Wait for Postgres, workers, signals and the next tick; take in what they say."""
        driver: Any = None if self._listening is None else self._listening.connection.dbapi_connection
        sources: list[Any] = [woken, *self._workers, *([driver] if driver else [])]
        ready = select.select(sources, [], [], max(0.0, self._next_tick - time.monotonic()))[0]
        for source in ready:
            if source is woken:
                os.read(woken, 1024)
            elif source is driver:
                self._hear_from_postgres(driver)
            else:
                self._hear_from_worker(source)

    def _hear_from_postgres(self, driver: Any) -> None:
        try:
            driver.poll()
        except self._queue.engine.dialect.loaded_dbapi.Error as error:
            logger.warning("Postgres: %s", error)
            self._stop_listening()
        else:
            self._cancelling = True
            driver.notifies.clear()

    def _hear_from_worker(self, worker: WorkerProcess) -> None:
        try:
            for news in worker.news():
                self._take_in(worker, news)
        except EOFError:
            self._part_with(worker)

    def _take_in(self, worker: WorkerProcess, news: dict[str, Any]) -> None:
        self._needed_at = time.monotonic()
        if "ready" in news:
            worker.ready = True
        elif "patient" in news:
            worker.be_patient()
        elif "outdated" in news:
            self._crew_of(worker).renew()
            if launch := worker.finish():
                self._returned.append(launch)
        elif launch := worker.finish():
            worker.runs += 1
            self._ended.append(Ended(launch))
            if not news["usable"] or worker.runs >= self._settings.runs or self._too_big(news):
                worker.retire()

    def _too_big(self, news: dict[str, Any]) -> bool:
        return bool(news["mebibytes"] >= self._settings.mebibytes)

    def _part_with(self, worker: WorkerProcess) -> None:
        """Let go of a worker that has ended, and of the run that it had."""
        crew = self._crew_of(worker)
        crew.workers.remove(worker)
        how = worker.ended()
        launch = worker.finish()
        if not worker.retired or launch:
            logger.warning("%s", how)
        if launch:
            self._ended.append(Ended(launch, how))
        elif not (worker.ready or worker.retired or self.stopping):
            self._hopeless.append((crew.code, f"{how} while it loaded the code"))

    @property
    def _workers(self) -> list[WorkerProcess]:
        return [worker for crew in self._crews.values() for worker in crew.workers]

    def _crew_of(self, worker: WorkerProcess) -> Crew:
        return next(crew for crew in self._crews.values() if worker in crew.workers)

    def _crew(self, code: str) -> Crew:
        if code not in self._crews:
            self._crews[code] = Crew(code, partial(self._hire, code), self._settings.workers)
        return self._crews[code]

    def _hire(self, code: str) -> WorkerProcess:
        origin = deserialize_value(code, RepositoryPythonOrigin)
        purpose = json.dumps({"instance": serialize_value(self._instance.get_ref()), "code": code})
        return WorkerProcess(origin.executable_path, purpose, self._log)
