"""From a step to Dagster's op."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import dagster as dg

from orchestrator_dagster.ops.injection import Signature, plain_function
from orchestrator_dagster.ops.step import Step, StepKind

WORKFLOW_RUN = "orchestrator"
"""Key of the resource that runs the steps of a job."""

AFTER = "after"
"""Name of the input by which an op waits for the one before it."""

_names: set[str] = set()


def op_for(step: Step) -> dg.OpDefinition:
    """Return the op of a step; the same one wherever the step is used."""
    return _op(step.function, step.key, step.name, step.kind)


@cache
def _op(function: Callable[..., Any], key: str, title: str, kind: StepKind) -> dg.OpDefinition:
    plain = plain_function(function)
    resource_keys = Signature(function).resource_keys if kind is not StepKind.INPUTSTEP else set()
    return dg.OpDefinition(
        compute_fn=_compute,
        name=_unique_name(f"{plain.__module__}.{key}"),
        description="\n\n".join(filter(None, (title, plain.__doc__))),
        ins={AFTER: dg.In(dg.Nothing)},
        outs={"result": dg.Out(dg.Nothing, is_required=False)},
        required_resource_keys=resource_keys | {WORKFLOW_RUN},
    )


def _compute(context: dg.OpExecutionContext, _inputs: dict[str, Any]) -> Iterator[dg.Output[None]]:
    yield from getattr(context.resources, WORKFLOW_RUN).run_step(context)


def _unique_name(path: str) -> str:
    name = path.replace(".", "__")
    count, candidate = 1, name
    while candidate in _names:
        count += 1
        candidate = f"{name}_{count}"
    _names.add(candidate)
    return candidate
