"""`python -m deploy.secrets [FOLDER]`: the secrets that docker-compose.yml names, made once.

What is there already is left alone. The containers run as users of their own, so the files can be
read by all, and their folder (default: var/secrets) by its owner only.
"""

import secrets
import sys
from pathlib import Path

USER = "pointsman"


def lay_down(folder: Path) -> list[str]:
    """Make what lacks; the names of what was made."""
    own = folder / "gateway"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    own.mkdir(exist_ok=True)
    own.chmod(0o755)
    made: list[str] = []

    def put(path: Path, value: str) -> str:
        if not path.exists():
            path.write_text(value + "\n", encoding="utf-8")
            made.append(str(path.relative_to(folder)))
        path.chmod(0o444)
        return path.read_text(encoding="utf-8").strip()

    password = put(folder / "POSTGRES_PASSWORD", secrets.token_urlsafe(32))
    put(folder / "GRAFANA_PASSWORD", secrets.token_urlsafe(18))
    put(own / "ADMIN_TOKEN", secrets.token_urlsafe(32))
    put(own / "APP_CODE", secrets.token_urlsafe(32))
    put(own / "POINTSMAN_SECRET_KEY", secrets.token_urlsafe(32))
    put(folder / "DATABASE_URL", f"postgresql://{USER}:{password}@postgres:5432/{USER}")
    return made


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "var/secrets")
    for name in lay_down(folder):
        print(f"made {folder / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
