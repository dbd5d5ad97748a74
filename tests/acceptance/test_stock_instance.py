"""Processes wait and go on with an instance as Dagster makes it: its queue, its launcher, its records in SQLite."""

from pathlib import Path

import pytest
from unattended_home import Unattended, answers_by


@pytest.mark.long
def test_an_answered_process_goes_on_with_a_stock_instance(tmp_path: Path, database_url: str) -> None:
    with Unattended.opened(tmp_path, database_url, stock=True) as stock:
        stock.daemon.start()
        asking = stock.launch("ask")
        answers_by(stock.folder, "sensor", asking)
        answered = stock.comes_to_be(asking, "completed")
        assert answered.state["ticket"] == "from a sensor"
        assert len(stock.runs(asking)) == 2
