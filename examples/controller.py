"""A stand-in for the network controller: what really configures devices.

It keeps the configuration of every object in a folder, and a person can change it there behind the orchestrator's back:

    python -m examples.controller show
    python -m examples.controller set nodes/osl-pe1 software 22.1R1
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import click
import dagster as dg
from pydantic import Field

from orchestrator_dagster import ProcessFailureError

DIRECTORY_VARIABLE = "NETWORK_CONTROLLER_DIRECTORY"

Configuration = dict[str, Any]
"""What is configured of an object: JSON, by field."""

Objects = Mapping[str, Configuration]
"""Objects by key, such as `nodes/osl-pe1`."""


class ControllerError(Exception):
    """The controller cannot do that."""


class Controller(dg.ConfigurableResource[None]):
    """The network controller, to which steps hand what is to be configured.

    Args:
        directory: where it keeps the configuration. Default: `NETWORK_CONTROLLER_DIRECTORY`, or `controller` in
            `DAGSTER_HOME`.
    """

    directory: str | None = Field(default=None, description="Default: controller in DAGSTER_HOME")

    def put(self, objects: Objects, *, owner: object, request_id: str) -> None:
        """Configure objects. A request that was carried out before changes nothing, so it can be sent again.

        Args:
            objects: what is to be configured.
            owner: whose they are: an id that stays the same for as long as they exist.
            request_id: identifies the request.

        Raises:
            ControllerError: one of the objects is somebody else's; then nothing is configured.
        """
        with self._locked() as folder:
            stored = {key: _read(folder, key) for key in objects}
            for key, record in stored.items():
                if record and record["owner"] != str(owner):
                    raise ControllerError(f"{key} is in use by {record['owner']}")
            for key, configuration in objects.items():
                record = stored[key]
                if record is None or record["request_id"] != request_id:
                    _write(folder, key, {"owner": str(owner), "request_id": request_id, "configuration": configuration})

    def remove(self, keys: Mapping[str, object] | list[str], *, owner: object) -> None:
        """Remove objects. Those that are gone, or somebody else's by now, stay as they are."""
        with self._locked() as folder:
            for key in keys:
                record = _read(folder, key)
                if record and record["owner"] == str(owner):
                    _file(folder, key).unlink()

    def get(self, key: str) -> Configuration | None:
        """Return what is configured under a key, `None` if nothing is."""
        return self.all().get(key)

    def all(self) -> Objects:
        """Return everything that is configured."""
        with self._locked() as folder:
            keys = sorted(unquote(path.stem) for path in folder.glob("*.json"))
            return {key: record["configuration"] for key in keys if (record := _read(folder, key))}

    def set_field(self, key: str, field: str, value: Any) -> None:
        """Change one field of an object, as somebody does who logs in to the device.

        Raises:
            ControllerError: there is no such object, or it has no such field.
        """
        with self._locked() as folder:
            record = _read(folder, key)
            if record is None:
                raise ControllerError(f"Nothing is configured under {key}")
            if field not in record["configuration"]:
                raise ControllerError(f"{key} has no {field}; it has {', '.join(record['configuration'])}")
            record["configuration"][field] = value
            _write(folder, key, record)

    def require(self, intended: Objects) -> None:
        """Make sure that objects are configured as intended.

        Raises:
            ProcessFailureError: they are not; the message and the details say what differs.
        """
        differences = self._differences(intended)
        if differences:
            said = "; ".join(f"{what} is {found!r}, not {wanted!r}" for what, (found, wanted) in differences.items())
            details = {what: {"found": found, "intended": wanted} for what, (found, wanted) in differences.items()}
            raise ProcessFailureError(f"The network differs from the subscription: {said}", details)

    def _differences(self, intended: Objects) -> dict[str, tuple[Any, Any]]:
        configured = self.all()
        differences: dict[str, tuple[Any, Any]] = {}
        for key, wanted in json.loads(json.dumps(intended)).items():
            found = configured.get(key)
            if found is None:
                differences[key] = ("absent", "configured")
                continue
            for field in sorted(wanted.keys() | found.keys()):
                if found.get(field) != wanted.get(field):
                    differences[f"{field} of {key}"] = (found.get(field), wanted.get(field))
        return differences

    @contextmanager
    def _locked(self) -> Iterator[Path]:
        folder = Path(self.directory or _default_directory())
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder


def _default_directory() -> str:
    if configured := os.environ.get(DIRECTORY_VARIABLE):
        return configured
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise ControllerError(f"The controller has no folder: set {DIRECTORY_VARIABLE} or DAGSTER_HOME")
    return str(Path(home) / "controller")


def _file(folder: Path, key: str) -> Path:
    return folder / f"{quote(key, safe='')}.json"


def _read(folder: Path, key: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(_file(folder, key).read_text())
    except FileNotFoundError:
        return None
    return record


def _write(folder: Path, key: str, record: Mapping[str, Any]) -> None:
    path = _file(folder, key)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record, indent=2))
    new.replace(path)


@click.group()
def main() -> None:
    """Look at the network, and change it behind the orchestrator's back."""


@main.command()
@click.argument("key", required=False)
def show(key: str | None) -> None:
    """Print what is configured: everything, or what begins with KEY."""
    for name, configuration in Controller().all().items():
        if name.startswith(key or ""):
            click.echo(f"{name}: {json.dumps(configuration)}")


@main.command(name="set")
@click.argument("key")
@click.argument("field")
@click.argument("value")
def set_command(key: str, field: str, value: str) -> None:
    """Set FIELD of the object KEY to VALUE: JSON, or else plain text."""
    try:
        new: Any = json.loads(value)
    except json.JSONDecodeError:
        new = value
    try:
        Controller().set_field(key, field, new)
    except ControllerError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{field} of {key} is {new!r} now")


if __name__ == "__main__":
    main()
