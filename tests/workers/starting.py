"""A worker that runs `modify_node` whenever it is told to, one line of JSON in, two or less out.

In: the id of a node. Out: `{"holding": process id}` when the process is under way; it then waits for an empty line
before it goes on. At the end `{"ended": status}`, or `{"refused": reason, "held_by": process id}`.
"""

import json
import sys
from uuid import UUID

import dagster as dg
from golden.definitions import orchestrator

from orchestrator_dagster import Session, SubscriptionOutOfSyncError
from orchestrator_dagster.ops.commit_path import CommitPoint, listeners


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201


def main() -> None:
    with dg.DagsterInstance.ephemeral() as instance, orchestrator.connect(instance=instance) as session:
        say(ready=True)
        for line in sys.stdin:
            modify(session, UUID(line.strip()))


def modify(session: Session, node_id: UUID) -> None:
    def wait(point: CommitPoint, step_key: str) -> None:
        if (point, step_key) == (CommitPoint.BEFORE_EFFECT, "configure_node_again"):
            holder = next(row.held_by for row in session.subscriptions() if row.subscription_id == node_id)
            say(holding=str(holder))
            sys.stdin.readline()

    listeners[:] = [wait]
    try:
        process = session.run("modify_node", {"subscription_id": str(node_id)})
    except SubscriptionOutOfSyncError as refused:
        say(refused=str(refused), held_by=str(refused.held_by))
    else:
        say(ended=process.status, process_id=str(process.process_id))


if __name__ == "__main__":
    main()
