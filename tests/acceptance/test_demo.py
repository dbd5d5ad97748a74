"""The demo is what a newcomer runs first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_the_demo_takes_the_example_through_its_whole_life_and_stops_what_it_started(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    demo = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env={**os.environ, "ORCHESTRATOR_DEMO_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "Everything that was started is stopped" in demo.stdout
    assert demo.stdout.count("terminated  yes") == 5
