"""A job of which each kind of event comes, and a worker that executes it twice in the instance that it reads."""

import sys
from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetMaterialization,
    DagsterInstance,
    In,
    Nothing,
    OpExecutionContext,
    Out,
    RetryPolicy,
    in_process_executor,
    job,
    op,
)
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import deserialize_value


@op(out=Out(Nothing))
def speak(context: OpExecutionContext) -> None:
    for level in ("debug", "info", "warning", "error"):
        getattr(context.log, level)(f"a line at level {level}, with \0 and ü and \ud83d")


@op(ins={"before": In(Nothing)}, out=Out(Nothing), retry_policy=RetryPolicy(max_retries=2))
def succeed_at_second_attempt(context: OpExecutionContext) -> None:
    if context.retry_number == 0:
        raise ValueError("not yet")


@op(ins={"before": In(Nothing)}, out=Out(int, is_required=False))
def fail_in_first_run(context: OpExecutionContext) -> Iterator[Any]:
    if context.run.parent_run_id is None:
        raise ValueError("fails until it is executed again")
    context.log_event(AssetMaterialization("from_an_op", metadata={"rows": 3}))
    yield from ()


@op
def never_reached(value: int) -> int:
    return value


@job(tags={"team": "network"}, executor_def=in_process_executor)
def eventful() -> None:
    never_reached(fail_in_first_run(succeed_at_second_attempt(speak())))


@job
def eventful_in_processes() -> None:
    never_reached(fail_in_first_run(succeed_at_second_attempt(speak())))


def main() -> None:
    with DagsterInstance.from_ref(deserialize_value(sys.stdin.read(), InstanceRef)) as instance:
        for _ in range(2):
            eventful.execute_in_process(instance=instance, raise_on_error=False)


if __name__ == "__main__":
    main()
