"""A process that has loaded a code location once and executes run after run, one at a time.

It is started by the worker service, which talks to it over a socket in lines of JSON, and ends when that does.
"""

import ctypes
import gc
import json
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from functools import lru_cache
from typing import Any, TextIO

from dagster import DagsterEventType, DagsterInstance, DagsterRun
from dagster import _check as check
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import EngineEventData
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import RepositoryPythonOrigin
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._grpc.impl import core_execute_run
from dagster._serdes import deserialize_value
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.hosted_user_process import recon_job_from_origin, recon_repository_from_origin
from dagster._utils.interrupts import capture_interrupts, pop_captured_interrupt
from dagster_shared.error import SerializableErrorInfo

from orchestrator_dagster.instance.compute_logs import InProcessComputeLogManager
from orchestrator_dagster.instance.source_files import SourceFiles

_MOST_CODE_LOCATIONS = 4
_GARBAGE_THRESHOLDS = 50_000, 20, 100
"""Python's own are for programs that allocate little: with them a tenth of a run's time is looking for garbage."""

_PATIENT = "patient"
"""What the handler of an interrupt has that lets the run end after what it is doing, and breaks in the next time."""

_PARENT_DEATH_SIGNAL = 1
_NOT_BEGUN = {DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING}


class Worker:
    """Executes the runs that the service asks for.

    Args:
        instance: the Dagster instance.
        service: the socket to the worker service.
        orders: what the service sends over it, line by line.
    """

    def __init__(self, instance: DagsterInstance, service: socket.socket, orders: TextIO) -> None:
        self._instance = instance
        self._service = service
        self._incoming = orders
        self._orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._running: str | None = None
        self._cancelled: str | None = None
        self._between_runs = threading.Lock()
        self._sources = SourceFiles()
        self._load_error: SerializableErrorInfo | None = None

    def load(self, code: RepositoryPythonOrigin) -> None:
        """Load the code. Where that fails, the first run will have the error in its log."""
        keep_loaded_code()
        try:
            self._instance.inject_env_vars(None)
            recon_repository_from_origin(code).get_definition()
        except Exception:
            traceback.print_exc()
            self._load_error = serializable_error_info_from_exc_info(sys.exc_info())
        gc.collect()
        gc.freeze()  # what was loaded stays: it need not be looked through again and again
        gc.set_threshold(*_GARBAGE_THRESHOLDS)

    def work(self) -> None:
        """Execute runs until the service has no more for this worker."""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        self._tell(ready=True)
        with capture_interrupts():
            while (run_id := self._orders.get()) is not None:
                self._take(run_id)

    def _take(self, run_id: str) -> None:
        if changed := self._sources.changed():
            print(f"{changed} has changed: another worker will load it", file=sys.stderr)  # noqa: T201 - the log
            self._tell(outdated=run_id)
            return
        self._execute(run_id)
        self._tell(done=run_id, mebibytes=_resident_mebibytes(), usable=self._load_error is None)

    def _execute(self, run_id: str) -> None:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.status not in _NOT_BEGUN or not self._begin(run_id):
            return  # deleted, or terminated before it began
        try:
            if self._load_error is not None:
                self._refuse(run, self._load_error)
            else:
                self._go_through(run)
        except BaseException:  # it is in the run's log; this one is for who looks for the worker's own trouble
            traceback.print_exc()
        finally:
            with self._between_runs:
                self._running = None
                pop_captured_interrupt()

    def _go_through(self, run: DagsterRun) -> None:
        code = check.not_none(run.job_code_origin)
        for event in core_execute_run(recon_job_from_origin(code), run, self._instance, True):
            if event.event_type is DagsterEventType.RUN_START and self._cancelled == run.run_id:
                self._show_as_canceling(run.run_id)

    def _refuse(self, run: DagsterRun, error: SerializableErrorInfo) -> None:
        """Let a run fail since the code cannot be loaded. Trying again would hide why, as half of it is there now."""
        self._instance.report_engine_event("Could not load the code", run, EngineEventData.engine_error(error))
        self._instance.report_run_failed(run)

    def _begin(self, run_id: str) -> bool:
        with self._between_runs:
            if self._cancelled == run_id:
                return False
            pop_captured_interrupt()  # it was for nobody
            self._running = run_id
            return True

    def _listen(self) -> None:
        """Take orders from the service; end with it, whatever the run is doing."""
        for line in self._incoming:
            order = json.loads(line)
            if run_id := order.get("cancel"):
                self._interrupt(run_id)
            else:
                self._orders.put(order["run"])
                if order["run"] is None:
                    return
        os._exit(1)

    def _interrupt(self, run_id: str) -> None:
        """Interrupt a run, or do not let it begin."""
        with self._between_runs:
            self._cancelled = run_id
        if self._running == run_id:
            self._show_as_canceling(run_id)
        with self._between_runs:
            if self._running == run_id:
                if getattr(signal.getsignal(signal.SIGINT), _PATIENT, False):
                    self._tell(patient=run_id)
                os.kill(os.getpid(), signal.SIGINT)

    def _show_as_canceling(self, run_id: str) -> None:
        """Say once more that a run was terminated, where it began right after that was said.

        Dagster takes an interrupt for a failure when the run does not stand as being cancelled.
        """
        try:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and run.status is DagsterRunStatus.STARTED:
                self._instance.report_run_canceling(run)
        except Exception:
            traceback.print_exc()

    def _tell(self, **news: Any) -> None:
        self._service.sendall(json.dumps(news).encode() + b"\n")


def keep_loaded_code() -> None:
    """Let Dagster keep every code location that it loads.

    It keeps one job and its repository, and would load a file anew for each job of it that runs after another one.
    """
    kept = lru_cache(_MOST_CODE_LOCATIONS)(ReconstructableRepository.get_definition)
    setattr(ReconstructableRepository, ReconstructableRepository.get_definition.__name__, kept)


def end_with_parent() -> None:
    """Ask Linux to kill this process when the service dies, should no thread of it be able to notice."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _resident_mebibytes() -> float:
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
    import resource

    # the most there ever was: elsewhere Python has no other figure
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Be a worker. The descriptor of the socket is the argument; the first line on it says for what."""
    end_with_parent()
    service = socket.socket(fileno=int(sys.argv[1]))
    orders = service.makefile("r")
    service.set_inheritable(False)  # the service must learn of this process's end, not of that of one it started
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a killed worker leaves what it printed
    purpose = json.loads(orders.readline())
    with DagsterInstance.from_ref(deserialize_value(purpose["instance"], InstanceRef)) as instance:
        if isinstance(instance.compute_log_manager, InProcessComputeLogManager):
            instance.compute_log_manager.show = False
        worker = Worker(instance, service, orders)
        worker.load(deserialize_value(purpose["code"], RepositoryPythonOrigin))
        worker.work()
    service.shutdown(socket.SHUT_RDWR)  # a thread that a run left behind may keep this process from ending


if __name__ == "__main__":
    main()
