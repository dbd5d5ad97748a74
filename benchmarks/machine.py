"""What the benchmarks were run on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.children import run_to_end
from benchmarks.database import DatabaseServer
from benchmarks.sides.orchestrator_core import PYTHON, installed

PACKAGES = ("dagster", "dagster-postgres", "orchestrator-dagster", "psycopg2-binary", "pydantic", "sqlalchemy")


def description(server: DatabaseServer) -> dict[str, str]:
    """Return what the machine is, what is installed on it, and how durable its Postgres is."""
    return {
        "machine": f"{os.cpu_count()} cores ({_processor()}), {_memory_gib():.0f} GiB of memory",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load": "{:.2f} {:.2f} {:.2f} at the start".format(*os.getloadavg()),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "orchestrator-core": _version_of_core() if installed() else "not installed",
        "Postgres": ", ".join(f"{name} {value}" for name, value in server.settings().items()),
        "commit": f"{server.commit_seconds() * 1000:.2f} ms for a transaction of one row, median",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version_of_core() -> str:
    code = "from importlib.metadata import version; print(version('orchestrator-core'))"
    return run_to_end([str(PYTHON), "-c", code], os.environ, Path.cwd()).strip()
