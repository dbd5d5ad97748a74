"""Products, subscriptions and processes as Dagster resources, for steps, assets, sensors and ops of one's own."""

from collections.abc import Sequence
from uuid import UUID

import dagster as dg

from orchestrator_dagster.db.processes import ProcessRow, find_processes, get_process
from orchestrator_dagster.db.products import ProductRow, all_products
from orchestrator_dagster.db.step_log import StepRow, step_rows
from orchestrator_dagster.db.subscriptions import SubscriptionRow, subscriptions
from orchestrator_dagster.domain.process import ProcessStatus
from orchestrator_dagster.errors import ProductNotFoundError
from orchestrator_dagster.resources.database import Database


class Products(dg.ConfigurableResource["Products"]):
    """The product catalogue.

    Args:
        database: where it is kept.
    """

    database: dg.ResourceDependency[Database]

    def all(self) -> list[ProductRow]:
        """Return every product, by name."""
        with self.database.reading() as connection:
            return all_products(connection)

    def get(self, name_or_id: str | UUID) -> ProductRow:
        """Return a product.

        Raises:
            ProductNotFoundError: there is none of that name or id.
        """
        for product in self.all():
            if name_or_id in (product.name, product.product_id, str(product.product_id)):
                return product
        raise ProductNotFoundError(name_or_id)


class Subscriptions(dg.ConfigurableResource["Subscriptions"]):
    """The subscriptions, as rows for lists. For one with its blocks use its model's `from_subscription`.

    Args:
        database: where they are kept.
    """

    database: dg.ResourceDependency[Database]

    def find(
        self,
        *,
        product: str | UUID | None = None,
        product_type: str | None = None,
        tag: str | None = None,
        status: str | None = None,
        customer_id: str | None = None,
        insync: bool | None = None,
        limit: int | None = None,
    ) -> list[SubscriptionRow]:
        """Return the subscriptions that fit all that is given, newest first.

        Args:
            product: name or id of their product.
            product_type: type of their product.
            tag: tag of their product.
            status: their lifecycle status.
            customer_id: their customer.
            insync: whether they are in sync.
            limit: how many at most.
        """
        with self.database.reading() as connection:
            return subscriptions(
                connection,
                product=product,
                product_type=product_type,
                tag=tag,
                status=status,
                customer_id=customer_id,
                insync=insync,
                limit=limit,
            )


class Processes(dg.ConfigurableResource["Processes"]):
    """The processes and their step logs.

    Args:
        database: where they are kept.
    """

    database: dg.ResourceDependency[Database]

    def find(
        self,
        *,
        subscription_id: UUID | None = None,
        workflow: str | None = None,
        status: Sequence[ProcessStatus] = (),
        limit: int | None = None,
    ) -> list[ProcessRow]:
        """Return the processes that fit all that is given, oldest first; with a limit, the newest ones.

        Args:
            subscription_id: a subscription that they worked on.
            workflow: name of their workflow.
            status: where they stand; any where empty.
            limit: how many at most.
        """
        with self.database.reading() as connection:
            return find_processes(
                connection, subscription_id=subscription_id, workflow=workflow, status=status, limit=limit
            )

    def get(self, process_id: UUID) -> ProcessRow:
        """Return a process.

        Raises:
            ProcessNotFoundError: there is none with that id.
        """
        with self.database.reading() as connection:
            return get_process(connection, process_id)

    def steps(self, process_id: UUID) -> list[StepRow]:
        """Return the step log of a process, oldest row first."""
        with self.database.reading() as connection:
            return step_rows(connection, process_id)
