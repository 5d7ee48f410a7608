"""`python -m deploy.backup save FILE` and `restore FILE`: the database of the settings.

SQLite is copied page by page while the gateway writes, and is whole; PostgreSQL by pg_dump and
pg_restore, which must be on the PATH. A restore replaces what is there: stop the gateways first.
What seals stored keys (POINTSMAN_SECRET_KEY, or the key file beside the database) is not in it.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gateway.environment import environment
from gateway.settings import SettingsError
from gateway.settings_file import load

SQLITE = "sqlite:///"


class BackupError(Exception):
    """It cannot be saved or restored; the text says why."""


def save(database: str, file: Path) -> None:
    """A whole copy in `file`, which must not exist; raises BackupError."""
    if file.exists():
        raise BackupError(f"{file} is there already")
    if database.startswith(SQLITE):
        source = Path(database.removeprefix(SQLITE))
        if not source.is_file():
            raise BackupError(f"there is no database at {source}")
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as one,
            closing(sqlite3.connect(file)) as other,
        ):
            one.backup(other)
        file.chmod(0o600)
        return
    _postgres("pg_dump", database, ["--format=custom", f"--file={file}"])
    file.chmod(0o600)


def restore(database: str, file: Path) -> None:
    """Put what `save` wrote in the place of what is there; raises BackupError."""
    if not file.is_file():
        raise BackupError(f"{file} is not there")
    if database.startswith(SQLITE):
        target = Path(database.removeprefix(SQLITE))
        _check(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".restored")
        shutil.copyfile(file, fresh)
        fresh.chmod(0o600)
        # A log of the database before would be played into the one that is put there.
        for rest in ("-wal", "-shm", "-journal"):
            target.with_name(target.name + rest).unlink(missing_ok=True)
        fresh.replace(target)
        return
    options = ["--clean", "--if-exists", "--no-owner", "--exit-on-error", "--single-transaction"]
    _postgres("pg_restore", database, [*options, f"--dbname={_name(database)}", str(file)])


def _check(file: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as found:
            (verdict,) = found.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as fault:
        raise BackupError(f"{file}: {fault}") from None
    if verdict != "ok":
        raise BackupError(f"{file}: {verdict}")


def _name(database: str) -> str:
    return urlsplit(database).path.lstrip("/") or "postgres"


def _postgres(program: str, database: str, options: Sequence[str]) -> None:
    if not database.startswith("postgresql://"):
        raise BackupError("store.database must be sqlite:///... or postgresql://...")
    parts = urlsplit(database)
    # In the environment and not among the arguments: those stand in the process table.
    variables = {
        **os.environ,
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": _name(database),
    }
    try:
        done = subprocess.run(
            [program, *options], env=variables, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BackupError(f"{program} is not here (Debian: postgresql-client)") from None
    if done.returncode != 0:
        raise BackupError(f"{program}: {done.stderr.strip()}")


def main() -> int:
    commands = {"save": save, "restore": restore}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    config = Path("gateway.toml")
    try:
        settings = load(config if config.exists() else None, environment())
        commands[sys.argv[1]](settings.store.database, Path(sys.argv[2]))
    except (BackupError, SettingsError, sqlite3.Error, OSError) as fault:
        print(f"backup: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
