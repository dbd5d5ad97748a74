"""A project of somebody who uses the package: a folder with one module, which they edit, run and load."""

import importlib.util
import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

from dagster_home import DagsterHome, Finished
from sqlalchemy import Engine, text

from orchestrator_dagster import Database, Products, Session, SubscriptionLifecycle
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.tables import metadata

FIRST_VERSION = Path(__file__).parent / "data" / "small_network.py"
MODULE = "network"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class UserProject:
    """A folder with a module `network`, a Dagster home and a database.

    Attributes:
        file: the module.
        home: where commands run.
        database_url: the database, the same that this process takes for the orchestrator's.
    """

    file: Path
    home: DagsterHome
    database_url: str

    @classmethod
    def begin(cls, folder: Path, database_url: str) -> "UserProject":
        """Make the folder with the first version of the module."""
        code = folder / "code"
        code.mkdir()
        home = DagsterHome.make(folder / "home", python_path=[code], ORCHESTRATOR_DATABASE_URL=database_url)
        project = cls(code / f"{MODULE}.py", home, database_url)
        project.write(FIRST_VERSION.read_text())
        return project

    @property
    def source(self) -> str:
        """The module as it stands."""
        return self.file.read_text()

    @property
    def engine(self) -> Engine:
        """A connection to the database, for those who look for themselves."""
        return engine_for(self.database_url)

    def write(self, source: str) -> None:
        """Put another version of the module in its place."""
        self.file.write_text(source)

    def edit(self, *changes: tuple[str, str]) -> None:
        """Replace text of the module; each must be there exactly once."""
        source = self.source
        for old, new in changes:
            assert source.count(old) == 1, f"{source.count(old)} times in the module: {old}"
            source = source.replace(old, new)
        self.write(source)

    def load(self) -> ModuleType:
        """Import the module as it stands, beside versions of it that were imported before."""
        name = f"{MODULE}_{next(_numbers)}"
        specification = importlib.util.spec_from_file_location(name, self.file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        exec(compile(self.source, str(self.file), "exec"), module.__dict__)  # noqa: S102 - no stale bytecode
        return module

    @contextmanager
    def connected(self, **options: Any) -> "Iterator[tuple[ModuleType, Session]]":
        """Load the module and connect."""
        code = self.load()
        with code.orchestrator.connect(**options) as wfo:
            yield code, wfo

    def command(self, *arguments: object, **variables: str) -> Finished:
        """Run `orchestrator-dagster` to its end."""
        return self.home.command("orchestrator-dagster", *arguments, **variables)

    def catalogue(self, *arguments: object, **variables: str) -> Finished:
        """Run `orchestrator-dagster catalogue` to its end."""
        return self.command("catalogue", *arguments, "-m", MODULE, **variables)

    def subscription(self, *arguments: object, **variables: str) -> Finished:
        """Run `orchestrator-dagster subscription` to its end."""
        return self.command("subscription", *arguments, "-m", MODULE, **variables)

    def rows(self, statement: str, **parameters: Any) -> Sequence[Any]:
        """Ask the database."""
        with self.engine.connect() as connection:
            return connection.execute(text(statement), parameters).all()

    def everything(self) -> dict[str, list[str]]:
        """Return all that the orchestrator has stored, for those who compare."""
        return {
            name: [row[0] for row in self.rows(f"SELECT t::text FROM {name} AS t ORDER BY 1")]  # noqa: S608
            for name in metadata.tables
        }


def product_id(name: str) -> UUID:
    """Return the id of a product."""
    return Products(database=Database()).get(name).product_id


def make_node(
    code: ModuleType,
    name: str,
    status: str = "active",
    *,
    product: str = "Node Cisco",
    customer: str = "acme",
    ports: Sequence[str] = (),
    **values: Any,
) -> UUID:
    """Save a node and return its id."""
    initial = code.NodeInactive.from_product_id(product_id(product), customer, insync=True)
    initial.description = f"Node {name}"
    initial.node.node_name = name
    for field, value in ({"cabinet": f"cabinet of {name}"} | values).items():
        setattr(initial.node, field, value)
    initial.node.ports = [code.PortBlock.new(initial.subscription_id, port_name=port) for port in ports]
    for_status = {"initial": None, "provisioning": code.NodeProvisioning, "active": code.Node}[status]
    node = for_status.from_other_lifecycle(initial, SubscriptionLifecycle(status)) if for_status else initial
    node.save()
    return UUID(str(node.subscription_id))


def make_link(code: ModuleType, name: str, nodes: Sequence[UUID], status: str = "active") -> UUID:
    """Save a link between nodes and return its id."""
    initial = code.Link.from_product_id(product_id("Link"), "acme", insync=True)
    initial.description = f"Link {name}"
    initial.link.link_name = name
    initial.link.ends = [code.Node.from_subscription(node).node for node in nodes]
    link = code.Link.from_other_lifecycle(initial, SubscriptionLifecycle(status))
    link.save()
    return UUID(str(link.subscription_id))


def make_service(code: ModuleType, link: UUID) -> UUID:
    """Save a service on a link and return its id."""
    initial = code.Service.from_product_id(product_id("Service"), "acme", insync=True)
    initial.description = "Service"
    initial.service.link = code.Link.from_subscription(link).link
    service = code.Service.from_other_lifecycle(initial, SubscriptionLifecycle.ACTIVE)
    service.save()
    return UUID(str(service.subscription_id))
