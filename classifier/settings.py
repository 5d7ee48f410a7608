"""What the environment may say to the service, validated once at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from classifier.shelf import Shelf

ROOT = Path(__file__).resolve().parent.parent


class SettingsError(ValueError):
    """A variable of the environment holds what it must not; the message names it."""


def default_artefact() -> Path:
    """The artefact that ships, or the one that CLASSIFIER_ARTEFACT names."""
    return Path(os.environ.get("CLASSIFIER_ARTEFACT") or ROOT / "models" / "router")


@dataclass(frozen=True)
class Settings:
    """Where to listen, what to serve, and the names of the tiers' models."""

    host: str
    port: int
    workers: int
    local_model: str
    strong_model: str
    largest_body: int
    artefact: Path
    pinned: bool
    models: Path
    shadow: Path | None

    def serving(self) -> Path:
        """The folder that should serve now: CLASSIFIER_ARTEFACT, else the promoted, else ours.

        Raises ShelfError if a promotion's pointer cannot be followed.
        """
        if self.pinned:
            return self.artefact
        return Shelf(self.models).current() or self.artefact


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read `CLASSIFIER_*`; SettingsError names the variable that does not fit."""
    return Settings(
        host=environment.get("CLASSIFIER_HOST", "127.0.0.1"),
        port=_whole(environment, "CLASSIFIER_PORT", 8000, 0, 65_535),
        workers=_whole(environment, "CLASSIFIER_WORKERS", 4, 1, 256),
        local_model=_name(environment, "CLASSIFIER_LOCAL_MODEL", "llama3.2"),
        strong_model=_name(environment, "CLASSIFIER_STRONG_MODEL", "gpt-4o"),
        largest_body=_whole(environment, "CLASSIFIER_MAX_BODY", 1 << 20, 1024, 1 << 28),
        artefact=Path(environment.get("CLASSIFIER_ARTEFACT") or ROOT / "models" / "router"),
        pinned=bool(environment.get("CLASSIFIER_ARTEFACT")),
        models=Path(environment.get("CLASSIFIER_MODELS") or ROOT / "var" / "models"),
        shadow=_folder(environment, "CLASSIFIER_SHADOW"),
    )


def _whole(environment: Mapping[str, str], name: str, usual: int, low: int, high: int) -> int:
    text = environment.get(name, str(usual))
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name} must be a whole number, not {text!r}.") from None
    if not low <= value <= high:
        raise SettingsError(f"{name} must lie between {low} and {high}, not {value}.")
    return value


def _name(environment: Mapping[str, str], name: str, usual: str) -> str:
    value = environment.get(name, usual).strip()
    if not value:
        raise SettingsError(f"{name} must not be empty.")
    return value


def _folder(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name, "").strip()
    return Path(value) if value else None
