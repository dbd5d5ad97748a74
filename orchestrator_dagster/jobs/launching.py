"""Launching jobs from Python: through the workspace, as Dagit and the command line do it."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dagster as dg
from dagster._core.remote_representation.code_location import CodeLocation
from dagster._core.remote_representation.external import RemoteRepository
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from orchestrator_dagster.errors import ConfigurationError


class Launching:
    """Launches jobs of a workspace on an instance. The code is loaded at the first launch, and let go at the end.

    Args:
        instance: the instance whose coordinator gets the runs.
        workspace: path of the `workspace.yaml`. Default: the one in `DAGSTER_HOME`, or else in the current folder.
    """

    def __init__(self, instance: dg.DagsterInstance, workspace: str | os.PathLike[str] | None) -> None:
        self._instance = instance
        self._given_workspace = workspace
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def launch(self, job_name: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Create a run of a job, hand it to the instance's run coordinator, and return its id.

        Raises:
            ConfigurationError: no code location of the workspace has the job.
        """
        location, repository = self._find(job_name)
        job = repository.get_full_job(job_name)
        plan = location.get_execution_plan(
            job, config, step_keys_to_execute=None, known_state=None, instance=self._instance
        ).execution_plan_snapshot
        run = self._instance.create_run(
            job_name=job_name,
            run_id=None,
            run_config=config,
            resolved_op_selection=None,
            step_keys_to_execute=None,
            op_selection=None,
            status=None,
            root_run_id=None,
            parent_run_id=None,
            tags={**job.tags, **tags},
            job_snapshot=job.job_snapshot,
            execution_plan_snapshot=plan,
            parent_job_snapshot=job.parent_job_snapshot,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            asset_selection=None,
            asset_check_selection=None,
            asset_graph=repository.asset_graph,
        )
        self._instance.submit_run(run.run_id, self._workspace)
        return run.run_id

    def _find(self, job_name: str) -> tuple[CodeLocation, RemoteRepository]:
        for location in self._workspace.code_locations:
            for repository in location.get_repositories().values():
                if repository.has_job(job_name):
                    return location, repository
        entries = self._workspace.get_code_location_entries().values()
        errors = "".join(f"\n{entry.load_error.message}" for entry in entries if entry.load_error)
        raise ConfigurationError(f"No code location of {self._workspace_file} has a job {job_name}{errors}")

    @cached_property
    def _workspace_file(self) -> Path:
        if self._given_workspace is not None:
            return Path(self._given_workspace)
        folders = [os.environ.get("DAGSTER_HOME") or ".", "."]
        for file in (Path(folder) / "workspace.yaml" for folder in folders):
            if file.exists():
                return file
        raise ConfigurationError(
            "To launch a job Dagster needs a workspace.yaml in DAGSTER_HOME or in the current folder, "
            "or one given as orchestrator.connect(workspace=...)"
        )

    @cached_property
    def _workspace(self) -> WorkspaceRequestContext:
        if self._instance.is_ephemeral:
            raise ConfigurationError("To launch a job set DAGSTER_HOME, so that other processes find the run")
        target = WorkspaceFileTarget([str(self._workspace_file)])
        context = WorkspaceProcessContext(self._instance, target, code_server_log_level="WARNING")
        return self._stack.enter_context(context).create_request_context()
