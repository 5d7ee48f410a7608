"""Secrets at rest: sealed with a key that does not lie in the database.

The key is [store] secret_key, or a file beside the SQLite database that its owner alone can read.
"""

from __future__ import annotations

import base64
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.settings import SettingsError, Store

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

ELSEWHERE = Path("var/pointsman.key")
"""Where the key lies when the database is no file."""
SHORTEST = 16


class Sealer:
    """The key is looked for when the first secret is sealed or opened: who keeps none needs
    none."""

    def __init__(self, settings: Store) -> None:
        self._settings = settings

    @cached_property
    def _fernet(self) -> Fernet:
        """Raises SettingsError."""
        # Its library is 7 MB, and most gateways keep no secret.
        from cryptography.fernet import Fernet

        return Fernet(_key(self._settings))

    def seal(self, text: str) -> str:
        """Raises SettingsError for a key that cannot be."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Raises ValueError when it was sealed with another key."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except (InvalidToken, UnicodeError):
            raise ValueError("it was sealed with another key") from None


def _key(settings: Store) -> bytes:
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    given = settings.secret_key
    if given:
        if len(given) < SHORTEST:
            raise SettingsError(f"store.secret_key: has fewer than {SHORTEST} characters")
        derived = HKDF(SHA256(), 32, salt=None, info=b"pointsman settings").derive(given.encode())
        return base64.urlsafe_b64encode(derived)
    if not settings.database:
        return Fernet.generate_key()
    path = ELSEWHERE
    if settings.database.startswith("sqlite:///"):
        path = Path(settings.database.removeprefix("sqlite:///").partition("?")[0])
        path = path.with_name(path.name + ".key")
    try:
        return _from_file(path)
    except (OSError, ValueError) as fault:
        words = getattr(fault, "strerror", None) or fault
        raise SettingsError(f"store.secret_key: {path}: {words}") from None


def _from_file(path: Path) -> bytes:
    """The file's key; the first process makes it, whole or not at all."""
    from cryptography.fernet import Fernet

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{os.getpid()}")
        handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key())
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    if path.stat().st_mode & 0o077:
        raise ValueError("others than its owner can read it")
    key = path.read_bytes().strip()
    Fernet(key)
    return key
