"""What the service reads as its environment: `.env`, files of secrets, and the process's own.

A folder of secrets holds one file a variable, named as the variable: Docker and Kubernetes lay
secrets down so, and a file does not show in the process table. It is read again at a reload, so
a key that was changed there is in use without a restart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from dotenv import dotenv_values

from gateway.settings import Settings, SettingsError

Read = Callable[[], tuple[Settings, Mapping[str, str]]]
"""Reads the file and the environment. Raises SettingsError."""

FOLDER = "SECRETS_DIR"
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def environment() -> dict[str, str]:
    """Raises SettingsError for a folder or a file of secrets that cannot be read.

    The process's own variables win over secrets, and those over `.env`; of several folders, named
    with colons between, the last wins. An empty file counts as a secret that nobody has.
    """
    written = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    secrets: dict[str, str] = {}
    for folder in folders(written):
        secrets.update(from_folder(folder))
    return {**written, **secrets, **os.environ}


def folders(written: Mapping[str, str] = MappingProxyType({})) -> list[Path]:
    """The folders of secrets, as the environment names them, else `written`."""
    named = os.environ.get(FOLDER) or written.get(FOLDER) or ""
    return [Path(folder) for folder in named.split(os.pathsep) if folder]


def from_folder(folder: Path) -> Mapping[str, str]:
    """The secrets of a folder; files whose names are no variables' names are left alone."""
    found: dict[str, str] = {}
    try:
        for path in sorted(folder.iterdir()):
            if VARIABLE.fullmatch(path.name) and path.is_file():
                value = path.read_text(encoding="utf-8").strip()
                if value:
                    found[path.name] = value
    except OSError as fault:
        raise SettingsError(
            f"{FOLDER}: {fault.filename or folder}: {fault.strerror or fault}"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{FOLDER}: {path}: it is not text") from None
    return found
