"""Ollama, by its own /api/chat: its OpenAI door hides errors in mid-stream (PROTOCOLS 0.11)."""

from __future__ import annotations

from typing import ClassVar

from chat.request import Json
from providers.base import HttpProvider
from providers.embeddings import EmbeddingRequest, Embeddings, checked
from providers.model_info import ModelInfo, rows_of


class OllamaProvider(HttpProvider):
    kind: ClassVar[str] = "ollama"

    def url(self, model: str, stream: bool) -> str:
        return self._base + "/api/chat"

    def models_url(self) -> str:
        return self._base + "/api/tags"

    def model_infos(self, body: Json) -> list[ModelInfo]:
        return [
            ModelInfo(
                row["model"].removesuffix(":latest"),
                capabilities=_capabilities(row.get("capabilities")),
                details=row,
            )
            for row in rows_of(body, "models")
            if isinstance(row.get("model"), str)
        ]

    async def show(self, model: str) -> dict[str, Json]:
        """The model's own /api/show. Raises UpstreamError, 404 when it is not there."""
        return await self.asked("/api/show", {"model": model})

    async def embed(self, request: EmbeddingRequest, model: str) -> Embeddings:
        body: dict[str, Json] = {"model": model, "input": list(request.texts())}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.truncate is not None:
            body["truncate"] = request.truncate
        answer = await self.asked("/api/embed", body)
        tokens = answer.get("prompt_eval_count")
        return Embeddings(
            checked(answer.get("embeddings"), request), tokens if isinstance(tokens, int) else None
        )


def _capabilities(said: Json) -> frozenset[str] | None:
    if not isinstance(said, list):
        return None
    return frozenset(word for word in said if isinstance(word, str))
