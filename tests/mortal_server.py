"""A real Postgres server of a test, which is stopped and started again in every way under whoever uses it."""

import os
import random
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import NullPool, create_engine, make_url, text

from orchestrator_dagster.db.server import EmbeddedServer, find_wheel
from orchestrator_dagster.db.server_account import choose_account
from orchestrator_dagster.db.server_binaries import Wheel, choose_binaries
from orchestrator_dagster.db.server_files import ServerFolder
from orchestrator_dagster.db.server_place import existing_place
from orchestrator_dagster.db.server_postmaster import Postmaster, data_major

_CLIENTS = text("""
    SELECT pid FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
""")


class MortalServer:
    """The server. Its address stays the same whatever happens to it.

    Args:
        url: a database of it.
        postmaster: its main process.
    """

    def __init__(self, url: str, postmaster: Postmaster) -> None:
        self.url = url
        self._postmaster = postmaster

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["MortalServer"]:
        """Have a server run that nobody but the test looks after."""
        with tempfile.TemporaryDirectory(prefix="orchestrator-chaos-") as folder:
            embedded = EmbeddedServer(Path(folder) / "postgres")
            url = embedded.start()
            try:
                embedded.stop()
                postmaster = _postmaster(ServerFolder(Path(folder) / "postgres"))
                postmaster.start(make_url(url).port or 0)
                try:
                    yield cls(url, postmaster)
                finally:
                    postmaster.stop()
            finally:
                embedded.destroy()

    def restart(self, first: signal.Signals) -> None:
        """Stop it and start it again.

        Args:
            first: SIGINT ends all transactions and then the server, SIGQUIT ends it without a word.
        """
        port = self._postmaster.port
        self._postmaster.stop(first)
        self._postmaster.start(port)

    def kill_a_backend(self, chance: random.Random) -> None:
        """Kill the process that serves one of the clients. Postgres then ends all others, and recovers."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            clients = list(connection.scalars(_CLIENTS))
        if clients:
            os.kill(chance.choice(clients), signal.SIGKILL)


def _postmaster(folder: ServerFolder) -> Postmaster:
    place = existing_place(folder)
    assert place is not None
    data = place / "data"
    account = choose_account(data)
    found = find_wheel()
    wheel = Wheel(Path(found[0]), found[1]) if found else None
    return Postmaster(data, choose_binaries(wheel, account, data_major(data)), account, folder.log)
