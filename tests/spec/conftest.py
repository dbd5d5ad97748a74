"""What the modules of the specification share: a session on a Postgres with the products that the module declares."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from orchestrator_dagster import SUBSCRIPTION_MODEL_REGISTRY, Database, Orchestrator, Products, Session


@pytest.fixture(scope="module", autouse=True)
def wfo(request: pytest.FixtureRequest, module_database_url: str) -> Iterator[Session]:
    """A session on the module's `PRODUCTS`; within it models load and save, each save in a transaction of its own."""
    others = dict(SUBSCRIPTION_MODEL_REGISTRY)
    SUBSCRIPTION_MODEL_REGISTRY.clear()
    orchestrator = Orchestrator(products=request.module.PRODUCTS, database=Database(url=module_database_url))
    with orchestrator.connect(user="ada") as session:
        yield session
    SUBSCRIPTION_MODEL_REGISTRY.clear()
    SUBSCRIPTION_MODEL_REGISTRY.update(others)


@pytest.fixture(scope="module")
def product_id(wfo: Session) -> Callable[[str], UUID]:
    """The id of a product in the catalogue, by its name."""
    products = Products(database=wfo.orchestrator.database)
    return lambda name: products.get(name).product_id
