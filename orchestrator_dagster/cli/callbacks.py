"""`orchestrator-dagster callbacks`."""

from pathlib import Path

import click
import uvicorn

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.web.callbacks import MOST_BYTES, callback_app


@click.command
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=3001, show_default=True)
@click.option("--most-bytes", type=click.IntRange(1), default=MOST_BYTES, show_default=True, help="Longest body.")
@code_options
def callbacks(
    host: str,
    port: int,
    most_bytes: int,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Serve the addresses at which other systems call back, until stopped with Ctrl-C.

    They reach it through a proxy that speaks TLS. Several may run beside each other: what they know is in the database.
    """
    app = callback_app(load_orchestrator(module_name, python_file, workspace), most_bytes=most_bytes)
    # the address of a request is all that somebody needs to answer in another's place: it is not for a log
    uvicorn.run(app, host=host, port=port, access_log=False)
