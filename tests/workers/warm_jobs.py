"""Plain Dagster jobs for workers that stay. Each run says in a tag which process executes it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from sqlalchemy import NullPool, create_engine, text

MOST_SECONDS = 120

with Path(os.environ["LOADS"]).open("a") as loads:
    loads.write(f"{os.getpid()} {__name__}\n")


def note_worker(context: dg.OpExecutionContext) -> None:
    context.instance.add_run_tags(context.run_id, {"worker": str(os.getpid())})


def wait_for(file: str) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not Path(file).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Nobody made {file}")
        time.sleep(0.02)


@dg.op
def be_short(context: dg.OpExecutionContext) -> None:
    note_worker(context)


@dg.op(config_schema={"file": str})
def wait(context: dg.OpExecutionContext) -> None:
    note_worker(context)
    wait_for(context.op_config["file"])


@dg.op
def wait_for_long(context: dg.OpExecutionContext) -> None:
    note_worker(context)
    wait_for("/nowhere")


@dg.op(config_schema={"file": str})
def ignore_interrupts(context: dg.OpExecutionContext) -> None:
    while True:
        try:
            note_worker(context)
            wait_for(context.op_config["file"])
        except BaseException:  # noqa: S112 - as deaf as can be
            continue
        return


@dg.op(config_schema={"file": str})
def write_and_wait(context: dg.OpExecutionContext) -> None:
    engine = create_engine(os.environ["ORCHESTRATOR_DATABASE_URL"], poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO written VALUES ('half of it')"))
        note_worker(context)
        wait_for(context.op_config["file"])


@dg.op
def print_everywhere() -> None:
    print("from print")  # noqa: T201
    print("from stderr", file=sys.stderr)  # noqa: T201
    os.write(1, b"from the descriptor\n")
    subprocess.run(["/bin/echo", "from a subprocess"], check=True)


@dg.op
def leave_a_thread_behind(context: dg.OpExecutionContext) -> None:
    note_worker(context)
    threading.Thread(target=threading.Event().wait).start()


@dg.op(config_schema={"pid": str})
def leave_a_fork_behind_and_die(context: dg.OpExecutionContext) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(MOST_SECONDS)
        os._exit(0)
    Path(context.op_config["pid"]).write_text(str(child))
    os.kill(os.getpid(), 9)


@dg.job
def short() -> None:
    be_short()


@dg.job
def also_short() -> None:
    be_short.alias("short_too")()


@dg.job(executor_def=dg.multiprocess_executor)
def in_processes() -> None:
    be_short.alias("one")()
    be_short.alias("other")()


@dg.job
def waiting() -> None:
    wait()


@dg.job
def waiting_for_long() -> None:
    wait_for_long()


@dg.job
def deaf() -> None:
    ignore_interrupts()


@dg.job
def writing() -> None:
    write_and_wait()


@dg.job
def printing() -> None:
    print_everywhere()


@dg.job
def leaving_a_thread() -> None:
    leave_a_thread_behind()


@dg.job
def leaving_a_fork() -> None:
    leave_a_fork_behind_and_die()


@dg.sensor(
    job=short,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def asks_once() -> Iterator[dg.RunRequest | dg.SkipReason]:
    if Path(os.environ["LOADS"]).with_name("ask").exists():
        yield dg.RunRequest(run_key="once", tags={"asked_by": "sensor"})
    else:
        yield dg.SkipReason("nobody told it to")


defs = dg.Definitions(
    jobs=[
        short,
        also_short,
        in_processes,
        waiting,
        waiting_for_long,
        deaf,
        writing,
        printing,
        leaving_a_thread,
        leaving_a_fork,
    ],
    sensors=[asks_once],
    executor=dg.in_process_executor,
)
