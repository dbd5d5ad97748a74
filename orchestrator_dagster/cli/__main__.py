"""`python -m orchestrator_dagster.cli`: the command, for the interpreter that is asked."""

from orchestrator_dagster.cli.main import main

if __name__ == "__main__":
    main()
