"""Workflows that go on by themselves, and others that are stopped; files say what happens to them and when."""

import os
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import dagster as dg

from orchestrator_dagster import (
    Assignee,
    FormGenerator,
    FormPage,
    Orchestrator,
    Processes,
    ProcessStatus,
    State,
    StepList,
    callback_step,
    done,
    init,
    inputstep,
    retrystep,
    run_workflow,
    step,
    wait_for,
    workflow,
)
from orchestrator_dagster.ops.commit_path import CommitPoint, listeners

FOLDER = Path(os.environ["UNATTENDED"])
MOST_SECONDS = 120
BETWEEN = UUID(int=0)
"""What stands for the process where a run holds that is between two steps."""


class TicketPage(FormPage):
    ticket: str


class OtherPage(FormPage):
    other: UUID


def note(process_id: UUID, what: str) -> None:
    """Let the test see what happens in a process."""
    (FOLDER / f"{process_id}-{what}").write_text(str(os.getpid()))


def hold_until_told(process_id: UUID) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not (FOLDER / f"{process_id}-go-on").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("Nobody told it to go on")
        time.sleep(0.02)


@inputstep("Confirm", assignee=Assignee.CHANGES)
def confirm() -> FormGenerator:
    answer = yield TicketPage
    return answer.model_dump()


@retrystep("Reach", retry_every=timedelta(seconds=1))
def reach(process_id: UUID) -> State:
    attempts = FOLDER / f"{process_id}-attempts"
    with attempts.open("a") as file:
        file.write("attempt\n")
    if len(attempts.read_text().splitlines()) < 3:
        raise ConnectionError("It does not answer yet")
    return {"reached": True}


@step("Order")
def order(process_id: UUID, callback_route: str) -> State:
    (FOLDER / f"{process_id}-route").write_text(callback_route)
    return {}


@step("Answer the other one")
def answer_other(processes: Processes, other: UUID) -> State:
    processes.resume(other, {"ticket": "from a step"})
    return {}


@step("Take down")
def take_down(process_id: UUID) -> None:
    note(process_id, "taken-down")


@step("Build", compensate=take_down)
def build() -> State:
    return {"built": True}


@step("Hold")
def hold(process_id: UUID) -> State:
    note(process_id, "holding")
    hold_until_told(process_id)
    return {"held": True}


@step("Hold still")
def hold_still(process_id: UUID) -> State:
    note(process_id, "holding")
    time.sleep(MOST_SECONDS)
    return {"held": True}


@step("Hold again")
def hold_again() -> State:
    return {"held_again": True}


@step("Hold after it")
def hold_after_it() -> State:
    return {"held": True}


def hold_between_steps(point: CommitPoint, step: str) -> None:
    """Hold when a step is done, and the next one has not begun."""
    if step == "hold_after_it" and point is CommitPoint.AFTER_COMMIT_BEFORE_DAGSTER:
        note(BETWEEN, "holding")
        hold_until_told(BETWEEN)


listeners.append(hold_between_steps)


@workflow("Run shortly")
def run_shortly() -> StepList:
    return init >> done


@workflow("Wait a moment")
def wait_a_moment() -> StepList:
    return init >> wait_for(timedelta(seconds=2)) >> done


@workflow("Reach out")
def reach_out() -> StepList:
    return init >> reach >> done


@workflow("Have it called back")
def call_back() -> StepList:
    return init >> callback_step("Delivery", order, result_key="delivery") >> done


@workflow("Have another one run")
def have_run() -> StepList:
    return init >> run_workflow("run_shortly", input={}) >> done


@workflow("Ask")
def ask() -> StepList:
    return init >> confirm >> done


@workflow("Answer", initial_input_form=OtherPage)
def answer() -> StepList:
    return init >> answer_other >> done


@workflow("Hold on")
def hold_on() -> StepList:
    return init >> build >> hold >> hold_again >> done


@workflow("Hold between")
def hold_between() -> StepList:
    return init >> build >> hold_after_it >> hold_again >> done


@workflow("Hold fast")
def hold_fast() -> StepList:
    return init >> build >> hold_still >> done


def answer_those_in(processes: Processes, folder: str) -> str:
    """Answer the processes that files in a folder are named after, as soon as they ask."""
    wanted = {file.name: file for file in (FOLDER / folder).glob("*")}
    asking = [
        each
        for each in processes.find(workflow="ask", status=[ProcessStatus.SUSPENDED])
        if str(each.process_id) in wanted
    ]
    for process in asking:
        processes.resume(process.process_id, {"ticket": f"from a {folder}"})
        wanted[str(process.process_id)].unlink()
    return f"Answered {len(asking)}"


@dg.sensor(minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def answer_by_sensor(processes: Processes) -> dg.SkipReason:
    return dg.SkipReason(answer_those_in(processes, "sensor"))


@dg.schedule(cron_schedule="0 4 * * *", job_name="run_shortly")
def answer_by_schedule(processes: Processes) -> dg.SkipReason:
    return dg.SkipReason(answer_those_in(processes, "schedule"))


WORKFLOWS = [
    run_shortly,
    wait_a_moment,
    reach_out,
    call_back,
    have_run,
    ask,
    answer,
    hold_on,
    hold_between,
    hold_fast,
]

orchestrator = Orchestrator([], workflows=WORKFLOWS)
defs = dg.Definitions.merge(
    orchestrator.definitions(), dg.Definitions(sensors=[answer_by_sensor], schedules=[answer_by_schedule])
)
