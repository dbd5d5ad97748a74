"""Where a command finds the orchestrator: in the code that Dagster loads."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click
import yaml

from orchestrator_dagster.errors import ConfigurationError
from orchestrator_dagster.orchestrator import Orchestrator

_Command = TypeVar("_Command", bound=Callable[..., Any])


def code_options(command: _Command) -> _Command:
    """Add the options that say where the code is."""
    for option in (
        click.option("-w", "--workspace", type=click.Path(path_type=Path), help="Workspace file. [workspace.yaml]"),
        click.option("-f", "--python-file", type=click.Path(path_type=Path), help="File that has the orchestrator."),
        click.option("-m", "--module-name", help="Module that has the orchestrator."),
    ):
        command = option(command)
    return command


def load_orchestrator(module_name: str | None, python_file: Path | None, workspace: Path | None) -> Orchestrator:
    """Import the code and return its orchestrator.

    Args:
        module_name: a module.
        python_file: or a file.
        workspace: or the workspace file that names them. Default: `workspace.yaml` in the current folder.

    Raises:
        ConfigurationError: there is no orchestrator, or more than one.
    """
    if module_name:
        modules, where = [_import_module(module_name)], f"module {module_name}"
    elif python_file:
        modules, where = [_import_file(python_file)], f"file {python_file}"
    else:
        file = workspace or Path("workspace.yaml")
        modules, where = list(_modules_of(file)), f"workspace {file}"
    found = {
        id(value): value for module in modules for value in vars(module).values() if isinstance(value, Orchestrator)
    }
    if len(found) != 1:
        count = "several orchestrators" if found else "no orchestrator"
        raise ConfigurationError(f"There is {count} in {where}; name the module with -m")
    return next(iter(found.values()))


def _modules_of(workspace: Path) -> Iterator[ModuleType]:
    if not workspace.exists():
        raise ConfigurationError(f"{workspace} does not exist; name the module with -m, or the file with -f")
    for entry in (yaml.safe_load(workspace.read_text()) or {}).get("load_from", []):
        for kind, given in entry.items():
            target = given if isinstance(given, dict) else {kind.removeprefix("python_") + "_name": given}
            if folder := target.get("working_directory"):
                sys.path.insert(0, str(workspace.parent / folder))
            if kind in ("python_module", "python_package"):
                yield _import_module(target.get("module_name") or target["package_name"])
            elif kind == "python_file":
                yield _import_file(workspace.parent / (target.get("relative_path") or target["file_name"]))


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"There is no module {name}; run this in its folder, or set PYTHONPATH") from error


def _import_file(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.exists():
        raise ConfigurationError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module
