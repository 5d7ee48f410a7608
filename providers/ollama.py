"""Ollama, by its own /api/chat: its OpenAI door hides errors in mid-stream (PROTOCOLS 0.11)."""

from __future__ import annotations

from typing import ClassVar

from chat.request import Json
from providers.base import HttpProvider, ModelInfo


class OllamaProvider(HttpProvider):
    kind: ClassVar[str] = "ollama"

    def url(self, model: str, stream: bool) -> str:
        return self._base + "/api/chat"

    def models_url(self) -> str:
        return self._base + "/api/tags"

    def model_infos(self, body: Json) -> list[ModelInfo]:
        rows = body.get("models", []) if isinstance(body, dict) else []
        return [
            ModelInfo(row["model"].removesuffix(":latest"))
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("model"), str)
        ]
