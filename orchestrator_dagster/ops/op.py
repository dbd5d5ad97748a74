"""From a step to Dagster's op."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import dagster as dg

from orchestrator_dagster.ops.dagster_op import DagsterOp
from orchestrator_dagster.ops.injection import plain_function
from orchestrator_dagster.ops.step import Step, StepKind

WORKFLOW_RUN = "orchestrator"
"""Key of the resource that runs the steps of a job."""

AFTER = "after"
"""Name of the input by which an op waits for the one before it; numbered where there are several."""

RESULT = "result"
"""Name of the output by which an op lets the next one go."""

ITEMS = "items"
"""Name of the output by which an op that fans out starts a branch for each item."""

_names: set[str] = set()


def op_for(step: Step, *, inputs: int = 1, resource_keys: frozenset[str] = frozenset()) -> dg.OpDefinition:
    """Return the op of a step; the same one wherever the step is used in the same way.

    Args:
        step: the step.
        inputs: how many ops it waits for.
        resource_keys: resources that it needs besides the step's own.
    """
    return _op(step.function, step.key, step.name, step.kind, max(1, inputs), step.resource_keys | resource_keys)


def input_names(inputs: int) -> list[str]:
    """Return the names of the inputs of an op that waits for so many others."""
    return [AFTER] if inputs <= 1 else [f"{AFTER}_{number}" for number in range(inputs)]


def place_of_op(context: dg.OpExecutionContext) -> tuple[str, int | None]:
    """Return which step of the plan an op is, and within a foreach which item it is about.

    Args:
        context: Dagster's context of the op.
    """
    mapping_key = context.get_mapping_key()
    return str(context.op_handle), None if mapping_key is None else int(mapping_key)


def outputs_of(
    step: Step, metadata: Mapping[str, Any], items: int = 0
) -> Iterator[dg.Output[None] | dg.DynamicOutput[None]]:
    """Yield what a finished step lets its op yield. One that halts yields nothing, so that what follows is skipped.

    Args:
        step: the step.
        metadata: what Dagit shows of it.
        items: how many branches a step starts that fans out.
    """
    if step.kind is StepKind.FAN_OUT:
        for index in range(items):
            yield dg.DynamicOutput(None, mapping_key=str(index), output_name=ITEMS)
    yield dg.Output(None, output_name=RESULT, metadata=metadata)


@cache
def _op(
    function: Callable[..., Any], key: str, title: str, kind: StepKind, inputs: int, resource_keys: frozenset[str]
) -> dg.OpDefinition:
    of_dagster = function if isinstance(function, DagsterOp) else None
    plain = plain_function(of_dagster.function if of_dagster else function)
    outs: dict[str, dg.Out] = {RESULT: dg.Out(dg.Nothing, is_required=False)}
    if kind is StepKind.FAN_OUT:
        outs[ITEMS] = dg.DynamicOut(dg.Nothing)
    return dg.OpDefinition(
        compute_fn=_compute,
        name=_unique_name(f"{plain.__module__}.{key}"),
        description="\n\n".join(filter(None, (title, plain.__doc__))),
        ins={name: dg.In(dg.Nothing) for name in input_names(inputs)},
        outs=outs,
        config_schema=of_dagster.op.config_schema if of_dagster else None,
        required_resource_keys=set(resource_keys) | {WORKFLOW_RUN},
    )


def _compute(
    context: dg.OpExecutionContext, _inputs: dict[str, Any]
) -> Iterator[dg.Output[None] | dg.DynamicOutput[None]]:
    yield from getattr(context.resources, WORKFLOW_RUN).run_step(context)


def _unique_name(path: str) -> str:
    name = path.replace(".", "__")
    count, candidate = 1, name
    while candidate in _names:
        count += 1
        candidate = f"{name}_{count}"
    _names.add(candidate)
    return candidate
