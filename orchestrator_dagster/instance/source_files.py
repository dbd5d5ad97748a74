"""The source files of the code that a worker has loaded, and whether they are still what it has loaded."""

import os
import site
import sys
import sysconfig
from importlib.machinery import SourceFileLoader
from typing import Any

# not sysconfig's other paths: one of them is the folder of the virtual environment, which may be that of the code
_INSTALLED = tuple(
    os.path.join(os.path.realpath(folder), "")
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)


class SourceFiles:
    """Notices when a source file changes after it was imported.

    Installed packages are not looked at: who installs something anew starts anew what uses it.
    """

    def __init__(self) -> None:
        self._modified: dict[str, int] = {}
        for module in tuple(sys.modules.values()):
            self._note(getattr(module, "__file__", None))
        self._note_imports()

    def changed(self) -> str | None:
        """Return a file that is no longer what was imported, or `None`."""
        files = tuple(self._modified.items())
        return next((path for path, modified in files if _modified(path) != modified), None)

    def _note_imports(self) -> None:
        """Note each file right before it is read: what is written later was not imported."""
        path_stats = SourceFileLoader.path_stats

        def note_and_return_stats(loader: SourceFileLoader, path: str) -> Any:
            self._note(path)
            return path_stats(loader, path)

        setattr(SourceFileLoader, path_stats.__name__, note_and_return_stats)

    def _note(self, path: str | None) -> None:
        if isinstance(path, str) and path.endswith(".py") and not os.path.realpath(path).startswith(_INSTALLED):
            self._modified[path] = _modified(path)


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1
