"""What steps print, captured without another process."""

import os
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self, TextIO

from dagster import DagsterInstance, Field, Float, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData
from dagster._utils import ensure_file, touch_file

_CHUNK = 64 * 1024
_SECONDS_FOR_THE_REST = 2.0


class InProcessComputeLogManager(LocalComputeLogManager):
    """Keeps what a run prints in files, as Dagster's own local manager does, and starts no process for it.

    Dagster starts two `tail` and two Python processes for each run, to show on the terminal what goes to the files.
    Here a thread does that; and nothing does in a worker, which has no terminal.

    Args:
        base_dir: folder of the files. Default: that of the instance's own storage.
        polling_timeout: seconds between two looks for more, for those who follow the output of a run.

    Example:
        In `dagster.yaml`:

        ```yaml
        compute_logs:
          module: orchestrator_dagster.instance
          class: InProcessComputeLogManager
          config: {}
        ```
    """

    def __init__(
        self,
        base_dir: str | None = None,
        polling_timeout: float | None = None,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__(base_dir or "", polling_timeout, inst_data)
        self.show = True

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The configuration that Dagster accepts."""
        return {
            "base_dir": Field(StringSource, is_required=False),
            "polling_timeout": Field(Float, is_required=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Make the manager that is configured."""
        return cls(inst_data=inst_data, **config_value)

    def register_instance(self, instance: DagsterInstance) -> None:
        """Learn the instance, whose storage folder is the default one."""
        super().register_instance(instance)
        self._base_dir = self._base_dir or instance.storage_directory()

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Let everything that this process prints go to the files of a run, and to the terminal if it has one."""
        with (
            self._capture(sys.stdout, self._path(log_key, ComputeIOType.STDOUT)),
            self._capture(sys.stderr, self._path(log_key, ComputeIOType.STDERR)),
        ):
            yield CapturedLogContext(log_key)
        touch_file(str(self.get_captured_local_path(log_key, "complete")))

    def _path(self, log_key: Sequence[str], kind: ComputeIOType) -> str:
        return str(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))

    @contextmanager
    def _capture(self, stream: TextIO, path: str) -> Iterator[None]:
        ensure_file(path)
        with copy_to_file(stream, path) if self.show else redirect_to_file(stream, path):
            yield


@contextmanager
def copy_to_file(stream: TextIO, path: str) -> Iterator[None]:
    """Copy what is written to a stream, by whatever means, to a file.

    Args:
        stream: standard output or error. One that is no file of the operating system is left alone.
        path: a file, to which is appended.
    """
    try:
        captured = stream.fileno()
    except (OSError, ValueError, AttributeError):
        yield
        return
    stream.flush()
    shown = os.dup(captured)
    source, sink = os.pipe()
    os.dup2(sink, captured)
    os.close(sink)
    copier = threading.Thread(target=_copy, args=(source, shown, path), name="copy-output", daemon=True)
    copier.start()
    try:
        yield
    finally:
        stream.flush()
        os.dup2(shown, captured)
        # a process that a step left behind may hold the other end open for as long as it likes
        copier.join(_SECONDS_FOR_THE_REST)


def _copy(source: int, shown: int, path: str) -> None:
    """Copy until the source ends; then the terminal's descriptor is closed too."""
    with (
        open(source, "rb", buffering=0) as output,
        open(shown, "wb", buffering=0) as terminal,
        open(path, "ab", buffering=0) as file,
    ):
        while chunk := output.read(_CHUNK):
            file.write(chunk)
            with suppress(OSError):  # who looked at it may have gone
                terminal.write(chunk)
