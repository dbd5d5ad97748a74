"""A run's right to write to its process."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Engine

from orchestrator_dagster.db.heartbeat import Heart
from orchestrator_dagster.db.leases import Lease, patiently
from orchestrator_dagster.db.processes import lease_of
from orchestrator_dagster.errors import ProcessTakenOverError
from orchestrator_dagster.ops.transaction import StepTransaction, transaction


@dataclass(frozen=True)
class Claim:
    """What lets a run, and no other, write to a process.

    Attributes:
        engine: the database.
        process_id: the process.
        run_id: the Dagster run.
        user: on whose behalf it runs.
        lease: says that no other living run works on the process; its connection is the one that the run works on.
        number: what proves that it is the newest run of the process; without that nothing it does is kept.
    """

    engine: Engine
    process_id: UUID
    run_id: str
    user: str
    lease: Lease
    number: int

    def show_life(self) -> None:
        """Let others see that the run is alive, until it gives the lease back."""
        Heart.of(self.engine).beat_for(self.process_id, self.number)

    def require(self) -> None:
        """Make sure that the process is still this run's; its connection may be gone since the last step.

        Raises:
            ProcessTakenOverError: another run goes on with the process.
        """
        if self.lease.is_held:
            return
        if self.lease.take_again():
            with self.lease.connection.begin():
                if lease_of(self.lease.connection, self.process_id) == self.number:
                    return
        raise self.taken_over()

    def taken_over(self) -> ProcessTakenOverError:
        """Return the error for a process that is not the run's any more."""
        return ProcessTakenOverError(process_id=self.process_id, run_id=self.run_id)

    def transaction(self, step: str, user: str | None = None) -> AbstractContextManager[StepTransaction]:
        """Run the block in the one transaction of a step.

        Args:
            step: the step's key.
            user: on whose behalf, where that is somebody else than the run's user.
        """
        return transaction(self.lease.connection, process_id=self.process_id, step=step, created_by=user or self.user)

    @contextmanager
    def transaction_afterwards(self) -> Iterator[Connection]:
        """Run the block in a transaction, on another connection where the lease's own is of no use any more."""
        if self.lease.is_held:
            with self.lease.connection.begin():
                yield self.lease.connection
        else:
            # what is still under way on it would be waited for
            self.lease.release()
            with patiently(self.engine.connect) as connection, connection.begin():
                yield connection

    def release(self) -> None:
        """Give the lease back: whoever sees where the process stands may go on with it at once."""
        Heart.of(self.engine).stop_for(self.process_id, self.number)
        self.lease.release()
