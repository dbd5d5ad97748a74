"""Stores the histories anew, or those that are named: `python -m tests.data.histories.make [name …]`.

A history is stored once, when a workflow of `earlier` is new. It is not stored again when the package changes: that
processes of today go on with it is what the histories are for.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
from sqlalchemy import Engine

from orchestrator_dagster import Process, Session, Workflow
from orchestrator_dagster.domain.clock import use_clock
from orchestrator_dagster.jobs import going_on
from orchestrator_dagster.ops import commit_path
from orchestrator_dagster.ops.commit_path import CommitPoint
from orchestrator_dagster.testing import TemporaryServer
from tests.data.histories import earlier
from tests.data.histories.earlier import out_of_order
from tests.data.histories.stored import store

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
TICKET = {"ticket": "CHG1"}


class Past:
    """The time and the place in which a history happens.

    Attributes:
        session: has the workflows.
        engine: the database, for what a session does not do.
        time: what time it is.
    """

    def __init__(self, session: Session, engine: Engine) -> None:
        self.session = session
        self.engine = engine
        self.time = NOON

    def store(self, name: str) -> None:
        """Store what has happened."""
        with self.engine.connect() as connection:
            print(store(connection, name))  # noqa: T201 - for whoever runs it

    def run(self, workflow: str, given: dict[str, object] | None = None) -> Process:
        """Run a workflow until it stops."""
        return self.session.run(workflow, given)


Story = Callable[[Past], None]
stories: dict[str, tuple[Story, tuple[Workflow, ...]]] = {}


def history(*workflows: Workflow) -> Callable[[Story], Story]:
    """Make a function the story that is stored under its name."""

    def note(story: Story) -> Story:
        stories[story.__name__] = story, workflows
        return story

    return note


@history(earlier.order_line)
def asks(past: Past) -> None:
    past.run("order_line")


@history(earlier.order_line)
def answered(past: Past) -> None:
    process = past.run("order_line")
    with past.engine.begin() as connection:
        going_on.answer(connection, past.session.orchestrator.workflows, process.process_id, TICKET, user="ada")


@history(earlier.order_line)
def failed(past: Past) -> None:
    process = past.run("order_line")
    with out_of_order("configured"):
        process.resume(TICKET)


@history(earlier.order_line)
def to_be_aborted(past: Past) -> None:
    process = past.run("order_line")
    with past.engine.begin() as connection:
        going_on.abort(
            connection, past.session.orchestrator.workflows, process.process_id, "The customer left", user="ada"
        )


@history(earlier.order_line)
def left_behind(past: Past) -> None:
    process = past.run("order_line")

    def die(point: CommitPoint, step: str) -> None:
        if (point, step) == (CommitPoint.BEFORE_EFFECT, "configure"):
            # what another connection sees now is what a worker leaves that dies here
            past.store("left_behind")

    commit_path.listeners.append(die)
    process.resume(TICKET)
    commit_path.listeners.remove(die)


@history(earlier.build_line)
def in_a_group(past: Past) -> None:
    past.run("build_line")


@history(earlier.extend_line)
def decided(past: Past) -> None:
    past.run("extend_line")


@history(earlier.measure_line)
def tries_again(past: Past) -> None:
    with out_of_order("reached"):
        past.run("measure_line")


@history(earlier.rest_line)
def rests(past: Past) -> None:
    past.run("rest_line")


@history(earlier.rest_line)
def has_rested(past: Past) -> None:
    past.run("rest_line")
    past.time += timedelta(hours=2)
    with out_of_order("notified"):
        past.session.go_on()


@history(earlier.order_pair, earlier.order_line)
def has_a_child(past: Past) -> None:
    past.run("order_pair")


@history(earlier.join_lines)
def in_branches(past: Past) -> None:
    with out_of_order("configured"):
        past.run("join_lines")


@history(earlier.visit_sites)
def at_sites(past: Past) -> None:
    with out_of_order("del"):
        process = past.run("visit_sites", {"sites": ["ams", "del", "utr"]})
    process.resume(TICKET, step="confirm[0]")


@history(earlier.lay_cable)
def awaits_callback(past: Past) -> None:
    past.run("lay_cable")


@history(earlier.lay_cable)
def awaits_callback_again(past: Past) -> None:
    process = past.run("lay_cable")
    past.time += timedelta(days=7)
    past.session.go_on()
    process.refresh().retry()


@history(earlier.create_fibre, earlier.move_fibre)
def moves(past: Past) -> None:
    created = past.run("create_fibre", {"product": "Fibre", "customer_id": "acme", "site": "Delft"})
    past.run("move_fibre", {"subscription_id": str(created.subscription_id), "site": "Utrecht"})


def make(name: str, server: TemporaryServer) -> None:
    """Let a history happen in a database of its own, and store it."""
    story, workflows = stories[name]
    with server.database() as database, dg.DagsterInstance.ephemeral() as instance:
        orchestrator = earlier.running(*workflows).with_changes(database=database)
        orchestrator.catalogue.apply(by="ada")
        with orchestrator.connect(instance=instance, user="ada") as session:
            past = Past(session, database.engine)
            with use_clock(lambda: past.time):
                story(past)
            if story is not left_behind:
                past.store(name)


if __name__ == "__main__":
    with TemporaryServer() as server:
        for name in sys.argv[1:] or stories:
            make(name, server)
