"""A Dagster instance of one test, for commands and workers that run as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance

BIN = Path(sys.executable).parent

INSTANCE = {
    "storage": {"custom": {"module": "orchestrator_dagster.instance", "class": "PostgresStorage", "config": {}}},
    # the default is a queue, which needs a daemon
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "code_servers": {"wait_for_local_processes_on_shutdown": True},
    "telemetry": {"enabled": False},
}


@dataclass(frozen=True)
class DagsterHome:
    """The folder of an instance, and the environment in which processes find it.

    Attributes:
        folder: what `DAGSTER_HOME` names.
        environment: all environment variables.
    """

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def make(cls, folder: Path, *, python_path: Sequence[Path] = (), **variables: str) -> "DagsterHome":
        """Make an instance whose records are in the orchestrator's database."""
        folder.mkdir(parents=True)
        (folder / "dagster.yaml").write_text(yaml.safe_dump(INSTANCE))
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        paths = os.pathsep.join(map(str, python_path))
        return cls(folder, inherited | {"DAGSTER_HOME": str(folder), "PYTHONPATH": paths} | variables)

    def workspace(self, module: str) -> Path:
        """Write a workspace that loads a module."""
        file = self.folder / "workspace.yaml"
        file.write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}))
        return file

    def run_config(self, config: Mapping[str, Any]) -> Path:
        """Write a run config."""
        file = self.folder / f"config-{len(list(self.folder.glob('config-*')))}.yaml"
        file.write_text(yaml.safe_dump(dict(config)))
        return file

    def command(self, name: str, *arguments: object, timeout: float = 60, **variables: str) -> "Finished":
        """Run a command of the virtual environment to its end."""
        finished = subprocess.run(
            [str(BIN / name), *map(str, arguments)],
            env={**self.environment, **variables},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(finished.returncode, finished.stdout)

    @contextmanager
    def instance(self) -> Iterator[DagsterInstance]:
        """Open the instance in this process, whose own environment must name the database."""
        with DagsterInstance.from_config(str(self.folder)) as instance:
            yield instance


@dataclass(frozen=True)
class Finished:
    """What a command left behind.

    Attributes:
        status: its exit status; that of a killed process is the negative number of the signal.
        output: all that it printed.
    """

    status: int
    output: str
