"""What users import: a name that goes, or comes, is a decision."""

import subprocess
import sys
from inspect import isclass, isfunction

import orchestrator_dagster

PUBLIC = {
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
    "SUBSCRIPTION_MODEL_REGISTRY",
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
    "TARGET_DEFAULT_USABLE_MAP",
    "Target",
    "WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS",
    "WF_BLOCKED_BY_PARENTS",
    "WF_USABLE_MAP",
    "WF_USABLE_WHILE_OUT_OF_SYNC",
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
}


def test_the_public_names_are_these() -> None:
    assert set(orchestrator_dagster.__all__) == PUBLIC


def test_every_public_class_and_function_has_a_docstring() -> None:
    values = {name: getattr(orchestrator_dagster, name) for name in PUBLIC}
    bare = [name for name, value in values.items() if (isfunction(value) or isclass(value)) and not value.__doc__]
    assert bare == []


def test_importing_the_package_touches_no_database_and_starts_nothing() -> None:
    code = (
        "import socket, subprocess, orchestrator_dagster, sys;"
        "import orchestrator_dagster.db.engine as e; assert not e._engines;"
        "assert 'dagster_webserver' not in sys.modules and 'dagster_postgres' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
