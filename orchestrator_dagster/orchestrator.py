"""The orchestrator: products and workflows put together, and what Dagster loads of them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestrator_dagster.domain import SUBSCRIPTION_MODEL_REGISTRY, SubscriptionModel
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration
from orchestrator_dagster.domain.lifecycle_validation import LifecycleValidationMode, lifecycle_validation_mode
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.stored import Names, earlier_names
from orchestrator_dagster.errors import DefinitionError, WorkflowNotFoundError
from orchestrator_dagster.jobs.job_names import require_free
from orchestrator_dagster.jobs.lazy_workflow import LazyWorkflowInstance, Workflows
from orchestrator_dagster.jobs.workflow import Workflow
from orchestrator_dagster.ops.op import WORKFLOW_RUN
from orchestrator_dagster.resources.database import DATABASE, Database

# Whoever imports an orchestrator pays for its products and workflows. Jobs, sensors and sessions are loaded when they
# are asked for, and with them forms and SQL, which take longer than all the rest.
if TYPE_CHECKING:
    from orchestrator_dagster.jobs.catalogue import DatabaseCatalogue
    from orchestrator_dagster.jobs.session import Session


@dataclass(frozen=True)
class Product:
    """A product of the catalogue.

    Args:
        name: its unique name.
        model: the subscription class of its active subscriptions.
        tag: short text to group products by.
        fixed_inputs: a value for each fixed input of the model, by name.
        workflows: the workflows that are valid for it; a `LazyWorkflowInstance` is imported when it is first used.
        description: default: the name.
        product_type: default: the name of the model.
        status: its status in the catalogue.
        renamed_from: the name that it had before, or several: its subscriptions stay.
    """

    name: str
    model: type[SubscriptionModel]
    tag: str = ""
    fixed_inputs: Mapping[str, Any] = field(default_factory=dict)
    workflows: Sequence[Workflow | LazyWorkflowInstance] = ()
    description: str | None = None
    product_type: str | None = None
    status: ProductLifecycle = ProductLifecycle.ACTIVE
    renamed_from: Names = ()

    @property
    def declaration(self) -> ProductDeclaration:
        """The product as the catalogue knows it."""
        return ProductDeclaration(
            name=self.name,
            model=self.model,
            description=self.description or self.name,
            product_type=self.product_type or self.model.__name__,
            tag=self.tag,
            status=self.status,
            fixed_inputs=self.fixed_inputs,
            workflows=tuple(workflow.name for workflow in self.workflows),
            renamed_from=earlier_names(f"Product {self.name}", self.renamed_from),
        )


class Orchestrator:
    """Products and workflows with everything that Dagster needs to run them.

    Args:
        products: the catalogue. Their workflows need not be named again.
        workflows: workflows that belong to no product, such as tasks; those that are lazy are imported when they are
            first used.
        resources: Dagster resources that steps ask for by annotation, by parameter name.
        validate_every: how often active subscriptions are validated, by products that have a validate workflow. `None`
            switches that off.
        database: default: `ORCHESTRATOR_DATABASE_URL`, or an embedded server in `DAGSTER_HOME`.
        lifecycle_validation: what happens when a step asks for a subscription as a more specialised class than its
            status does: `strict`, `loose` or `ignored`. Default: `ORCHESTRATOR_LIFECYCLE_VALIDATION_MODE`, or loose.

    Raises:
        DefinitionError: two products or workflows of the same name, a workflow with the name of one of the
            orchestrator's own jobs, or a resource under a key of the orchestrator's.
        ConfigurationError: there is no such mode of lifecycle validation.

    Example:
        >>> Orchestrator(products=[]).workflows
        {}
    """

    def __init__(
        self,
        products: Iterable[Product],
        *,
        workflows: Iterable[Workflow | LazyWorkflowInstance] = (),
        resources: Mapping[str, Any] | None = None,
        validate_every: timedelta | None = None,
        database: Database | None = None,
        lifecycle_validation: LifecycleValidationMode | str | None = None,
    ) -> None:
        self.products = _by_name(products)
        self.workflows = Workflows([*(w for product in self.products.values() for w in product.workflows), *workflows])
        require_free(self.workflows)
        self.database = database or Database()
        self.validate_every = validate_every
        self.lifecycle_validation = lifecycle_validation_mode(lifecycle_validation)
        self._resources = dict(resources or {})
        reserved = {WORKFLOW_RUN, DATABASE} & self._resources.keys()
        if reserved:
            raise DefinitionError(f"The resource keys {', '.join(sorted(reserved))} are the orchestrator's own")
        self._jobs: dict[tuple[str, str], dg.JobDefinition] = {}
        self.register_models()

    def with_changes(
        self, *, database: Database | None = None, resources: Mapping[str, Any] | None = None
    ) -> "Orchestrator":
        """Return an orchestrator with the same products and workflows on another database, or with other resources.

        Args:
            database: instead of its own.
            resources: Dagster resources by parameter name, instead of its own or beside them.
        """
        return Orchestrator(
            self.products.values(),
            workflows=self.workflows.declared,
            resources={**self._resources, **(resources or {})},
            validate_every=self.validate_every,
            database=database or self.database,
            lifecycle_validation=self.lifecycle_validation,
        )

    def register_models(self) -> None:
        """Say which model the subscriptions of each product load as; the last orchestrator that says it is right."""
        SUBSCRIPTION_MODEL_REGISTRY.update({product.name: product.model for product in self.products.values()})
        SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation = self.lifecycle_validation

    @property
    def declaration(self) -> CatalogueDeclaration:
        """The catalogue as the code declares it."""
        return CatalogueDeclaration(
            products=tuple(product.declaration for product in self.products.values()),
            workflows=tuple(workflow.declaration for workflow in self.workflows.values()),
        )

    @cached_property
    def catalogue(self) -> "DatabaseCatalogue":
        """The catalogue of the database: what differs from the code, and making it follow.

        Example:
            >>> print(orchestrator.catalogue.plan())  # doctest: +SKIP
            Nothing to do: the database follows the code.
        """
        from orchestrator_dagster.jobs.catalogue import DatabaseCatalogue

        return DatabaseCatalogue(self.database, lambda: self.declaration)

    def workflow(self, name: str) -> Workflow:
        """Return a workflow.

        Raises:
            WorkflowNotFoundError: there is none of that name.
        """
        if name not in self.workflows:
            raise WorkflowNotFoundError(name, list(self.workflows))
        return self.workflows[name]

    def definitions(self) -> dg.Definitions:
        """Return what Dagster loads: a job for each workflow, those for what people do, the resources, the sensors."""
        from orchestrator_dagster.jobs.person_jobs import person_jobs
        from orchestrator_dagster.sensors.going_on import going_on_sensor
        from orchestrator_dagster.sensors.validation import validation_sensor

        jobs, every = [self.job(name) for name in self.workflows], self.validate_every
        return dg.Definitions(
            jobs=[*jobs, *person_jobs(self.workflows, self.job, self._all_resources)],
            resources=self._all_resources,
            sensors=[
                *([going_on_sensor(jobs)] if jobs else []),
                *([] if every is None else [validation_sensor(jobs, every, self.catalogue)]),
            ],
        )

    def job(self, name: str, *, log_level: str = "DEBUG") -> dg.JobDefinition:
        """Return the job of a workflow with everything it needs.

        Args:
            name: the workflow's name.
            log_level: from which level on the console shows what Dagster logs.

        Raises:
            WorkflowNotFoundError: there is no workflow of that name.
        """
        from orchestrator_dagster.jobs.job import job_for

        if (name, log_level) not in self._jobs:
            workflow = self.workflow(name)
            products = {
                product.name: product.status
                for product in self.products.values()
                if name in product.declaration.workflows
            }
            self._jobs[name, log_level] = job_for(
                workflow, products=products, resources=self._all_resources, log_level=log_level
            )
        return self._jobs[name, log_level]

    def connect(self, **options: Any) -> AbstractContextManager["Session"]:
        """Open a session for a notebook or script: run workflows, load and save models, look around.

        Args:
            options: see `Session`.

        Example:
            >>> with orchestrator.connect() as wfo:  # doctest: +SKIP
            ...     wfo.run("create_node", {"product": "Node Cisco", "customer_id": "acme"})
        """
        from orchestrator_dagster.jobs.session import Session

        return Session(self, **options)

    @cached_property
    def _all_resources(self) -> dict[str, Any]:
        from orchestrator_dagster.jobs.job import workflow_run_resource
        from orchestrator_dagster.jobs.process_access import Processes
        from orchestrator_dagster.jobs.run import Jobs
        from orchestrator_dagster.resources.access import Products, Subscriptions

        return {
            DATABASE: self.database,
            WORKFLOW_RUN: workflow_run_resource(Jobs(self.workflows, self.job), self.catalogue),
            "products": Products(database=self.database),
            "subscriptions": Subscriptions(database=self.database),
            "processes": Processes.of_workflows(self.workflows, self.database),
            **self._resources,
        }


def _by_name(products: Iterable[Product]) -> dict[str, Product]:
    named: dict[str, Product] = {}
    for product in products:
        if product.name in named:
            raise DefinitionError(f"Two products are called {product.name}")
        named[product.name] = product
    return named
