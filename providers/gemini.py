"""Google Gemini: the model and the kind of answer stand in the path, the key in a header."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from chat.request import Json
from providers.base import HttpProvider
from providers.embeddings import EmbeddingRequest, Embeddings, checked
from providers.model_info import ModelInfo, rows_of, whole

SAID = frozenset({"tools", "vision"})
"""That one does not think is no refusal: the wish for it is then left out."""


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
        return [
            ModelInfo(
                row["name"].removeprefix("models/"),
                whole(row.get("inputTokenLimit")),
                whole(row.get("outputTokenLimit")),
                _capabilities(row),
                SAID,
            )
            for row in rows_of(body, "models")
            if isinstance(row.get("name"), str)
        ]

    async def embed(self, request: EmbeddingRequest, model: str) -> Embeddings:
        """By :batchEmbedContents, which takes one text or many. Gemini counts no tokens here."""
        settings: dict[str, Json] = {"model": f"models/{model}"}
        if request.dimensions is not None:
            settings["outputDimensionality"] = request.dimensions
        if request.task is not None:
            settings["taskType"] = request.task
        questions = [
            {**settings, "content": {"parts": [{"text": text}]}} for text in request.texts()
        ]
        path = f"/models/{quote(model, safe='-._~')}:batchEmbedContents"
        answer = await self.asked(path, {"requests": questions})
        rows = answer.get("embeddings")
        vectors = [row.get("values") for row in rows] if isinstance(rows, list) else None
        return Embeddings(checked(vectors, request), None)


def _capabilities(row: dict[str, Json]) -> frozenset[str] | None:
    methods = row.get("supportedGenerationMethods")
    if not isinstance(methods, list):
        return None
    if "generateContent" in methods:
        # The list says nothing of tools and pictures; every Gemini that talks has both.
        return frozenset({"completion", "tools", "vision"}) | (
            {"thinking"} if row.get("thinking") else set()
        )
    return frozenset({"embedding"}) if "embedContent" in methods else frozenset()
