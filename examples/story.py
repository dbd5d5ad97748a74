"""The life of the operator's subscriptions, told by launching one workflow after the other.

`python -m examples.demo` starts what this needs and then runs `python -m examples.story`.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import dagster as dg

from examples.controller import Controller
from examples.definitions import orchestrator
from examples.products.node import Node
from examples.subscriptions import active
from orchestrator_dagster import (
    Launch,
    Process,
    ProcessStatus,
    RefusalError,
    Session,
    SubscriptionLifecycle,
    SubscriptionModel,
)

NOW = timedelta(0)
POLL_SECONDS = 0.1
MOST_SECONDS = 300.0
CUSTOMER = "hunt"


class StoryError(Exception):
    """Something went otherwise than it should."""


@dataclass(frozen=True, eq=False)
class Start:
    """A workflow to be started.

    Attributes:
        what: whom it is about, as long as there is no subscription.
        expected: how the process should end.
    """

    workflow: str
    given: Mapping[str, Any]
    what: str = ""
    expected: ProcessStatus = ProcessStatus.COMPLETED


class Story:
    """Launches workflows, and says how they went.

    Args:
        wfo: the session to launch them in.
    """

    def __init__(self, wfo: Session) -> None:
        self.wfo = wfo
        self.subscription_ids: dict[UUID, None] = {}
        self.began = time.monotonic()

    def chapter(self, title: str) -> None:
        """Say what comes next."""
        click.secho(f"\n{title}", bold=True)

    def run(self, *starts: Start) -> list[Process]:
        """Launch workflows at the same time, and wait until all have ended.

        Raises:
            StoryError: one ended otherwise than expected, or not at all.
        """
        began = time.monotonic()
        pending = {self.wfo.launch(start.workflow, start.given): start for start in starts}
        ended: dict[Start, Process] = {}
        while pending:
            if time.monotonic() - began > MOST_SECONDS:
                raise StoryError(f"{', '.join(start.workflow for start in pending.values())} did not end in time")
            for launch, start in list(pending.items()):
                process = ended_process(launch)
                if process is not None:
                    del pending[launch]
                    ended[start] = process
                    self.subscription_ids.update(dict.fromkeys(process.subscription_ids))
                    self._tell(start, process, time.monotonic() - began)
            time.sleep(POLL_SECONDS)
        return [ended[start] for start in starts]

    def run_on(
        self, workflow: str, subscription_id: UUID, expected: ProcessStatus = ProcessStatus.COMPLETED, **given: Any
    ) -> Process:
        """Launch a workflow on a subscription, and wait until it has ended."""
        (process,) = self.run(on(workflow, subscription_id, expected, **given))
        return process

    def refuse(self, workflow: str, **given: Any) -> None:
        """Launch a workflow that is to be refused.

        Raises:
            StoryError: it was not.
        """
        try:
            self.wfo.launch(workflow, given)
        except RefusalError as refusal:
            self._line(workflow, subject_of(given), "refused")
            say(str(refusal))
        else:
            raise StoryError(f"{workflow} was not refused")

    def _tell(self, start: Start, process: Process, seconds: float) -> None:
        self._line(start.workflow, name_of(process) or start.what, process.status, seconds)
        if process.failed_reason:
            say(f"at {process.current_step}: {process.failed_reason}")
        if process.status != start.expected:
            raise StoryError(
                f"Process {process.process_id} of {start.workflow} is {process.status}, not {start.expected}\n"
                f"{process.traceback or ''}"
            )

    def _line(self, workflow: str, what: str, status: str, seconds: float | None = None) -> None:
        colour = {"completed": "green", "failed": "red", "refused": "yellow"}.get(status)
        took = "" if seconds is None else f" {seconds:5.1f} s"
        clock = f"{time.monotonic() - self.began:6.1f} s"
        click.echo(f"{clock}  {workflow:16} {what:47} {click.style(status, fg=colour)}{took}")


def on(workflow: str, subscription_id: UUID, expected: ProcessStatus = ProcessStatus.COMPLETED, **given: Any) -> Start:
    """Return the start of a workflow on a subscription."""
    return Start(workflow, {"subscription_id": str(subscription_id), **given}, expected=expected)


def ended_process(launch: Launch) -> Process | None:
    """Return the process of a launch whose run has ended."""
    try:
        return launch.wait(timeout=NOW)
    except TimeoutError:
        return None


def name_of(process: Process) -> str:
    """Return the description of the subscription that a process worked on."""
    if process.subscription_id is None:
        return ""
    return SubscriptionModel.from_subscription(process.subscription_id).description


def subject_of(given: Mapping[str, Any]) -> str:
    """Return whom the input of a workflow is about."""
    if "subscription_id" not in given:
        return str(given.get("product", ""))
    return SubscriptionModel.from_subscription(given["subscription_id"]).description


def subscription_of(process: Process) -> UUID:
    """Return the subscription that a process worked on."""
    if process.subscription_id is None:
        raise StoryError(f"Process {process.process_id} has no subscription")
    return process.subscription_id


def say(text: str) -> None:
    """Print something that belongs to the line above."""
    for line in text.splitlines():
        click.echo(f"          {line}")


def tell(story: Story) -> Process:
    """Lead the operator's subscriptions through their whole life; return the process whose step log is worth a look."""
    number = free_number()
    service = f"{CUSTOMER}-trd-osl-{number}"
    oslo_name, trondheim_name = f"osl-pe{number}", f"trd-pe{number}"

    story.chapter("Two nodes, a port on each, a VPN between the ports")
    oslo, trondheim = map(
        subscription_of,
        story.run(
            Start(
                "create_node",
                {
                    "product": "Node Nokia",
                    "hostname": oslo_name,
                    "site": "osl",
                    "software": "23.10R1",
                    "loopback": f"10.255.{number}.1",
                },
            ),
            Start(
                "create_node",
                {
                    "product": "Node Juniper",
                    "hostname": trondheim_name,
                    "site": "trd",
                    "software": "23.4R2",
                    "loopback": f"10.255.{number}.2",
                },
            ),
        ),
    )
    oslo_port, trondheim_port = map(
        subscription_of,
        story.run(
            Start("create_port", port_on(oslo, "Port 100G", "1/1/c1/1")),
            Start("create_port", port_on(trondheim, "Port 10G", "et-0/0/1", "et-0/0/2")),
        ),
    )
    endpoints = [{"port_id": str(port), "vlan": 100} for port in (trondheim_port, oslo_port)]
    vpn_given = {"product": "L2VPN Point-to-Point", "customer_id": CUSTOMER, "service_name": service}
    (created,) = story.run(Start("create_l2vpn", {**vpn_given, "bandwidth": 1000, "endpoints": endpoints}))
    vpn = subscription_of(created)

    story.chapter("More bandwidth for the VPN, and new software on a node")
    modified, _ = story.run(on("modify_l2vpn", vpn, bandwidth=2500), on("modify_node", oslo, software="24.3R1"))

    story.chapter("Somebody changes the VPN on the device: validation finds that, reconciling mends it")
    Controller().set_field(f"l2vpns/{service}", "mtu", 1500)
    say(f"python -m examples.controller set l2vpns/{service} mtu 1500")
    story.run_on("validate_l2vpn", vpn, ProcessStatus.FAILED)
    story.refuse("modify_l2vpn", subscription_id=str(vpn), bandwidth=5000)
    story.run_on("reconcile_l2vpn", vpn)
    story.run_on("validate_l2vpn", vpn)

    story.chapter("What is refused before it starts")
    story.refuse("terminate_node", subscription_id=str(oslo))
    story.refuse(
        "create_l2vpn",
        **vpn_given,
        bandwidth=100_000,
        mtu=100,
        endpoints=[{"port_id": str(oslo_port), "vlan": 100}, {"port_id": str(oslo_port), "vlan": 4000}],
        colour="blue",
    )

    story.chapter("The end, in order")
    story.run_on("terminate_l2vpn", vpn)
    story.run(on("terminate_port", oslo_port), on("terminate_port", trondheim_port))
    story.run(on("terminate_node", oslo), on("terminate_node", trondheim))
    check_end(story)
    return modified.refresh()


def port_on(node_id: UUID, product: str, *interfaces: str) -> dict[str, Any]:
    """Return the input for a port on a node."""
    return {
        "product": product,
        "customer_id": CUSTOMER,
        "node_id": str(node_id),
        "number": 1,
        "interfaces": [{"interface_name": name} for name in interfaces],
        "vlans": ["100-199"],
    }


def free_number() -> int:
    """Return a number for hostnames and addresses that no story took which was killed half-way in this database."""
    taken = {int(node.node.hostname[len("osl-pe") :]) for node in active(Node)}
    return next(number for number in range(1, 255) if number not in taken)


def check_end(story: Story) -> None:
    """Make sure that nothing is left of the subscriptions, here and in the network.

    Raises:
        StoryError: something is.
    """
    for subscription in map(SubscriptionModel.from_subscription, story.subscription_ids):
        if subscription.status != SubscriptionLifecycle.TERMINATED or not subscription.insync:
            in_sync = "" if subscription.insync else ", out of sync"
            raise StoryError(f"{subscription.description} is {subscription.status}{in_sync}")
    if left := list(Controller().all()):
        raise StoryError(f"The network still has {', '.join(left)}")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows below each other."""
    lines = [[str(value) for value in row] for row in (columns, *rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    click.secho(f"\n{title}", bold=True)
    for line in lines:
        click.echo("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())


def print_results(story: Story, process: Process) -> None:
    """Print the story's subscriptions, and the step log of a process."""
    print_table(
        "Subscriptions",
        ("subscription", "product", "description", "status", "in sync", "version"),
        [
            (
                row.subscription_id,
                row.product.name,
                row.description,
                row.status,
                "yes" if row.insync else "no",
                row.version,
            )
            for row in map(SubscriptionModel.from_subscription, story.subscription_ids)
        ],
    )
    print_table(
        f"Step log of {process.workflow}, process {process.process_id}",
        ("step", "title", "status", "seconds", "changed"),
        [
            (
                row.step,
                row.name,
                row.status,
                f"{(row.completed_at - row.started_at).total_seconds():.3f}",
                ", ".join(name for name in row.changed if not name.startswith("__")),
            )
            for row in process.steps
        ],
    )


def keep_screen() -> None:
    """Leave the screen to this process; what others print to it that are started from here goes to the log."""
    sys.stdout = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), 1)


def end_with(parent: int) -> None:
    """End this process, and what it started, when its parent has ended: nobody would see what it says."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@click.command()
@click.argument("workspace", type=click.Path(exists=True, path_type=Path))
@click.option("--parent", type=int, help="Process id of the parent that leads the group of this one.")
def main(workspace: Path, parent: int | None) -> None:
    """Tell the story on the Dagster instance in DAGSTER_HOME, by the jobs of WORKSPACE."""
    keep_screen()
    if parent:
        end_with(parent)
    with (
        dg.DagsterInstance.get() as instance,
        orchestrator.connect(user="demo", instance=instance, workspace=workspace) as wfo,
    ):
        try:
            story = Story(wfo)
            print_results(story, tell(story))
        except Exception as error:
            click.secho(f"\n{type(error).__name__}: {error}", fg="red")
            raise


if __name__ == "__main__":
    main()
