"""An orchestrator-core application with the circuit, as its users write one."""

from orchestrator.core import OrchestratorCore
from orchestrator.core.cli.main import app as core_cli
from orchestrator.core.domain import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator.core.settings import AppSettings
from orchestrator.core.workflows import LazyWorkflowInstance
from workload.circuit import WORKFLOWS, Circuit

app = OrchestratorCore(base_settings=AppSettings())
for product, workflow in WORKFLOWS.items():
    SUBSCRIPTION_MODEL_REGISTRY[product] = Circuit
    LazyWorkflowInstance("workload.circuit", workflow.name)

if __name__ == "__main__":
    core_cli()
