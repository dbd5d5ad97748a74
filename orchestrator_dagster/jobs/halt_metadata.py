"""What Dagit shows of a step at which a process waits: for what, and the run config with which a person answers."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import dagster as dg
import yaml
from dagster._core.events import EngineEventData

from orchestrator_dagster.domain.waiting import Wait, WaitKind

_WORDS = {
    WaitKind.INPUT: "input",
    WaitKind.CALLBACK: "a callback",
    WaitKind.TIME: "a time",
    WaitKind.RETRY: "its next attempt",
    WaitKind.PROCESS: "another process",
    WaitKind.FAILURE: "somebody to retry it",
}


def show(instance: dg.DagsterInstance, run: dg.DagsterRun, op_step_key: str, wait: Wait, process_id: UUID) -> None:
    """Have Dagit show what a step waits for: an op that yields no output has no other place for it.

    Args:
        instance: where the run's events are.
        run: the run that came to the step.
        op_step_key: Dagster's key of the step.
        wait: what it waits for.
        process_id: the process.
    """
    words = _waits_for(wait)
    about = EngineEventData(metadata=_metadata(wait, process_id, words))
    instance.report_engine_event(f"Waits for {words}", run, about, step_key=op_step_key)


def _waits_for(wait: Wait) -> str:
    words = _WORDS[wait.kind]
    if wait.kind is WaitKind.INPUT:
        words += f" from {wait.assignee}"
    if wait.waits_for is not None:
        words += f", {wait.waits_for}"
    return words + (f", {wait.due_at.isoformat(timespec='seconds')} at the latest" if wait.due_at else "")


def _metadata(wait: Wait, process_id: UUID, words: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "status": dg.MetadataValue.text(wait.process_status.value),
        "waits for": dg.MetadataValue.text(words),
    }
    if wait.reason:
        metadata["reason"] = dg.MetadataValue.text(wait.reason)
    if wait.kind is WaitKind.INPUT:
        form = dict(wait.form or {})
        metadata["form"] = dg.MetadataValue.json(form)
        metadata["run config for resume_process"] = dg.MetadataValue.text(_run_config(wait, process_id, form))
    return metadata


def _run_config(wait: Wait, process_id: UUID, form: Mapping[str, Any]) -> str:
    """Return run config in which a person fills in what has no default."""
    fields = {name: about.get("default") for name, about in form.get("properties", {}).items()}
    answer = {"process_id": str(process_id), "step": wait.step, "input": fields}
    written: str = yaml.safe_dump(answer, sort_keys=False, allow_unicode=True)
    return written
