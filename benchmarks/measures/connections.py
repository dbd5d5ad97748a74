"""The connections to Postgres while everything is busy."""

import threading

from sqlalchemy import make_url

from benchmarks.database import ConnectionCounter, DatabaseServer
from benchmarks.measures.burst import burst
from benchmarks.sides.dagster import DagsterSide

LOOK_SECONDS = 0.05


def connections(side: DagsterSide, server: DatabaseServer, count: int) -> int:
    """Return the largest number of connections that was seen while a burst was worked on.

    Args:
        side: our system, with as many workers as are to be busy.
        server: the server that has its database.
        count: how many processes to submit at once.
    """
    database = make_url(side.database).database or ""
    with side.running() as service, server.connection_counter(database) as counter:
        watch = Watch(counter)
        watch.start()
        try:
            burst(service, count)
        finally:
            watch.stop()
    return watch.most


class Watch(threading.Thread):
    """Counts again and again until it is stopped.

    Attributes:
        most: the largest number that was seen.
    """

    def __init__(self, counter: ConnectionCounter) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._counter = counter
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.most = max(self.most, self._counter.count())

    def stop(self) -> None:
        self._stopped.set()
        self.join()
