"""What users import: a name that goes, or comes, is a decision."""

import subprocess
import sys
from inspect import isclass, isfunction

import orchestrator_dagster

PUBLIC = {
    "SUBSCRIPTION_MODEL_REGISTRY",
    "TARGET_DEFAULT_USABLE_MAP",
    "WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS",
    "WF_BLOCKED_BY_PARENTS",
    "WF_USABLE_MAP",
    "WF_USABLE_WHILE_OUT_OF_SYNC",
    "Assignee",
    "CatalogueBusyError",
    "CatalogueDataError",
    "CataloguePlan",
    "CatalogueRefusedError",
    "ConfigurationError",
    "CustomerDescription",
    "Database",
    "DefinitionError",
    "FieldError",
    "FormGenerator",
    "FormPage",
    "HistoryIncompleteError",
    "HistoryNotFoundError",
    "InjectionError",
    "InputError",
    "Launch",
    "LifecycleError",
    "LifecycleValidationMode",
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
    "ProductStatusError",
    "Products",
    "QueryError",
    "RefusalError",
    "RelationsOutOfSyncError",
    "Session",
    "StaleCustomerDescriptionError",
    "StaleDataError",
    "StartConditionError",
    "State",
    "Step",
    "StepList",
    "StepStatus",
    "Stored",
    "StoredBlock",
    "SubmitFormPage",
    "SubscriptionBusyError",
    "SubscriptionInUseError",
    "SubscriptionLifecycle",
    "SubscriptionModel",
    "SubscriptionNotFoundError",
    "SubscriptionNotHeldError",
    "SubscriptionNotUniqueError",
    "SubscriptionOutOfSyncError",
    "SubscriptionQuery",
    "SubscriptionStatusError",
    "Subscriptions",
    "Target",
    "Workflow",
    "WorkflowNotFoundError",
    "__version__",
    "activate_subscription",
    "begin",
    "build_domain_model",
    "build_extended_domain_model",
    "cache_subscription_models",
    "conditional",
    "create_subscription",
    "create_workflow",
    "customer_description",
    "customer_descriptions",
    "done",
    "ensure_provisioning_status",
    "find_values_for_resource_types",
    "get_subscription",
    "get_subscription_metadata",
    "get_subscriptions_on_product_table",
    "get_subscriptions_on_product_table_in_sync",
    "init",
    "inputstep",
    "migrate_subscription",
    "modify_workflow",
    "provision_subscription",
    "query_depends_on_subscriptions",
    "query_in_use_by_subscriptions",
    "reconcile_workflow",
    "remove_customer_description",
    "resync",
    "resync_subscription",
    "retrieve_node_subscriptions_by_name",
    "retrieve_subscription_by_subscription_instance_value",
    "retrystep",
    "save_customer_description",
    "save_subscription_metadata",
    "set_status",
    "step",
    "store_process_subscription",
    "task",
    "terminate_subscription",
    "terminate_workflow",
    "unsync",
    "unsync_subscription",
    "unsync_unchecked",
    "update_subscription_description",
    "update_subscription_note",
    "update_subscription_status",
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
