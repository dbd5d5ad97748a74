"""The names a workflow author uses, from whichever of the two orchestrators this virtual environment has.

So that `circuit.py` is one and the same source for both.
"""

try:
    from orchestrator_dagster import (
        ProductBlockModel,
        State,
        StepList,
        SubscriptionLifecycle,
        SubscriptionModel,
        begin,
        create_workflow,
        step,
    )
except ModuleNotFoundError:
    from orchestrator.core.domain.base import ProductBlockModel, SubscriptionModel
    from orchestrator.core.types import SubscriptionLifecycle
    from orchestrator.core.workflow import StepList, begin, step
    from orchestrator.core.workflows.utils import create_workflow
    from pydantic_forms.types import State

__all__ = [
    "ProductBlockModel",
    "State",
    "StepList",
    "SubscriptionLifecycle",
    "SubscriptionModel",
    "begin",
    "create_workflow",
    "step",
]
