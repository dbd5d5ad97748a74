"""Products, subscriptions and their whole life as Dagster jobs on Postgres.

A name is loaded when it is first used. The parts of this package stand for themselves: a webserver that keeps its
records by `orchestrator_dagster.instance` needs nothing else, and a module of products no database.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from orchestrator_dagster.version import __version__

__all__ = [
    "SUBSCRIPTION_MODEL_REGISTRY",
    "TARGET_DEFAULT_USABLE_MAP",
    "WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS",
    "WF_BLOCKED_BY_PARENTS",
    "WF_USABLE_MAP",
    "WF_USABLE_WHILE_OUT_OF_SYNC",
    "Assignee",
    "ConfigurationError",
    "Database",
    "DefinitionError",
    "FieldError",
    "FormGenerator",
    "FormPage",
    "InjectionError",
    "InputError",
    "Launch",
    "LifecycleError",
    "ModelError",
    "NotFoundError",
    "Orchestrator",
    "OrchestratorError",
    "Process",
    "ProcessFailureError",
    "ProcessNotFoundError",
    "ProcessStateError",
    "ProcessStatus",
    "Processes",
    "Product",
    "ProductBlockModel",
    "ProductLifecycle",
    "ProductModel",
    "ProductNotFoundError",
    "Products",
    "RefusalError",
    "RelationsOutOfSyncError",
    "Session",
    "StaleDataError",
    "StartConditionError",
    "State",
    "Step",
    "StepList",
    "StepStatus",
    "SubmitFormPage",
    "SubscriptionBusyError",
    "SubscriptionInUseError",
    "SubscriptionLifecycle",
    "SubscriptionModel",
    "SubscriptionNotFoundError",
    "SubscriptionNotHeldError",
    "SubscriptionOutOfSyncError",
    "SubscriptionStatusError",
    "Subscriptions",
    "Target",
    "Workflow",
    "WorkflowNotFoundError",
    "__version__",
    "begin",
    "conditional",
    "create_workflow",
    "done",
    "ensure_provisioning_status",
    "init",
    "inputstep",
    "modify_workflow",
    "reconcile_workflow",
    "resync",
    "retrystep",
    "set_status",
    "step",
    "store_process_subscription",
    "task",
    "terminate_workflow",
    "unsync",
    "unsync_unchecked",
    "validate_workflow",
    "workflow",
]

if TYPE_CHECKING:
    from orchestrator_dagster.domain import (
        SUBSCRIPTION_MODEL_REGISTRY,
        ProductBlockModel,
        SubscriptionLifecycle,
        SubscriptionModel,
    )
    from orchestrator_dagster.domain.process import Assignee, ProcessStatus, StepStatus
    from orchestrator_dagster.domain.product import ProductLifecycle, ProductModel
    from orchestrator_dagster.domain.state import FormGenerator, State
    from orchestrator_dagster.domain.target import Target
    from orchestrator_dagster.errors import (
        ConfigurationError,
        DefinitionError,
        FieldError,
        InjectionError,
        InputError,
        LifecycleError,
        ModelError,
        NotFoundError,
        OrchestratorError,
        ProcessFailureError,
        ProcessNotFoundError,
        ProcessStateError,
        ProductNotFoundError,
        RefusalError,
        RelationsOutOfSyncError,
        StaleDataError,
        StartConditionError,
        SubscriptionBusyError,
        SubscriptionInUseError,
        SubscriptionNotFoundError,
        SubscriptionNotHeldError,
        SubscriptionOutOfSyncError,
        SubscriptionStatusError,
        WorkflowNotFoundError,
    )
    from orchestrator_dagster.forms.page import FormPage, SubmitFormPage
    from orchestrator_dagster.jobs.process import Launch, Process
    from orchestrator_dagster.jobs.session import Session
    from orchestrator_dagster.jobs.start_conditions import (
        TARGET_DEFAULT_USABLE_MAP,
        WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS,
        WF_BLOCKED_BY_PARENTS,
        WF_USABLE_MAP,
        WF_USABLE_WHILE_OUT_OF_SYNC,
    )
    from orchestrator_dagster.jobs.workflow import (
        Workflow,
        create_workflow,
        modify_workflow,
        reconcile_workflow,
        task,
        terminate_workflow,
        validate_workflow,
        workflow,
    )
    from orchestrator_dagster.ops.builtin_steps import (
        done,
        ensure_provisioning_status,
        init,
        resync,
        set_status,
        store_process_subscription,
        unsync,
        unsync_unchecked,
    )
    from orchestrator_dagster.ops.step import Step, StepList, begin, conditional, inputstep, retrystep, step
    from orchestrator_dagster.orchestrator import Orchestrator, Product
    from orchestrator_dagster.resources.access import Processes, Products, Subscriptions
    from orchestrator_dagster.resources.database import Database
else:
    _NAMES = {
        "domain": "SUBSCRIPTION_MODEL_REGISTRY ProductBlockModel SubscriptionLifecycle SubscriptionModel",
        "domain.process": "Assignee ProcessStatus StepStatus",
        "domain.product": "ProductLifecycle ProductModel",
        "domain.state": "FormGenerator State",
        "domain.target": "Target",
        "errors": (
            "ConfigurationError DefinitionError FieldError InjectionError InputError LifecycleError ModelError "
            "NotFoundError OrchestratorError ProcessFailureError ProcessNotFoundError ProcessStateError "
            "ProductNotFoundError RefusalError RelationsOutOfSyncError StaleDataError StartConditionError "
            "SubscriptionBusyError SubscriptionInUseError SubscriptionNotFoundError SubscriptionNotHeldError "
            "SubscriptionOutOfSyncError SubscriptionStatusError WorkflowNotFoundError"
        ),
        "forms.page": "FormPage SubmitFormPage",
        "jobs.process": "Launch Process",
        "jobs.session": "Session",
        "jobs.start_conditions": (
            "TARGET_DEFAULT_USABLE_MAP WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS WF_BLOCKED_BY_PARENTS WF_USABLE_MAP "
            "WF_USABLE_WHILE_OUT_OF_SYNC"
        ),
        "jobs.workflow": (
            "Workflow create_workflow modify_workflow reconcile_workflow task terminate_workflow validate_workflow "
            "workflow"
        ),
        "ops.builtin_steps": (
            "done ensure_provisioning_status init resync set_status store_process_subscription unsync unsync_unchecked"
        ),
        "ops.step": "Step StepList begin conditional inputstep retrystep step",
        "orchestrator": "Orchestrator Product",
        "resources.access": "Processes Products Subscriptions",
        "resources.database": "Database",
    }
    _MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
