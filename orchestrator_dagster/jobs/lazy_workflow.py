"""Workflows that are named by their module, which is imported when they are first used."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module

from orchestrator_dagster.errors import DefinitionError, WorkflowImportError, WorkflowNotFoundError
from orchestrator_dagster.jobs.workflow import Workflow

ALL_WORKFLOWS: "dict[str, LazyWorkflowInstance]" = {}
"""The lazy workflows by name, of each the last one that was declared; `Orchestrator(workflows=…)` takes its values."""


@dataclass(frozen=True)
class LazyWorkflowInstance:
    """A workflow that is imported when it is first used. It stands wherever a workflow is declared.

    Args:
        package: full name of the module that has the workflow.
        function_name: name of the workflow there, and of the workflow.

    Raises:
        DefinitionError: the module's name is a relative one, or one of the names is none.

    Example:
        >>> lazy = LazyWorkflowInstance("network.workflows.node", "create_node")
        >>> lazy.name, lazy is ALL_WORKFLOWS.pop("create_node")
        ('create_node', True)
    """

    package: str
    function_name: str

    def __post_init__(self) -> None:
        if not all(part.isidentifier() for part in self.package.split(".")) or not self.function_name.isidentifier():
            raise DefinitionError(
                f"LazyWorkflowInstance takes the full name of a module and the name of a workflow in it, not "
                f"{self.package!r} and {self.function_name!r}"
            )
        ALL_WORKFLOWS[self.function_name] = self

    @property
    def name(self) -> str:
        """Name of the workflow."""
        return self.function_name

    def instantiate(self) -> Workflow:
        """Return the workflow; import its module, the first time.

        Raises:
            WorkflowImportError: the module cannot be imported, or has no such workflow.
        """
        return self._workflow

    @cached_property
    def _workflow(self) -> Workflow:
        try:
            module = import_module(self.package)
        except ImportError as error:
            raise self._invalid(f"module {self.package} cannot be imported: {error}") from error
        found = getattr(module, self.function_name, None)
        if not isinstance(found, Workflow):
            what = "has nothing of that name" if found is None else "has something else of that name, no workflow"
            raise self._invalid(f"module {self.package} {what}")
        return found if found.name == self.function_name else replace(found, name=self.function_name)

    def _invalid(self, why: str) -> WorkflowImportError:
        return WorkflowImportError(workflow=self.function_name, module=self.package, why=why)


class Workflows(Mapping[str, Workflow]):
    """Workflows by name, of which the lazy ones are imported when they are looked up.

    Args:
        declared: workflows, lazy or not, each once.

    Raises:
        DefinitionError: two have the same name.
    """

    def __init__(self, declared: Iterable[Workflow | LazyWorkflowInstance]) -> None:
        self._declared: dict[str, Workflow | LazyWorkflowInstance] = {}
        for workflow in dict.fromkeys(declared):
            if workflow.name in self._declared:
                raise DefinitionError(f"Two workflows are called {workflow.name}")
            self._declared[workflow.name] = workflow

    @property
    def declared(self) -> tuple[Workflow | LazyWorkflowInstance, ...]:
        """The workflows as they were declared: nothing is imported."""
        return tuple(self._declared.values())

    def __getitem__(self, name: str) -> Workflow:
        found = self._declared[name]
        return found.instantiate() if isinstance(found, LazyWorkflowInstance) else found

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def __repr__(self) -> str:
        return repr(self._declared)


def get_workflow(name: str) -> Workflow:
    """Return a workflow that was declared lazily; import its module, the first time.

    Raises:
        WorkflowNotFoundError: no lazy workflow has that name.
        WorkflowImportError: its module cannot be imported, or does not have it.
    """
    if name not in ALL_WORKFLOWS:
        raise WorkflowNotFoundError(name, list(ALL_WORKFLOWS))
    return ALL_WORKFLOWS[name].instantiate()
