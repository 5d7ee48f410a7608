"""gateway.toml + environment -> frozen Settings, validated whole.

`${NAME}` in a value is replaced from the environment, and an unset NAME is an error that says
where it stands. A few settings have an environment variable of their own (`ENVIRONMENT`), which
wins over the file. Providers are validated by providers.registry, which knows the catalogue.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.settings import Route, Settings, SettingsError

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

ENVIRONMENT: dict[str, tuple[str, str]] = {
    "HOST": ("server", "host"),
    "SERVER_PORT": ("server", "port"),
    "PORT": ("server", "port"),
    "CLASSIFIER_URL": ("classifier", "url"),
    "DEBUG_MODE": ("log", "debug"),
    "ADMIN_TOKEN": ("access", "admin_token"),
    "ACCESS_OPEN": ("access", "open"),
    "METRICS_TOKEN": ("access", "metrics_token"),
    "DATABASE_URL": ("store", "database"),
    "REDIS_URL": ("store", "redis"),
    "POINTSMAN_SECRET_KEY": ("store", "secret_key"),
    "LOG_FORMAT": ("log", "format"),
    "QUEUE_MAX_SIZE": ("jobs", "capacity"),
    "REQUEST_TIMEOUT": ("jobs", "timeout_s"),
    "WEBHOOK_SECRET": ("jobs", "webhook_secret"),
    "LOG_DIR": ("log", "folder"),
    "ERROR_HOOK": ("log", "error_hook"),
    "SENTRY_DSN": ("log", "sentry_dsn"),
}
"""Environment variable -> the setting that it replaces."""

DEFAULT_ROUTE = Route(
    local=("ollama", "local"),
    strong=("anthropic", "openai", "gemini", "together", "openrouter", "groq", "a4f"),
)
"""Without [routes.auto]: whoever is on, each by its default model."""


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Raises SettingsError. Without a path the defaults hold."""
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as fault:
            raise SettingsError(f"{path}: {fault.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
            raise SettingsError(f"{path}: {fault}") from None
    tree = _expanded(tree, environment, "")
    for variable, (section, name) in ENVIRONMENT.items():
        if environment.get(variable):
            tree.setdefault(section, {})[name] = environment[variable]
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as fault:
        raise SettingsError("\n".join(_lines(fault, path))) from None
    if "auto" not in settings.routes:
        routes = {**settings.routes, "auto": DEFAULT_ROUTE}
        settings = settings.model_copy(update={"routes": routes})
    return settings


def _lines(fault: ValidationError, path: Path | None) -> list[str]:
    """One line a fault; the value itself is left out, as it may be a key."""
    where = path or "settings"
    return [
        f"{where}: {'.'.join(str(step) for step in error['loc'])}: {error['msg']}"
        for error in fault.errors(include_url=False, include_input=False)
    ]


def _expanded(value: Any, environment: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {
            name: _expanded(item, environment, f"{where}.{name}" if where else name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_expanded(item, environment, f"{where}[{n}]") for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in environment:
            # A provider without its key is off, which is no mistake; anything else is.
            if where.startswith("providers.") and where.endswith(".api_key"):
                return ""
            raise SettingsError(f"{where}: the environment variable {match[1]} is not set")
        return environment[match[1]]

    return VARIABLE.sub(replaced, value)
