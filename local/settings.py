"""What the environment says about the embedded model."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingsError(ValueError):
    """A variable of the environment does not hold what it should; the message names it."""


@dataclass(frozen=True)
class Settings:
    """How the embedded model is served.

    `context` is in tokens, for each of the `parallel` conversations. SmolLM2 was trained on 8192.
    Memory on one machine, whole process: 2 x 2048 tokens 246 MB, 2 x 4096 338 MB, 2 x 8192 522 MB;
    all of it is taken at the start, and long prompts add nothing later.
    """

    host: str
    port: int
    threads: int
    context: int
    parallel: int
    model_path: Path | None
    debug: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raise SettingsError for a number that is no number or out of its range."""

        def number(name: str, default: int, least: int, most: int) -> int:
            text = environment.get(name, "").strip()
            try:
                value = int(text) if text else default
            except ValueError:
                raise SettingsError(f"{name} must be a whole number, not {text!r}.") from None
            if not least <= value <= most:
                raise SettingsError(f"{name} must be from {least} to {most}, not {value}.")
            return value

        model_path = environment.get("LOCAL_MODEL_PATH", "").strip()
        return cls(
            host=environment.get("LOCAL_HOST", "").strip() or "127.0.0.1",
            port=number("LOCAL_PORT", 8090, 1, 65535),
            threads=number("LOCAL_THREADS", max(1, (os.cpu_count() or 1) // 2), 1, 512),
            context=number("LOCAL_CONTEXT", 4096, 256, 131072),
            parallel=number("LOCAL_PARALLEL", 2, 1, 64),
            model_path=Path(model_path).expanduser() if model_path else None,
            debug=environment.get("DEBUG_MODE", "").strip().lower() in {"1", "true", "yes", "on"},
        )
