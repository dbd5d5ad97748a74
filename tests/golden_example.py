"""The golden example beside the repository: a small orchestrator as a user writes one. Tests use it as it stands."""

import os
from pathlib import Path

import pytest

FOLDER_VARIABLE = "GOLDEN_PATH"
REPOSITORY = Path(__file__).parents[1]


def golden_folder() -> Path:
    """Return the folder to import `golden` from: `GOLDEN_PATH`, or `../shared` seen from the repository."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or REPOSITORY.parent / "shared").resolve()
    if not (folder / "golden" / "definitions.py").is_file():
        pytest.fail(
            f"The golden example is not in {folder}: put it beside the repository, as ../shared/golden, "
            f"or set {FOLDER_VARIABLE} to the folder that has the package `golden`",
            pytrace=False,
        )
    return folder


CREATE_NODE = {
    "product": "Node Cisco",
    "customer_id": "acme",
    "node_name": "ams-core-1",
    "site": "Amsterdam",
    "loopback": "10.0.0.1",
}
