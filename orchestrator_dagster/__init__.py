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
    "AuthContext",
    "BranchConflictError",
    "CallbackBodyError",
    "CallbackNotFoundError",
    "CallbackRefusedError",
    "CallbackTimeoutError",
    "CatalogueBusyError",
    "CatalogueDataError",
    "CataloguePlan",
    "CatalogueRefusedError",
    "ChildProcessAbortedError",
    "ConfigurationError",
    "CustomerDescription",
    "Database",
    "DefinitionError",
    "Ending",
    "EnginePausedError",
    "FieldError",
    "FormGenerator",
    "FormPage",
    "HistoryIncompleteError",
    "HistoryNotFoundError",
    "InjectionError",
    "InputError",
    "Launch",
    "LazyWorkflowInstance",
    "LifecycleError",
    "LifecycleValidationMode",
    "ModelError",
    "NotAuthorizedError",
    "NotFoundError",
    "Orchestrator",
    "OrchestratorError",
    "PredicateContext",
    "Process",
    "ProcessBusyError",
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
    "RetrySchedule",
    "RunPredicateFail",
    "RunPredicatePass",
    "Session",
    "StaleCustomerDescriptionError",
    "StaleDataError",
    "StartConditionError",
    "StartPredicateError",
    "State",
    "Step",
    "StepList",
    "StepStatus",
    "StepTimeoutError",
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
    "Wait",
    "WaitKind",
    "Workflow",
    "WorkflowEditedError",
    "WorkflowImportError",
    "WorkflowNotFoundError",
    "__version__",
    "abort",
    "activate_subscription",
    "awaiting_callbacks_exist",
    "begin",
    "build_domain_model",
    "build_extended_domain_model",
    "cache_subscription_models",
    "callback_app",
    "callback_step",
    "conditional",
    "create_subscription",
    "create_workflow",
    "customer_description",
    "customer_descriptions",
    "done",
    "ensure_provisioning_status",
    "finally_",
    "find_values_for_resource_types",
    "focussteps",
    "foreach",
    "get_subscription",
    "get_subscription_metadata",
    "get_subscriptions_on_product_table",
    "get_subscriptions_on_product_table_in_sync",
    "init",
    "inputstep",
    "migrate_subscription",
    "modify_workflow",
    "no_uncompleted_instance",
    "obsolete_step",
    "parallel",
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
    "run_workflow",
    "save_customer_description",
    "save_subscription_metadata",
    "set_status",
    "step",
    "step_group",
    "steplens",
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
    "wait_for",
    "wait_until",
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
    from orchestrator_dagster.domain.authorisation import AuthContext
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
    from orchestrator_dagster.domain.run_predicate import (
        PredicateContext,
        RunPredicateFail,
        RunPredicatePass,
        awaiting_callbacks_exist,
        no_uncompleted_instance,
    )
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
    from orchestrator_dagster.domain.waiting import RetrySchedule, Wait, WaitKind
    from orchestrator_dagster.errors import (
        BranchConflictError,
        CallbackBodyError,
        CallbackNotFoundError,
        CallbackRefusedError,
        CallbackTimeoutError,
        CatalogueBusyError,
        CatalogueDataError,
        CatalogueRefusedError,
        ChildProcessAbortedError,
        ConfigurationError,
        DefinitionError,
        EnginePausedError,
        FieldError,
        HistoryIncompleteError,
        HistoryNotFoundError,
        InjectionError,
        InputError,
        LifecycleError,
        ModelError,
        NotAuthorizedError,
        NotFoundError,
        OrchestratorError,
        ProcessBusyError,
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
        StartPredicateError,
        StepTimeoutError,
        SubscriptionBusyError,
        SubscriptionInUseError,
        SubscriptionNotFoundError,
        SubscriptionNotHeldError,
        SubscriptionNotUniqueError,
        SubscriptionOutOfSyncError,
        SubscriptionStatusError,
        WorkflowEditedError,
        WorkflowImportError,
        WorkflowNotFoundError,
    )
    from orchestrator_dagster.forms.page import FormPage, SubmitFormPage
    from orchestrator_dagster.jobs.decorators import (
        Ending,
        create_workflow,
        modify_workflow,
        reconcile_workflow,
        task,
        terminate_workflow,
        validate_workflow,
        workflow,
    )
    from orchestrator_dagster.jobs.lazy_workflow import LazyWorkflowInstance
    from orchestrator_dagster.jobs.process import Launch, Process
    from orchestrator_dagster.jobs.process_access import Processes
    from orchestrator_dagster.jobs.session import Session
    from orchestrator_dagster.jobs.start_conditions import (
        TARGET_DEFAULT_USABLE_MAP,
        WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS,
        WF_BLOCKED_BY_PARENTS,
        WF_USABLE_MAP,
        WF_USABLE_WHILE_OUT_OF_SYNC,
    )
    from orchestrator_dagster.jobs.workflow import Workflow
    from orchestrator_dagster.ops.around import conditional, focussteps, steplens
    from orchestrator_dagster.ops.builtin_steps import (
        abort,
        done,
        ensure_provisioning_status,
        init,
        obsolete_step,
        resync,
        set_status,
        store_process_subscription,
        unsync,
        unsync_unchecked,
    )
    from orchestrator_dagster.ops.shapes import finally_, foreach, parallel, step_group
    from orchestrator_dagster.ops.step import Step, StepList, begin
    from orchestrator_dagster.ops.step_decorators import inputstep, retrystep, step
    from orchestrator_dagster.ops.waiting_steps import callback_step, run_workflow, wait_for, wait_until
    from orchestrator_dagster.orchestrator import Orchestrator, Product
    from orchestrator_dagster.resources.access import Products, Subscriptions
    from orchestrator_dagster.resources.database import Database
    from orchestrator_dagster.web.callbacks import callback_app
else:
    _NAMES = {
        "db.catalogue.plan": "CataloguePlan",
        "domain": "SUBSCRIPTION_MODEL_REGISTRY ProductBlockModel SubscriptionLifecycle SubscriptionModel",
        "domain.authorisation": "AuthContext",
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
        "domain.run_predicate": (
            "PredicateContext RunPredicateFail RunPredicatePass awaiting_callbacks_exist no_uncompleted_instance"
        ),
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
        "domain.waiting": "RetrySchedule Wait WaitKind",
        "errors": (
            "CallbackBodyError CallbackNotFoundError CallbackRefusedError "
            "CatalogueBusyError CatalogueDataError CatalogueRefusedError EnginePausedError NotAuthorizedError "
            "ConfigurationError DefinitionError FieldError HistoryIncompleteError HistoryNotFoundError "
            "InjectionError InputError LifecycleError ModelError NotFoundError OrchestratorError "
            "BranchConflictError CallbackTimeoutError ChildProcessAbortedError StepTimeoutError WorkflowEditedError "
            "ProcessBusyError ProcessFailureError ProcessNotFoundError ProcessStateError ProductNotFoundError "
            "ProductStatusError "
            "QueryError RefusalError RelationsOutOfSyncError StaleCustomerDescriptionError StaleDataError "
            "StartConditionError StartPredicateError WorkflowImportError "
            "SubscriptionBusyError SubscriptionInUseError SubscriptionNotFoundError SubscriptionNotHeldError "
            "SubscriptionNotUniqueError SubscriptionOutOfSyncError SubscriptionStatusError WorkflowNotFoundError"
        ),
        "forms.page": "FormPage SubmitFormPage",
        "jobs.decorators": (
            "Ending create_workflow modify_workflow reconcile_workflow task terminate_workflow validate_workflow "
            "workflow"
        ),
        "jobs.lazy_workflow": "LazyWorkflowInstance",
        "jobs.process": "Launch Process",
        "jobs.process_access": "Processes",
        "jobs.session": "Session",
        "jobs.start_conditions": (
            "TARGET_DEFAULT_USABLE_MAP WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS WF_BLOCKED_BY_PARENTS WF_USABLE_MAP "
            "WF_USABLE_WHILE_OUT_OF_SYNC"
        ),
        "jobs.workflow": "Workflow",
        "ops.around": "conditional focussteps steplens",
        "ops.builtin_steps": (
            "abort done ensure_provisioning_status init obsolete_step resync set_status store_process_subscription "
            "unsync unsync_unchecked"
        ),
        "ops.shapes": "finally_ foreach parallel step_group",
        "ops.step": "Step StepList begin",
        "ops.step_decorators": "inputstep retrystep step",
        "ops.waiting_steps": "callback_step run_workflow wait_for wait_until",
        "orchestrator": "Orchestrator Product",
        "resources.access": "Products Subscriptions",
        "resources.database": "Database",
        "web.callbacks": "callback_app",
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
