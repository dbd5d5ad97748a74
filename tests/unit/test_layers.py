"""The packages import each other in one direction only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator_dagster

ROOT = Path(orchestrator_dagster.__file__).parent
NOUNS = {"errors", "version"}
MAY_IMPORT = {
    "domain": set(),
    "forms": {"domain"},
    "db": {"domain"},
    "resources": {"db", "domain"},
    "ops": {"db", "domain", "resources"},
    "jobs": {"ops", "db", "domain", "forms", "resources"},
    "sensors": {"jobs", "ops", "db", "domain", "forms", "resources"},
    "web": {"orchestrator", "jobs", "ops", "db", "domain", "forms", "resources"},
    "cli": {"orchestrator", "web", "sensors", "jobs", "ops", "db", "domain", "forms", "resources", "instance"},
    "testing": {"orchestrator", "jobs", "db", "domain", "forms", "resources"},
    "instance": {"db"},
}


def imports_of(file: Path) -> Iterator[str]:
    """Yield what a module imports when it runs: what it imports for its annotations only is left out."""
    tree = ast.parse(file.read_text())
    for_annotations = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_annotations:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_package_has_its_rule() -> None:
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert packages == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in imports_of(file)
        if name.startswith("orchestrator_dagster.")
        and name.split(".")[1] not in {package} | NOUNS | MAY_IMPORT[package]
    }
    assert not wrong


def test_domain_knows_neither_sql_nor_dagster() -> None:
    wrong = {
        f"{file.name} imports {name}"
        for file in (ROOT / "domain").rglob("*.py")
        for name in imports_of(file)
        if name.split(".")[0] in {"sqlalchemy", "psycopg2", "alembic", "dagster", "dagster_postgres"}
    }
    assert not wrong


def test_the_instance_asks_the_database_package_only_where_the_database_is() -> None:
    of_db = {
        name
        for file in (ROOT / "instance").rglob("*.py")
        for name in imports_of(file)
        if name.startswith("orchestrator_dagster.db.")
    }
    assert {name.split(".")[2] for name in of_db} == {"url"}


def test_annotations_are_not_postponed_where_they_are_read_at_run_time() -> None:
    postponed = [
        str(file.relative_to(ROOT))
        for package in ("domain", "forms", "ops", "jobs", "resources", "sensors")
        for file in (ROOT / package).rglob("*.py")
        if "from __future__ import annotations" in file.read_text()
    ]
    assert not postponed
