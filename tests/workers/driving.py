"""Somebody who does to a process whatever it asks for, until it ends."""

from uuid import UUID

from shapes import PAUSE, Shape
from sqlalchemy import text

from orchestrator_dagster import Process, Session
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.testing import JumpingClock
from orchestrator_dagster.testing.outside import FakeCaller

_MOST_TURNS = 20
_ITS_OWN_AND_CHILDREN = text("""
    SELECT process_id FROM orchestrator.processes
    WHERE (process_id = :process_id OR parent_process_id = :process_id)
      AND last_status NOT IN ('completed', 'aborted')
    ORDER BY started_at DESC
""")


class Driver:
    """Answers, calls back, lets time pass, retries.

    Args:
        session: by which all is done.
        clock: the engine's.
    """

    def __init__(self, session: Session, clock: JumpingClock) -> None:
        self._session = session
        self._clock = clock

    def drive(self, shape: Shape, process: Process) -> Process:
        """Go on with a process, and those that it started, until it ends."""
        for _ in range(_MOST_TURNS):
            if process.refresh().status.ended:
                return process
            for process_id in self._unended(process.process_id):
                self.turn(shape, self._session.process(process_id))
            self._session.go_on()
        raise AssertionError(f"{process!r} does not end")

    def turn(self, shape: Shape, process: Process) -> None:
        """Do what a process asks for now."""
        match process.status:
            case ProcessStatus.SUSPENDED if shape.aborted:
                process.abort("nobody wants it")
            case ProcessStatus.SUSPENDED:
                process.resume({"words": "yes"})
            case ProcessStatus.AWAITING_CALLBACK:
                FakeCaller(self._session.orchestrator.database.engine).call_back(process, {"well": "done"})
            case ProcessStatus.WAITING:
                self._clock.jump(PAUSE)
            case ProcessStatus.FAILED:
                process.retry()

    def _unended(self, process_id: UUID) -> list[UUID]:
        with self._session.orchestrator.database.engine.connect() as connection:
            return list(connection.scalars(_ITS_OWN_AND_CHILDREN, {"process_id": process_id}))
