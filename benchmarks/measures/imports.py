"""What importing our package adds to importing Dagster.

The package loads a name when it is first used, so the import statement alone says little. Whoever defines products and
workflows pays for what they use: at most for all public names.
"""

import re
import subprocess
import sys

from benchmarks.samples import Samples
from benchmarks.sides import Side

STATEMENTS = {"import": "import orchestrator_dagster", "import_all": "from orchestrator_dagster import *"}
BEFORE = "import dagster"
MARK = "this"  # a module of the standard library that nobody else imports
TOP_LEVEL = re.compile(r"^import time:\s+\d+ \|\s+(\d+) \| \S+$", re.MULTILINE)


def imports(side: Side, samples: Samples, times: int) -> None:
    """Add how long imports took, in Python processes of their own that had imported Dagster before.

    Args:
        side: our system.
        samples: where it is added, in seconds.
        times: how many processes for each.
    """
    for _ in range(times):
        for quantity, statement in STATEMENTS.items():
            samples.add(quantity, side.key, [_seconds(statement)])


def _seconds(statement: str) -> float:
    """Return the time of all modules that a statement imports itself, and of those that these import in turn."""
    code = f"{BEFORE}; import {MARK}; {statement}"
    command = [sys.executable, "-X", "importtime", "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    _, _, after = said.rpartition(f"| {MARK}\n")
    return sum(map(int, TOP_LEVEL.findall(after))) / 1_000_000
