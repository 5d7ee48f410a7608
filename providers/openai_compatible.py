"""OpenAI and everyone who speaks as it does: Together, A4F, Groq, OpenRouter, vLLM, llama.cpp."""

from __future__ import annotations

from typing import ClassVar

from chat.request import Json
from providers.base import HttpProvider, ModelInfo


class OpenAiCompatibleProvider(HttpProvider):
    kind: ClassVar[str] = "openai"

    def url(self, model: str, stream: bool) -> str:
        return self._base + "/chat/completions"

    def model_infos(self, body: Json) -> list[ModelInfo]:
        # Together answers a bare list, everyone else {"data": [...]}.
        rows = body if isinstance(body, list) else body.get("data", [])
        return [
            ModelInfo(row["id"], row.get("context_length") or row.get("max_model_len"))
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("id"), str)
        ]
