"""The program of the keeper, run by path as `python -I -S`, so that it is small and starts fast.

The packages it is in import Dagster and SQLAlchemy. Here they are mere folders to import the keeper's own modules from.
"""

import sys
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    for name, folder in (("orchestrator_dagster", here.parent), ("orchestrator_dagster.db", here)):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package

    from orchestrator_dagster.db.server_keeper import main

    main()
