"""Google Gemini: the model and the kind of answer stand in the path, the key in a header."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from chat.request import Json
from providers.base import HttpProvider, ModelInfo


class GeminiProvider(HttpProvider):
    kind: ClassVar[str] = "gemini"

    def url(self, model: str, stream: bool) -> str:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{self._base}/models/{quote(model, safe='-._~')}:{method}"

    def headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.row.key or ""}

    def models_url(self) -> str:
        return self._base + "/models?pageSize=1000"

    def model_infos(self, body: Json) -> list[ModelInfo]:
        rows = body.get("models", []) if isinstance(body, dict) else []
        return [
            ModelInfo(row["name"].removeprefix("models/"), row.get("inputTokenLimit"))
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("name"), str)
        ]
