"""Dagster's own ops as steps of a workflow."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from inspect import isasyncgen, isawaitable, isgenerator
from typing import Any, cast, get_origin

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.input import InputDefinition
from dagster._core.definitions.output import OutputDefinition
from dagster._core.execution.plan.compute_generator import invoke_compute_fn
from dagster._core.types.dagster_type import DagsterType, DagsterTypeKind

from orchestrator_dagster.domain.awaitable import result_of
from orchestrator_dagster.domain.state import State
from orchestrator_dagster.errors import DefinitionError

_POSSIBLE = "an op in a workflow takes `context`, resources and the state, a dict, and returns a dict or nothing"


class DagsterOp:
    """The function of a step that is an op of Dagster's.

    Its function is called as Dagster would, with the context of the step's own op; what it yields besides its output is
    handed on to Dagster.

    Args:
        op: the op, made with `@op`.

    Raises:
        DefinitionError: it takes or returns something else than the state, or cannot do without config.

    Attributes:
        title: its name in words.
        resource_keys: the resources that it uses.
    """

    def __init__(self, op: dg.OpDefinition) -> None:
        self.op = op
        self.title = op.name.replace("_", " ").capitalize()
        self.resource_keys = frozenset(op.required_resource_keys)
        self._require_state_only()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DagsterOp) and other.op is self.op

    def __hash__(self) -> int:
        return id(self.op)

    def __call__(self, state: State, context: Any) -> Any:
        """Call the op's function.

        Args:
            state: its input.
            context: Dagster's context.
        """
        function, given = self._function, dict.fromkeys(self._inputs, state)
        config = function.get_config_arg().annotation if function.has_config_arg() else None
        resources = {argument.name: argument.name for argument in function.get_resource_args()}
        takes_context = function.has_context_arg()
        result = invoke_compute_fn(function.decorated_fn, context, given, takes_context, config, resources)
        return _output_of(_events_of(result), context)

    @property
    def function(self) -> Callable[..., Any]:
        """The function that the op was made of."""
        return self._function.decorated_fn

    @property
    def _function(self) -> DecoratedOpFunction:
        return cast("DecoratedOpFunction", self.op.compute_fn)

    @property
    def _inputs(self) -> list[str]:
        return [one.name for one in self.op.input_defs if one.dagster_type.kind is not DagsterTypeKind.NOTHING]

    def _require_state_only(self) -> None:
        if not isinstance(self.op.compute_fn, DecoratedOpFunction):
            raise self._refusal("is not made with @op")
        if len(self._inputs) > 1:
            raise self._refusal(f"has {len(self._inputs)} inputs")
        if len(self.op.output_defs) > 1 or any(out.is_dynamic for out in self.op.output_defs):
            raise self._refusal("has several outputs")
        ends: list[InputDefinition | OutputDefinition] = [*self.op.input_defs, *self.op.output_defs]
        for end in ends:
            if not _may_be_state(end.dagster_type):
                raise self._refusal(f"has '{end.name}' of type {end.dagster_type.display_name}")
        field = self.op.config_schema.as_field() if self.op.config_schema else None
        if field is not None and field.is_required:
            raise self._refusal("cannot do without config")

    def _refusal(self, why: str) -> DefinitionError:
        return DefinitionError(f"Op {self.op.name} {why}: {_POSSIBLE}")


def _may_be_state(type_: DagsterType) -> bool:
    if type_.kind in (DagsterTypeKind.ANY, DagsterTypeKind.NOTHING):
        return True
    python_type = get_origin(type_.typing_type) or type_.typing_type
    return isinstance(python_type, type) and issubclass(python_type, Mapping)


def _output_of(yielded: Iterable[Any], context: Any) -> Any:
    """Return the value of the output among what an op yields, and hand the rest on to Dagster."""
    value = None
    for event in yielded:
        if isinstance(event, dg.Output):
            value = event.value
        else:
            context.log_event(event)
    return value.value if isinstance(value, dg.Output) else value


def _events_of(result: Any) -> Iterable[Any]:
    """Return what an op yields, however it is written."""
    if isawaitable(result):
        result = result_of(result)
    if isasyncgen(result):
        return result_of(_all_of(result))
    return result if isgenerator(result) else [dg.Output(result)]


async def _all_of(yielded: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in yielded]
