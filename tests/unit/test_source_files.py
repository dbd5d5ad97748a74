"""A worker knows whether the source files are still what it has imported."""

import importlib
import os
import sys
import sysconfig
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from orchestrator_dagster.instance.source_files import SourceFiles

LONG_AGO = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to import from; what a test imports is forgotten."""
    monkeypatch.setattr(SourceFileLoader, "path_stats", SourceFileLoader.path_stats)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write(file: Path, content: str = "", modified: float | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    if modified is not None:
        os.utime(file, (modified, modified))
    importlib.invalidate_caches()
    return file


@pytest.mark.parametrize("modified", [LONG_AGO, None, 4_000_000_000], ids=["long ago", "just now", "in the future"])
def test_what_nobody_touched_has_not_changed(folder: Path, modified: float | None) -> None:
    write(folder / "untouched.py", modified=modified)
    sources = SourceFiles()
    importlib.import_module("untouched")
    assert sources.changed() is None
    assert sources.changed() is None


def test_a_file_that_was_edited_has_changed(folder: Path) -> None:
    file = write(folder / "edited.py", modified=LONG_AGO)
    sources = SourceFiles()
    importlib.import_module("edited")
    assert sources.changed() is None
    write(file, "EDITED = True")
    assert sources.changed() == str(file)
    assert sources.changed() == str(file)


def test_a_file_that_was_imported_before_anybody_looked_can_change(folder: Path) -> None:
    file = write(folder / "early.py", modified=LONG_AGO)
    importlib.import_module("early")
    sources = SourceFiles()
    assert sources.changed() is None
    write(file)
    assert sources.changed() == str(file)


def test_an_older_file_in_place_of_a_newer_one_is_a_change(folder: Path) -> None:
    file = write(folder / "replaced.py")
    sources = SourceFiles()
    importlib.import_module("replaced")
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert sources.changed() == str(file)


def test_a_file_that_is_gone_has_changed(folder: Path) -> None:
    file = write(folder / "gone.py")
    sources = SourceFiles()
    importlib.import_module("gone")
    file.unlink()
    assert sources.changed() == str(file)


def test_a_file_that_was_edited_while_it_was_imported_has_changed(folder: Path) -> None:
    file = write(folder / "edits_itself.py", f"import os; os.utime(__file__, ({LONG_AGO}, {LONG_AGO}))")
    sources = SourceFiles()
    importlib.import_module("edits_itself")
    assert sources.changed() == str(file)


def test_a_file_that_was_written_and_then_imported_has_not_changed(folder: Path) -> None:
    sources = SourceFiles()
    assert sources.changed() is None
    write(folder / "made.py")
    importlib.import_module("made")
    assert sources.changed() is None


def test_code_that_could_not_be_imported_can_be_mended(folder: Path) -> None:
    file = write(folder / "broken.py", "1 / 0", modified=LONG_AGO)
    sources = SourceFiles()
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("broken")
    assert sources.changed() is None
    write(file)
    assert sources.changed() == str(file)


def test_a_module_that_was_loaded_anew_is_what_it_is_now(folder: Path) -> None:
    file = write(folder / "anew.py", modified=LONG_AGO)
    sources = SourceFiles()
    module = importlib.import_module("anew")
    write(file)
    importlib.reload(module)
    assert sources.changed() is None


def test_installed_packages_are_not_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_dagster.instance.source_files._INSTALLED", (f"{folder}/lib/",))
    monkeypatch.syspath_prepend(str(folder / "lib"))
    file = write(folder / "lib" / "installed.py", modified=LONG_AGO)
    sources = SourceFiles()
    importlib.import_module("installed")
    write(file)
    assert sources.changed() is None


def test_code_in_the_folder_of_the_virtual_environment_is_not_installed() -> None:
    from orchestrator_dagster.instance.source_files import _INSTALLED

    assert sysconfig.get_path("purelib").startswith(_INSTALLED)
    assert not os.path.join(sysconfig.get_path("data"), "project", "code.py").startswith(_INSTALLED)
