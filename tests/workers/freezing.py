"""A process with a step that freezes its worker, as a debugger or a machine out of breath would.

Run as a script it is that worker: it freezes in the step while the file `FREEZE` is there.
"""

import os
import signal
import sys
from pathlib import Path

from sqlalchemy import text

from orchestrator_dagster import Orchestrator, State, StepList, begin, done, init, step, workflow
from orchestrator_dagster.ops.transaction import StepTransaction


@step("Count")
def count(transaction: StepTransaction, idempotency_key: str) -> State:
    transaction.connection.execute(text("INSERT INTO public.counted VALUES (:key)"), {"key": idempotency_key})
    if Path(os.environ["FREEZE"]).exists():
        os.kill(os.getpid(), signal.SIGSTOP)
    return {"counted": True}


@workflow("Count once")
def count_once() -> StepList:
    return begin >> init >> count >> done


orchestrator = Orchestrator(products=[], workflows=[count_once])

if __name__ == "__main__":
    with orchestrator.connect() as wfo:
        counted = wfo.run("count_once")
        sys.exit(counted.failed_reason)
