"""Where an embedded server keeps its data and, where needed, a copy of its programs.

The data is in the server's own folder, unless we are root and the account that runs the server cannot get there. Then
it is in a folder of root's that everybody can pass through, and `location` in the server's own folder names it.
"""

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator_dagster.db.server_account import Account
from orchestrator_dagster.db.server_files import KeeperError, ServerFolder, write_atomically

BASES = (Path("/var/lib/orchestrator_dagster"), Path("/var/tmp/orchestrator_dagster"))  # noqa: S108 - its owner is checked
ORIGIN = "origin"
WORK_PREFIX = "init-"


def choose_place(folder: ServerFolder, account: Account, bases: Sequence[Path] = BASES) -> Path:
    """The folder in which `data` is, or can be made by that account.

    Raises:
        KeeperError: There is none, or it is not where `location` says.
    """
    place = existing_place(folder, bases)
    if place:
        return place
    if account.ids is None or can_hold_data(folder.path, account):
        return folder.path
    for base in usable_bases(bases):
        place = base / f"{hashlib.sha256(bytes(folder.path)).hexdigest()[:16]}-{secrets.token_hex(4)}"
        place.mkdir()
        place.chmod(0o755)
        if can_hold_data(place, account):
            write_atomically(place / ORIGIN, str(folder.path))
            write_atomically(folder.location, str(place))
            return place
        place.rmdir()
    named = " or ".join(str(base) for base in bases)
    raise KeeperError("place", f"User {account.uid} reaches neither {folder.path} nor a folder in {named}")


def existing_place(folder: ServerFolder, bases: Sequence[Path] = BASES) -> Path | None:
    """Where the data of this server is; None when nothing has been decided yet.

    Raises:
        KeeperError: `location` names a place that is gone or is another server's.
    """
    if (folder.path / "data").is_dir():
        return folder.path
    if not folder.location.exists():
        return None
    place = Path(folder.location.read_text(encoding="utf-8").strip())
    hint = f"Delete {folder.location} to start with an empty database"
    if place.parent not in bases or not is_private_to_root(place.parent) or not place.is_dir():
        raise KeeperError("place", f"The data of {folder.path} is not in {place} any more. {hint}")
    claim_origin(place, folder, hint)
    return place


def claim_origin(place: Path, folder: ServerFolder, hint: str) -> None:
    """Follow a server's folder that was moved, and refuse one that was copied."""
    origin = ServerFolder(Path((place / ORIGIN).read_text(encoding="utf-8")))
    if origin.path == folder.path:
        return
    if origin.location.exists() and not origin.path.samefile(folder.path):
        raise KeeperError("place", f"{folder.path} is a copy of {origin.path}, whose data is in {place}. {hint}")
    write_atomically(place / ORIGIN, str(folder.path))


def can_hold_data(place: Path, account: Account) -> bool:
    """Whether the account can own a folder in there and write to it."""
    probe = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=place))
    try:
        account.give(probe)
        return account.can(lambda: (probe / "probe").write_bytes(b""))
    except OSError:
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def usable_bases(bases: Sequence[Path] = BASES) -> Iterator[Path]:
    """The folders of root's that everybody can pass through, made where they are missing."""
    for base in bases:
        try:
            base.mkdir(exist_ok=True)
            if is_private_to_root(base):
                base.chmod(0o755)
                yield base
        except OSError:
            continue


def is_private_to_root(path: Path) -> bool:
    """Whether it is a real folder in which only root can write: in a public one, anybody may have made it."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() == 0 and not facts.st_mode & 0o022


def remove_unfinished(place: Path) -> None:
    """Delete what a start left behind that was killed."""
    for leftover in place.glob(f"{WORK_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def remove_place(place: Path | None, folder: ServerFolder) -> None:
    """Delete a stopped server: its data wherever it is, then its folder."""
    if place and place != folder.path:
        shutil.rmtree(place)
    shutil.rmtree(folder.path)
