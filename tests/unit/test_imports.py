"""What an import costs: whoever names a product pays for neither SQL nor forms nor migrations."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest

MOST_OF_DAGSTERS_TIME = 0.2
REPETITIONS = 5

# all that a module of products and workflows needs, but for its forms
DECLARE = "from orchestrator_dagster import " + ", ".join(
    [
        "Database",
        "Orchestrator",
        "Product",
        "ProductBlockModel",
        "State",
        "StepList",
        "SubscriptionLifecycle",
        "SubscriptionModel",
        "Target",
        "WF_USABLE_MAP",
        "begin",
        "conditional",
        "create_workflow",
        "done",
        "init",
        "inputstep",
        "set_status",
        "step",
        "workflow",
    ]
)
TAKES_LONG = [
    "alembic",
    "click",
    "dagster_graphql",
    "dagster_postgres",
    "dagster_webserver",
    "psycopg2",
    "pydantic_forms",
    "rich",
    "sqlalchemy",
    "structlog",
]
LINE = re.compile(r"import time:\s+(?P<own>\d+) \|\s+\d+ \| +(?P<name>\S+)")


@cache
def imported(code: str) -> dict[str, float]:
    """The modules that code imports, in order, with the seconds that each took by itself."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return {line["name"]: int(line["own"]) / 1e6 for line in LINE.finditer(told)}


def added_share(code: str) -> Iterator[float]:
    """How long the modules take that code imports and Dagster does not, as a share of Dagster's own; several tries.

    Without the search for garbage, which takes longest where most has been imported before.
    """
    for attempt in range(REPETITIONS):
        modules = imported(f"import gc; gc.disable(); import dagster; {code}  # {attempt}")
        dagsters = sum(seconds for name, seconds in modules.items() if name in imported("import dagster"))
        yield sum(modules.values()) / dagsters - 1


@pytest.mark.parametrize("code", ["import orchestrator_dagster", DECLARE], ids=["the package", "what declares"])
def test_an_import_adds_little_to_that_of_dagster(code: str) -> None:
    """The smallest share of several tries: a busy machine makes both slower, and a pause at a wrong moment one."""
    assert min(added_share(code)) < MOST_OF_DAGSTERS_TIME


@pytest.mark.parametrize("code", ["import orchestrator_dagster", DECLARE], ids=["the package", "what declares"])
@pytest.mark.parametrize("module", TAKES_LONG)
def test_an_import_leaves_alone_what_takes_long(code: str, module: str) -> None:
    assert module not in imported(f"import dagster; {code}  # 0").keys() - imported("import dagster").keys()


def test_the_package_alone_loads_nothing_but_itself() -> None:
    """Its parts do: a webserver that has its records by `orchestrator_dagster.instance` needs no products."""
    names = {name for name in imported("import orchestrator_dagster") if name.startswith("orchestrator_dagster")}
    assert names == {"orchestrator_dagster", "orchestrator_dagster.version"}
    assert "dagster" not in imported("import orchestrator_dagster")


def test_a_run_needs_no_migrations() -> None:
    assert "alembic" not in imported("import orchestrator_dagster.jobs.job, orchestrator_dagster.db.migrate")
