"""`catalogue apply` over all subscriptions of a database, and over one where it is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.database import DatabaseServer
from benchmarks.errors import BenchmarkError
from benchmarks.samples import short
from benchmarks.scale.report import Report
from orchestrator_dagster.db.engine import dispose_engine, engine_for

SECONDS = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "benchmarks.scale.apply_change")

# All that is stored of subscriptions and of the products, in two numbers and a sum.
FINGERPRINT = text("""
    SELECT (SELECT count(*) FROM orchestrator.subscription_versions) AS versions,
           (SELECT sum(version) FROM orchestrator.subscriptions) AS changed,
           (SELECT sum(hashtextextended(values::text, 0)) FROM orchestrator.subscription_instances) AS blocks,
           (SELECT string_agg(resource_type, ',' ORDER BY resource_type) FROM orchestrator.resource_types) AS fields
""")

# The transaction that wrote a row stands in the row.
WRITTEN = text("""
    SELECT count(DISTINCT xmin::text) AS transactions, count(*) AS versions
    FROM orchestrator.subscription_versions
    WHERE version = 2
""")
HAS_NEW_FIELDS = text("""
    SELECT count(*)
    FROM orchestrator.subscription_instances AS instance
    JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
    WHERE (values ? 'rack' OR values ? 'mtu' OR values ? 'bandwidth'
           OR (subscription.status = 'active' AND attribute IN ('node', 'port', 'circuit')
               AND NOT values ?| ARRAY['power', 'medium', 'support']))
""")


def measure_change(server: DatabaseServer, report: Report, size: int, template: str) -> None:
    """Apply a change to a copy of a database, and to another copy where it is killed when half of the time is over.

    Args:
        server: where the databases are.
        report: where the result goes.
        size: how many subscriptions the database has.
        template: its name; nobody may be connected to it.
    """
    url = server.create(f"{template}_changed", template)
    taken = _finished(_start(url))
    report.samples.setdefault("catalogue apply", {})[size] = taken
    seconds, growth = taken["seconds"], taken["peak_mib"] - taken["before_mib"]
    report.add("catalogue apply (s)", size, short(seconds), goal=f"< {SECONDS:g}", reached=seconds < SECONDS)
    transactions, versions = _written(url)
    report.add("   subscriptions changed", size, f"{versions:,}", goal="all, once", reached=versions == size)
    report.add("   transactions", size, str(transactions), goal="1", reached=transactions == taken["commits"] == 1)
    report.add("   memory that it took (MiB)", size, short(growth))
    server.drop(f"{template}_changed")
    _measure_kill(server, report, size, template, seconds / 2)


def _measure_kill(server: DatabaseServer, report: Report, size: int, template: str, after: float) -> None:
    url = server.create(f"{template}_killed", template)
    before = _fingerprint(url)
    process = _start(url)
    time.sleep(after)
    process.kill()
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise BenchmarkError(f"The change had ended after {after:.1f} s, before it could be killed")
    untouched = _fingerprint(url) == before
    report.add("   killed half-way: nothing changed", size, _yes(untouched), goal="yes", reached=untouched)
    again = _finished(_start(url))["seconds"]
    transactions, versions = _written(url)
    whole = (transactions, versions) == (1, size)
    report.add("   applied again after that (s)", size, short(again), goal="all, once", reached=whole)
    server.drop(f"{template}_killed")


def _start(url: str) -> "subprocess.Popen[str]":
    """Start to apply, in a process of its own, and return when it begins."""
    process = subprocess.Popen(
        [*COMMAND, url], cwd=REPOSITORY, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, errors = process.communicate()
    if process.returncode != 0:
        raise BenchmarkError(f"The change was not applied: {errors[-3000:]}")
    taken: dict[str, Any] = json.loads(output)
    return taken


def _written(url: str) -> tuple[int, int]:
    with engine_for(url).connect() as connection:
        wrong = connection.execute(HAS_NEW_FIELDS).scalar_one()
        written = connection.execute(WRITTEN).one()
    dispose_engine(url)
    if wrong:
        raise BenchmarkError(f"After the change {wrong} blocks are not as the code declares them")
    return written.transactions, written.versions


def _fingerprint(url: str) -> tuple[Any, ...]:
    with engine_for(url).connect() as connection:
        found = tuple(connection.execute(FINGERPRINT).one())
    dispose_engine(url)
    return found


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"
