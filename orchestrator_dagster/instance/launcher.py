"""The run launcher: it writes a row, and a worker that has loaded the code already executes the run."""

import logging
import threading
import time
from functools import cached_property
from typing import Any, Self

from dagster import DagsterInstance, DagsterRun, Field, Int, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from orchestrator_dagster.db.url import database_url, normalise_url
from orchestrator_dagster.errors import ConfigurationError
from orchestrator_dagster.instance.engine import pooled_engine
from orchestrator_dagster.instance.launch_queue import Launch, LaunchQueue
from orchestrator_dagster.instance.service_folder import Lock, ServiceFolder
from orchestrator_dagster.instance.worker_service import WorkerService, WorkerSettings
from orchestrator_dagster.instance.worker_service_process import start_service

_WATCH_SECONDS = 2.0
_SECONDS_TO_START = 10.0
_MOST_STARTS = 3

logger = logging.getLogger(__name__)


class WarmRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Launches runs in workers that have loaded the code location already.

    Launching writes one row and returns. One worker service for each instance and machine executes what is in the
    queue; whoever launches first starts it, `orchestrator-dagster worker` does too, and it ends when nobody needs it.

    Args:
        settings: how many workers, and for how long they stay.
        postgres_url: the database of the queue. Default: that of the instance's storage.

    Example:
        In `dagster.yaml`; all values are the defaults:

        ```yaml
        run_launcher:
          module: orchestrator_dagster.instance
          class: WarmRunLauncher
          config:
            workers: 4            # most workers of one code location
            max_runs: 1000        # a worker is replaced after so many runs
            max_memory_mib: 1024  # or once it has that much memory after a run
            idle_seconds: 900     # workers that had no run for so long end
        ```
    """

    def __init__(
        self,
        settings: WorkerSettings | None = None,
        postgres_url: str | None = None,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.settings = settings or WorkerSettings()
        self._postgres_url = postgres_url
        self._inst_data = inst_data
        self._known_servers: dict[str, tuple[str, float]] = {}
        self._membership: Lock | None = None
        self._seeing_to_it = threading.Lock()
        self._starts = 0
        self._next_start = 0.0
        self._watcher: threading.Thread | None = None
        self._disposed = threading.Event()

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The configuration that Dagster accepts."""
        default = WorkerSettings()
        return {
            "workers": Field(Int, is_required=False, default_value=default.workers),
            "max_runs": Field(Int, is_required=False, default_value=default.runs),
            "max_memory_mib": Field(Int, is_required=False, default_value=default.mebibytes),
            "idle_seconds": Field(Int, is_required=False, default_value=default.idle_seconds),
            "postgres_url": Field(StringSource, is_required=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Make the launcher that is configured."""
        if config_value["workers"] < 1:
            raise ConfigurationError("WarmRunLauncher needs at least one worker: set `workers` in dagster.yaml")
        settings = WorkerSettings(
            workers=config_value["workers"],
            runs=config_value["max_runs"],
            mebibytes=config_value["max_memory_mib"],
            idle_seconds=config_value["idle_seconds"],
        )
        return cls(settings, config_value.get("postgres_url"), inst_data)

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What Dagster configured it with."""
        return self._inst_data

    @cached_property
    def folder(self) -> ServiceFolder:
        """Where it meets the worker service."""
        return ServiceFolder.of(self._instance.root_directory)

    @cached_property
    def queue(self) -> LaunchQueue:
        """The queue between it and the worker service."""
        url = self._postgres_url or getattr(self._instance.run_storage, "postgres_url", None)
        return LaunchQueue(pooled_engine(normalise_url(url) if url else database_url()), self.folder.name)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put a run into the queue, and see to it that somebody serves that.

        Raises:
            ConfigurationError: the run has no code that another process can load.
        """
        run = context.dagster_run
        if run.job_code_origin is None:
            raise ConfigurationError(f"Run {run.run_id} cannot be launched: it does not say where its code is")
        version, not_before = self._code_version(context)
        self.queue.add(
            run.run_id,
            code=serialize_value(run.job_code_origin.repository_origin),
            code_version=version,
            not_before=not_before,
        )
        self._see_to_service()

    def terminate(self, run_id: str) -> bool:
        """Stop a run, wherever it was launched; return whether there was anything to stop."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if self.queue.remove_waiting(run_id):
            self._instance.report_run_canceled(run, "Terminated while it waited for a worker")
            return True
        self._instance.report_run_canceling(run)
        if self.queue.request_cancel(run_id):
            self._see_to_service()
            return True
        return self._terminate_without_worker(run_id)

    def _terminate_without_worker(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceled(run, "Terminated; no worker had it")
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring can ask whether a run is still being executed."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Say whether a run is still being executed."""
        launch = self.queue.find(run.run_id)
        if launch is None:
            return self._health_without_worker(run)
        served = self._served(launch)
        if launch.service == self.folder.name:
            self._see_to_service()
        if launch.claimed_at is None or served:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"The worker service {launch.service} died")

    def _served(self, launch: Launch) -> bool:
        """Whether there is a service for a run. That of this machine has a lock, also while Postgres is away."""
        if launch.service == self.folder.name and self.folder.server() is not None:
            return True
        return self.queue.alive(launch.service)

    def _health_without_worker(self, run: DagsterRun) -> CheckRunHealthResult:
        if self._instance.get_run_stats(run.run_id).launch_time is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "The run was not launched: another process executes it")
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "No worker has the run")

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:  # noqa: ARG002 - Dagster's signature
        """Say where to look when a run does not begin or end."""
        launch = self.queue.find(run.run_id)
        if launch is None:
            return None
        place = "has a worker" if launch.claimed_at else "waits for a worker"
        served = "alive" if self.queue.alive(launch.service) else "not alive"
        return f"The run {place} of worker service {launch.service}, which is {served} and logs to {self.folder.log}"

    def dispose(self) -> None:
        """Let go of the worker service, which ends when nobody else needs it."""
        self._disposed.set()
        if self._membership is not None:
            self._membership.close()
            self._membership = None

    def _code_version(self, context: LaunchRunContext) -> tuple[str, float]:
        """Return which load of the code this process knows, and since when a worker must have loaded it.

        Processes that share a code server agree on the version, and when it changes somebody has reloaded it. A process
        with a server of its own learns nothing from another server than the one it had before.
        """
        origin = context.dagster_run.remote_job_origin
        if context.workspace is None or origin is None:
            return "", 0.0
        name = origin.repository_origin.code_location_origin.location_name
        entry = context.workspace.get_location_entry(name)
        if entry is None or not isinstance(entry.code_location, GrpcServerCodeLocation):
            return "", 0.0
        server = entry.code_location.server_id
        if name not in self._known_servers:
            shared = isinstance(entry.origin, GrpcServerCodeLocationOrigin)
            self._known_servers[name] = server, entry.update_timestamp if shared else 0.0
        elif self._known_servers[name][0] != server:
            self._known_servers[name] = server, entry.update_timestamp
        _, not_before = self._known_servers[name]
        return (server, not_before) if not_before else ("", 0.0)

    def serve(self, *, lock: Lock | None = None, stays: bool = False) -> bool:
        """Be the worker service, until that is needed no more.

        Args:
            lock: what shows that this process is the service, if it has that already.
            stays: whether it stays when it has nothing to do, until it is told to stop.

        Returns:
            False, at once, when there is a worker service already.
        """
        lock = lock or self.folder.serve()
        if lock is None:
            return False
        service = WorkerService(self._instance, self.queue, self.folder, self.settings, stays=stays)
        try:
            service.serve()
        finally:
            lock.close()
        # whoever launched a run just now saw the lock, and may have gone away
        if not (service.stopping or self.queue.empty()):
            self.serve(stays=stays)
        return True

    def _see_to_service(self) -> None:
        """Make sure that the worker service is there, now and for as long as it has something to do."""
        with self._seeing_to_it:
            if self._membership is None:
                self._membership = self.folder.join()
            self._start_service()
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="worker-service-watch", daemon=True)
                self._watcher.start()

    def _start_service(self) -> None:
        if self._starts and self.queue.alive(self.folder.name):
            self._starts, self._next_start = 0, 0.0  # the last start went well
        if self.folder.server() is not None or time.monotonic() < self._next_start:
            return
        if lock := self.folder.start():
            self._next_start = time.monotonic() + _SECONDS_TO_START
            self._starts += 1
            start_service(self._instance, self.folder, lock)

    def _watch(self) -> None:
        """See to the worker service until the queue is empty."""
        while not self._disposed.wait(_WATCH_SECONDS):
            try:
                if self.queue.empty():
                    return
                with self._seeing_to_it:
                    self._start_service()
                if self._starts > _MOST_STARTS:
                    self._give_up()
                    self._starts = 0
            except Exception:
                logger.exception("Looking after the worker service")

    def _give_up(self) -> None:
        """Let the waiting runs fail, since there is nobody to execute them."""
        for demand in self.queue.demand():
            for launch in self.queue.claim(demand.code, None, demand.runs):
                run = self._instance.get_run_by_id(launch.run_id)
                if run is not None and not run.is_finished:
                    self._instance.report_run_failed(run, f"The worker service does not start. See {self.folder.log}")
                self.queue.remove(launch.run_id)
