"""A workflow may be named by its module: that is imported when the workflow is first used."""

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator_dagster import (
    DefinitionError,
    LazyWorkflowInstance,
    Orchestrator,
    Product,
    StepList,
    SubscriptionModel,
    WorkflowImportError,
    WorkflowNotFoundError,
    begin,
    done,
    init,
    workflow,
)
from orchestrator_dagster.jobs.lazy_workflow import ALL_WORKFLOWS, Workflows, get_workflow

CODE = """
from orchestrator_dagster import StepList, done, init, workflow

@workflow("Greet")
def greet() -> StepList:
    return init >> done

salute = greet
number = 7
"""


class Plain(SubscriptionModel, is_base=True):
    """A subscription without blocks."""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module with workflows that nobody has imported yet."""
    name = f"lazy_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    declared = dict(ALL_WORKFLOWS)
    yield name
    sys.modules.pop(name, None)
    ALL_WORKFLOWS.clear()
    ALL_WORKFLOWS.update(declared)


def test_its_module_is_imported_when_it_is_first_used(module: str) -> None:
    lazy = LazyWorkflowInstance(module, "greet")
    orchestrator = Orchestrator([Product("Plain", Plain, workflows=[lazy])], workflows=[lazy])
    assert list(orchestrator.workflows) == ["greet"]
    assert "greet" in orchestrator.workflows
    assert orchestrator.products["Plain"].declaration.workflows == ("greet",)
    assert module not in sys.modules
    assert orchestrator.workflow("greet").description == "Greet"
    assert module in sys.modules
    assert orchestrator.workflow("greet") is lazy.instantiate()
    assert orchestrator.job("greet").name == "greet"
    assert orchestrator.declaration.workflows[0].name == "greet"


def test_it_is_found_by_its_name(module: str) -> None:
    lazy = LazyWorkflowInstance(module, "greet")
    assert ALL_WORKFLOWS["greet"] == lazy
    assert get_workflow("greet") is lazy.instantiate()
    with pytest.raises(WorkflowNotFoundError, match="wave does not exist"):
        get_workflow("wave")


def test_it_is_called_as_it_was_declared(module: str) -> None:
    assert LazyWorkflowInstance(module, "salute").instantiate().name == "salute"


def test_the_same_one_may_be_declared_several_times(module: str) -> None:
    lazy = [LazyWorkflowInstance(module, "greet") for _ in range(2)]
    assert len(Workflows(lazy)) == 1


def test_two_of_one_name_are_refused(module: str) -> None:
    @workflow("Another")
    def greet() -> StepList:
        return begin >> init >> done

    with pytest.raises(DefinitionError, match="Two workflows are called greet"):
        Orchestrator([], workflows=[LazyWorkflowInstance(module, "greet"), greet])


def test_a_module_that_is_not_there_is_named(module: str) -> None:
    lazy = LazyWorkflowInstance(f"{module}.nowhere", "greet")
    with pytest.raises(WorkflowImportError, match=rf"greet cannot be loaded: module {module}\.nowhere") as refused:
        lazy.instantiate()
    assert (refused.value.workflow, refused.value.module) == ("greet", f"{module}.nowhere")
    assert isinstance(refused.value, ValueError)


def test_a_module_that_cannot_import_something_itself_is_named_with_that(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("import nothing_of_this_name")
    with pytest.raises(WorkflowImportError, match="No module named 'nothing_of_this_name'"):
        LazyWorkflowInstance(module, "greet").instantiate()


def test_an_error_in_the_module_is_shown_as_it_is(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        LazyWorkflowInstance(module, "greet").instantiate()


@pytest.mark.parametrize(("name", "why"), [("wave", "has nothing of that name"), ("number", "no workflow")])
def test_a_module_without_the_workflow_is_named(module: str, name: str, why: str) -> None:
    with pytest.raises(WorkflowImportError, match=why):
        LazyWorkflowInstance(module, name).instantiate()


@pytest.mark.parametrize("package", [".workflows.node", "", "network workflows"])
def test_only_full_names_are_taken(package: str) -> None:
    with pytest.raises(DefinitionError, match="full name of a module"):
        LazyWorkflowInstance(package, "create_node")
