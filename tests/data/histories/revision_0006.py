"""Stores a history with the package as it was at schema revision 0006, before processes could wait.

Run with that version, which has these steps too::

    mkdir ../revision_0006
    git archive 7b1aacb | tar -x -C ../revision_0006
    PYTHONPATH=../revision_0006 python tests/data/histories/revision_0006.py
"""

import tempfile
from pathlib import Path

import dagster as dg

from orchestrator_dagster import Database, Orchestrator, State, StepList, conditional, done, init, step, workflow

broken: set[str] = set()
"""What is out of order."""


@step("Reserve fibre")
def reserve() -> State:
    return {"reserved": 1}


@step("Splice cable")
def splice() -> State:
    return {"spliced": 1}


@step("Configure line")
def configure(state: State) -> State:
    if broken:
        raise RuntimeError("The line is out of order")
    return {"configured": 1, "spliced": state.get("spliced", 0)}


if_far = conditional(lambda state: "far" in state)


@workflow("Repair line")
def repair_line() -> StepList:
    return init >> reserve >> if_far(splice) >> configure >> done


def main() -> None:
    """Run a process until it fails, and store it."""
    from stored import store

    from orchestrator_dagster.db.engine import dispose_engine, engine_for
    from orchestrator_dagster.db.migrate import upgrade
    from orchestrator_dagster.db.server import EmbeddedServer

    broken.add("line")
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder) / "postgres")
        url = server.start()
        try:
            engine = engine_for(url)
            upgrade(engine)
            orchestrator = Orchestrator([], workflows=[repair_line], database=Database(url=url))
            orchestrator.catalogue.apply(by="ada")
            instance = dg.DagsterInstance.ephemeral()
            with instance, orchestrator.connect(instance=instance, user="ada") as session:
                session.run("repair_line")
            with engine.connect() as connection:
                print(store(connection, "revision_0006"))  # noqa: T201 - for whoever runs it
            dispose_engine(url)
        finally:
            server.destroy()


if __name__ == "__main__":
    main()
