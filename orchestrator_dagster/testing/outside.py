"""The system outside that a callback step called: a test speaks for it."""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine

from orchestrator_dagster.jobs.callbacks import receive_callback, receive_progress
from orchestrator_dagster.jobs.process import Process

_ROUTE = re.compile(r"/api/processes/(?P<process_id>[0-9a-f-]{36})/callback/(?P<token>[\w-]+)")


class FakeCaller:
    """Calls back at the doors at which requests over HTTP arrive, with everything that is checked there.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def call_back(self, process: Process, body: Any, route: str | None = None) -> None:
        """Say that the system outside is done.

        Args:
            process: the process that awaits it.
            body: the JSON that is sent.
            route: where it is sent to. Default: the newest route in the state of the process.

        Raises:
            AssertionError: there is no route.
        """
        process_id, token = _address(process, route)
        receive_callback(self._engine, process_id, token, body)

    def report(self, process: Process, body: Any, route: str | None = None) -> None:
        """Say how far the system outside is; see `call_back`."""
        process_id, token = _address(process, route)
        receive_progress(self._engine, process_id, token, body)


def _address(process: Process, route: str | None) -> tuple[str, str]:
    routes = [route] if route else list(_routes(process.state))
    found = _ROUTE.search(routes[-1]) if routes else None
    if found is None:
        raise AssertionError(f"{process!r} has no route for callbacks in its state")
    return found["process_id"], found["token"]


def _routes(value: Any) -> Iterator[str]:
    if isinstance(value, str) and _ROUTE.search(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _routes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _routes(item)
