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
]

if TYPE_CHECKING:
    from orchestrator_dagster.db.catalogue.plan import CataloguePlan
    from orchestrator_dagster.domain import (
        SUBSCRIPTION_MODEL_REGISTRY,
        ProductBlockModel,
        SubscriptionLifecycle,
        SubscriptionModel,
    )
    from orchestrator_dagster.domain.context_cache import cache_subscription_models
    from orchestrator_dagster.domain.customer_description import (
        CustomerDescription,
        customer_description,
        customer_descriptions,
        remove_customer_description,
        save_customer_description,
    )
    from orchestrator_dagster.domain.extended_model import build_domain_model, build_extended_domain_model
    from orchestrator_dagster.domain.lifecycle_validation import LifecycleValidationMode
    from orchestrator_dagster.domain.process import Assignee, ProcessStatus, StepStatus
    from orchestrator_dagster.domain.product import ProductLifecycle, ProductModel
    from orchestrator_dagster.domain.query import SubscriptionQuery
    from orchestrator_dagster.domain.state import FormGenerator, State
    from orchestrator_dagster.domain.stored import Stored, StoredBlock
    from orchestrator_dagster.domain.subscription_lookup import (
        find_values_for_resource_types,
        get_subscription,
        get_subscriptions_on_product_table,
        get_subscriptions_on_product_table_in_sync,
        query_depends_on_subscriptions,
        query_in_use_by_subscriptions,
        retrieve_node_subscriptions_by_name,
        retrieve_subscription_by_subscription_instance_value,
    )
    from orchestrator_dagster.domain.subscription_metadata import get_subscription_metadata, save_subscription_metadata
    from orchestrator_dagster.domain.subscription_update import (
        activate_subscription,
        create_subscription,
        migrate_subscription,
        provision_subscription,
        resync_subscription,
        terminate_subscription,
        unsync_subscription,
        update_subscription_description,
        update_subscription_note,
        update_subscription_status,
    )
    from orchestrator_dagster.domain.target import Target
    from orchestrator_dagster.errors import (
        CatalogueBusyError,
        CatalogueDataError,
        CatalogueRefusedError,
        ConfigurationError,
        DefinitionError,
        FieldError,
        HistoryIncompleteError,
        HistoryNotFoundError,
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
        ProductStatusError,
        QueryError,
        RefusalError,
        RelationsOutOfSyncError,
        StaleCustomerDescriptionError,
        StaleDataError,
        StartConditionError,
        SubscriptionBusyError,
        SubscriptionInUseError,
        SubscriptionNotFoundError,
        SubscriptionNotHeldError,
        SubscriptionNotUniqueError,
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
        "db.catalogue.plan": "CataloguePlan",
        "domain": "SUBSCRIPTION_MODEL_REGISTRY ProductBlockModel SubscriptionLifecycle SubscriptionModel",
        "domain.context_cache": "cache_subscription_models",
        "domain.customer_description": (
            "CustomerDescription customer_description customer_descriptions remove_customer_description "
            "save_customer_description"
        ),
        "domain.extended_model": "build_domain_model build_extended_domain_model",
        "domain.lifecycle_validation": "LifecycleValidationMode",
        "domain.process": "Assignee ProcessStatus StepStatus",
        "domain.product": "ProductLifecycle ProductModel",
        "domain.query": "SubscriptionQuery",
        "domain.state": "FormGenerator State",
        "domain.subscription_lookup": (
            "find_values_for_resource_types get_subscription get_subscriptions_on_product_table "
            "get_subscriptions_on_product_table_in_sync query_depends_on_subscriptions "
            "query_in_use_by_subscriptions retrieve_node_subscriptions_by_name "
            "retrieve_subscription_by_subscription_instance_value"
        ),
        "domain.subscription_metadata": "get_subscription_metadata save_subscription_metadata",
        "domain.subscription_update": (
            "activate_subscription create_subscription migrate_subscription provision_subscription "
            "resync_subscription terminate_subscription unsync_subscription update_subscription_description "
            "update_subscription_note update_subscription_status"
        ),
        "domain.stored": "Stored StoredBlock",
        "domain.target": "Target",
        "errors": (
            "CatalogueBusyError CatalogueDataError CatalogueRefusedError "
            "ConfigurationError DefinitionError FieldError HistoryIncompleteError HistoryNotFoundError "
            "InjectionError InputError LifecycleError ModelError NotFoundError OrchestratorError "
            "ProcessFailureError ProcessNotFoundError ProcessStateError ProductNotFoundError ProductStatusError "
            "QueryError RefusalError RelationsOutOfSyncError StaleCustomerDescriptionError StaleDataError "
            "StartConditionError "
            "SubscriptionBusyError SubscriptionInUseError SubscriptionNotFoundError SubscriptionNotHeldError "
            "SubscriptionNotUniqueError SubscriptionOutOfSyncError SubscriptionStatusError WorkflowNotFoundError"
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
