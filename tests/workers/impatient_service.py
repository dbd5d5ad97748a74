"""`orchestrator-dagster worker` that lets a terminated run clean up for one second only."""

from orchestrator_dagster.cli import main
from orchestrator_dagster.instance import worker_service

worker_service._KILL_SECONDS = 1.0

if __name__ == "__main__":
    main(["worker"])
