"""A worker that starts processes and goes on with whatever may go on, while the database comes and goes.

It is given its number and how many of its kind there are, and ends when the file that `STOP` names is there. What went
wrong, which is a lot, is counted in the file that `WENT_WRONG` names; all of that is to be expected, but for what it
leaves behind.
"""

import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from driving import Driver
from shapes import SHAPES, orchestrator
from sqlalchemy import Connection, Row, text

from orchestrator_dagster import Session
from orchestrator_dagster.testing import JumpingClock

_UNSTARTED = text("""
    SELECT mark, shape FROM public.wanted
    WHERE number % :workers = :worker
      AND NOT EXISTS (SELECT FROM orchestrator.process_inputs WHERE state ->> 'mark' = mark)
    ORDER BY number
    LIMIT 1
""")
_ACCEPTED = text("UPDATE public.wanted SET accepted = true WHERE mark = :mark")
_UNENDED = text("""
    SELECT process_id, wanted.shape
    FROM orchestrator.processes
    JOIN orchestrator.process_inputs USING (process_id)
    JOIN public.wanted ON wanted.mark = state ->> 'mark'
    WHERE input_type = 'initial_state' AND last_status NOT IN ('created', 'running', 'resumed', 'completed', 'aborted')
""")


class Worker:
    """One of several that are in each other's way.

    Args:
        number: which one it is.
        workers: how many there are.
    """

    def __init__(self, number: int, workers: int) -> None:
        self._place = {"worker": number, "workers": workers}
        self._chance = random.Random(number)  # noqa: S311 - nothing secret
        self._went_wrong = Path(os.environ["WENT_WRONG"])
        self._stop = Path(os.environ["STOP"])

    def work(self) -> None:
        """Work until it is time to stop."""
        while not self._stop.exists():
            try:
                with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as session:
                    self._work(session)
            except Exception as error:
                self._note(error)
                time.sleep(0.1)

    def _work(self, session: Session) -> None:
        driver = Driver(session, JumpingClock())
        engine = session.orchestrator.database.engine
        while not self._stop.exists():
            with engine.begin() as connection:
                unstarted = connection.execute(_UNSTARTED, self._place).one_or_none()
                unended = self._unended(connection)
            if unstarted:
                session.run(unstarted.shape, {"mark": unstarted.mark})
                with engine.begin() as connection:
                    connection.execute(_ACCEPTED, {"mark": unstarted.mark})
            for process_id, shape in unended:
                driver.turn(SHAPES[shape], session.process(process_id))
            if not session.go_on() and not unstarted:
                time.sleep(0.05)

    def _unended(self, connection: Connection) -> Sequence[Row[Any]]:
        """Return one of the processes that ask for something: whoever else looks may find the same one."""
        found = connection.execute(_UNENDED).all()
        return [self._chance.choice(found)] if found else []

    def _note(self, error: Exception) -> None:
        with self._went_wrong.open("a") as file:
            file.write(json.dumps([type(error).__name__, str(error)[:2000]]) + "\n")


if __name__ == "__main__":
    Worker(int(sys.argv[1]), int(sys.argv[2])).work()
