"""A worker that moves the data of subscriptions whenever it is told to, in a child that can be killed on the way.

In, a line each: the number of the statement before which the child kills itself, the commit being the last one; or
`never`, on which the child goes on to the end. Out: the child's id for `never`; for all else, `wait` included, `killed`
or `done`.
"""

import os
import signal
import sys
from itertools import count

from sqlalchemy import event

from orchestrator_dagster.db.catalogue.data.operations import FillField, RemoveLink, RenameField, RenameLink, apply_all
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.writer import Author
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle

ALL = frozenset(SubscriptionLifecycle)


def same(value: object) -> object:
    return value


OPERATIONS = (
    RenameField("Node", "site", "city"),
    FillField("Node", "rack", ALL, "A1", same, optional=False),
    FillField(
        "Node", "place", ALL, lambda given: f"{given.values['city']} {given.values['rack']}", same, optional=False
    ),
    RenameLink("Port", frozenset(), "node", "router"),
    RemoveLink("Port", frozenset(), "channels"),
)


def apply(url: str, fatal: int | None) -> None:
    engine, statements = engine_for(url), count()

    def die(*_: object) -> None:
        if next(statements) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    with engine.begin() as connection:
        event.listen(engine, "before_cursor_execute", die)
        event.listen(engine, "commit", die)
        apply_all(connection, OPERATIONS, Author(changed_by="jan"))


def in_a_child(url: str, fatal: int | None) -> int:
    child = os.fork()
    if child == 0:
        apply(url, fatal)
        os._exit(0)
    return child


def how_it_ended(child: int) -> str:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return "done" if os.waitstatus_to_exitcode(status) == 0 else "failed"


def main(url: str) -> None:
    child = 0
    for line in sys.stdin:
        if line.startswith("never"):
            child = in_a_child(url, None)
            print(child, flush=True)  # noqa: T201
        else:
            child = child if line.startswith("wait") else in_a_child(url, int(line))
            print(how_it_ended(child), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
