"""Write the rows of the circuit's products: orchestrator-core reads its catalogue from the database only."""

import main  # noqa: F401 - opens the database
from orchestrator.core.db import ProductBlockTable, ProductTable, ResourceTypeTable, WorkflowTable, db
from orchestrator.core.db.models import ProductBlockRelationTable
from orchestrator.core.targets import Target
from workload.circuit import WORKFLOWS


def block(name: str, *resource_types: str) -> ProductBlockTable:
    rows = [ResourceTypeTable(resource_type=each, description=each) for each in resource_types]
    return ProductBlockTable(name=name, description=name, tag=name, status="active", resource_types=rows)


def product(name: str, root: ProductBlockTable) -> ProductTable:
    create = WorkflowTable(name=WORKFLOWS[name].name, target=Target.CREATE, description=name)
    facts = {"description": name, "product_type": "Circuit", "tag": "CIRCUIT", "status": "active"}
    return ProductTable(name=name, product_blocks=[root], workflows=[create], **facts)


def write() -> None:
    circuit = block("Circuit", "circuit_name", "bandwidth", "revision")
    end = block("End", "port_name", "vlan")
    with db.database_scope():
        db.session.add_all([ProductBlockRelationTable(in_use_by=circuit, depends_on=end, min=2, max=2)])
        db.session.add_all([product(name, circuit) for name in WORKFLOWS])
        db.session.commit()


if __name__ == "__main__":
    write()
