"""The app at which other systems call back: a process waits, they say that they are done, and it goes on.

It is an ASGI app. `orchestrator-dagster callbacks` serves it; `callback_app` is for those who mount it in their own.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from dagster import DagsterInstance
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from orchestrator_dagster.errors import (
    CallbackBodyError,
    CallbackNotFoundError,
    CallbackRefusedError,
    EnginePausedError,
    OrchestratorError,
)
from orchestrator_dagster.jobs.callbacks import receive_callback, receive_progress
from orchestrator_dagster.jobs.submitting import submit_queued
from orchestrator_dagster.orchestrator import Orchestrator

MOST_BYTES = 1024 * 1024
"""So long a body may be, unless it is said otherwise."""

_SECONDS_UNTIL_ANOTHER_TRY = "30"
_STATUS: dict[type[OrchestratorError], HTTPStatus] = {
    CallbackNotFoundError: HTTPStatus.NOT_FOUND,
    CallbackRefusedError: HTTPStatus.CONFLICT,
    CallbackBodyError: HTTPStatus.UNPROCESSABLE_ENTITY,
    EnginePausedError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def callback_app(
    orchestrator: Orchestrator, *, instance: DagsterInstance | None = None, most_bytes: int = MOST_BYTES
) -> FastAPI:
    """Return the app at which other systems call back.

    `POST /api/processes/{process_id}/callback/{token}` brings the JSON that a `callback_step` waits for,
    `POST …/progress` says how far the other system is, and `GET /health` whether the app has its database. The token
    is the only right that is asked for. No request waits for a process.

    Args:
        orchestrator: the products and workflows.
        instance: the Dagster instance that runs what goes on. Default: the one of `DAGSTER_HOME`; without it, what was
            received is stored, and the process goes on when a sensor or a session comes by.
        most_bytes: so long the body of a request may be.

    Example:
        ```python
        site = FastAPI()
        site.mount("/orchestrator", callback_app(orchestrator))
        ```
    """
    app = FastAPI(title="Callbacks of orchestrator-dagster", docs_url=None, redoc_url=None, openapi_url=None)
    receiver = _Receiver(orchestrator, instance)

    async def limited_body(request: Request) -> bytes:
        return await _read(request, most_bytes)

    Body = Annotated[bytes, Depends(limited_body)]  # noqa: N806 - a type

    # Plain functions: FastAPI runs them in threads, since they ask the database.
    @app.post("/api/processes/{process_id}/callback/{token}")
    def callback(process_id: str, token: str, body: Body) -> dict[str, str]:
        is_new = receiver.callback(process_id, token, _json_of(body) if body.strip() else {})
        return {"status": "received" if is_new else "already received"}

    @app.post("/api/processes/{process_id}/callback/{token}/progress", status_code=HTTPStatus.NO_CONTENT)
    def progress(process_id: str, token: str, body: Body, request: Request) -> None:
        receiver.progress(process_id, token, _text_or_json(body, request.headers.get("content-type", "")))

    @app.get("/health")
    def health() -> dict[str, str]:
        receiver.require_database()
        return {"status": "ok"}

    for kind, status in _STATUS.items():
        app.add_exception_handler(kind, _refusal(status))
    app.add_exception_handler(OperationalError, _unavailable)
    app.add_exception_handler(Exception, _failed)
    return app


class _Receiver:
    """What the requests need: the database, and the Dagster instance once something is to go on."""

    def __init__(self, orchestrator: Orchestrator, instance: DagsterInstance | None) -> None:
        self._orchestrator = orchestrator
        self._given_instance = instance

    def callback(self, process_id: str, token: str, body: Any) -> bool:
        engine = self._orchestrator.database.engine
        is_new = receive_callback(engine, process_id, token, body)
        if is_new and self._instance is not None:
            submit_queued(self._instance, self._orchestrator.job, engine, [UUID(process_id)])
        return is_new

    def progress(self, process_id: str, token: str, progress: Any) -> None:
        receive_progress(self._orchestrator.database.engine, process_id, token, progress)

    def require_database(self) -> None:
        with self._orchestrator.database.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    @cached_property
    def _instance(self) -> DagsterInstance | None:
        if self._given_instance is not None:
            return self._given_instance
        return DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else None


async def _read(request: Request, most_bytes: int) -> bytes:
    """Return the body of a request; read no more of one that is too long than shows that."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body is longer than {most_bytes} bytes",
                {"Connection": "close"},
            )
    return bytes(body)


def _json_of(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}") from error


def _text_or_json(body: bytes, content_type: str) -> Any:
    """Return what the other system says of its progress: JSON where it is that and isn't said to be text."""
    if not content_type.startswith("text/"):
        with suppress(HTTPException):
            return _json_of(body)
    return body.decode(errors="replace")


def _refusal(status: HTTPStatus) -> Callable[[Request, Exception], Response]:
    later = {"Retry-After": _SECONDS_UNTIL_ANOTHER_TRY} if status is HTTPStatus.SERVICE_UNAVAILABLE else None

    def answer(_request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status, headers=later)

    return answer


def _unavailable(_request: Request, _error: Exception) -> Response:
    return JSONResponse(
        {"detail": "The database cannot be reached"},
        HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": _SECONDS_UNTIL_ANOTHER_TRY},
    )


def _failed(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"detail": "Something went wrong here; it is in the log"}, HTTPStatus.INTERNAL_SERVER_ERROR)
