"""The key that secrets are encrypted with, and what is done with it.

The library is slow to import and most processes meet no secret: it is loaded when one is met.
"""

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_VARIABLE = "ORCHESTRATOR_SECRET_KEY"
HOME_VARIABLE = "DAGSTER_HOME"
KEY_FILE = "orchestrator_secret_key"


def new_key() -> str:
    """Return a new key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def encrypt(content: bytes) -> str:
    """Encrypt with the newest key; the Dagster home gets one where none is configured.

    Raises:
        ConfigurationError: there is no place for a key, or what is configured is none.
    """
    return _cipher(_configured_keys() or _own_key(_home())).encrypt(content).decode()


def decrypt(token: str) -> bytes:
    """Decrypt what was encrypted with any of the keys.

    Raises:
        ConfigurationError: there is no key, or not that one; or the text is not what `encrypt` returned.
    """
    from cryptography.fernet import InvalidToken

    keys = _configured_keys() or _written_key(_home() / KEY_FILE)
    if not keys:
        raise ConfigurationError(
            f"There is a secret to decrypt and no key: set {KEY_VARIABLE} to the one that it was encrypted with"
        )
    try:
        return _cipher(keys).decrypt(token.encode())
    except InvalidToken as error:
        raise ConfigurationError(
            f"A secret cannot be decrypted: it is damaged, or was encrypted with another key than {_source()} has"
        ) from error


@cache
def _cipher(keys: str) -> "MultiFernet":
    from cryptography.fernet import Fernet, MultiFernet

    try:
        return MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
    except ValueError:
        # the text of the error, or its traceback, is no place for a key
        raise ConfigurationError(
            f"{_source()} must hold keys as `orchestrator-dagster secret new-key` prints them, separated by commas"
        ) from None


def _configured_keys() -> str:
    return os.environ.get(KEY_VARIABLE, "").strip()


def _source() -> str:
    return KEY_VARIABLE if _configured_keys() else str(_home() / KEY_FILE)


def _home() -> Path:
    home = os.environ.get(HOME_VARIABLE, "").strip()
    if not home:
        raise ConfigurationError(
            f"There is no key for secrets: set {KEY_VARIABLE} to what `orchestrator-dagster secret new-key` prints, "
            f"the same wherever the orchestrator runs; or set {HOME_VARIABLE} to a folder, which then gets a key"
        )
    return Path(home).expanduser()


def _own_key(home: Path) -> str:
    """Return the key of a Dagster home; the first of several who ask at once makes it."""
    file = home / KEY_FILE
    written = _written_key(file)
    if written:
        return written
    try:
        _write_once(file, new_key())
    except OSError as error:
        raise ConfigurationError(
            f"There is no key for secrets, and none can be written to {file} ({error}): set {KEY_VARIABLE}"
        ) from error
    return _written_key(file)


def _written_key(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"The key in {file} cannot be read: {type(error).__name__}") from error


def _write_once(file: Path, key: str) -> None:
    """Write a file that only its owner can read, unless it is there: whole or not at all, and safe on the disk."""
    descriptor, written = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(f"{key}\n")
            opened.flush()
            os.fsync(descriptor)
        _link(written, file)
    finally:
        os.unlink(written)


def _link(written: str, file: Path) -> None:
    try:
        os.link(written, file)
    except FileExistsError:
        return
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
